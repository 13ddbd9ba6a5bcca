"""The conformance checks must catch executors that break their promises."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sweepdiag.execution import SerialExecutor
from sweepdiag.records import Event, Pack, State, TrialEnded
from sweepdiag.testing import executors as checks
from sweepdiag.testing.executors import ScriptedWorker, events_by_trial, scripted_packs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sweepdiag.execution import Executor, PackWorker


class Forgetful(SerialExecutor):
    """Loses the second batch of every run."""

    def run(self, packs: Sequence[Pack], worker: PackWorker) -> Iterator[list[Event]]:
        for number, batch in enumerate(super().run(packs, worker)):
            if number != 1:
                yield batch


class Repetitive(SerialExecutor):
    """Delivers every batch twice."""

    def run(self, packs: Sequence[Pack], worker: PackWorker) -> Iterator[list[Event]]:
        for batch in super().run(packs, worker):
            yield batch
            yield batch


class Backwards(SerialExecutor):
    """Delivers in the opposite order."""

    def run(self, packs: Sequence[Pack], worker: PackWorker) -> Iterator[list[Event]]:
        yield from reversed(list(super().run(packs, worker)))


class Collecting(SerialExecutor):
    """Delivers nothing until all is done."""

    def run(self, packs: Sequence[Pack], worker: PackWorker) -> Iterator[list[Event]]:
        yield from list(super().run(packs, worker))


class Fragile(SerialExecutor):
    """Lets exceptions through, and forgotten trials be."""

    def run(self, packs: Sequence[Pack], worker: PackWorker) -> Iterator[list[Event]]:
        return itertools.chain.from_iterable(worker(pack, device="cpu") for pack in packs)


class Blaming(SerialExecutor):
    """Ends every trial as failed as soon as one has."""

    def run(self, packs: Sequence[Pack], worker: PackWorker) -> Iterator[list[Event]]:
        has_failed = False
        for batch in super().run(packs, worker):
            ends = [event for event in batch if isinstance(event, TrialEnded)]
            has_failed = has_failed or any(end.state is State.FAILED for end in ends)
            yield (
                [
                    TrialEnded(
                        trial_id=end.trial_id, attempt=1, state=State.FAILED, reason=end.reason
                    )
                    for end in ends
                ]
                if ends and has_failed
                else batch
            )


@pytest.mark.parametrize(
    ("check", "executor"),
    [
        (checks.check_delivers_every_event, Forgetful()),
        (checks.check_delivers_every_event, Repetitive()),
        (checks.check_delivers_every_event, Backwards()),
        (checks.check_runs_again, Repetitive()),
        (checks.check_failing_pack_leaves_others_alone, Blaming()),
        (checks.check_missing_ends_are_reported, Fragile()),
        (checks.check_stops_when_abandoned, Forgetful()),
    ],
)
def test_broken_executor_is_caught(
    check: Callable[[Executor], None], executor: SerialExecutor
) -> None:
    with pytest.raises(AssertionError, match="an executor must hold"):
        check(executor)


def test_collecting_executor_does_not_stream(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(checks, "_GATE_TIMEOUT_S", 0.1)
    with pytest.raises(AssertionError, match="goes on after its first batch"):
        checks.check_streams_while_training(Collecting(), tmp_path / "gate")


def test_scripts_number_trials_across_packs() -> None:
    first, second = scripted_packs([["train", "raise"], ["kill"]], at_step=2)
    assert [trial.trial_id[-1] for trial in first.trials + second.trials] == ["0", "1", "2"]
    assert [trial.axes["act"] for trial in first.trials] == ["train", "raise"]
    assert second.trials[0].axes["at_step"] == 2
    assert first.attempts == (1, 1)


def test_scripted_worker_measures_then_ends() -> None:
    packs = scripted_packs([["train"]])
    events = events_by_trial(ScriptedWorker(n_points=2)(packs[0], device="cpu"))
    (kinds,) = ([type(event).__name__ for event in found] for found in events.values())
    assert kinds == ["TrialStarted", "PointMeasured", "PointMeasured", "TrialEnded"]


@pytest.mark.parametrize(("act", "code"), [("exit", 3), ("kill", -9)])
def test_scripted_worker_can_end_its_process(act: str, code: int) -> None:
    program = (
        "from sweepdiag.testing.executors import ScriptedWorker, scripted_packs\n"
        f"list(ScriptedWorker()(scripted_packs([[{act!r}]])[0], device='cpu'))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == code
