"""Features of curves: checks, batches and names around a backend's core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.errors import ConfigError, unknown_name
from sweepdiag.features._numpy import features_numpy
from sweepdiag.features._oracle import features_oracle
from sweepdiag.features.table import FEATURE_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

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

    def row(self, index: int) -> FeatureMatrix:
        """Return the features of one curve."""
        rows = slice(index, index + 1)
        return FeatureMatrix(
            run_ids=self.run_ids[rows], names=self.names, values=self.values[rows]
        )


def compute_features(curves: CurveArrays, *, form: str = "numpy") -> FeatureMatrix:
    """Return every feature of every curve.

    All forms give the same numbers: counts, places and levels to the last bit, late slopes up to
    rounding. Curves that are on a GPU already are for ``array_features``.

    Features of unit ``1`` do not change when all losses of a curve are multiplied by a positive
    number. No curve's features depend on the other curves.

    Args:
        curves: The curves; NaN and infinities are allowed anywhere.
        form: ``numpy``; ``oracle`` (plain Python, slow, to test the others against); ``cupy`` (the
            CUDA kernel: copies the curves to the GPU and the features back).

    Returns:
        The features, in float64, in the order of ``FEATURES``.

    Raises:
        ConfigError: If there is no such form.
    """
    if form not in _FORMS:
        raise ConfigError(unknown_name("form", form, _FORMS))
    return FeatureMatrix(run_ids=curves.run_ids, names=FEATURE_NAMES, values=_FORMS[form](curves))


def _numpy_values(curves: CurveArrays) -> FloatArray:
    values = np.empty((len(FEATURE_NAMES), curves.n_curves))
    batch = max(1, _BATCH_ELEMENTS // max(curves.n_points, 1))
    with np.errstate(all="ignore"):
        for start in range(0, curves.n_curves, batch):
            rows = slice(start, start + batch)
            columns = features_numpy(curves.select(rows))
            for index, name in enumerate(FEATURE_NAMES):
                values[index, rows] = columns[name]
    return values.T


def _oracle_values(curves: CurveArrays) -> FloatArray:
    columns = features_oracle(curves)
    return np.array([columns[name] for name in FEATURE_NAMES], dtype=np.float64).T


def _cupy_values(curves: CurveArrays) -> FloatArray:
    from sweepdiag.features._cupy import features_from_host

    return features_from_host(curves)


_FORMS: dict[str, Callable[[CurveArrays], FloatArray]] = {
    "numpy": _numpy_values,
    "oracle": _oracle_values,
    "cupy": _cupy_values,
}
