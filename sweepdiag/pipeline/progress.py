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
from sweepdiag.store import POINT_FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sweepdiag.records import Event, Pack, Trial
    from sweepdiag.rules import Thresholds
    from sweepdiag.store import History, TrialHistory

__all__ = ["Progress", "ProgressMeter", "SweepObserver", "failed_states", "step_weight"]

# Before so much is done an estimate of the time left only jumps about.
_LEAST_GAIN = 0.01
_LEAST_ELAPSED_S = 1.0


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
    """Counts events into a ``Progress``, at the same cost for ten trials and for ten thousand."""

    def __init__(
        self,
        history: History,
        *,
        packs: Sequence[Pack],
        epochs: int,
        thresholds: Thresholds,
    ) -> None:
        """Begin to count.

        Args:
            history: The sweep's state, kept up to date by the caller before each ``update``.
            packs: What will be trained; all other trials are done.
            epochs: Budget of each training.
            thresholds: Limits of the rules that judge finished trials.
        """
        self._history = history
        self._epochs = epochs
        self._thresholds = thresholds
        self._started = time.monotonic()
        self._weights = {
            trial_id: step_weight(trial.trial) for trial_id, trial in history.trials.items()
        }
        self._total = sum(self._weights.values()) or 1.0
        self._shares = dict.fromkeys(self._weights, 0.0)
        self._done_weight = 0.0
        self._n_done = self._n_failed = 0
        self._classes: Counter[VerdictClass] = Counter()
        to_do = {trial.trial_id for pack in packs for trial in pack.trials}
        for trial_id, trial in history.trials.items():
            if trial_id not in to_do:
                self._end(trial_id, trial.state)
        self._weight_at_start, self._n_at_start = self._done_weight, self._n_done

    def update(self, events: Sequence[Event]) -> Progress:
        """Take note of events that the history knows already and return where the sweep stands."""
        for event in events:
            match event:
                case TrialStarted():
                    self._advance(event.trial_id, 0.0)
                case PointMeasured(point=point):
                    self._advance(event.trial_id, min(point.epoch / self._epochs, 1.0))
                case TrialEnded(state=state):
                    self._end(event.trial_id, state)
        ended = [event.trial_id for event in events if isinstance(event, TrialEnded)]
        self._judge([self._history.trials[trial_id] for trial_id in ended])
        return self.progress()

    def progress(self) -> Progress:
        """Return where the sweep stands."""
        elapsed = time.monotonic() - self._started
        gained = (self._done_weight - self._weight_at_start) / self._total
        fraction = min(self._done_weight / self._total, 1.0)
        is_known = gained > _LEAST_GAIN and elapsed > _LEAST_ELAPSED_S
        return Progress(
            n_trials=len(self._history.trials),
            n_done=self._n_done,
            n_failed=self._n_failed,
            classes=dict(self._classes),
            fraction=fraction,
            elapsed_s=elapsed,
            remaining_s=elapsed * (1.0 - fraction) / gained if is_known else None,
            trials_per_s=(self._n_done - self._n_at_start) / max(elapsed, 1e-9),
        )

    def _advance(self, trial_id: str, share: float) -> None:
        self._done_weight += self._weights[trial_id] * (share - self._shares[trial_id])
        self._shares[trial_id] = share

    def _end(self, trial_id: str, state: State) -> None:
        self._advance(trial_id, 1.0)
        self._n_done += 1
        self._n_failed += state not in JUDGED_STATES

    def _judge(self, ended: Sequence[TrialHistory]) -> None:
        from sweepdiag.features import CurveArrays
        from sweepdiag.rules import judge_curves

        judged = [trial for trial in ended if trial.state in JUDGED_STATES and trial.rows]
        if not judged:
            return
        points = np.concatenate([trial.rows.matrix() for trial in judged])
        columns = dict(zip(POINT_FIELDS, points.T, strict=True))
        names = np.array([trial.trial.trial_id for trial in judged], dtype=object)
        curves = CurveArrays.from_long(
            np.repeat(names, [len(trial.rows) for trial in judged]),
            *(columns[name] for name in ("epoch", "train_loss", "val_loss")),
        )
        verdicts = judge_curves(
            curves, facts=self._history.facts, thresholds=self._thresholds, n_resamples=0
        )
        self._classes.update(verdict.verdict for verdict in verdicts)


def step_weight(trial: Trial) -> float:
    """Return the part that a training has in a sweep: small batches take more steps per epoch."""
    return 1.0 / float(trial.axes.get("batch_size", 1) or 1)


def failed_states() -> tuple[State, ...]:
    """Return the states of trials that could not be carried out."""
    return tuple(sorted(DONE_STATES - JUDGED_STATES))
