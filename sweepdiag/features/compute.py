"""Features of curves: checks, batches and names around a backend's core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.errors import unknown_name
from sweepdiag.features._numpy import features_numpy
from sweepdiag.features.table import FEATURE_NAMES

if TYPE_CHECKING:
    from sweepdiag.features.curves import CurveArrays, FloatArray

__all__ = ["FeatureMatrix", "compute_features"]

_BATCH_ELEMENTS = 2**16
"""Values per series and batch: small enough for temporaries to stay in the processor's cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureMatrix:
    """The features of many curves.

    Attributes:
        run_ids: One name per curve.
        names: Names of the columns, as in ``FEATURES``.
        values: float64, shape ``(n_curves, n_features)``; NaN where a feature is not defined.
    """

    run_ids: tuple[str, ...]
    names: tuple[str, ...]
    values: FloatArray

    @property
    def n_curves(self) -> int:
        """Number of curves."""
        return len(self.run_ids)

    def column(self, name: str) -> FloatArray:
        """Return one feature of all curves.

        Args:
            name: One of ``names``.

        Returns:
            A view of shape ``(n_curves,)``.

        Raises:
            KeyError: If there is no such feature; the message names the nearest one.
        """
        if name not in self.names:
            raise KeyError(unknown_name("feature", name, self.names))
        return self.values[:, self.names.index(name)]


def compute_features(curves: CurveArrays) -> FeatureMatrix:
    """Return every feature of every curve.

    Features of unit ``1`` do not change when all losses of a curve are multiplied by a positive
    number. No curve's features depend on the other curves.

    Args:
        curves: The curves; NaN and infinities are allowed anywhere.

    Returns:
        The features, in float64, in the order of ``FEATURES``.
    """
    values = np.empty((len(FEATURE_NAMES), curves.n_curves))
    batch = max(1, _BATCH_ELEMENTS // max(curves.n_points, 1))
    with np.errstate(all="ignore"):
        for start in range(0, curves.n_curves, batch):
            rows = slice(start, start + batch)
            columns = features_numpy(curves.select(rows))
            for index, name in enumerate(FEATURE_NAMES):
                values[index, rows] = columns[name]
    return FeatureMatrix(run_ids=curves.run_ids, names=FEATURE_NAMES, values=values.T)
