"""How far a sweep is, for whoever shows it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sweepdiag.records import (
    DONE_STATES,
    JUDGED_STATES,
    PointMeasured,
    State,
    TrialEnded,
    TrialStarted,
    VerdictClass,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sweepdiag.records import Event
    from sweepdiag.rules import Thresholds
    from sweepdiag.store import History, TrialHistory

__all__ = ["Progress", "ProgressMeter", "SweepObserver"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where a sweep stands.

    Attributes:
        n_trials: Trials planned.
        n_done: Trials done, those of earlier sessions included.
        n_failed: Of these, trials that could not be carried out.
        classes: Finished trials of this session per class, each judged alone.
        fraction: Share of all training steps that is done, in [0, 1].
        elapsed_s: Time since training began.
        remaining_s: Estimated time left; ``None`` while too little is known.
        trials_per_s: Trials done per second in this session.
    """

    n_trials: int
    n_done: int
    n_failed: int
    classes: Mapping[VerdictClass, int]
    fraction: float
    elapsed_s: float
    remaining_s: float | None
    trials_per_s: float


class SweepObserver(Protocol):
    """What is told how a sweep goes. Called from the thread that runs it."""

    def started(self, path: Path, lines: Sequence[str], progress: Progress) -> None:
        """Training is about to begin: where the sweep is kept, and what there is to know."""

    def progressed(self, progress: Progress) -> None:
        """Something has happened; called once per batch of events."""

    def stage(self, name: str) -> None:
        """Training has ended and the named step of the diagnosis begins."""


class ProgressMeter:
    """Counts events into a ``Progress``."""

    def __init__(self, history: History, *, epochs: int, thresholds: Thresholds) -> None:
        """Begin to count.

        Args:
            history: The sweep's state, kept up to date by the caller before each ``update``.
            epochs: Budget of each training.
            thresholds: Limits of the rules that judge finished trials.
        """
        self._history = history
        self._epochs = epochs
        self._thresholds = thresholds
        self._started = time.monotonic()
        self._weights = {
            trial_id: 1.0 / float(trial.trial.axes.get("batch_size", 1) or 1)
            for trial_id, trial in history.trials.items()
        }
        self._total = sum(self._weights.values()) or 1.0
        self._shares = {
            trial_id: 1.0
            for trial_id, trial in history.trials.items()
            if trial.state in DONE_STATES
        }
        self._at_start = self._fraction()
        self._done_at_start = len(self._shares)
        self._classes: Counter[VerdictClass] = Counter()

    def update(self, events: Sequence[Event]) -> Progress:
        """Take note of events that the history knows already and return where the sweep stands."""
        for event in events:
            match event:
                case TrialStarted():
                    self._shares[event.trial_id] = 0.0
                case PointMeasured(point=point):
                    self._shares[event.trial_id] = min(point.epoch / self._epochs, 1.0)
                case TrialEnded():
                    self._shares[event.trial_id] = 1.0
        ended = [event.trial_id for event in events if isinstance(event, TrialEnded)]
        self._judge([self._history.trials[trial_id] for trial_id in ended])
        return self.progress()

    def progress(self) -> Progress:
        """Return where the sweep stands."""
        elapsed = time.monotonic() - self._started
        fraction = self._fraction()
        states = self._history.count_states()
        n_done = sum(states.get(state, 0) for state in DONE_STATES)
        gained = fraction - self._at_start
        is_known = gained > 0.01 and elapsed > 1.0  # before that an estimate only jumps about
        return Progress(
            n_trials=len(self._history.trials),
            n_done=n_done,
            n_failed=n_done - sum(states.get(state, 0) for state in JUDGED_STATES),
            classes=dict(self._classes),
            fraction=fraction,
            elapsed_s=elapsed,
            remaining_s=elapsed * (1.0 - fraction) / gained if is_known else None,
            trials_per_s=(n_done - self._done_at_start) / max(elapsed, 1e-9),
        )

    def _fraction(self) -> float:
        done = sum(self._weights[trial_id] * share for trial_id, share in self._shares.items())
        return done / self._total

    def _judge(self, ended: Sequence[TrialHistory]) -> None:
        from sweepdiag.features import CurveArrays
        from sweepdiag.rules import judge_curves

        judged = [trial for trial in ended if trial.state in JUDGED_STATES and trial.rows]
        if not judged:
            return
        points = [(trial.trial.trial_id, point) for trial in judged for point in trial.points]
        curves = CurveArrays.from_long(
            np.array([trial_id for trial_id, _ in points]),
            np.array([point.epoch for _, point in points]),
            np.array([point.train_loss for _, point in points]),
            np.array([point.val_loss for _, point in points]),
        )
        verdicts = judge_curves(
            curves, facts=self._history.facts, thresholds=self._thresholds, n_resamples=0
        )
        self._classes.update(verdict.verdict for verdict in verdicts)


def failed_states() -> tuple[State, ...]:
    """Return the states of trials that could not be carried out."""
    return tuple(sorted(DONE_STATES - JUDGED_STATES))
