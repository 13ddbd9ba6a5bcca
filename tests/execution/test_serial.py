from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from sweepdiag.errors import LaunchError
from sweepdiag.execution import Executor, SerialExecutor
from sweepdiag.records import Event, Pack, TrialEnded, TrialStarted
from sweepdiag.testing import executors as checks
from sweepdiag.testing.executors import ScriptedWorker, scripted_packs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.mark.parametrize(
    "check",
    [
        checks.check_delivers_every_event,
        checks.check_runs_again,
        checks.check_failing_pack_leaves_others_alone,
        checks.check_missing_ends_are_reported,
        checks.check_stops_when_abandoned,
    ],
)
@pytest.mark.parametrize("n_at_once", [1, 3])
def test_conforms(check: Callable[[Executor], None], n_at_once: int) -> None:
    with SerialExecutor(n_at_once=n_at_once) as executor:
        check(executor)


def test_streams_while_training(tmp_path: Path) -> None:
    with SerialExecutor() as executor:
        checks.check_streams_while_training(executor, tmp_path / "gate")


def test_is_an_executor_with_one_worker() -> None:
    executor = SerialExecutor()
    assert isinstance(executor, Executor)
    assert executor.n_workers == 1


def test_device_reaches_the_worker() -> None:
    packs = scripted_packs([["train"]])
    with SerialExecutor("cuda:0") as executor:
        (started,) = next(executor.run(packs, ScriptedWorker()))
    assert isinstance(started, TrialStarted)
    assert started.device == "cuda:0"


def test_packs_begin_in_the_given_order() -> None:
    packs = scripted_packs([["train"], ["train", "train"], ["train"]])
    with SerialExecutor() as executor:
        delivered = checks.events_by_trial(executor.run(packs, ScriptedWorker()))
    assert list(delivered) == [trial.trial_id for pack in packs for trial in pack.trials]


def test_packs_take_turns_and_the_next_begins_when_one_is_over() -> None:
    packs = scripted_packs([["train"], ["train"], ["train"]])
    names = {pack.trials[0].trial_id: name for pack, name in zip(packs, "abc", strict=True)}

    def worker(pack: Pack, *, device: str) -> Iterator[list[Event]]:
        short = names[pack.trials[0].trial_id] == "a"
        yield from ScriptedWorker(n_points=1 if short else 2)(pack, device=device)

    with SerialExecutor(n_at_once=2) as executor:
        order = [names[batch[0].trial_id] for batch in executor.run(packs, worker)]
    assert "".join(order) == "abababcbccc"


def test_every_pack_under_way_is_closed_when_the_run_is_abandoned() -> None:
    closed: list[str] = []

    def worker(pack: Pack, *, device: str) -> Iterator[list[Event]]:
        try:
            while True:
                yield [TrialStarted(trial_id=pack.trials[0].trial_id, attempt=1, device=device)]
        finally:
            closed.append(pack.trials[0].trial_id)

    packs = scripted_packs([["train"], ["train"], ["train"]])
    run = SerialExecutor(n_at_once=2).run(packs, worker)
    for _ in range(3):
        next(run)
    run.close()  # type: ignore[attr-defined]  # a generator in truth
    assert sorted(closed) == [pack.trials[0].trial_id for pack in packs[:2]]


def test_abandoned_worker_is_closed_at_once() -> None:
    closed: list[bool] = []

    def worker(pack: Pack, *, device: str) -> Iterator[list[Event]]:
        try:
            yield [TrialStarted(trial_id=pack.trials[0].trial_id, attempt=1, device=device)]
        finally:
            closed.append(True)

    run = SerialExecutor().run(scripted_packs([["train"]]), worker)
    next(run)
    run.close()  # type: ignore[attr-defined]  # a generator in truth
    assert closed == [True]


def test_interrupt_is_not_a_failed_trial() -> None:
    def worker(pack: Pack, *, device: str) -> Iterator[list[Event]]:
        raise KeyboardInterrupt
        yield []

    with SerialExecutor() as executor, pytest.raises(KeyboardInterrupt):
        list(executor.run(scripted_packs([["train"]]), worker))


def test_worker_that_raises_before_its_first_batch_fails_its_pack() -> None:
    def worker(pack: Pack, *, device: str) -> Iterator[list[Event]]:
        message = "no data"
        raise OSError(message)

    with SerialExecutor() as executor:
        ((end,),) = executor.run(scripted_packs([["train"]]), worker)
    assert isinstance(end, TrialEnded)
    assert end.reason.startswith("OSError: no data (test_serial.py:")


def test_training_that_exits_does_not_end_the_sweep() -> None:
    def worker(pack: Pack, *, device: str) -> Iterator[list[Event]]:
        yield []
        sys.exit("no such column")

    with SerialExecutor() as executor:
        ((end,),) = executor.run(scripted_packs([["train"]]), worker)
    assert isinstance(end, TrialEnded)
    assert end.reason.startswith("SystemExit: no such column")


def test_closed_executor_runs_nothing() -> None:
    executor = SerialExecutor()
    executor.close()
    executor.close()
    with pytest.raises(LaunchError, match="is closed"):
        list(executor.run(scripted_packs([["train"]]), ScriptedWorker()))
