"""The curves of a configuration's seeds together: their median and its smoothed course."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.recommend._curves import CurveTable, curve_table, finite_or_inf
from sweepdiag.records import JUDGED_STATES

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["ConfigCurve", "column_medians", "config_curves", "half_window"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigCurve:
    """The seeds of one configuration at the epochs that at least half of them reached.

    Attributes:
        config_id: The configuration.
        epochs: Shape ``(n_points,)``.
        costs: Monitored value, lower is better, shape ``(n_seeds, n_points)``; NaN where a seed
            has no evaluation.
        median: Over seeds; infinite where half of them are not finite.
        smooth: The median's centred mean; infinite where the median is not finite.
    """

    config_id: str
    epochs: NDArray[np.float64]
    costs: NDArray[np.float64]
    median: NDArray[np.float64]
    smooth: NDArray[np.float64]


def config_curves(
    curves: pd.DataFrame,
    trials: pd.DataFrame,
    configurations: pd.DataFrame,
    monitor: str,
    metric_mode: str | None,
) -> list[ConfigCurve]:
    """Return the judged trials of each configuration that has any, in the table's order."""
    judged = trials[trials["state"].isin([state.value for state in JUDGED_STATES])]
    config_of = dict(zip(judged["trial_id"], judged["config_id"], strict=True))
    table = curve_table(
        curves[curves["trial_id"].isin(config_of)], monitor=monitor, metric_mode=metric_mode
    )
    rows_of: dict[str, list[int]] = {}
    for row, trial_id in enumerate(table.trial_ids):
        rows_of.setdefault(str(config_of[trial_id]), []).append(row)
    return [
        _config_curve(str(config_id), table, rows_of[str(config_id)])
        for config_id in configurations["config_id"]
        if str(config_id) in rows_of
    ]


def _config_curve(config_id: str, table: CurveTable, rows: list[int]) -> ConfigCurve:
    epochs, costs = _aligned(table.epochs[rows], table.costs[rows])
    # Where seeds ended early, the few that went on are not representative.
    n_reached = np.isfinite(epochs).sum(axis=0)
    kept = n_reached * 2 >= len(rows)
    epochs, costs, ended = epochs[:, kept], costs[:, kept], ~np.isfinite(epochs[:, kept])
    grid: NDArray[np.float64] = np.fmax.reduce(epochs, axis=0)
    median = column_medians(np.where(ended, np.nan, finite_or_inf(costs)))
    return ConfigCurve(
        config_id=config_id,
        epochs=grid,
        costs=np.where(ended, np.nan, costs),
        median=median,
        smooth=_smoothed(median),
    )


def _aligned(
    epochs: NDArray[np.float64], costs: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Put every seed on the union of all seeds' epochs, unless they agree already."""
    reference = epochs[0] if len(epochs) == 1 else epochs[np.isfinite(epochs).sum(axis=1).argmax()]
    if np.all((epochs == reference) | np.isnan(epochs)):
        return epochs, costs
    union = np.unique(epochs[np.isfinite(epochs)])
    new_epochs = np.full((len(epochs), union.size), np.nan)
    new_costs = np.full_like(new_epochs, np.nan)
    for row in range(len(epochs)):
        known = np.isfinite(epochs[row])
        places = np.searchsorted(union, epochs[row, known])
        new_epochs[row, places] = union[places]
        new_costs[row, places] = costs[row, known]
    return new_epochs, new_costs


def column_medians(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median per column without NaN; infinite where half the values are."""
    n_known = (~np.isnan(values)).sum(axis=0)
    # Sorting puts NaN last. Much faster on these small arrays than numpy's nanmedian.
    ordered, columns = np.sort(values, axis=0), np.arange(values.shape[1])
    lower = ordered[np.maximum(n_known - 1, 0) // 2, columns]
    upper = ordered[np.minimum(n_known // 2, len(values) - 1), columns]
    # Halves first: the sum of two huge values would overflow.
    return np.where(n_known > 0, lower / 2.0 + upper / 2.0, np.nan)


def _smoothed(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a centred mean over 1, 3 or 5 evaluations; infinite where the value is not finite."""
    half = half_window(costs.size)
    finite = np.isfinite(costs)
    padded = np.pad(np.where(finite, costs, 0.0), half)
    counts = np.pad(finite.astype(float), half)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1).sum(axis=1)
    n_finite = np.lib.stride_tricks.sliding_window_view(counts, 2 * half + 1).sum(axis=1)
    return np.where(finite, windows / np.maximum(n_finite, 1.0), np.inf)


def half_window(n_points: int) -> int:
    """Return how many neighbours on each side a smoothed evaluation is averaged with."""
    return 2 if n_points >= 20 else 1 if n_points >= 8 else 0
