"""In what the steps of an axis are equal: sums, ratios, or ratios of what is missing to 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.recommend._words import LEARNING_RATES
from sweepdiag.records import Axis, Scale

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["LINEAR", "LOG", "Coordinate", "coordinate_of", "drawn_scale", "is_log"]

# Distances on an axis from 0 that grow so much, from the first to the last, are ratios.
_GROWING_GAPS = 4.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Coordinate:
    """In what the steps of an axis are equal: the place of a value, and the value at a place."""

    place: Callable[[float], float]
    value: Callable[[float], float]


LINEAR = Coordinate(place=float, value=float)
LOG = Coordinate(place=lambda v: math.log(v) if v > 0 else -math.inf, value=math.exp)
# Momentum m averages over 1 / (1 - m) steps.
BELOW_ONE = Coordinate(
    place=lambda v: -math.log(1.0 - v) if v < 1 else math.inf, value=lambda p: 1.0 - math.exp(-p)
)


def coordinate_of(axis: Axis, tried: Sequence[float], *, is_range: bool) -> Coordinate:
    """Return in what the steps of an axis are equal."""
    if axis.name == "momentum" and not is_range:
        return BELOW_ONE
    if is_log(axis) and tried[0] > 0:
        return LOG
    if is_range:
        return LINEAR
    is_from_zero = tried[0] == 0 < tried[-1]
    if is_from_zero and (axis.name == "weight_decay" or _grows_by_factors(tried)):
        return LOG
    return LINEAR


def drawn_scale(values: Sequence[float]) -> Scale:
    """Return the scale on which drawn values lie evenly: their median is nearer to its middle."""
    low, middle, high = values[0], float(np.median(values)), values[-1]
    if low <= 0 or low == high:
        return Scale.LINEAR
    linear = abs((middle - low) / (high - low) - 0.5)
    log = abs(math.log(middle / low) / math.log(high / low) - 0.5)
    return Scale.LOG if log < linear else Scale.LINEAR


def _grows_by_factors(values: Sequence[float]) -> bool:
    """Return whether distances grow along an axis that begins with 0: 0, 0.001, 0.01, 0.1."""
    gaps = np.diff(values)
    return len(gaps) > 1 and float(gaps[-1]) >= _GROWING_GAPS * float(gaps[0])


def is_log(axis: Axis) -> bool:
    # Learning rates and counts that lie close together count as linear; the next ones may not.
    return axis.scale is Scale.LOG or axis.name in LEARNING_RATES or _is_count(axis)


def _is_count(axis: Axis) -> bool:
    """Return whether an axis counts something, such as samples or units: ratios matter there."""
    if axis.scale is Scale.CATEGORICAL or not axis.is_structural:
        return False
    return all(float(value) >= 1 and float(value).is_integer() for value in axis.values)
