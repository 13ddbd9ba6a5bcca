"""Learning curves as padded matrices, and the monitored value as a cost (lower is better)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CurveTable",
    "cost_sign",
    "curve_table",
    "finite_or_inf",
    "relative_regret",
]

_MONITORS = ("val_loss", "val_metric")


def cost_sign(monitor: str, metric_mode: str | None) -> float:
    """Return what the monitored value is multiplied with so that lower is better.

    Args:
        monitor: ``val_loss`` or ``val_metric``.
        metric_mode: ``max`` or ``min``; ``None`` counts as ``max`` for a metric.

    Returns:
        1.0, or -1.0 where larger values are better.

    Raises:
        ConfigError: If a name is unknown.
    """
    if monitor not in _MONITORS:
        raise ConfigError(unknown_name("monitor", monitor, _MONITORS))
    if metric_mode not in {None, "min", "max"}:
        raise ConfigError(unknown_name("metric_mode", str(metric_mode), ("min", "max")))
    return -1.0 if monitor == "val_metric" and metric_mode != "min" else 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveTable:
    """Curves of different lengths side by side.

    Attributes:
        trial_ids: One per row of the matrices.
        epochs: Epoch of each evaluation, shape ``(n_curves, n_points)``, NaN after the end.
        costs: Monitored value, lower is better, same shape; NaN after the end.
        train_losses: Training loss, same shape.
        lengths: Evaluations per curve, shape ``(n_curves,)``.
    """

    trial_ids: tuple[str, ...]
    epochs: NDArray[np.float64]
    costs: NDArray[np.float64]
    train_losses: NDArray[np.float64]
    lengths: NDArray[np.int64]


def curve_table(
    curves: pd.DataFrame, *, monitor: str, metric_mode: str | None, with_epoch_zero: bool = True
) -> CurveTable:
    """Return the curves of a table as matrices.

    Args:
        curves: Columns of ``curves.parquet``; rows of one trial in ascending epochs.
        monitor: ``val_loss`` or ``val_metric``.
        metric_mode: ``max`` or ``min``.
        with_epoch_zero: Whether to keep evaluations before any update. A curve that has no others
            keeps them.

    Returns:
        One row per trial, in order of first appearance.
    """
    import pandas as pd

    sign = cost_sign(monitor, metric_mode)
    codes, trial_ids = pd.factorize(curves["trial_id"])
    epochs = curves["epoch"].to_numpy(dtype=float)
    if not with_epoch_zero:
        trained = np.bincount(codes[epochs > 0], minlength=len(trial_ids)) > 0
        kept = (epochs > 0) | ~trained[codes]
        curves, codes, epochs = curves.loc[kept], codes[kept], epochs[kept]
    lengths = np.bincount(codes, minlength=len(trial_ids)).astype(np.int64)
    order = np.argsort(codes, kind="stable")
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    rows, columns = codes[order], np.arange(codes.size) - starts

    def padded(values: NDArray[np.float64]) -> NDArray[np.float64]:
        matrix = np.full((len(trial_ids), int(lengths.max(initial=0))), np.nan)
        matrix[rows, columns] = values[order]
        return matrix

    return CurveTable(
        trial_ids=tuple(str(trial_id) for trial_id in trial_ids),
        epochs=padded(epochs),
        costs=padded(sign * curves[monitor].to_numpy(dtype=float)),
        train_losses=padded(curves["train_loss"].to_numpy(dtype=float)),
        lengths=lengths,
    )


def relative_regret(found: ArrayLike, best: ArrayLike) -> NDArray[np.float64]:
    """Return how far a cost is above the best one, relative to the best one's size.

    A best cost of 0 has no size; then the difference itself is returned. NaN where no finite cost
    exists.
    """
    found, best = np.asarray(found, dtype=float), np.asarray(best, dtype=float)
    known = np.isfinite(best)
    safe = np.where(known, best, 0.0)
    size = np.where(safe == 0, 1.0, np.abs(safe))
    with np.errstate(over="ignore"):  # next to a best of nearly 0 everything is infinitely worse
        return np.where(known, (found - safe) / size, np.nan)


def finite_or_inf(losses: ArrayLike) -> NDArray[np.float64]:
    """Return losses with infinity for every value that is not finite: never the best one."""
    values = np.asarray(losses, dtype=float)
    return np.where(np.isfinite(values), values, np.inf)
