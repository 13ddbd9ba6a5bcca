"""Members under training, from first evaluation to last: what is told of them, who drops out."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from sweepdiag.features import CurveArrays
from sweepdiag.records import CurvePoint, PointMeasured, State, TrialEnded, TrialStarted
from sweepdiag.training.stopping import LEAST_NEWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sweepdiag.features.curves import FloatArray
    from sweepdiag.records import Event
    from sweepdiag.training.gradients import Recorded
    from sweepdiag.training.measures import Evaluation
    from sweepdiag.training.members import Member, Timetable
    from sweepdiag.training.programs import Program
    from sweepdiag.training.stopping import StopRule
    from sweepdiag.training.transfers import Reading

    Evaluations: TypeAlias = list[tuple[Evaluation, Evaluation]]
    _Unread: TypeAlias = tuple[
        int, Reading[Evaluations], Reading[list[float]] | None, list[Recorded]
    ]

__all__ = ["PackRun", "evaluations_behind"]

_LEAST_SAVED = 0.5
"""Share of a member's time that is saved at least without it; the rest of a step costs the same
for any number of members."""
_LEAST_MEMBERS = 2
"""A single member has a layout of its own, for which much more would have to be traced."""


def evaluations_behind(device: str) -> int:
    """Return how many evaluations wait to be read while the next steps are taken.

    A GPU gets its next steps before the numbers of the last ones are waited for.
    """
    return 0 if device == "cpu" else 1


class PackRun:
    """A program on its way through its timetable.

    Members that the stop rule ends are not told of any more, and leave the program as soon as that
    is expected to save more time than making the program anew for the others.
    """

    def __init__(
        self,
        program: Program,
        timetable: Timetable,
        *,
        device: str,
        stop_rule: StopRule | None = None,
        peak_mb: Callable[[], float] = lambda: math.nan,
    ) -> None:
        """Take a program that has not been advanced.

        Args:
            program: The members.
            timetable: Their steps and evaluations.
            device: Recorded with each trial.
            stop_rule: Says which members end early; ``None``: none does.
            peak_mb: Tells the most memory that has been taken so far, in MB.
        """
        self._program = program
        self._timetable = timetable
        self._device = device
        self._stop_rule = stop_rule
        self._peak_mb = peak_mb
        self._epochs = np.array(timetable.evaluations) / timetable.steps_per_epoch
        self._places = list(range(len(program.members)))
        self._losses: list[FloatArray] = []
        self._n_judged = 0
        self._seconds = 0.0
        self._spent_s = self._interval_s = 0.0
        self._n_behind = evaluations_behind(device)

    def events(self) -> Iterator[list[Event]]:
        """Train, and yield batches of events: one per evaluation, and those that end members."""
        yield [
            TrialStarted(
                trial_id=member.trial.trial_id,
                attempt=member.attempt,
                device=self._device,
                n_parameters=member.n_parameters,
            )
            for member in self._live()
        ]
        step = 0
        running: Reading[list[float]] | None = None
        unread: deque[_Unread] = deque()
        for evaluation_step in self._timetable.evaluations:
            began_s = self._spent_s
            with self._clock():
                if evaluation_step > step:
                    running = self._program.advance(step, evaluation_step)
                    step = evaluation_step
                evaluations = self._program.evaluate()
                unread.append((step, evaluations, running, self._program.recorded()))
            if len(unread) > self._n_behind:
                yield from self._told(*unread.popleft())
            # Waiting for numbers included: a GPU's steps are queued in less time than they take.
            self._interval_s = self._spent_s - began_s
            if self._pays_to_drop():
                while unread:
                    yield from self._told(*unread.popleft())
                self._drop()
            if not self._places:
                return
        while unread:
            yield from self._told(*unread.popleft())
        yield self._ends([(member, "") for member in self._live()], State.FINISHED)

    @contextlib.contextmanager
    def _clock(self) -> Iterator[None]:
        """Add time spent training to each member's share; not the time of whoever reads."""
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self._spent_s += seconds
        self._seconds += seconds / max(len(self._places), 1)

    def _told(
        self,
        step: int,
        evaluations: Reading[Evaluations],
        running: Reading[list[float]] | None,
        recorded: list[Recorded],
    ) -> Iterator[list[Event]]:
        """Yield the points of an evaluation, and the ends of those who stop at it."""
        with self._clock():
            read = evaluations.result()
            losses = running.result() if running else [float("nan")] * len(read)
        if self._places:
            yield self._points(step, read, losses, recorded)
            stopped = self._stop(read)
            if stopped:
                yield stopped

    def _live(self) -> list[Member]:
        return [self._program.members[place] for place in self._places]

    def _ends(self, members: Sequence[tuple[Member, str]], state: State) -> list[Event]:
        """Return the events that end members, each for its reason."""
        peak_memory_mb = round(self._peak_mb(), 3) if members else math.nan
        return [
            TrialEnded(
                trial_id=member.trial.trial_id,
                attempt=member.attempt,
                state=state,
                reason=reason,
                seconds=round(self._seconds, 6),
                peak_memory_mb=peak_memory_mb,
            )
            for member, reason in members
        ]

    def _points(
        self,
        step: int,
        evaluations: Evaluations,
        running: Sequence[float],
        recorded: Sequence[Recorded],
    ) -> list[Event]:
        events: list[Event] = []
        for place in self._places:
            member = self._program.members[place]
            train, validation = evaluations[place]
            point = CurvePoint(
                epoch=step / self._timetable.steps_per_epoch,
                step=step,
                train_loss=train.loss,
                val_loss=validation.loss,
                train_loss_running=_nine_digits(running[place]),
                train_metric=train.metric,
                val_metric=validation.metric,
                seconds=round(self._seconds, 6),
                grad_norm=_nine_digits(recorded[place].grad_norm),
                update_ratio=_nine_digits(recorded[place].update_ratio),
                dead_fraction=_nine_digits(recorded[place].dead_fraction),
            )
            events.append(
                PointMeasured(trial_id=member.trial.trial_id, attempt=member.attempt, point=point)
            )
        return events

    def _stop(self, evaluations: Evaluations) -> list[Event]:
        """End the members that the stop rule names; at the last evaluation all end anyway."""
        if self._stop_rule is None:
            return []
        self._losses.append(np.array([[t.loss, v.loss] for t, v in evaluations], dtype=np.float64))
        n_points = len(self._losses)
        is_over = n_points == len(self._epochs)
        if is_over or n_points < (1 + LEAST_NEWS) * self._n_judged:
            return []
        self._n_judged = n_points
        reasons = self._stop_rule(self._curves(), self._epochs)
        by_place = dict(zip(self._places, reasons, strict=True))
        stopped = [
            (self._program.members[place], reason)
            for place, reason in by_place.items()
            if reason is not None
        ]
        self._places = [place for place, reason in by_place.items() if reason is None]
        return self._ends(stopped, State.STOPPED)

    def _curves(self) -> CurveArrays:
        losses = np.stack(self._losses, axis=1)[self._places]
        n_curves, n_points, _ = losses.shape
        return CurveArrays(
            run_ids=tuple(member.trial.trial_id for member in self._live()),
            epochs=np.tile(self._epochs[:n_points], (n_curves, 1)),
            train_loss=losses[:, :, 0],
            val_loss=losses[:, :, 1],
            val_metric=np.full((n_curves, n_points), np.nan),
            lengths=np.full(n_curves, n_points, dtype=np.int64),
        )

    def _pays_to_drop(self) -> bool:
        """Return whether it saves time to take ended members out of the program."""
        n_members = len(self._program.members)
        n_dropped = n_members - max(len(self._places), _LEAST_MEMBERS)
        if not self._places or n_dropped <= 0:
            return False
        n_intervals = len(self._epochs) - len(self._losses)
        gain_s = _LEAST_SAVED * self._interval_s * n_intervals * n_dropped / n_members
        return gain_s > self._program.layout_s

    def _drop(self) -> None:
        """Take ended members out of the program."""
        if not self._places:
            return
        others = [p for p in range(len(self._program.members)) if p not in self._places]
        kept = sorted([*self._places, *others[: max(0, _LEAST_MEMBERS - len(self._places))]])
        self._program.keep(kept)
        self._losses = [losses[kept] for losses in self._losses]
        self._places = [kept.index(place) for place in self._places]


def _nine_digits(value: float) -> float:
    """Round to what tells any two float32 numbers apart, to keep the journal small."""
    return float(f"{value:.9g}")
