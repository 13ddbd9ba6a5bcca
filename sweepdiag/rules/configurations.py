"""From the verdicts of seeds to one row per configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sweepdiag.errors import ConfigError
from sweepdiag.records import State, Tag, VerdictClass

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

__all__ = ["FAILED_STATES", "judge_configurations", "majority_class"]


FAILED_STATES = frozenset({State.FAILED, State.TIMED_OUT, State.OUT_OF_MEMORY, State.LOST})
"""States of trials whose training broke off without a curve to judge."""

_CLASSES = [verdict.value for verdict in VerdictClass]
_TAGS = [tag.value for tag in Tag]


def judge_configurations(
    *,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    verdicts: pd.DataFrame,
    axis_names: Sequence[str],
    monitor: str,
    metric_mode: str | None,
) -> pd.DataFrame:
    """Return one row per configuration: its class over seeds and its best values.

    The class is that of most judged seeds; of several equally frequent ones the worst. Its
    confidence is the mean over all judged seeds of how sure their verdicts are of that class,
    where a seed of another class counts as 0. A tag is kept if at least half of the judged seeds
    have it, but neither of ``plateaued`` and ``still_improving`` where they tie; ``unstable`` says
    that some seed diverges while the configuration as a whole does not.

    Args:
        trials: Columns of ``trials.parquet``.
        curves: Columns of ``curves.parquet``.
        verdicts: Columns of ``verdicts.parquet``; trials without a verdict were not judged.
        axis_names: The axes to carry over.
        monitor: What "best" refers to.
        metric_mode: ``max`` if a larger metric is better; ``None`` if there is no metric.

    Returns:
        Rows in the order in which configurations first appear in ``trials``. Losses and metrics
        are medians over the judged seeds of each seed's best value (``last_val_loss``: of its last
        one), ``worst_*`` the worst seed's best. ``n_evaluations`` is the median per judged seed.
        Everything is NaN, and the verdict ``None``, where no seed was judged.

    Raises:
        ConfigError: If the metric is monitored without its direction.
    """
    import pandas as pd

    if monitor == "val_metric" and metric_mode not in {"max", "min"}:
        message = f"monitor 'val_metric' needs metric_mode 'max' or 'min', got {metric_mode!r}"
        raise ConfigError(message)
    seeds = _summarise_seeds(curves, monitor=monitor, metric_mode=metric_mode)
    columns = ["trial_id", "verdict", "tags", "confidence", "turning_epoch", "evidence"]
    judged = trials[["trial_id", "config_id"]].merge(verdicts[columns], on="trial_id")
    judged = judged.merge(seeds, on="trial_id", how="left")
    groups = dict(list(judged.groupby("config_id", sort=False)))
    rows = []
    for config_id, planned in trials.groupby("config_id", sort=False):
        states = planned["state"]
        row: dict[str, Any] = {"config_id": config_id}
        row |= {name: planned[name].iloc[0] for name in axis_names}
        row["n_seeds"] = len(planned)
        row["n_judged"] = len(groups.get(config_id, ()))
        row["n_failed"] = int(states.isin([state.value for state in FAILED_STATES]).sum())
        row |= _Seeds(groups.get(config_id, judged.iloc[:0]), monitor, metric_mode).columns()
        rows.append(row)
    names = ["config_id", *axis_names, "n_seeds", "n_judged", "n_failed", *_SEED_COLUMNS]
    table = pd.DataFrame(rows, columns=pd.Index(names))
    # As object, so that a missing verdict stays None.
    table["verdict"] = pd.Series([row["verdict"] for row in rows], index=table.index, dtype=object)
    return table


_SEED_COLUMNS = (
    "verdict",
    "share",
    "tags",
    "confidence",
    "best_val_loss",
    "worst_val_loss",
    "last_val_loss",
    "best_train_loss",
    "best_val_metric",
    "best_monitor",
    "worst_monitor",
    "best_epoch",
    "turning_epoch",
    "evidence",
    "n_evaluations",
)


def majority_class(classes: Sequence[str]) -> str:
    """Return the most frequent class; of several equally frequent ones the worst.

    Args:
        classes: At least one class.

    Returns:
        The class.
    """
    counts = {name: list(classes).count(name) for name in classes}
    return max(counts, key=lambda name: (counts[name], -_CLASSES.index(name)))


def _summarise_seeds(
    curves: pd.DataFrame, *, monitor: str, metric_mode: str | None
) -> pd.DataFrame:
    """Return the best values of each trial; infinite losses count as missing."""
    table = curves[["trial_id", "epoch", "train_loss", "val_loss", "val_metric"]].replace(
        [np.inf, -np.inf], np.nan
    )
    sign = -1.0 if metric_mode == "max" else 1.0
    table["cost"] = table["val_loss"] if monitor == "val_loss" else sign * table["val_metric"]
    groups = table.groupby("trial_id", sort=False)
    seeds = groups.agg(
        n_evaluations=("epoch", "size"),
        val_min=("val_loss", "min"),
        train_min=("train_loss", "min"),
        metric_best=("val_metric", "max" if metric_mode == "max" else "min"),
    )
    last = table.drop_duplicates("trial_id", keep="last").set_index("trial_id")
    seeds["val_last"] = last["val_loss"]
    if metric_mode is None:
        seeds["metric_best"] = np.nan
    best = table.dropna(subset=["cost"]).sort_values("cost", kind="stable")
    seeds["best_epoch"] = best.drop_duplicates("trial_id").set_index("trial_id")["epoch"]
    return seeds.reset_index()


@dataclass(frozen=True, slots=True)
class _Seeds:
    """The judged seeds of one configuration."""

    table: pd.DataFrame
    monitor: str
    metric_mode: str | None

    def columns(self) -> dict[str, Any]:
        if self.table.empty:
            nothing: dict[str, Any] = dict.fromkeys(_SEED_COLUMNS, np.nan)
            return nothing | {"verdict": None, "tags": [], "evidence": "", "n_evaluations": 0}
        classes = [str(name) for name in self.table["verdict"]]
        verdict = majority_class(classes)
        is_of_class = self.table["verdict"] == verdict
        confidences = self.table["confidence"].where(is_of_class, 0.0)
        return {
            "verdict": verdict,
            "share": float(is_of_class.mean()),
            "tags": self._tags(verdict),
            "confidence": float(confidences.mean(skipna=False)),
            **self._best_values(),
            "turning_epoch": _median(self.table["turning_epoch"]),
            "evidence": self._evidence(verdict),
            "n_evaluations": int(np.nan_to_num(_median(self.table["n_evaluations"]))),
        }

    def _tags(self, verdict: str) -> list[str]:
        needed = len(self.table) / 2
        counts = {
            tag: sum(tag in {str(name) for name in tags} for tags in self.table["tags"])
            for tag in _TAGS
        }
        kept = [tag for tag, count in counts.items() if count > 0 and count >= needed]
        opposites = {Tag.PLATEAUED.value, Tag.STILL_IMPROVING.value}
        if opposites <= set(kept):
            kept = [tag for tag in kept if tag not in opposites]
        diverges = VerdictClass.DIVERGING.value
        if verdict != diverges and (self.table["verdict"] == diverges).any():
            kept.append(Tag.UNSTABLE.value)
        return kept

    def _best_values(self) -> dict[str, float]:
        table = self.table
        best, worst = _median(table["val_min"]), _extreme(table["val_min"], "max")
        if self.monitor == "val_metric":
            best = _median(table["metric_best"])
            worst = _extreme(table["metric_best"], "min" if self.metric_mode == "max" else "max")
        return {
            "best_val_loss": _median(table["val_min"]),
            "worst_val_loss": _extreme(table["val_min"], "max"),
            "last_val_loss": _median(table["val_last"]),
            "best_train_loss": _median(table["train_min"]),
            "best_val_metric": _median(table["metric_best"]),
            "best_monitor": best,
            "worst_monitor": worst,
            "best_epoch": _median(table["best_epoch"]),
        }

    def _evidence(self, verdict: str) -> str:
        """Quote the worst seed of the class; a loss that was never finite is worst of all."""
        of_class = self.table[self.table["verdict"] == verdict]
        worst = of_class["val_min"].fillna(np.inf).to_numpy().argmax()
        return str(of_class["evidence"].iloc[worst])


def _median(values: pd.Series[float]) -> float:
    finite = values.dropna()
    return float(finite.median()) if len(finite) else float("nan")


def _extreme(values: pd.Series[float], which: Literal["min", "max"]) -> float:
    finite = values.dropna()
    if finite.empty:
        return float("nan")
    return float(finite.min() if which == "min" else finite.max())
