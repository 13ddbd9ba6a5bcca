"""Medians, quantiles and examples of many curves at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.plotting._losses import loss_unit

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = [
    "ExampleCurve",
    "choose_examples",
    "common_epochs",
    "have_ended",
    "loss_matrix",
    "quantiles",
]

_MAX_POINTS = 200
_N_TYPICAL = 2
_LEAST_GOING_ON = 0.5
# Far larger than any loss in its unit: stands for one that is not finite while ranks are taken.
_BEYOND = 1e250


@dataclass(frozen=True, kw_only=True)
class ExampleCurve:
    """One curve of a class: ``kind`` is ``typical`` or ``worst``."""

    trial_id: str
    kind: str
    epochs: NDArray[np.float64]
    losses: NDArray[np.float64]


def common_epochs(epochs: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the epochs of the panels, and for each point the index of its epoch."""
    distinct, index = np.unique(epochs, return_inverse=True)
    if distinct.size <= _MAX_POINTS:
        return distinct, index.astype(np.intp)
    width = (distinct[-1] - distinct[0]) / (_MAX_POINTS - 1)
    bins = np.rint((epochs - distinct[0]) / width).astype(np.intp)
    return np.linspace(distinct[0], distinct[-1], _MAX_POINTS), bins


def loss_matrix(
    own: pd.DataFrame, column: str, n_points: int
) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """Return the trials and their losses, shape ``(n_trials, n_points)``.

    NaN where there is no evaluation, infinity where the loss is not finite.
    """
    import pandas as pd

    codes, trial_ids = pd.factorize(own["trial_id"])
    losses = own[column].to_numpy(dtype=float, na_value=np.nan)
    matrix = np.full((len(trial_ids), n_points), np.nan)
    matrix[codes, own["bin"].to_numpy()] = np.where(np.isfinite(losses), losses, np.inf)
    return np.asarray(trial_ids, dtype=object), matrix


def quantiles(matrix: NDArray[np.float64], shares: tuple[float, ...]) -> list[NDArray[np.float64]]:
    """Return quantiles over the curves; NaN where they are not finite.

    A loss that is not finite counts as the largest: a median that ends says that half of the
    curves have blown up, or have ended. Of those that go on longer it would say too much: they
    are not the ones that it began with.
    """
    has_few_left = have_ended(matrix)
    unit = loss_unit(matrix)
    result = []
    for values in np.nanquantile(_bounded(matrix, unit), shares, axis=0):
        values[(np.abs(values) > _BEYOND**0.5) | has_few_left] = np.nan
        result.append(values * unit)
    return result


def _bounded(matrix: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
    """Return losses in a unit, and a number far beyond them for those that are not finite."""
    return np.where(np.isinf(matrix), _BEYOND, matrix / unit)


def have_ended(matrix: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return at which points more than half of the curves have ended."""
    is_known = ~np.isnan(matrix)
    goes_on = np.logical_or.accumulate(is_known[:, ::-1], axis=1)[:, ::-1]
    n_curves = max(int(is_known.any(axis=1).sum()), 1)
    is_over: NDArray[np.bool_] = goes_on.sum(axis=0) < _LEAST_GOING_ON * n_curves
    return is_over


def choose_examples(
    trial_ids: NDArray[np.object_],
    val: NDArray[np.float64],
    median: NDArray[np.float64],
    own: pd.DataFrame,
) -> tuple[ExampleCurve, ...]:
    """Return the curves closest to the median, and the one highest above it."""
    known = np.isfinite(median)
    if len(trial_ids) < 2 or not known.any():
        return ()
    unit = loss_unit(val)
    val, median = _bounded(val, unit), median / unit
    scale = np.nanmax(np.abs(median[known])) or 1.0
    # The root tames spikes, and curves that are not finite keep their order.
    gaps = (val[:, known] - median[known]) / scale
    rooted = np.sign(gaps) * np.sqrt(np.abs(gaps))
    is_empty = np.isnan(rooted).all(axis=1)
    rooted[is_empty] = 0.0
    distance = np.where(is_empty, np.inf, np.nanmean(np.abs(rooted), axis=1))
    worst = int(np.nanmean(rooted, axis=1).argmax())
    typical = [int(row) for row in np.argsort(distance, kind="stable") if row != worst]
    chosen = [(row, "typical") for row in typical[:_N_TYPICAL]] + [(worst, "worst")]
    return tuple(_example(str(trial_ids[row]), kind, own) for row, kind in chosen)


def _example(trial_id: str, kind: str, own: pd.DataFrame) -> ExampleCurve:
    points = own[own["trial_id"].astype(str) == trial_id].sort_values("epoch")
    losses = points["val_loss"].to_numpy(dtype=float, na_value=np.nan)
    return ExampleCurve(
        trial_id=trial_id,
        kind=kind,
        epochs=points["epoch"].to_numpy(dtype=float),
        losses=np.where(np.isfinite(losses), losses, np.nan),
    )
