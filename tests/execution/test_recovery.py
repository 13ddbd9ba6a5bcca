from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepdiag.errors import LaunchError
from sweepdiag.execution.recovery import HandfulProgress, PackProgress, PackQueue, SlotHealth
from sweepdiag.records import Event, Pack, State, Trial, TrialEnded

if TYPE_CHECKING:
    from collections.abc import Iterable


def make_pack(*names: str, attempt: int = 1) -> Pack:
    trials = tuple(Trial(trial_id=name, config_id=name, axes={}, seed=0) for name in names)
    return Pack(trials=trials, attempts=(attempt,) * len(trials))


def finished(name: str, attempt: int = 1) -> TrialEnded:
    return TrialEnded(trial_id=name, attempt=attempt, state=State.FINISHED)


def names(pack: Pack) -> list[str]:
    return [trial.trial_id for trial in pack.trials]


def test_unfinished_trials_are_those_without_an_end() -> None:
    progress = PackProgress(make_pack("a", "b", "c", attempt=3))
    progress.record([finished("b", 3)])
    assert names(progress.unfinished()) == ["a", "c"]
    assert progress.unfinished().attempts == (3, 3)


def test_unfinished_trials_end_once_with_a_clean_reason() -> None:
    progress = PackProgress(make_pack("a", "b", attempt=2))
    progress.record([finished("a", 2)])
    (end,) = progress.end_unfinished(State.FAILED, "no \x1b[1mluck")
    assert end == TrialEnded(
        trial_id="b", attempt=2, state=State.FAILED, reason="no luck", seconds=end.seconds
    )
    assert progress.end_unfinished(State.FAILED, "again") == []


def test_death_halves_what_is_left_behind_all_other_packs() -> None:
    queue = PackQueue([make_pack("guilty", "b", "c", "d", "e"), make_pack("other")])
    progress = HandfulProgress(queue.take())
    progress.record([finished("d")])
    assert queue.worker_died(progress, "killed") == []
    packs = [pack for _ in range(len(queue)) for pack in queue.take()]
    assert [names(pack) for pack in packs] == [["other"], ["guilty", "b"], ["c", "e"]]
    assert [pack.attempts for pack in packs] == [(1,), (2, 2), (2, 2)]


def test_what_is_ended_for_its_memory_twice_while_alone_is_out_of_memory() -> None:
    queue = PackQueue([make_pack("a")])
    assert queue.worker_died(HandfulProgress(queue.take()), "memory", is_memory=True) == []
    (end,) = queue.worker_died(HandfulProgress(queue.take()), "memory", is_memory=True)
    assert isinstance(end, TrialEnded)
    assert end.state is State.OUT_OF_MEMORY


def test_trial_alone_gets_a_second_chance_and_no_third() -> None:
    queue = PackQueue([make_pack("a")])
    assert queue.worker_died(HandfulProgress(queue.take()), "killed") == []
    (second,) = queue.take()
    assert second.attempts == (2,)
    (end,) = queue.worker_died(HandfulProgress([second]), "killed by signal 9")
    assert isinstance(end, TrialEnded)
    assert (end.state, end.attempt) == (State.FAILED, 2)
    assert end.reason == "worker process died twice: killed by signal 9"
    assert not queue


def test_what_hangs_is_sought_like_a_killer_and_has_no_second_chance() -> None:
    queue = PackQueue([make_pack("a", "hung")])
    assert queue.worker_hung(HandfulProgress(queue.take()), "no evaluation within 9 s") == []
    taken = [queue.take() for _ in range(len(queue))]
    assert [names(pack) for packs in taken for pack in packs] == [["a"], ["hung"]]
    (end,) = queue.worker_hung(HandfulProgress(taken[1]), "no evaluation within 9 s")
    assert isinstance(end, TrialEnded)
    assert (end.state, end.reason) == (State.TIMED_OUT, "no evaluation within 9 s")


