"""Tables of a small sweep, written out or judged from a simulated one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from sweepdiag.features import CurveArrays
from sweepdiag.records import Axis, Scale, SweepFacts
from sweepdiag.rules import SweepView, judge_configurations, judge_curves

if TYPE_CHECKING:
    from sweepdiag.testing.simulated import SimulatedSweep

FACTS = SweepFacts(workload="test", n_validation=400, loss_floor=0.0)


def trials_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    defaults = {"state": "finished", "reason": "", "seed": 0, "attempt": 1, "device": "cpu"}
    return pd.DataFrame([defaults | row for row in rows])


def curves_table(
    losses: dict[str, tuple[list[float], list[float]]],
    metrics: dict[str, list[float]] | None = None,
) -> pd.DataFrame:
    tables = []
    for trial_id, (train, val) in losses.items():
        metric = (metrics or {}).get(trial_id, [float("nan")] * len(train))
        tables.append(
            pd.DataFrame(
                {
                    "trial_id": trial_id,
                    "epoch": [float(i) for i in range(len(train))],
                    "train_loss": train,
                    "val_loss": val,
                    "val_metric": metric,
                }
            )
        )
    columns = ["trial_id", "epoch", "train_loss", "val_loss", "val_metric"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def verdicts_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    defaults = {
        "verdict": "healthy",
        "runner_up": None,
        "tags": [],
        "confidence": 1.0,
        "turning_epoch": float("nan"),
        "evidence": "",
        "context": "sweep",
        "reference_id": None,
    }
    columns = ["trial_id", *defaults]
    return pd.DataFrame([defaults | row for row in rows], columns=columns)


def configurations_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return configurations of one judged seed each, monitored by validation loss."""
    full = []
    for i, row in enumerate(rows):
        loss = row.get("best_val_loss", 1.0)
        defaults = {
            "config_id": f"c{i}",
            "n_seeds": 1,
            "n_judged": 1,
            "n_failed": 0,
            "verdict": "healthy",
            "share": 1.0,
            "tags": [],
            "confidence": 1.0,
            "best_val_loss": loss,
            "worst_val_loss": loss,
            "last_val_loss": loss,
            "best_train_loss": loss,
            "best_val_metric": float("nan"),
            "best_monitor": loss,
            "worst_monitor": loss,
            "best_epoch": 15.0,
            "turning_epoch": float("nan"),
            "evidence": "",
            "n_evaluations": 31,
        }
        full.append(defaults | row)
    return pd.DataFrame(full)


def axis(name: str, *values: float, scale: Scale = Scale.LOG) -> Axis:
    return Axis(name=name, values=tuple(values), scale=scale, is_structural=name != "lr")


def view_of(
    configurations: list[dict[str, Any]],
    *axes: Axis,
    epochs: int = 30,
    seed_losses: dict[str, list[float]] | None = None,
    states: list[str] | None = None,
) -> SweepView:
    """Return a view with one trial per configuration, or one per given seed loss."""
    table = configurations_table(configurations)
    trial_rows, losses = [], {}
    for config_id, best in zip(table["config_id"], table["best_val_loss"], strict=True):
        for seed, loss in enumerate((seed_losses or {}).get(config_id, [best])):
            trial_id = f"{config_id}s{seed}"
            trial_rows.append({"trial_id": trial_id, "config_id": config_id, "seed": seed})
            losses[trial_id] = ([loss] * (epochs + 1), [loss] * (epochs + 1))
    trials = trials_table(trial_rows).merge(
        table[["config_id", *(a.name for a in axes if a.name in table)]], on="config_id"
    )
    if states is not None:
        trials["state"] = states
    return SweepView(
        axes=axes,
        trials=trials,
        curves=curves_table(losses),
        verdicts=verdicts_table([{"trial_id": name} for name in trials["trial_id"]]),
        configurations=table,
        facts=FACTS,
        monitor="val_loss",
        metric_mode=None,
    )


def judged_view(sweep: SimulatedSweep) -> SweepView:
    """Return a simulated sweep after judging, as the pipeline would."""
    table = sweep.curves
    curves = CurveArrays.from_long(
        *(
            table[name].to_numpy()
            for name in ("trial_id", "epoch", "train_loss", "val_loss", "val_metric")
        )
    )
    place = sweep.trials.set_index("trial_id").loc[list(curves.run_ids)]
    judged = judge_curves(
        curves,
        facts=sweep.facts,
        config_ids=place["config_id"].tolist(),
        context="sweep",
        n_resamples=4,
    )
    verdicts = pd.DataFrame(
        [
            {
                "trial_id": v.trial_id,
                "verdict": v.verdict.value,
                "tags": [tag.value for tag in v.tags],
                "confidence": v.confidence,
                "turning_epoch": v.turning_epoch,
                "evidence": v.evidence,
            }
            for v in judged
        ]
    )
    configurations = judge_configurations(
        trials=sweep.trials,
        curves=table,
        verdicts=verdicts,
        axis_names=[a.name for a in sweep.plan.axes],
        monitor="val_loss",
        metric_mode="max",
    )
    return SweepView(
        axes=sweep.plan.axes,
        trials=sweep.trials,
        curves=table,
        verdicts=verdicts,
        configurations=configurations,
        facts=sweep.facts,
        monitor="val_loss",
        metric_mode="max",
    )
