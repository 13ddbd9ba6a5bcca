"""Conformance checks that every executor has to pass, and the worker that they run.

For authors of executors. Each check takes an open executor, trains nothing real, and raises
``AssertionError`` with what does not hold::

    def test_delivers_every_event():
        with MyExecutor() as executor:
            check_delivers_every_event(executor)
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweepdiag.records import (
    CurvePoint,
    Event,
    Pack,
    PointMeasured,
    State,
    Trial,
    TrialEnded,
    TrialStarted,
    plain,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sweepdiag.execution.base import Executor

__all__ = [
    "ScriptedWorker",
    "check_delivers_every_event",
    "check_dying_trial_is_isolated",
    "check_failing_pack_leaves_others_alone",
    "check_missing_ends_are_reported",
    "check_runs_again",
    "check_stops_when_abandoned",
    "check_streams_while_training",
    "events_by_trial",
    "scripted_packs",
]

_N_POINTS = 4
_GATE_TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class ScriptedWorker:
    """A pack worker that trains nothing and does to each trial what its axes say.

    All trials of a pack advance together, one point at a time, as in a fused training. At the
    point ``at_step`` a trial does what its axis ``act`` names: nothing (``train``), ``raise`` an
    exception, ``exit`` or ``kill`` its process, or end ``silent``, without an end event.

    Attributes:
        n_points: Points per trial.
        gate: A file that the worker waits for after its first point, if it is given.
        pause_s: Time between two points.
    """

    n_points: int = _N_POINTS
    gate: str | None = None
    pause_s: float = 0.0

    def __call__(self, pack: Pack, *, device: str) -> Iterator[list[Event]]:
        """Yield one batch per point, then the ends."""
        members = list(zip(pack.trials, pack.attempts, strict=True))
        yield [
            TrialStarted(trial_id=trial.trial_id, attempt=attempt, device=device)
            for trial, attempt in members
        ]
        for step in range(self.n_points):
            for trial, _ in members:
                _act(trial, step)
            yield [_measure(trial, attempt, step) for trial, attempt in members]
            self._wait()
        yield [
            TrialEnded(trial_id=trial.trial_id, attempt=attempt, state=State.FINISHED)
            for trial, attempt in members
            if trial.axes["act"] != "silent"
        ]

    def _wait(self) -> None:
        time.sleep(self.pause_s)
        deadline = time.monotonic() + _GATE_TIMEOUT_S
        while self.gate is not None and not Path(self.gate).exists():
            if time.monotonic() > deadline:
                message = f"nobody opened the gate within {_GATE_TIMEOUT_S:g} s"
                raise TimeoutError(message)
            time.sleep(0.01)


def scripted_packs(scripts: Sequence[Sequence[str]], *, at_step: int = 1) -> list[Pack]:
    """Return packs for :class:`ScriptedWorker`.

    Args:
        scripts: Per pack, what each of its trials does.
        at_step: The point at which it does it.
    """
    numbers = itertools.count()
    return [
        Pack(
            trials=tuple(_trial(next(numbers), act, at_step) for act in script),
            attempts=(1,) * len(script),
        )
        for script in scripts
    ]


def events_by_trial(batches: Iterable[list[Event]]) -> dict[str, list[Event]]:
    """Return the events of each trial in the order of their arrival."""
    found: dict[str, list[Event]] = {}
    for event in itertools.chain.from_iterable(batches):
        found.setdefault(event.trial_id, []).append(event)
    return found


def check_delivers_every_event(executor: Executor) -> None:
    """Check that each trial's events arrive once, in order, and that nothing else does.

    Args:
        executor: An open executor on the CPU.
    """
    packs = scripted_packs([["train"] * 3, ["train"], ["train"] * 2, ["train"]])
    worker = ScriptedWorker()
    expected = events_by_trial(
        itertools.chain.from_iterable(worker(pack, device="cpu") for pack in packs)
    )
    delivered = events_by_trial(executor.run(packs, worker))
    _require(set(delivered) == set(expected), "events of every trial, and of no other")
    for trial_id, events in expected.items():
        # As plain values, since the unknown columns are NaN and a NaN equals nothing.
        sent, received = plain(events), plain(delivered[trial_id])
        _require(sent == received, f"trial {trial_id} sent {sent}, delivered was {received}")


def check_runs_again(executor: Executor) -> None:
    """Check that an executor runs further packs, no packs, and another worker.

    Args:
        executor: An open executor.
    """
    packs = scripted_packs([["train"], ["train"]])
    for n_points in (2, 5):
        delivered = events_by_trial(executor.run(packs, ScriptedWorker(n_points=n_points)))
        n_events = {len(events) for events in delivered.values()}
        _require(n_events == {n_points + 2}, f"{n_points} points per trial, got {n_events}")
    _require(list(executor.run([], ScriptedWorker())) == [], "no packs, no events")


def check_failing_pack_leaves_others_alone(executor: Executor) -> None:
    """Check that an exception ends its pack's trials as failed, and no other's.

    Args:
        executor: An open executor.
    """
    packs = scripted_packs([["train", "raise"], ["train"], ["train"]])
    delivered = events_by_trial(executor.run(packs, ScriptedWorker()))
    for trial in packs[0].trials:
        end = _only_end(delivered, trial.trial_id)
        _require(end.state is State.FAILED, f"the failing pack's trials fail, not {end}")
        _require("the scripted failure" in end.reason, f"the reason is the message, not {end}")
        _require("\x1b" not in end.reason, "control characters are removed from reasons")
        n_points = _count_points(delivered[trial.trial_id])
        _require(n_points == 1, f"the point before the failure is kept, got {n_points}")
    for pack in packs[1:]:
        end = _only_end(delivered, pack.trials[0].trial_id)
        _require(end.state is State.FINISHED, f"other packs finish, not {end}")


def check_missing_ends_are_reported(executor: Executor) -> None:
    """Check that a trial which its worker forgot to end is ended as failed.

    Args:
        executor: An open executor.
    """
    packs = scripted_packs([["train", "silent"]])
    delivered = events_by_trial(executor.run(packs, ScriptedWorker()))
    good, forgotten = (_only_end(delivered, trial.trial_id) for trial in packs[0].trials)
    _require(good.state is State.FINISHED, f"the other trial of the pack finishes, not {good}")
    _require(forgotten.state is State.FAILED, f"a forgotten trial fails, not {forgotten}")


def check_streams_while_training(executor: Executor, gate: Path) -> None:
    """Check that a batch arrives before the worker has produced its last one.

    Args:
        executor: An open executor.
        gate: A path in an existing directory that the worker can see; made by this check.
    """
    packs = scripted_packs([["train"]])
    delivered: list[list[Event]] = []
    for batch in executor.run(packs, ScriptedWorker(gate=str(gate))):
        delivered.append(batch)
        if any(isinstance(event, PointMeasured) for event in batch):
            # The worker goes on only when its first point has been seen here.
            gate.touch()
    end = _only_end(events_by_trial(delivered), packs[0].trials[0].trial_id)
    _require(end.state is State.FINISHED, f"the training goes on after its first batch, not {end}")


def check_stops_when_abandoned(executor: Executor) -> None:
    """Check that a run whose generator is closed stops, and that the executor goes on.

    Args:
        executor: An open executor.
    """
    run = executor.run(scripted_packs([["train"], ["train"]]), ScriptedWorker(pause_s=0.05))
    next(run)
    close: Callable[[], None] = getattr(run, "close", lambda: None)
    close()
    check_delivers_every_event(executor)


def check_dying_trial_is_isolated(executor: Executor, act: str = "kill") -> None:
    """Check that a trial which kills its process costs itself only.

    For executors whose workers are processes of their own.

    Args:
        executor: An open executor.
        act: How the process ends: ``kill`` (SIGKILL) or ``exit`` (``os._exit``).
    """
    packs = scripted_packs([["train", "train", act, "train"], ["train", "train"]])
    delivered = events_by_trial(executor.run(packs, ScriptedWorker()))
    for trial in itertools.chain.from_iterable(pack.trials for pack in packs):
        end = _only_end(delivered, trial.trial_id)
        state = State.FAILED if trial.axes["act"] == act else State.FINISHED
        _require(end.state is state, f"{trial.axes['act']} comes to {state}, not {end}")
        _check_attempts(delivered[trial.trial_id])
    guilty = _only_end(delivered, packs[0].trials[2].trial_id)
    _require("worker process died" in guilty.reason, f"the reason says so, not {guilty}")


def _check_attempts(events: list[Event]) -> None:
    """Check that attempts follow one another, each with a curve of its own."""
    attempts = [event.attempt for event in events]
    _require(attempts == sorted(attempts), f"attempts come in order, not {attempts}")
    steps = Counter(
        (event.attempt, event.point.step) for event in events if isinstance(event, PointMeasured)
    )
    _require(max(steps.values()) == 1, f"each attempt measures a step once, not {steps}")


def _only_end(delivered: dict[str, list[Event]], trial_id: str) -> TrialEnded:
    """Return the event that ends a trial, which has to be its last and its only one."""
    events = delivered.get(trial_id, [])
    ends = [event for event in events if isinstance(event, TrialEnded)]
    _require(len(ends) == 1 and events[-1] is ends[0], f"one end, at the end, not {events}")
    return ends[0]


def _count_points(events: list[Event]) -> int:
    return sum(isinstance(event, PointMeasured) for event in events)


def _require(holds: bool, what: str) -> None:
    """Fail unless something holds; unlike ``assert`` also under ``python -O``.

    Raises:
        AssertionError: If it does not hold.
    """
    if not holds:
        message = f"an executor must hold: {what}"
        raise AssertionError(message)


def _trial(number: int, act: str, at_step: int) -> Trial:
    return Trial(
        trial_id=f"{number:016x}",
        config_id=f"{number:016x}",
        axes={"act": act, "at_step": at_step},
        seed=number,
    )


def _measure(trial: Trial, attempt: int, step: int) -> Event:
    point = CurvePoint(
        epoch=float(step), step=step, train_loss=1.0 / (1 + step), val_loss=trial.seed + 0.5
    )
    return PointMeasured(trial_id=trial.trial_id, attempt=attempt, point=point)


def _act(trial: Trial, step: int) -> None:
    """Do what the trial's axes say.

    Raises:
        ValueError: If the trial is to fail.
    """
    if step != trial.axes["at_step"]:
        return
    if trial.axes["act"] == "raise":
        message = "the scripted failure \x1b[31mof a trial\x1b[0m"
        raise ValueError(message)
    if trial.axes["act"] == "exit":
        os._exit(3)
    if trial.axes["act"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
