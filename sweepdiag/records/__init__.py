"""The frozen records that travel between the layers.

Plain dataclasses without behaviour of their own: everything here can be pickled, sent to a worker
and written as JSON. Tables (many rows of the same kind) travel as pandas DataFrames instead; their
columns are listed in ``sweepdiag.store``.
"""

from __future__ import annotations

from sweepdiag.records.diagnosis import Finding, FindingState, Severity, Tag, Verdict, VerdictClass
from sweepdiag.records.events import (
    RECORDED_FIELDS,
    CurvePoint,
    Event,
    PointMeasured,
    TrialEnded,
    TrialStarted,
)
from sweepdiag.records.facts import DataFacts, StepFacts, SweepFacts
from sweepdiag.records.plain import plain
from sweepdiag.records.plans import Axis, AxisValue, Pack, Plan, Scale, Trial
from sweepdiag.records.recommendation import AxisRange, Recommendation, Region, StopEpoch
from sweepdiag.records.settings import (
    Deadlines,
    OptimizerSettings,
    PackSettings,
    ScheduleSettings,
    SplitSettings,
    TrainingSettings,
)
from sweepdiag.records.states import DONE_STATES, JUDGED_STATES, State

__all__ = [
    "DONE_STATES",
    "JUDGED_STATES",
    "RECORDED_FIELDS",
    "Axis",
    "AxisRange",
    "AxisValue",
    "CurvePoint",
    "DataFacts",
    "Deadlines",
    "Event",
    "Finding",
    "FindingState",
    "OptimizerSettings",
    "Pack",
    "PackSettings",
    "Plan",
    "PointMeasured",
    "Recommendation",
    "Region",
    "Scale",
    "ScheduleSettings",
    "Severity",
    "SplitSettings",
    "State",
    "StepFacts",
    "StopEpoch",
    "SweepFacts",
    "Tag",
    "TrainingSettings",
    "Trial",
    "TrialEnded",
    "TrialStarted",
    "Verdict",
    "VerdictClass",
    "plain",
]
