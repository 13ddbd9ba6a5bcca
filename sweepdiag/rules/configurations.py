"""From the verdicts of seeds to one row per configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sweepdiag.errors import ConfigError
from sweepdiag.records import DONE_STATES, JUDGED_STATES, Tag, VerdictClass

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray
    from pandas.core.groupby import SeriesGroupBy

__all__ = ["FAILED_STATES", "judge_configurations", "majority_class"]


FAILED_STATES = DONE_STATES - JUDGED_STATES
"""States of trials whose training broke off without a curve to judge, and which are not repeated.
A trial that is lost with its driver is open still."""

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
    codes, config_ids = pd.factorize(trials["config_id"])
    table = trials.drop_duplicates("config_id")[["config_id", *axis_names]].reset_index(drop=True)
    failed = trials["state"].isin([state.value for state in FAILED_STATES]).to_numpy()
    table["n_seeds"] = np.bincount(codes, minlength=len(config_ids))
    judged = trials[["trial_id"]].assign(code=codes).merge(verdicts[columns], on="trial_id")
    judged = judged.merge(seeds, on="trial_id", how="left")
    groups = _Seeds(judged, len(config_ids), monitor, metric_mode)
    table["n_judged"] = groups.n_judged
    table["n_failed"] = np.bincount(codes[failed], minlength=len(config_ids))
    for name, column in groups.columns().items():
        # As object, so that a missing verdict stays None.
        table[name] = pd.Series(column, dtype=object) if name == "verdict" else column
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


class _Seeds:
    """The judged seeds of all configurations.

    Every method returns one value per configuration, in the order of their codes.
    """

    def __init__(
        self, table: pd.DataFrame, n_configs: int, monitor: str, metric_mode: str | None
    ) -> None:
        self.table, self.n_configs = table, n_configs
        self.monitor, self.metric_mode = monitor, metric_mode
        self.code = table["code"].to_numpy(dtype=np.int64)
        ranks = {name: rank for rank, name in enumerate(_CLASSES)}
        self.rank = np.array([ranks[str(name)] for name in table["verdict"]], dtype=np.int64)
        self.n_judged = self._count(np.ones(self.code.size, dtype=bool))
        self.majority = self._majority()
        self.is_of_class = self.rank == self.majority[self.code]

    def columns(self) -> dict[str, Any]:
        """Return the columns of ``_SEED_COLUMNS``."""
        n = np.where(self.n_judged > 0, self.n_judged, np.nan)
        pairs = zip(self.majority, self.n_judged, strict=True)
        found = {
            "verdict": self._objects([_CLASSES[rank] if n else None for rank, n in pairs]),
            "share": self._count(self.is_of_class) / n,
            "tags": self._objects(self._tags()),
            "confidence": self._confidence() / n,
            **self._best_values(),
            "turning_epoch": self._median("turning_epoch"),
            "evidence": self._objects(self._evidence()),
            "n_evaluations": np.nan_to_num(self._median("n_evaluations")).astype(np.int64),
        }
        return {name: found[name] for name in _SEED_COLUMNS}

    def _majority(self) -> NDArray[np.int64]:
        """Return the most frequent class, of several the worst: that of the lowest rank."""
        counts = np.zeros((self.n_configs, len(_CLASSES)), dtype=np.int64)
        np.add.at(counts, (self.code, self.rank), 1)
        majority: NDArray[np.int64] = counts.argmax(axis=1)
        return majority

    def _confidence(self) -> NDArray[np.float64]:
        sure = np.where(self.is_of_class, self.table["confidence"].to_numpy(dtype=float), 0.0)
        return np.bincount(self.code, sure, minlength=self.n_configs).astype(np.float64)

    def _tags(self) -> list[list[str]]:
        """Return the tags that at least half of the seeds have."""
        known = {tag: place for place, tag in enumerate(_TAGS)}
        counts = np.zeros((self.n_configs, len(_TAGS)), dtype=np.int64)
        for code, tags in zip(self.code, self.table["tags"], strict=True):
            for tag in {str(name) for name in tags}:
                if tag in known:
                    counts[code, known[tag]] += 1
        is_kept = (counts > 0) & (2 * counts >= self.n_judged[:, None])
        opposites = [known[Tag.PLATEAUED.value], known[Tag.STILL_IMPROVING.value]]
        is_tie = is_kept[:, opposites].all(axis=1)
        for place in opposites:
            is_kept[is_tie, place] = False
        worst = _CLASSES.index(VerdictClass.DIVERGING.value)
        is_unstable = (self._count(self.rank == worst) > 0) & (self.majority != worst)
        return [
            [tag for tag, is_set in zip(_TAGS, row, strict=True) if is_set]
            + ([Tag.UNSTABLE.value] if unstable else [])
            for row, unstable in zip(is_kept, is_unstable, strict=True)
        ]

    def _best_values(self) -> dict[str, NDArray[np.float64]]:
        best, worst = self._median("val_min"), self._extreme("val_min", "max")
        monitored = best, worst
        if self.monitor == "val_metric":
            worst_metric = (
                self._extreme("metric_best", "min")
                if self.metric_mode == "max"
                else self._extreme("metric_best", "max")
            )
            monitored = self._median("metric_best"), worst_metric
        return {
            "best_val_loss": best,
            "worst_val_loss": worst,
            "last_val_loss": self._median("val_last"),
            "best_train_loss": self._median("train_min"),
            "best_val_metric": self._median("metric_best"),
            "best_monitor": monitored[0],
            "worst_monitor": monitored[1],
            "best_epoch": self._median("best_epoch"),
        }

    def _evidence(self) -> list[str]:
        """Quote the worst seed of the class; a loss that was never finite is worst of all."""
        found = [""] * self.n_configs
        worst = np.full(self.n_configs, -np.inf)
        losses = self.table["val_min"].fillna(np.inf).to_numpy(dtype=float)
        sentences = self.table["evidence"].tolist()
        for place in np.flatnonzero(self.is_of_class):
            code = self.code[place]
            if losses[place] > worst[code]:
                worst[code], found[code] = losses[place], str(sentences[place])
        return found

    def _count(self, is_counted: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(self.code[is_counted], minlength=self.n_configs)

    def _median(self, name: str) -> NDArray[np.float64]:
        return self._per_config(self._groups(name).median())

    def _extreme(self, name: str, which: Literal["min", "max"]) -> NDArray[np.float64]:
        groups = self._groups(name)
        return self._per_config(groups.min() if which == "min" else groups.max())

    def _groups(self, name: str) -> SeriesGroupBy[Any, Any]:
        return self.table[name].astype(float).groupby(self.code)

    def _per_config(self, values: pd.Series[float]) -> NDArray[np.float64]:
        return values.reindex(range(self.n_configs)).to_numpy().astype(np.float64)

    def _objects(self, values: list[Any]) -> NDArray[np.object_]:
        """Return a column in which lists and None stay what they are."""
        column = np.empty(len(values), dtype=object)
        column[:] = values
        return column
