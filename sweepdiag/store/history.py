"""What a journal says: the plan, and what became of each trial.

Records and events are translated in both directions here, and nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import StoreError
from sweepdiag.records import (
    DONE_STATES,
    JUDGED_STATES,
    Axis,
    DataFacts,
    Event,
    Plan,
    PointMeasured,
    Scale,
    State,
    StepFacts,
    SweepFacts,
    Trial,
    TrialEnded,
    TrialStarted,
    plain,
)
from sweepdiag.store.driver import Session, session_of
from sweepdiag.store.points import POINT_FIELDS, PointRows, number, row_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from sweepdiag.records import CurvePoint

__all__ = ["History", "TrialHistory", "event_records", "header_record", "plan_record"]

FORMAT_VERSION = 1


def header_record(
    *,
    run_id: str,
    created: str,
    version: str,
    facts: SweepFacts,
    sources: Mapping[str, str],
    directory: str = "",
) -> dict[str, Any]:
    """Return the first record of a journal.

    Args:
        run_id: Identifier of this run.
        created: When it was created, ISO 8601.
        version: Version of sweepdiag.
        facts: What is known of the task.
        sources: SHA-256 of each source file of the user's workload, by path.
        directory: The folder that relative paths of the workload start from.

    Returns:
        The record.
    """
    return {
        "kind": "header",
        "format": FORMAT_VERSION,
        "run_id": run_id,
        "created": created,
        "sweepdiag": version,
        "facts": plain(facts),
        "sources": dict(sources),
        "directory": directory,
    }


def plan_record(plan: Plan) -> dict[str, Any]:
    """Return a whole plan as one record: it is recorded completely or not at all."""
    names = [axis.name for axis in plan.axes]
    return {
        "kind": "plan",
        "axes": plain(plan.axes),
        "trials": [
            [trial.trial_id, trial.config_id, trial.seed, *(trial.axes[n] for n in names)]
            for trial in plan.trials
        ],
    }


def event_records(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Return the records of a batch of events; consecutive points of an attempt share one."""
    records: list[dict[str, Any]] = []
    for event in events:
        base = {"trial": event.trial_id, "attempt": event.attempt}
        match event:
            case PointMeasured(point=point):
                row = row_of(point)
                last = records[-1] if records else {}
                if last.get("kind") == "points" and base.items() <= last.items():
                    last["points"].append(row)
                else:
                    records.append({"kind": "points", **base, "points": [row]})
            case TrialStarted(device=device, n_parameters=n_parameters):
                records.append(
                    {"kind": "started", **base, "device": device, "n_parameters": n_parameters}
                )
            case TrialEnded(state=state, reason=reason):
                records.append(
                    {
                        "kind": "ended",
                        **base,
                        "state": state.value,
                        "reason": reason,
                        "seconds": number(event.seconds),
                        "peak_memory_mb": number(event.peak_memory_mb),
                    }
                )
    return records


@dataclass(slots=True)
class TrialHistory:
    """What became of one trial: its latest attempt only.

    ``n_sessions`` tells in which session that was: the number of those begun before it.
    """

    trial: Trial
    attempt: int = 0
    state: State = State.PENDING
    reason: str = ""
    device: str = ""
    n_parameters: int | None = None
    seconds: float = math.nan
    peak_memory_mb: float = math.nan
    n_sessions: int = 0
    rows: PointRows = field(default_factory=PointRows)

    def start(self, attempt: int, *, device: str, n_parameters: int | None) -> None:
        """Begin a new attempt and forget the one before."""
        self.attempt, self.state, self.reason = attempt, State.RUNNING, ""
        self.rows = PointRows()
        self.device, self.n_parameters = device, n_parameters
        self.seconds = self.peak_memory_mb = math.nan

    @property
    def points(self) -> tuple[CurvePoint, ...]:
        """The points of the latest attempt in order."""
        return self.rows.points()


