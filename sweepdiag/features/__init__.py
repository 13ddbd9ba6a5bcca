"""Features of learning curves: from arrays of losses to one row of numbers per curve."""

from sweepdiag.features._series import smoothing_windows
from sweepdiag.features.arrays import array_features
from sweepdiag.features.compute import FeatureMatrix, compute_features
from sweepdiag.features.continuation import MIN_POINTS, continue_curves
from sweepdiag.features.curves import CurveArrays
from sweepdiag.features.resample import resample_curves
from sweepdiag.features.running import RunningFeatures
from sweepdiag.features.table import FEATURES, FeatureSpec

__all__ = [
    "FEATURES",
    "MIN_POINTS",
    "CurveArrays",
    "FeatureMatrix",
    "FeatureSpec",
    "RunningFeatures",
    "array_features",
    "compute_features",
    "continue_curves",
    "resample_curves",
    "smoothing_windows",
]
