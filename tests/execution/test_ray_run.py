"""Who is given what, with workers that are only played: no Ray is started."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepdiag.errors import LaunchError, WorkersLostError
from sweepdiag.execution import StopRequests, _ray_run
from sweepdiag.execution._ray_run import PackRun
from sweepdiag.execution._ray_staff import Slot
from sweepdiag.execution.places import Place
from sweepdiag.execution.recovery import HandfulProgress
from sweepdiag.records import Deadlines, Pack, State, Trial, TrialEnded

if TYPE_CHECKING:
    from collections.abc import Sequence

REFERENCE = object()


class PlayedSlot(Slot):
    """A seat that always gets the device of its number: the only one that is free."""

    def load(self, _worker_reference: Any) -> None:
        self.loading, self.active_at = object(), time.monotonic()

    def train(self, packs: Sequence[Pack]) -> None:
        self.progress, self.batches, self.n_points = HandfulProgress(packs), object(), 0

    def vacate(self) -> None:
        self.actor = self.loading = self.batches = self.progress = self.loaded = self.place = None


class PlayedStaff:
    """Knows neither nodes nor errors."""

    start_timeout_s = 180.0
    deadlines = Deadlines()
    resource = "GPU"

    def __init__(self, *, has_room: bool = True) -> None:
        self.gone_nodes: set[str] = set()
        self._has_room = has_room

    def start(self) -> object:
        return object()

    def cause_of_death(self, error: Exception) -> str:
        return str(error)

    def is_node_gone(self, _place: Place | None, _error: Exception) -> bool:
        return False

    def has_room(self) -> bool:
        return self._has_room


class Play:
    """Some devices, one worker on each."""

    def __init__(
        self, packs: Sequence[Pack], places: Sequence[Place], *, has_room: bool = True
    ) -> None:
        self.places = places
        self.slots = [PlayedSlot(index) for index in range(len(places))]
        staff: Any = PlayedStaff(has_room=has_room)
        self.run = PackRun(self.slots, packs, REFERENCE, staff, StopRequests())
        self.ends: list[TrialEnded] = []
        self.n_deaths: Counter[int] = Counter()
        self.n_trained: Counter[int] = Counter()

    def step(self, rng: random.Random, killers: set[str], bad: set[int]) -> None:
        """Hand out, and let one worker get ready, finish or die."""
        self.run._hand_out()
        waiting = [slot for slot in self.slots if slot.pending is not None]
        assert waiting, "nobody does anything, and not everything is done"
        slot = rng.choice(waiting)
        if slot.progress is None:
            slot.place, slot.loading, slot.loaded = self.places[slot.index], None, REFERENCE
        else:
            self._train(slot, slot.progress, killers, bad)
        self.run._check_workers()

    def _train(
        self, slot: Slot, progress: HandfulProgress, killers: set[str], bad: set[int]
    ) -> None:
        packs = [of_pack.pack for of_pack in progress.of_packs]
        members = [pair for p in packs for pair in zip(p.trials, p.attempts, strict=True)]
        if slot.index in bad or killers & {trial.trial_id for trial, _ in members}:
            self.n_deaths[slot.index] += 1
            self._keep(self.run._died(slot, RuntimeError("killed")))
            return
        self.n_trained[slot.index] += 1
        ends = [
            TrialEnded(trial_id=trial.trial_id, attempt=attempt, state=State.FINISHED)
            for trial, attempt in members
        ]
        self._keep(self.run._record(slot, progress, list(ends)))
        self._keep(self.run._end(slot, "over"))

    def _keep(self, events: Sequence[Any]) -> None:
        self.ends += [event for event in events if isinstance(event, TrialEnded)]

    @property
    def is_over(self) -> bool:
        return not self.run._queue and not any(slot.progress for slot in self.slots)


def make_packs(sizes: Sequence[int]) -> list[Pack]:
    numbers = iter(range(sum(sizes)))
    trials = [
        tuple(
            Trial(trial_id=f"t{next(numbers)}", config_id="c", axes={}, seed=0)
            for _ in range(size)
        )
        for size in sizes
    ]
    return [Pack(trials=members, attempts=(1,) * len(members)) for members in trials]


def make_places(n_nodes: int, n_gpus: int) -> list[Place]:
    return [
        Place(node=f"node{node}" + "0" * 40, host=f"10.0.0.{node}", gpu=str(gpu))
        for node in range(n_nodes)
        for gpu in range(n_gpus)
    ]


@settings(max_examples=200)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=20),
    killers=st.sets(st.integers(0, 119), max_size=3),
    n_nodes=st.integers(1, 3),
    n_gpus=st.integers(1, 3),
)
def test_only_killers_fail_and_each_trial_ends_once(
    seed: int, sizes: list[int], killers: set[int], n_nodes: int, n_gpus: int
) -> None:
    places = make_places(n_nodes, n_gpus)
    play = Play(make_packs(sizes), places)
    rng = random.Random(seed)
    while not play.is_over:
        try:
            play.step(rng, {f"t{number}" for number in killers}, set())
        except LaunchError as error:
            assert "before any trial ended" in str(error)  # noqa: PT017
            return
    assert sorted(end.trial_id for end in play.ends) == sorted(f"t{n}" for n in range(sum(sizes)))
    for end in play.ends:
        is_killer = int(end.trial_id[1:]) in killers
        assert end.state is (State.FAILED if is_killer else State.FINISHED)


@settings(max_examples=200)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(1, 6), min_size=8, max_size=40)
    | st.lists(st.just(1), min_size=8, max_size=40),
    n_gpus=st.integers(1, 3),
    bad=st.integers(0, 2),
)
def test_a_bad_device_costs_no_trial_and_a_few_deaths(
    seed: int, sizes: list[int], n_gpus: int, bad: int
) -> None:
    places = make_places(2, n_gpus)
    play = Play(make_packs(sizes), places)
    rng = random.Random(seed)
    while not play.is_over:
        play.step(rng, set(), {min(bad, n_gpus - 1)})
    assert {end.state for end in play.ends} == {State.FINISHED}
    assert len(play.ends) == sum(sizes)
    # A death counts against the device once others have trained all that died there. Parts of a
    # pack may die there again before that, each of up to three times that it is halved.
    assert play.n_deaths.total() <= (4 if max(sizes) == 1 else 4 * 3)


@settings(max_examples=100)
@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(1, 6), min_size=12, max_size=40))
def test_a_bad_node_costs_no_trial(seed: int, sizes: list[int]) -> None:
    play = Play(make_packs(sizes), make_places(2, 2))
    rng = random.Random(seed)
    while not play.is_over:
        play.step(rng, set(), {0, 1})
    assert {end.state for end in play.ends} == {State.FINISHED}
    # Three of each device, and one more that was under way when the third was found out; more
    # where packs are halved, as above.
    assert play.n_deaths.total() <= (8 if max(sizes) == 1 else 8 * 3)


def test_workers_that_are_all_aside_end_the_run() -> None:
    play = Play(make_packs([1] * 20), make_places(1, 2))
    rng = random.Random(0)
    while not all(slot.place for slot in play.slots):
        play.step(rng, set(), set())
    for place in play.places:
        play.run._places._devices.aside.add(place.device_name)
    play.run._hand_out()
    with pytest.raises(WorkersLostError, match="sit on devices that get no more work"):
        play.run._check_workers()


def test_nodes_that_have_all_gone_end_the_run_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play = Play(make_packs([1] * 4), make_places(1, 1), has_room=False)
    rng = random.Random(0)
    play.step(rng, set(), set())  # its worker is ready
    play.slots[0].vacate()
    play.run._check_workers()
    monkeypatch.setattr(_ray_run, "_NO_ROOM_S", -1.0)
    with pytest.raises(WorkersLostError, match="the nodes with a GPU have gone"):
        play.run._check_workers()