class History:
    """The state of a sweep, built from the records of its journal or fed with events as they come.

    Attributes:
        header: The first record.
        facts: What is known of the task.
        plan: The plan, ``None`` until it has been recorded.
        trials: What became of each planned trial, by ``trial_id``, in the plan's order.
        sessions: The stretches of training, in their order; none in journals of earlier versions.
        failures: Trials that ended without a curve to judge, in their order, once per attempt.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        """Build the state that these records tell, in their order."""
        self.header: dict[str, Any] = {}
        self.facts = SweepFacts(workload="unknown")
        self.plan: Plan | None = None
        self.trials: dict[str, TrialHistory] = {}
        self.sessions: list[Session] = []
        self.failures: list[str] = []
        self._unplanned: list[Mapping[str, Any]] = []
        for record in records:
            self._apply(record)

    def add_plan(self, plan: Plan) -> None:
        """Add a plan: its trials are pending, but for those that records told of before.

        The line that held the plan may have been damaged, and it be recorded again at the end.
        """
        self.plan = plan
        for trial in plan.trials:
            self.trials.setdefault(trial.trial_id, TrialHistory(trial))
        told, self._unplanned = self._unplanned, []
        for record in told:
            self._apply(record)

    def keep(self, trial_ids: Iterable[str]) -> None:
        """Forget all other trials: they are somebody else's to train."""
        kept = set(trial_ids)
        self.trials = {name: trial for name, trial in self.trials.items() if name in kept}

    def add_events(self, events: Iterable[Event]) -> list[dict[str, Any]]:
        """Take note of what workers report, and return the records that tell it.

        The end of a trial tells how many points it had, so that a damaged line is missed, and
        again what its start told.
        """
        records = event_records(events)
        for record in records:
            self._apply(record)
            if record["kind"] == "ended" and record["trial"] in self.trials:
                history = self.trials[record["trial"]]
                record["n_points"] = len(history.rows)
                record["device"], record["n_parameters"] = history.device, history.n_parameters
        return records

    def todo(self, *, retry: Iterable[State] = ()) -> list[Trial]:
        """Return the trials that are not done, and those done in one of the states to retry."""
        done = DONE_STATES - set(retry)
        return [history.trial for history in self.trials.values() if history.state not in done]

    def count_states(self) -> dict[State, int]:
        """Return the number of trials per state, only of states that occur."""
        counts: dict[State, int] = {}
        for history in self.trials.values():
            counts[history.state] = counts.get(history.state, 0) + 1
        return counts

    def mark_lost(self) -> None:
        """Call every trial that was still running lost: its worker is gone."""
        for history in self.trials.values():
            if history.state is State.RUNNING:
                history.state = State.LOST
                history.reason = "the run ended before this training did"

    def trials_table(self) -> pd.DataFrame:
        """Return the table ``trials.parquet``."""
        rows = [
            {
                **_trial_row(history.trial),
                "n_parameters": history.n_parameters,
                "state": history.state.value,
                "reason": history.reason,
                "attempt": history.attempt,
                "device": history.device,
                "seconds": history.seconds,
                "peak_memory_mb": history.peak_memory_mb,
            }
            for history in self.trials.values()
        ]
        table = self._table(rows)
        return table.astype({"n_parameters": "Int64"}) if rows else table

    def curves_table(self) -> pd.DataFrame:
        """Return the table ``curves.parquet``."""
        import numpy as np
        import pandas as pd

        with_points = [h for h in self.trials.values() if h.rows]
        lengths = [len(history.rows) for history in with_points]
        none = np.empty((0, len(POINT_FIELDS)))
        points = np.concatenate([none, *(history.rows.matrix() for history in with_points)])
        table = pd.DataFrame(
            {
                "trial_id": np.repeat([h.trial.trial_id for h in with_points], lengths).astype(
                    object
                ),
                "attempt": np.repeat(
                    np.array([h.attempt for h in with_points], dtype=int), lengths
                ),
            }
        )
        for name, column in zip(POINT_FIELDS, points.T, strict=True):
            table[name] = column.astype(np.int64 if name == "step" else np.float64)
        return table

    def _table(self, rows: list[dict[str, Any]]) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(rows)

    def _apply(self, record: Mapping[str, Any]) -> None:
        match record["kind"]:
            case "header":
                self._apply_header(record)
            case "plan":
                self.add_plan(_plan_of(record))
            case "session":
                # One process writes at a time: what an earlier one trained has ended with it.
                self.mark_lost()
                self.sessions.append(session_of(record))
            case "started" | "points" | "ended" if record["trial"] not in self.trials:
                self._unplanned.append(record)
            case "started":
                self._apply_start(self.trials[record["trial"]], record)
            case "points" if self._is_current(record):
                self.trials[record["trial"]].rows.add(record["points"])
            case "ended" if self._is_current(record):
                self._apply_end(self.trials[record["trial"]], record)

    def _apply_start(self, history: TrialHistory, record: Mapping[str, Any]) -> None:
        if record["attempt"] > history.attempt:
            history.start(
                record["attempt"], device=record["device"], n_parameters=record["n_parameters"]
            )
            history.n_sessions = len(self.sessions)

    def _apply_end(self, history: TrialHistory, record: Mapping[str, Any]) -> None:
        history.state = State(record["state"])
        if history.state not in JUDGED_STATES:
            self.failures.append(history.trial.trial_id)
        history.reason = record["reason"]
        history.seconds = float(record["seconds"])
        # Journals of earlier versions do not tell.
        history.peak_memory_mb = float(record.get("peak_memory_mb", math.nan))
        history.device = history.device or record.get("device", "")
        if history.n_parameters is None:
            history.n_parameters = record.get("n_parameters")
        n_points = record.get("n_points", max(len(history.rows), 1))
        n_missing = n_points - len(history.rows)
        if history.state in JUDGED_STATES and n_missing > 0:
            history.state = State.LOST
            history.reason = (
                f"{n_missing} of its {n_points} points cannot be read from the journal"
            )

    def _apply_header(self, record: Mapping[str, Any]) -> None:
        if record.get("format") != FORMAT_VERSION:
            message = (
                f"the journal has format {record.get('format')}, this version reads "
                f"{FORMAT_VERSION}: use the version of sweepdiag that wrote it "
                f"({record.get('sweepdiag')})"
            )
            raise StoreError(message)
        self.header = dict(record)
        self.facts = _facts_of(record["facts"])

    def _is_current(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record is of the trial's latest attempt.

        A record of a later attempt begins it: it may have ended before it could
        start, or the line that said so may be damaged.
        """
        history = self.trials[record["trial"]]
        if history.attempt < record["attempt"]:
            history.start(record["attempt"], device="", n_parameters=None)
            history.n_sessions = len(self.sessions)
        return bool(history.attempt == record["attempt"])


def _facts_of(record: Mapping[str, Any]) -> SweepFacts:
    data, step = record.get("data"), record.get("step")
    return SweepFacts(
        **{
            **record,
            "data": None if data is None else DataFacts(**data),
            "step": None if step is None else _step_of(step),
        }
    )


def _step_of(record: Mapping[str, Any]) -> StepFacts:
    """Return the facts of a first step, with lists as they were."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
    }
    return StepFacts(**fields)


def _plan_of(record: Mapping[str, Any]) -> Plan:
    axes = tuple(
        Axis(**{**axis, "values": tuple(axis["values"]), "scale": Scale(axis["scale"])})
        for axis in record["axes"]
    )
    names = [axis.name for axis in axes]
    trials = tuple(
        Trial(
            trial_id=trial_id,
            config_id=config_id,
            seed=seed,
            axes=dict(zip(names, values, strict=True)),
        )
        for trial_id, config_id, seed, *values in record["trials"]
    )
    return Plan(axes=axes, trials=trials)


def _trial_row(trial: Trial) -> dict[str, Any]:
    return {
        "trial_id": trial.trial_id,
        "config_id": trial.config_id,
        **trial.axes,
        "seed": trial.seed,
    }
