"""Members under training, from first evaluation to last: what is told of them, who drops out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from sweepdiag.features import CurveArrays
from sweepdiag.records import CurvePoint, PointMeasured, State, TrialEnded, TrialStarted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sweepdiag.features.curves import FloatArray
    from sweepdiag.records import Event
    from sweepdiag.training.measures import Evaluation
    from sweepdiag.training.members import Member, Timetable
    from sweepdiag.training.programs import Program

    StopRule: TypeAlias = Callable[[CurveArrays, FloatArray], Sequence[str | None]]
    """From curves so far, and the epochs of all evaluations of a whole training, to why each
    should end now; ``None`` where it should not."""

    Evaluations: TypeAlias = Sequence[tuple[Evaluation, Evaluation]]

__all__ = ["PackRun"]

_LEAST_SAVED = 0.5
"""Share of a member's time that is saved at least without it; the rest of a step costs the same
for any number of members."""
_LEAST_NEWS = 0.1
"""The stop rule is asked again when there are so many more evaluations than last time, as a share:
by then the curves may look otherwise, and the answer costs as much as some hundred steps."""
_LEAST_MEMBERS = 2
"""A single member has a layout of its own, for which much more would have to be traced."""


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
    ) -> None:
        """Take a program that has not been advanced.

        Args:
            program: The members.
            timetable: Their steps and evaluations.
            device: Recorded with each trial.
            stop_rule: Says which members end early; ``None``: none does.
        """
        self._program = program
        self._timetable = timetable
        self._device = device
        self._stop_rule = stop_rule
        self._epochs = np.array(timetable.evaluations) / timetable.steps_per_epoch
        self._places = list(range(len(program.members)))
        self._losses: list[FloatArray] = []
        self._n_judged = 0
        self._seconds = 0.0

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
        running = [float("nan")] * len(self._places)
        for evaluation_step in self._timetable.evaluations:
            # Time spent training, not the time of whoever reads the events.
            started = time.perf_counter()
            if evaluation_step > step:
                running = self._program.advance(step, evaluation_step)
                step = evaluation_step
            evaluations = self._program.evaluate()
            interval_s = time.perf_counter() - started
            self._seconds += interval_s / len(self._places)
            yield self._points(step, evaluations, running)
            stopped = self._stop(evaluations)
            if stopped:
                yield stopped
                if not self._places:
                    return
                self._drop(interval_s)
        yield [self._ended(member, State.FINISHED) for member in self._live()]

    def _live(self) -> list[Member]:
        return [self._program.members[place] for place in self._places]

    def _ended(self, member: Member, state: State, reason: str = "") -> TrialEnded:
        return TrialEnded(
            trial_id=member.trial.trial_id,
            attempt=member.attempt,
            state=state,
            reason=reason,
            seconds=round(self._seconds, 6),
        )

    def _points(
        self, step: int, evaluations: Evaluations, running: Sequence[float]
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
                train_loss_running=float(f"{running[place]:.9g}"),
                train_metric=train.metric,
                val_metric=validation.metric,
                seconds=round(self._seconds, 6),
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
        if is_over or n_points < (1 + _LEAST_NEWS) * self._n_judged:
            return []
        self._n_judged = n_points
        reasons = self._stop_rule(self._curves(), self._epochs)
        by_place = dict(zip(self._places, reasons, strict=True))
        events: list[Event] = [
            self._ended(self._program.members[place], State.STOPPED, reason)
            for place, reason in by_place.items()
            if reason is not None
        ]
        self._places = [place for place, reason in by_place.items() if reason is None]
        return events

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

    def _drop(self, interval_s: float) -> None:
        """Take ended members out of the program, if that pays."""
        n_members = len(self._program.members)
        others = [place for place in range(n_members) if place not in self._places]
        kept = sorted([*self._places, *others[: max(0, _LEAST_MEMBERS - len(self._places))]])
        n_intervals = len(self._epochs) - len(self._losses)
        gain_s = _LEAST_SAVED * interval_s * n_intervals * (1 - len(kept) / n_members)
        if gain_s <= self._program.layout_s:
            return
        self._program.keep(kept)
        self._losses = [losses[kept] for losses in self._losses]
        self._places = [kept.index(place) for place in self._places]
