"""A sweep with hand-made verdicts, for the tests of plots and reports."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.plotting.view import ReportData
from sweepdiag.records import (
    AxisRange,
    Finding,
    FindingState,
    Recommendation,
    Region,
    Severity,
    State,
    StopEpoch,
    VerdictClass,
)
from sweepdiag.testing.simulated import simulate_sweep

if TYPE_CHECKING:
    import pandas as pd

NASTY_NAME = "</script><script>alert(\"1\")</script> & 'two' $\\undefined$ " + "x" * 300


def class_of(curve: pd.DataFrame, capacity: float) -> VerdictClass:
    """The class that the formulas of the simulated sweep put this curve in."""
    val = curve["val_loss"].to_numpy()
    if not np.isfinite(val[-1]):
        return VerdictClass.DIVERGING
    if val.min() > 2.1:
        return VerdictClass.NOT_LEARNING
    if val[-1] > 1.2 * val.min():
        return VerdictClass.U_SHAPED
    if val[-1] > 0.45:
        return VerdictClass.UNDERFIT
    return VerdictClass.HEALTHY


def make_verdicts(trials: pd.DataFrame, curves: pd.DataFrame, axes: list[str]) -> pd.DataFrame:
    import pandas as pd

    rows: list[dict[str, Any]] = []
    by_trial = dict(iter(curves.groupby("trial_id", sort=False)))
    for trial in trials.to_dict("records"):
        if trial["state"] not in {State.FINISHED.value, State.STOPPED.value}:
            continue
        curve = by_trial[trial["trial_id"]]
        verdict = class_of(curve, trial.get("capacity", 16))
        turns = verdict is VerdictClass.U_SHAPED
        rows.append(
            {
                **{name: trial[name] for name in ("trial_id", "config_id", *axes, "seed")},
                "verdict": verdict.value,
                "runner_up": None,
                "tags": ["plateaued"] if verdict is VerdictClass.UNDERFIT else [],
                "confidence": 0.9,
                "turning_epoch": float(curve["val_loss"].argmin()) if turns else math.nan,
                "evidence": f"validation loss ended at {curve['val_loss'].iloc[-1]:.3g}",
                "context": "sweep",
                "reference_id": None,
            }
        )
    columns = [
        "trial_id", "config_id", *axes, "seed", "verdict", "runner_up", "tags", "confidence",
        "turning_epoch", "evidence", "context", "reference_id",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def make_configurations(
    trials: pd.DataFrame, curves: pd.DataFrame, verdicts: pd.DataFrame, axes: list[str]
) -> pd.DataFrame:
    import pandas as pd

    finite = curves.assign(val=curves["val_loss"].where(np.isfinite(curves["val_loss"])))
    lowest = finite.groupby("trial_id")["val"].min()
    metric = curves.groupby("trial_id")["val_metric"].max()
    last = curves.groupby("trial_id")["val_loss"].last()
    at = finite.loc[finite.groupby("trial_id")["val"].idxmin()].set_index("trial_id")["epoch"]
    order = {verdict.value: rank for rank, verdict in enumerate(VerdictClass)}
    rows = []
    for config_id, members in trials.groupby("config_id", sort=False):
        judged = verdicts[verdicts["config_id"] == config_id]
        counts = judged["verdict"].value_counts()
        majority = min(counts.index, key=lambda name: (-counts[name], order[name]), default=None)
        ids = judged["trial_id"]
        own = judged[judged["verdict"] == majority]
        failed = members["state"].isin(["failed", "timed_out", "out_of_memory"])
        rows.append(
            {
                "config_id": config_id,
                **{name: members[name].iloc[0] for name in axes},
                "n_seeds": len(members),
                "n_judged": len(judged),
                "n_failed": int(failed.sum()),
                "verdict": majority,
                "share": counts.get(majority, 0) / len(judged) if len(judged) else math.nan,
                "tags": sorted({tag for tags in judged["tags"] for tag in tags}),
                "confidence": 0.9 if len(judged) else math.nan,
                "best_val_loss": lowest.reindex(ids).median(),
                "worst_val_loss": lowest.reindex(ids).max(),
                "last_val_loss": last.reindex(ids).median(),
                "best_train_loss": lowest.reindex(ids).median() * 0.9,
                "best_val_metric": metric.reindex(ids).median(),
                "best_monitor": lowest.reindex(ids).median(),
                "worst_monitor": lowest.reindex(ids).max(),
                "best_epoch": at.reindex(ids).median(),
                "turning_epoch": own["turning_epoch"].median(),
                "evidence": own["evidence"].iloc[0] if len(own) else "",
                "n_evaluations": 31,
            }
        )
    return pd.DataFrame(rows)


def make_findings(name: str = "lr") -> tuple[Finding, ...]:
    return (
        Finding(
            code="SD101",
            name="learning-rate-too-high",
            state=FindingState.FINDING,
            severity=Severity.ERROR,
            title="The highest learning rates diverge",
            evidence=f"30 of 54 configurations with {name} at or above 1 diverge; the stability "
            "edge lies between 0.1 and 1 at batch size 16 and rises with the batch size",
            action="Keep lr at or below 0.1 for batch size 16, 1 for batch size 256.",
        ),
        Finding(
            code="SD201",
            name="capacity-too-small",
            state=FindingState.FINDING,
            severity=Severity.WARNING,
            title="The smallest capacity underfits wherever it is stable",
            evidence="at capacity 4 the best training loss is 0.65, 5.1 times that at capacity 64",
            action="Drop capacity 4, or train it only as a lower bound.",
        ),
        Finding(
            code="SD501",
            name="budget-too-long",
            state=FindingState.TIP,
            severity=Severity.INFO,
            title="Most configurations are done after a quarter of the epochs",
            evidence="median best epoch 7 of 30",
            action="Train for 10 epochs.",
        ),
        Finding(
            code="SD301",
            name="nothing-learned",
            state=FindingState.PASSED,
            severity=Severity.ERROR,
            title="Something was learned",
            evidence="31 of 54 configurations beat the constant prediction",
        ),
        Finding(
            code="SD401",
            name="validation-easier",
            state=FindingState.NOT_APPLICABLE,
            severity=Severity.WARNING,
            title="Validation easier than training",
            evidence="no dropout in this workload",
        ),
    )


def make_recommendation(configurations: pd.DataFrame) -> Recommendation:
    healthy = configurations[configurations["verdict"] == VerdictClass.HEALTHY.value]
    stops = tuple(
        StopEpoch(
            config_id=row["config_id"],
            epoch=row["best_epoch"] + 2,
            budget_epochs=30.0,
            saved_fraction=1 - (row["best_epoch"] + 2) / 30,
            regret=0.002,
            reason="two evaluations after the best epoch",
        )
        for row in configurations[configurations["verdict"].notna()].to_dict("records")
    )
    if healthy.empty or "lr" not in configurations:
        return Recommendation(
            answer="No configuration trains well, so there is no region to recommend.",
            region=None,
            stop_epochs=stops,
            region_stop=None,
            next_parameters={},
            next_settings={},
            next_reasons=(),
        )
    low, high = healthy["lr"].min(), healthy["lr"].max()
    region = Region(
        axes=(
            AxisRange(
                name="lr",
                low=float(low),
                high=float(high),
                values=tuple(sorted({float(value) for value in healthy["lr"]})),
                centre=float(low),
                low_reason="below it underfits",
                high_reason="above it diverges",
            ),
        ),
        config_ids=tuple(healthy["config_id"]),
        centre_config_id=healthy["config_id"].iloc[0],
        reasons=("every configuration inside is healthy for every seed",),
    )
    return Recommendation(
        answer=f"Train with lr between {low:g} and {high:g}, starting at {low:g}. "
        "Validation loss is within 5 % of the best in the whole region.",
        region=region,
        stop_epochs=stops,
        region_stop=StopEpoch(
            config_id=region.centre_config_id,
            epoch=12.0,
            budget_epochs=30.0,
            saved_fraction=0.6,
            regret=0.003,
            reason="the smoothed validation loss no longer falls after epoch 12",
        ),
        next_parameters={
            "lr": {"min": 0.003, "max": 0.3, "distribution": "log_uniform_values", "n": 7},
            "batch_size": {"values": [16, 64, 256]},
            "capacity": {"values": [16, 32]},
        },
        next_settings={"epochs": 15},
        next_reasons=("zooms in on the region, one step beyond each edge",),
    )


def sample_report(**options: Any) -> ReportData:
    """A whole sweep, with the options of `simulate_sweep` and fields of `ReportData`.

    ``failed`` and ``pending`` are row numbers of its trials. Do not change the tables in place:
    they are shared between tests.
    """
    fields = {name: options.pop(name) for name in list(options) if name in _FIELDS}
    return dataclasses.replace(_make_report(**options), **fields)


@functools.cache
def _make_report(
    *, failed: tuple[int, ...] = (), pending: tuple[int, ...] = (), **options: Any
) -> ReportData:
    sweep = simulate_sweep(**options)
    trials = sweep.trials.copy()
    trials.loc[list(failed), "state"] = State.FAILED.value
    trials.loc[list(pending), "state"] = State.PENDING.value
    names = [axis.name for axis in sweep.plan.axes]
    verdicts = make_verdicts(trials, sweep.curves, names)
    configurations = make_configurations(trials, sweep.curves, verdicts, names)
    return ReportData(
        axes=sweep.plan.axes,
        facts=sweep.facts,
        trials=trials,
        curves=sweep.curves,
        verdicts=verdicts,
        configurations=configurations,
        findings=make_findings(),
        recommendation=make_recommendation(configurations),
        title="simulated",
        environment={"sweepdiag": "0.1.0", "torch": "2.13.0", "device": "cpu"},
        interrupted=bool(pending),
    )


def without_axes(data: ReportData, *names: str) -> ReportData:
    """The same sweep, its other axes alone; one configuration per remaining combination."""
    axes = tuple(axis for axis in data.axes if axis.name not in names)
    table = data.configurations
    for axis in data.axes:
        if axis.name in names:
            table = table[table[axis.name] == axis.values[-1]]
    kept = table["config_id"]
    return dataclasses.replace(
        data,
        axes=axes,
        trials=data.trials[data.trials["config_id"].isin(kept)].drop(columns=list(names)),
        verdicts=data.verdicts[data.verdicts["config_id"].isin(kept)].drop(columns=list(names)),
        configurations=table.drop(columns=list(names)),
    )


def foreign_curves(data: ReportData) -> ReportData:
    """The same curves as if another tool had left them: no axes, each its own configuration."""
    names = [axis.name for axis in data.axes]
    trials = data.trials.drop(columns=names).assign(config_id=data.trials["trial_id"])
    verdicts = make_verdicts(data.trials, data.curves, names).drop(columns=names)
    verdicts["config_id"] = verdicts["trial_id"]
    configurations = make_configurations(trials, data.curves, verdicts, [])
    advice = Recommendation(
        answer="12 curves were judged.",
        region=None,
        stop_epochs=(),
        region_stop=None,
        next_parameters={},
        next_settings={},
        next_reasons=(),
    )
    return dataclasses.replace(
        data,
        axes=(),
        trials=trials,
        verdicts=verdicts,
        configurations=configurations,
        recommendation=advice,
        findings=(),
    )


def sampled_lrs(data: ReportData) -> ReportData:
    """Keep one configuration per learning rate, as a quasi-random sampler would have chosen."""
    table = data.configurations
    kept = [
        members["config_id"].iloc[index % len(members)]
        for index, (_, members) in enumerate(table.groupby("lr"))
    ]
    return dataclasses.replace(
        data,
        trials=data.trials[data.trials["config_id"].isin(kept)],
        verdicts=data.verdicts[data.verdicts["config_id"].isin(kept)],
        configurations=table[table["config_id"].isin(kept)].reset_index(drop=True),
    )


_FIELDS = {field.name for field in dataclasses.fields(ReportData)}
