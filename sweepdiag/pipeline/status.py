"""How far the sweep of a run folder is, read from outside and without touching it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweepdiag.messages import describe_peak_memory, headline
from sweepdiag.pipeline.diagnosis import read_config
from sweepdiag.pipeline.progress import failed_states, step_weight
from sweepdiag.records import DONE_STATES, State
from sweepdiag.space import shard_trials
from sweepdiag.store import DriverState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sweepdiag.store import Driver, History, RunFolder, TrialHistory

__all__ = ["SweepStatus", "read_status"]

_MOST_ERRORS = 3
_LEAST_GAIN = 0.01
"""Share of the steps that a session must have done before it tells how long the rest takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepStatus:
    """Where a sweep stands.

    Attributes:
        path: The run folder.
        workload: What it trains.
        driver: The process that writes the folder, or wrote it last.
        n_trials: Trials planned, of a shard its own; 0 before the plan has been recorded.
        states: Number of trials per state. What was running when its driver ended is lost.
        n_done: Trials that ``resume`` would not train.
        fraction: Share of all training steps that is done, in [0, 1].
        seconds_silent: Time since the driver was last heard of; ``None`` if it never was.
        trials_per_s: Trials that ended per second in the last session; ``None`` if not known.
        remaining_s: Estimated time left; ``None`` while nothing trains or too little is known.
        errors: Trial, state and reason of the last trials that could not be carried out, the
            latest first; of a reason the line that names the error.
        n_damaged: Lines of the journal that cannot be read, but for a torn end.
        peak_memory: Most memory that a worker took, for people; empty if not known.
    """

    path: str
    workload: str
    driver: Driver
    n_trials: int
    states: Mapping[State, int]
    n_done: int
    fraction: float
    seconds_silent: float | None
    trials_per_s: float | None
    remaining_s: float | None
    errors: tuple[tuple[str, State, str], ...]
    n_damaged: int
    peak_memory: str

    @property
    def is_complete(self) -> bool:
        """Whether every planned trial is done."""
        return 0 < self.n_trials == self.n_done


def read_status(folder: RunFolder, *, now: dt.datetime | None = None) -> SweepStatus:
    """Return how far a sweep is; only reads, so that the folder may be read-only or in use.

    Args:
        folder: A run folder, on this machine or one that it shares with others.
        now: The time to measure from; by default the clock's.
    """
    config = read_config(folder)
    history, damages = folder.read_progress()
    now = now or dt.datetime.now(dt.UTC)
    driver = folder.find_driver(history, now=now)
    parts = config.execution.shard_parts
    if parts is not None and history.plan is not None:
        history.keep(trial.trial_id for trial in shard_trials(history.plan, *parts))
    if driver.state is DriverState.GONE:
        history.mark_lost()
    pace = _pace(history, driver, epochs=config.epochs, now=now)
    counts = history.count_states()
    return SweepStatus(
        path=str(folder.path),
        workload=config.workload,
        driver=driver,
        n_trials=len(history.trials),
        states=counts,
        n_done=sum(count for state, count in counts.items() if state in DONE_STATES),
        fraction=pace.fraction,
        seconds_silent=_seconds(driver.last_heard, now),
        trials_per_s=pace.trials_per_s,
        remaining_s=pace.remaining_s,
        errors=_last_errors(history),
        n_damaged=sum(not damage.is_torn_tail for damage in damages),
        peak_memory=describe_peak_memory(
            (trial.device, trial.peak_memory_mb) for trial in history.trials.values()
        ),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pace:
    fraction: float
    trials_per_s: float | None
    remaining_s: float | None


def _pace(history: History, driver: Driver, *, epochs: int, now: dt.datetime) -> _Pace:
    """Return how much is done, and how fast the last session is or was."""
    total = done = gained = 0.0
    n_ended = 0
    for trial in history.trials.values():
        weight = step_weight(trial.trial)
        share = weight * _share(trial, epochs)
        total, done = total + weight, done + share
        if trial.n_sessions == len(history.sessions):
            gained += share
            n_ended += trial.state in DONE_STATES
    fraction = min(done / total, 1.0) if total else 0.0
    elapsed_s = _seconds(_began(history), now if _is_alive(driver) else driver.last_heard)
    if not elapsed_s or not total:
        return _Pace(fraction=fraction, trials_per_s=None, remaining_s=None)
    is_known = driver.state is not DriverState.GONE and gained / total > _LEAST_GAIN
    return _Pace(
        fraction=fraction,
        trials_per_s=n_ended / elapsed_s,
        remaining_s=elapsed_s * (total - done) / gained if is_known else None,
    )


def _share(trial: TrialHistory, epochs: int) -> float:
    """Return the share of its steps that a training has done; what must begin again has none."""
    if trial.state in DONE_STATES:
        return 1.0
    if trial.state is not State.RUNNING or not trial.rows:
        return 0.0
    return min(float(trial.rows[-1][0]) / epochs, 1.0)


def _began(history: History) -> dt.datetime | None:
    """Return when the last session began; ``None`` if none is recorded, as after a merge."""
    try:
        return dt.datetime.fromisoformat(str(history.sessions[-1].started))
    except (IndexError, ValueError):
        return None


def _seconds(start: dt.datetime | None, end: dt.datetime | None) -> float | None:
    if start is None or end is None:
        return None
    # The clocks of two machines differ by a little.
    return max(0.0, (end - start).total_seconds())


def _is_alive(driver: Driver) -> bool:
    return driver.state is DriverState.ALIVE


def _last_errors(history: History) -> tuple[tuple[str, State, str], ...]:
    latest = list(dict.fromkeys(reversed(history.failures)))
    failed = (history.trials[trial_id] for trial_id in latest)
    return tuple(
        (trial.trial.trial_id, trial.state, headline(trial.reason))
        for trial in failed
        if trial.state in failed_states()
    )[:_MOST_ERRORS]
