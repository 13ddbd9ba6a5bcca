"""What it means that two forms of the features agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.features import FEATURES, compute_features

if TYPE_CHECKING:
    from sweepdiag.features import CurveArrays

_SUMMED = ("late_change", "late_change_se", "late_slope", "late_slope_se")
"""The only features with sums over many values, whose order differs between the forms."""
_SUM_TOLERANCE = 1e-11
"""Of the largest value in the sum: a few hundred roundings."""


def assert_agrees(curves: CurveArrays, values: np.ndarray) -> None:
    """Compare a form's features with the NumPy form's.

    NaN stand in the same places, infinities are the same, everything but the late slopes is equal
    to the last bit, and these are within ``1e-11`` of the curve's largest value.
    """
    expected = compute_features(curves).values
    assert values.shape == expected.shape
    for column, spec in enumerate(FEATURES):
        got, want = values[:, column], expected[:, column]
        if spec.name.endswith(_SUMMED):
            _assert_close(got, want, _sum_tolerance(curves, spec.name, spec.source), spec.name)
        else:
            np.testing.assert_array_equal(got, want, spec.name)


def _assert_close(got: np.ndarray, want: np.ndarray, tolerance: np.ndarray, name: str) -> None:
    is_finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~is_finite], want[~is_finite], name)
    distance = np.abs(got[is_finite] - want[is_finite])
    assert (distance <= tolerance[is_finite]).all(), (name, distance.max())


def _sum_tolerance(curves: CurveArrays, name: str, source: str) -> np.ndarray:
    """Return what rounding may do: relative features suffer where the level nearly cancels."""
    tolerances = []
    for losses in getattr(curves, source):
        finite = losses[np.isfinite(losses)]
        late = finite[-max(-(-finite.size // 3), min(finite.size, 5)) :]
        size = np.abs(late).max(initial=0.0)
        if name.endswith(("slope", "slope_se")) and finite.size and late.mean():
            share = size / abs(late.mean())
            tolerances.append(_SUM_TOLERANCE * share * max(share, 1.0))
        else:
            tolerances.append(_SUM_TOLERANCE * size)
    return np.array(tolerances)
