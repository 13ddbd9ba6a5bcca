"""One loss series per curve, made ready: finite values in front, smoothed, with its windows.

Every function works on all curves at once; ``n_curves, n_points`` are the shape throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sweepdiag.features.curves import FloatArray

__all__ = ["Series", "gather", "prepare_series", "smoothing_windows"]

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

_LONG_CURVE, _MEDIUM_CURVE = 20, 9


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """The finite values of one quantity, moved to the front of each row.

    Attributes:
        values: Finite values in order, 0 behind them, shape ``(n_curves, n_points)``.
        epochs: Their epochs, same shape.
        positions: Their places in the original rows, same shape.
        is_valid: Where ``values`` holds a value.
        counts: Finite values per curve, shape ``(n_curves,)``.
        windows: Evaluations per moving mean, shape ``(n_curves,)``.
        smooth: Trailing moving mean of ``values``; shorter at the start of a row.
    """

    values: FloatArray
    epochs: FloatArray
    positions: IntArray
    is_valid: BoolArray
    counts: IntArray
    windows: IntArray
    smooth: FloatArray

    @property
    def last_index(self) -> IntArray:
        """Index of each row's last value; -1 where it has none."""
        return self.counts - 1


def prepare_series(values: FloatArray, epochs: FloatArray, lengths: IntArray) -> Series:
    """Return the finite values of each row, packed and smoothed.

    Args:
        values: One quantity, shape ``(n_curves, n_points)``.
        epochs: Epochs, same shape.
        lengths: Evaluations per curve.

    Returns:
        The packed series.
    """
    columns = np.arange(values.shape[1], dtype=np.int64)
    is_finite = np.isfinite(values) & (columns < lengths[:, None])
    counts = is_finite.sum(axis=1, dtype=np.int64)
    is_valid = columns < counts[:, None]
    positions = np.broadcast_to(columns, values.shape)
    if (is_finite != is_valid).any():
        positions = np.argsort(~is_finite, axis=1, kind="stable")
        values = np.take_along_axis(values, positions, axis=1)
        epochs = np.take_along_axis(epochs, positions, axis=1)
    packed = np.where(is_valid, values, 0.0)
    windows = smoothing_windows(counts)
    return Series(
        values=packed,
        epochs=np.where(is_valid, epochs, 0.0),
        positions=positions,
        is_valid=is_valid,
        counts=counts,
        windows=windows,
        smooth=_trailing_mean(packed, windows),
    )


def smoothing_windows(counts: FloatArray | IntArray) -> IntArray:
    """Return how many evaluations each curve's moving mean spans: 5, 3 or 1 (short curves)."""
    return np.where(counts >= _LONG_CURVE, 5, np.where(counts >= _MEDIUM_CURVE, 3, 1))


def gather(rows: FloatArray, index: IntArray) -> FloatArray:
    """Return one element per row; NaN where the index is negative."""
    if rows.shape[1] == 0:
        return np.full(index.shape, np.nan)
    # take_along_axis does the same in three times the time, which counts for a few curves.
    picked = rows[np.arange(len(rows)), np.maximum(index, 0)]
    return np.where(index >= 0, picked, np.nan)


def _trailing_mean(values: FloatArray, windows: IntArray) -> FloatArray:
    """Add shifted copies instead of differencing a running sum.

    A running sum would carry one huge value (a loss of 1e30) into every later mean.
    """
    total = values.copy()
    for shift in range(1, int(windows.max(initial=1))):
        is_wide = (windows > shift)[:, None]
        total[:, shift:] += np.where(is_wide, values[:, :-shift], 0.0)
    places = np.arange(1, values.shape[1] + 1)
    return total / np.minimum(places, windows[:, None])