def test_packs_that_took_turns_with_a_guilty_one_are_trained_alone_next() -> None:
    queue = PackQueue([make_pack("a", "b"), make_pack("guilty"), make_pack("c"), make_pack("d")])
    progress = HandfulProgress(queue.take(3))
    progress.record([finished("a"), finished("c")])
    assert queue.worker_died(progress, "killed") == []
    taken = [queue.take(3) for _ in range(len(queue))]
    assert [[names(pack) for pack in packs] for packs in taken] == [[["d"]], [["b"]], [["guilty"]]]
    assert [pack.attempts for packs in taken for pack in packs] == [(1,), (2,), (2,)]


def test_what_was_lost_with_its_node_begins_again_at_once_and_whole() -> None:
    queue = PackQueue([make_pack("a", "b"), make_pack("c"), make_pack("d")])
    progress = HandfulProgress(queue.take(2))
    progress.record([finished("a")])
    assert queue.worker_lost(progress, "its node has died", at=["here"]) == []
    taken = [pack for _ in range(3) for pack in queue.take(at="here", in_doubt={"here"})]
    assert [names(pack) for pack in taken] == [["b"], ["c"], ["d"]]
    assert [pack.attempts for pack in taken] == [(2,), (2,), (1,)]


def test_a_pack_that_loses_a_second_node_is_a_suspect() -> None:
    queue = PackQueue([make_pack("a", "b"), make_pack("other")])
    assert queue.worker_lost(HandfulProgress(queue.take()), "gone") == []
    assert queue.worker_lost(HandfulProgress(queue.take()), "gone") == []
    taken = [pack for _ in range(3) for pack in queue.take()]
    assert [names(pack) for pack in taken] == [["other"], ["a"], ["b"]]
    assert [pack.attempts for pack in taken] == [(1,), (3,), (3,)]


def test_a_trials_last_chance_is_elsewhere_if_there_is_an_elsewhere() -> None:
    queue = PackQueue([make_pack("a")])
    queue.worker_died(HandfulProgress(queue.take(at="here")), "killed", at=["here"])
    assert queue.take(at="here") == []
    (pack,) = queue.take(at="there")
    assert pack.attempts == (2,)
    (end,) = queue.worker_died(HandfulProgress([pack]), "killed", at=["there"])
    assert isinstance(end, TrialEnded)
    queue = PackQueue([make_pack("a")])
    queue.worker_died(HandfulProgress(queue.take()), "killed", at=["here"])
    assert [names(pack) for pack in queue.take(at=None)] == [["a"]]


def test_suspects_prefer_another_place() -> None:
    queue = PackQueue([make_pack("a", "b"), make_pack("c", "d")])
    queue.worker_died(HandfulProgress(queue.take()), "killed", at=["here"])
    queue.worker_died(HandfulProgress(queue.take()), "killed", at=["there"])
    taken = [pack for _ in range(4) for pack in queue.take(at="here")]
    assert [names(pack) for pack in taken] == [["c"], ["d"], ["a"], ["b"]]


def test_suspects_of_a_place_in_doubt_come_first_and_elsewhere() -> None:
    queue = PackQueue([make_pack("a"), make_pack("b"), make_pack("c")])
    queue.worker_died(HandfulProgress(queue.take()), "killed", at=["gpu 1", "here"])
    assert [names(pack) for pack in queue.take(at="gpu 1", in_doubt={"gpu 1"})] == [["b"]]
    assert [names(pack) for pack in queue.take(at="gpu 2", in_doubt={"gpu 1"})] == [["a"]]
    assert [names(pack) for pack in queue.take(at="gpu 2", in_doubt={"gpu 1"})] == [["c"]]


def test_death_after_the_last_end_costs_nothing() -> None:
    queue = PackQueue([])
    progress = HandfulProgress([make_pack("a")])
    progress.record([finished("a")])
    assert queue.worker_died(progress, "killed") == []
    assert not queue


