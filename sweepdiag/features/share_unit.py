"""What a share of a monitored value is a share of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from sweepdiag.features.curves import FloatArray

    _Values = TypeVar("_Values", float, NDArray[np.float64])

__all__ = ["ShareUnit", "known_floor", "monitored_unit", "unit_of_loss", "unit_of_metric"]

_LEARNED = "all that was learned"

_ROUNDING = 1e-6
"""How far below its floor single precision may carry a loss, relative to it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShareUnit:
    """What "2 % better" is 2 % of: how far a value is from where there is nothing left to gain.

    A loss of 0.05 that falls by 2 % has lost little. An accuracy of 0.95 that rises by 2 % has
    lost four tenths of its errors, so that what counts there is what it lacks of 1. Values
    without a bound may have any level, so that what counts is how far they are from the start.

    Attributes:
        origin: The value at which nothing is left to gain; ``None`` if there is none.
        start: What trainings typically start from.
        words: What the shares are taken of, for a sentence.
    """

    origin: float | None
    start: float
    words: str

    def at(self, value: _Values, *, start: float | None = None) -> _Values:
        """Return the whole of which shares are taken at a value.

        Args:
            value: A monitored value, or several.
            start: What its own training started from, for values without a bound.

        Returns:
            A distance in the monitored quantity's unit, never negative.
        """
        if self.origin is not None:
            return abs(value - self.origin)
        return abs(value - (self.start if start is None else start))


def unit_of_loss(floor: float | None, *, start: float) -> ShareUnit:
    """Return what shares of the validation loss are taken of.

    Args:
        floor: The lowest value it can take, if there is one.
        start: What trainings typically start from.

    Returns:
        The unit.
    """
    return ShareUnit(origin=floor, start=start, words=_LEARNED if floor is None else "val_loss")


def unit_of_metric(values: FloatArray, *, larger_is_better: bool, start: float) -> ShareUnit:
    """Return what shares of the metric are taken of, as its values tell.

    Values within [0, 1] of which larger ones are better are shares themselves, such as an
    accuracy. A metric that falls below zero is taken to have no bound.

    Args:
        values: All values of the metric in a sweep; those that are not finite do not count.
        larger_is_better: Whether larger ones are better.
        start: What trainings typically start from.

    Returns:
        The unit.
    """
    values = values[np.isfinite(values)]
    if (values < 0).any():
        return ShareUnit(origin=None, start=start, words=_LEARNED)
    if larger_is_better and values.size and (values <= 1).all():
        return ShareUnit(origin=1.0, start=start, words="what val_metric lacks of 1")
    return ShareUnit(origin=0.0, start=start, words="val_metric")


def known_floor(curves: pd.DataFrame, floor: float | None) -> float | None:
    """Return the lowest value a loss can take, unless its values tell otherwise.

    Args:
        curves: Columns of ``curves.parquet``.
        floor: The floor that is known or assumed; ``None`` if there is none.

    Returns:
        ``floor``; ``None`` where a loss lies below it by more than rounding.
    """
    if floor is None:
        return None
    losses = curves[["train_loss", "val_loss"]].to_numpy(dtype=float)
    lowest = losses[np.isfinite(losses)].min(initial=np.inf)
    return floor if lowest >= floor - _ROUNDING * max(1.0, abs(floor)) else None


def monitored_unit(
    curves: pd.DataFrame, *, monitor: str, metric_mode: str | None, loss_floor: float | None
) -> ShareUnit:
    """Return what shares of the monitored quantity are taken of.

    Args:
        curves: Columns of ``curves.parquet``.
        monitor: ``val_loss`` or ``val_metric``.
        metric_mode: ``max`` or ``min``.
        loss_floor: The lowest value the loss can take, if there is one.

    Returns:
        The unit.
    """
    finite = curves.loc[np.isfinite(curves[monitor]), ["trial_id", monitor]]
    start = float(finite.drop_duplicates("trial_id")[monitor].median())
    if monitor == "val_loss":
        return unit_of_loss(known_floor(curves, loss_floor), start=start)
    return unit_of_metric(
        curves[monitor].to_numpy(dtype=float),
        larger_is_better=metric_mode == "max",
        start=start,
    )
