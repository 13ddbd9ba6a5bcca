"""From tables of trials and curves to verdicts: what every way of getting curves shares."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.records import JUDGED_STATES, FindingState, Scale, Severity, Tag, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pandas as pd

    from sweepdiag.features import CurveArrays, FeatureMatrix
    from sweepdiag.plotting import ReportData
    from sweepdiag.recommend import Budget, Cause
    from sweepdiag.records import Axis, Finding, SweepFacts, Verdict
    from sweepdiag.rules import Thresholds
    from sweepdiag.rules.context import ContextKind

__all__ = ["Judged", "Recorded", "budget_of", "cause_of", "check_findings", "judge", "tag_edge"]


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Trials and their curves, with what is known of them.

    Attributes:
        axes: The axes; none for runs that have nothing to do with each other.
        facts: What is known of the task.
        trials: Columns of ``trials.parquet``.
        curves: Columns of ``curves.parquet``.
        monitor: ``val_loss`` or ``val_metric``.
        thresholds: The limits of the rules.
        context: ``sweep`` if curves are judged with their siblings known, else ``alone``.
    """

    axes: tuple[Axis, ...]
    facts: SweepFacts
    trials: pd.DataFrame
    curves: pd.DataFrame
    monitor: str
    thresholds: Thresholds
    context: ContextKind = "sweep"

    def shared(self, judged: Judged) -> dict[str, Any]:
        """Return what findings, recommendation and report are all made of."""
        return {
            "axes": self.axes,
            "facts": self.facts,
            "trials": self.trials,
            "curves": self.curves,
            "verdicts": judged.verdicts,
            "configurations": judged.configurations,
            "monitor": self.monitor,
            "metric_mode": self.facts.metric_mode,
        }


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Verdicts on trials and configurations, with the features that they rest on."""

    verdicts: pd.DataFrame
    configurations: pd.DataFrame
    features: pd.DataFrame


def judge(recorded: Recorded) -> Judged:
    """Return the verdicts of all complete curves, and of their configurations.

    Args:
        recorded: The trials.

    Returns:
        Tables with the columns of ``verdicts.parquet`` and its neighbours.
    """
    from sweepdiag.rules import judge_configurations

    verdicts, features = _verdicts(recorded)
    configurations = judge_configurations(
        trials=recorded.trials,
        curves=recorded.curves,
        verdicts=verdicts,
        axis_names=[axis.name for axis in recorded.axes],
        monitor=recorded.monitor,
        metric_mode=recorded.facts.metric_mode,
    )
    return Judged(verdicts=verdicts, configurations=configurations, features=features)


def check_findings(
    recorded: Recorded, judged: Judged, *, ignore: tuple[str, ...]
) -> tuple[Finding, ...]:
    """Return what every check says about the sweep.

    Args:
        recorded: The trials.
        judged: Their verdicts.
        ignore: Codes or names of checks to leave out.
    """
    from sweepdiag.rules import SweepView, check_sweep

    view = SweepView(**recorded.shared(judged))
    return check_sweep(view, thresholds=recorded.thresholds, ignore=ignore)


def budget_of(findings: Iterable[Finding]) -> Budget | None:
    """Return what the findings say about the epochs of the next sweep; ``None`` if nothing."""
    from sweepdiag.recommend import Budget

    for finding in findings:
        if finding.state is FindingState.FINDING and "train_epochs" in finding.numbers:
            return Budget(epochs=int(finding.numbers["train_epochs"]), title=finding.title)
    return None


def cause_of(findings: Iterable[Finding]) -> Cause | None:
    """Return what the findings say is wrong that no settings can mend; ``None`` if nothing."""
    from sweepdiag.recommend import Cause
    from sweepdiag.rules import cause_outside_settings

    finding = cause_outside_settings(findings)
    if finding is None:
        return None
    return Cause(
        code=finding.code,
        title=finding.title,
        action=finding.action,
        is_error=finding.severity is Severity.ERROR,
    )


def _verdicts(recorded: Recorded) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the verdicts of all complete curves, and their features."""
    from sweepdiag.features import compute_features
    from sweepdiag.rules import judge_curves

    trials, curves = recorded.trials, recorded.curves
    judged = trials[trials["state"].isin([state.value for state in JUDGED_STATES])]
    arrays = _curve_arrays(curves, is_judged=curves["trial_id"].isin(judged["trial_id"]))
    config_of = dict(zip(judged["trial_id"], judged["config_id"], strict=True))
    verdicts = judge_curves(
        arrays,
        facts=recorded.facts,
        config_ids=[config_of[trial_id] for trial_id in arrays.run_ids],
        context=recorded.context,
        thresholds=recorded.thresholds,
    )
    table = _verdict_table(verdicts, judged, [axis.name for axis in recorded.axes])
    return table, _feature_table(arrays, compute_features(arrays))


def _curve_arrays(curves: pd.DataFrame, *, is_judged: pd.Series[bool]) -> CurveArrays:
    """Return the curves of judged trials, without a copy of columns that no rule looks at."""
    from sweepdiag.features import CurveArrays

    columns = ("trial_id", "epoch", "train_loss", "val_loss", "val_metric")
    return CurveArrays.from_long(*(curves.loc[is_judged, name].to_numpy() for name in columns))


def _verdict_table(
    verdicts: tuple[Verdict, ...], trials: pd.DataFrame, axis_names: list[str]
) -> pd.DataFrame:
    import pandas as pd

    # Column by column: the verdicts as dictionaries would take several times the table.
    table = pd.DataFrame(
        {
            name: [told(getattr(verdict, name)) for verdict in verdicts]
            for name, told in _VERDICT_COLUMNS.items()
        }
    )
    table["trial_id"] = table["trial_id"].astype(trials["trial_id"].dtype)  # also without rows
    for name in ("confidence", "turning_epoch", "margin"):
        table[name] = table[name].astype(float)  # also where there is no verdict
    keys = trials[["trial_id", "config_id", *axis_names, "seed"]]
    return keys.merge(table, on="trial_id", how="inner", validate="one_to_one")


def _numbers(numbers: Mapping[str, float]) -> str:
    return json.dumps(plain(numbers))


_VERDICT_COLUMNS: dict[str, Callable[[Any], Any]] = {
    "trial_id": plain,
    "verdict": plain,
    "runner_up": plain,
    "tags": plain,
    "confidence": float,
    "turning_epoch": float,
    "evidence": plain,
    "margin": float,
    "numbers": _numbers,
    "context": plain,
    "reference_id": plain,
}
"""How each field of a verdict is written."""


def _feature_table(arrays: CurveArrays, features: FeatureMatrix) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(features.values, columns=list(features.names))
    table.insert(0, "trial_id", np.asarray(arrays.run_ids, dtype=object))
    return table


def tag_edge(data: ReportData) -> None:
    """Mark the best configuration if its value is the first or last that was tried of an axis."""
    table = data.configurations
    is_best = table["config_id"] == data.best_config_id
    for axis in data.axes:
        if len(axis.values) > 1 and axis.scale is not Scale.CATEGORICAL:
            is_best_at_end = is_best & table[axis.name].isin([axis.values[0], axis.values[-1]])
            table["tags"] = [
                [*tags, Tag.EDGE.value] if at_end and Tag.EDGE.value not in tags else tags
                for tags, at_end in zip(table["tags"], is_best_at_end, strict=True)
            ]