@given(
    sizes=st.lists(st.integers(1, 16), min_size=1, max_size=6),
    killers=st.sets(st.integers(0, 95)),
    n_before=st.integers(0, 2),
    n_at_once=st.integers(1, 3),
)
def test_only_killers_fail_and_each_trial_ends_once(
    sizes: list[int], killers: set[int], n_before: int, n_at_once: int
) -> None:
    numbers = iter(range(sum(sizes)))
    packs = [make_pack(*(str(next(numbers)) for _ in range(size))) for size in sizes]
    ends = _simulate(packs, {str(number) for number in killers}, n_before, n_at_once)
    assert sorted(end.trial_id for end in ends) == sorted(str(n) for n in range(sum(sizes)))
    most_attempts = math.ceil(math.log2(max(sizes))) + 2 + (n_at_once > 1)
    for end in ends:
        is_killer = int(end.trial_id) in killers
        assert end.state is (State.FAILED if is_killer else State.FINISHED)
        assert end.attempt <= most_attempts


def _simulate(
    packs: Iterable[Pack], killers: set[str], n_before: int, n_at_once: int
) -> list[TrialEnded]:
    """Train packs whose members end one by one; a killer waits until ``n_before`` have ended."""
    queue = PackQueue(packs)
    events: list[Event] = []
    while queue:
        packs = queue.take(n_at_once)
        progress = HandfulProgress(packs)
        members = [pair for p in packs for pair in zip(p.trials, p.attempts, strict=True)]
        harmless = [
            finished(trial.trial_id, attempt)
            for trial, attempt in members
            if trial.trial_id not in killers
        ]
        is_deadly = len(harmless) < len(members)
        sent = harmless[:n_before] if is_deadly else harmless
        progress.record(sent)
        events += sent
        if is_deadly:
            events += queue.worker_died(progress, "killed")
    return [event for event in events if isinstance(event, TrialEnded)]


def test_endless_deaths_without_any_result_are_an_error_with_the_first_cause() -> None:
    health = SlotHealth(limit=3)
    health.died_training(0, "first\x1b[0m cause")
    health.died_training(0, "second cause")
    health.died_training(1, "elsewhere")
    with pytest.raises(LaunchError, match=r"3 workers in a row .* the first: first cause"):
        health.died_training(0, "third cause")


def test_deaths_of_one_slot_are_no_error_while_others_train() -> None:
    health = SlotHealth(limit=2)
    assert not health.has_died(0)
    for _ in range(5):
        health.died_training(0, "a bad device", others_train=True)
    assert health.has_died(0)
    with pytest.raises(LaunchError, match="6 workers in a row died"):
        health.died_training(0, "a bad device")


def test_deadly_packs_are_no_fault_of_the_worker_once_a_trial_has_ended() -> None:
    health = SlotHealth(limit=2)
    health.finished_trial(1)
    for _ in range(10):
        health.died_training(0, "a deadly pack")


def test_worker_that_cannot_start_is_given_up_even_then() -> None:
    health = SlotHealth(limit=3)
    health.finished_trial(0)
    assert health.died_starting(0, "no library")
    assert health.died_starting(0, "no library either")
    assert not health.died_starting(0, "still none")
    assert health.why_none_starts(0) == "no library"


def test_worker_that_starts_after_all_clears_its_slot() -> None:
    health = SlotHealth(limit=2)
    assert health.died_starting(0, "hiccup")
    health.started(0)
    assert health.died_starting(0, "another hiccup")
    assert health.why_none_starts(0) == "another hiccup"


def test_deaths_in_training_do_not_count_as_failed_starts() -> None:
    health = SlotHealth(limit=2)
    health.finished_trial(0)
    health.died_training(0, "a deadly pack")
    health.died_training(0, "a deadly pack")
    assert health.died_starting(0, "hiccup")
