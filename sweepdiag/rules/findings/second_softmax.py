"""What a second softmax leaves in the curves, where nothing is known of the model.

Cross-entropy of probabilities is at best ``ln(e + C - 1) - 1`` for a sample whose class is right,
and 1 more for one that is wrong. So once a network is sure, its loss is that number plus its share
of errors, in training and in validation alike. Nothing else pays exactly 1 for an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from sweepdiag.features.curves import FloatArray

__all__ = ["SecondSoftmax", "find_second_softmax"]

_SURE = 0.95
"""Accuracy from which networks are sure of nearly all samples."""

_FEWEST_TRIALS, _FEWEST_EVALUATIONS = 3, 12
_CLASSES = range(3, 21)
"""Numbers of classes whose floors are far enough from each other: those of 20 and 21 by 0.045."""

_BELOW, _ABOVE = 0.005, 0.02
"""How far the median may lie from the floor: sure networks come within 0.01 of it from above."""

_MOST_SPREAD = 0.02
"""Distance between the quartiles."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SecondSoftmax:
    """The curves of a softmax before a loss that takes one itself.

    Attributes:
        n_classes: Number of classes.
        floor: What the loss cannot fall below.
        offset: What losses have beyond the share of errors, in the median.
        n_evaluations: On how many evaluations that rests.
        n_trials: Of how many trainings.
    """

    n_classes: int
    floor: float
    offset: float
    n_evaluations: int
    n_trials: int


def find_second_softmax(curves: pd.DataFrame) -> SecondSoftmax | None:
    """Return what a second softmax left in the curves of a sweep; ``None`` if it did not.

    Args:
        curves: Columns of ``curves.parquet``; the metric is an accuracy in [0, 1].
    """
    if not {"train_metric", "val_metric"} <= set(curves.columns):
        return None
    offsets, n_trials = [], []
    for part in ("train", "val"):
        loss = curves[f"{part}_loss"].to_numpy(dtype=float)
        accuracy = curves[f"{part}_metric"].to_numpy(dtype=float)
        if not np.nanmax(accuracy, initial=0.0) <= 1:
            return None
        is_sure = np.isfinite(loss) & (accuracy >= _SURE)
        offsets.append(loss[is_sure] - (1 - accuracy[is_sure]))
        n_trials.append(curves["trial_id"][is_sure].nunique())
    if min(map(len, offsets)) < _FEWEST_EVALUATIONS or min(n_trials) < _FEWEST_TRIALS:
        return None
    n_classes = {_n_classes(part) for part in offsets}
    found = n_classes.pop()
    if found is None or n_classes:
        return None
    return SecondSoftmax(
        n_classes=found,
        floor=_floor(found),
        offset=float(np.median(np.concatenate(offsets))),
        n_evaluations=sum(map(len, offsets)),
        n_trials=min(n_trials),
    )


def _n_classes(offsets: FloatArray) -> int | None:
    low, median, high = np.quantile(offsets, (0.25, 0.5, 0.75))
    if high - low > _MOST_SPREAD:
        return None
    fitting = (n for n in _CLASSES if -_BELOW <= median - _floor(n) <= _ABOVE)
    return next(fitting, None)


def _floor(n_classes: int) -> float:
    return math.log(math.e + n_classes - 1) - 1
