"""Tables for tests: verdicts and configurations, made by hand from a simulated sweep."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.recommend import recommend
from sweepdiag.records import Axis, Scale, SweepFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

    from sweepdiag.recommend import Cause
    from sweepdiag.records import Recommendation
    from sweepdiag.testing.simulated import SimulatedSweep

BASELINE = float(np.log(10.0))


def lr_axis(*values: float) -> Axis:
    return Axis(name="lr", values=values, scale=Scale.LOG, is_structural=False)


def int_axis(name: str, *values: int) -> Axis:
    return Axis(name=name, values=values, scale=Scale.LOG, is_structural=True)


@dataclass(frozen=True)
class Outcome:
    """What became of one configuration, seed by seed."""

    losses: tuple[float, ...] = ()
    verdict: str | None = "healthy"
    tags: tuple[str, ...] = ()
    n_failed: int = 0
    best_epoch: float = 20.0


def config_table(
    axes: Sequence[Axis], outcome_of: Callable[[Mapping[str, object]], Outcome]
) -> pd.DataFrame:
    """Return a full grid's configurations."""
    points = itertools.product(*(axis.values for axis in axes))
    return config_rows(
        [dict(zip([axis.name for axis in axes], point, strict=True)) for point in points],
        outcome_of,
    )


def config_rows(
    points: Sequence[Mapping[str, object]], outcome_of: Callable[[Mapping[str, object]], Outcome]
) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for index, point in enumerate(points):
        outcome = outcome_of(point)
        losses = np.array(outcome.losses, dtype=float)
        median = float(np.median(losses)) if losses.size else np.nan
        worst = float(losses.max()) if losses.size else np.nan
        rows.append(
            {
                "config_id": f"{index:016x}",
                **point,
                "n_seeds": losses.size + outcome.n_failed,
                "n_judged": losses.size,
                "n_failed": outcome.n_failed,
                "verdict": outcome.verdict if losses.size else None,
                "share": 1.0,
                "tags": list(outcome.tags),
                "confidence": 1.0,
                "best_val_loss": median,
                "worst_val_loss": worst,
                "last_val_loss": median,
                "best_train_loss": median,
                "best_val_metric": np.nan,
                "best_monitor": median,
                "worst_monitor": worst,
                "best_epoch": outcome.best_epoch,
                "turning_epoch": np.nan,
                "evidence": "",
                "n_evaluations": 31,
            }
        )
    return pd.DataFrame(rows)


def verdict_table(sweep: SimulatedSweep) -> pd.DataFrame:
    """Return a verdict per trial from the simulation's own clear-cut cases."""
    import pandas as pd

    rows = []
    losses = dict(iter(sweep.curves.groupby("trial_id")))
    for trial in sweep.plan.trials:
        part = losses[trial.trial_id]
        val = part["val_loss"].to_numpy()
        if not np.isfinite(val).all():
            verdict = "diverging"
        elif val.min() > 0.95 * BASELINE:
            verdict = "not_learning"
        elif val[-3:].mean() > 1.05 * val.min() + 0.03:
            verdict = "u_shaped"
        elif val.min() > 0.5:
            verdict = "underfit"
        else:
            verdict = "healthy"
        rows.append(
            {
                "trial_id": trial.trial_id,
                "config_id": trial.config_id,
                **trial.axes,
                "seed": trial.seed,
                "verdict": verdict,
                "tags": ["still_improving"] if val[-1] < 0.97 * val[-5] else [],
                "best": np.nanmin(val) if np.isfinite(val).any() else np.nan,
                "best_metric": np.nanmax(part["val_metric"].to_numpy()),
                "best_epoch": float(part["epoch"].to_numpy()[np.nanargmin(val)]),
            }
        )
    return pd.DataFrame(rows)


def configuration_table(
    sweep: SimulatedSweep, verdicts: pd.DataFrame, *, monitor: str = "val_loss"
) -> pd.DataFrame:
    """Return what the seeds of each configuration came to."""
    import pandas as pd

    order = ["diverging", "not_learning", "underfit", "overfit", "u_shaped", "healthy"]
    rows = []
    names = [axis.name for axis in sweep.plan.axes]
    for config_id, part in verdicts.groupby("config_id", sort=False):
        counts = part["verdict"].value_counts()
        majority = min(counts[counts == counts.max()].index, key=order.index)
        tags = set(itertools.chain.from_iterable(part["tags"]))
        if (part["verdict"] == "diverging").any():
            tags.add("unstable")
        column = "best" if monitor == "val_loss" else "best_metric"
        worst = part[column].max() if monitor == "val_loss" else part[column].min()
        rows.append(
            {
                "config_id": config_id,
                **{name: part[name].iloc[0] for name in names},
                "n_seeds": len(part),
                "n_judged": len(part),
                "n_failed": 0,
                "verdict": majority,
                "tags": sorted(tags),
                "best_val_loss": part["best"].median(),
                "worst_val_loss": part["best"].max(),
                "best_monitor": part[column].median(),
                "worst_monitor": worst,
                "best_epoch": part["best_epoch"].median(),
            }
        )
    return pd.DataFrame(rows)


def recommend_for(
    sweep: SimulatedSweep,
    *,
    monitor: str = "val_loss",
    epochs: int = 30,
    n_seeds: int = 2,
    facts: SweepFacts | None = None,
    cause: Cause | None = None,
) -> Recommendation:
    verdicts = verdict_table(sweep)
    return recommend(
        axes=sweep.plan.axes,
        facts=facts or sweep.facts,
        trials=sweep.trials,
        curves=sweep.curves,
        verdicts=verdicts,
        configurations=configuration_table(sweep, verdicts, monitor=monitor),
        monitor=monitor,
        metric_mode="max",
        epochs=epochs,
        n_seeds=n_seeds,
        cause=cause,
    )
