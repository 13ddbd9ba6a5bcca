"""Places along an axis: one per value, or bins where a sampler chose the values."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.plotting._text import distinct_labels
from sweepdiag.records import Scale

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from numpy.typing import NDArray

    from sweepdiag.records import Axis

__all__ = ["MAX_BINS", "NO_AXIS", "Slots", "find_slots", "make_slots"]

MAX_BINS = 10
"""Most bins along an axis."""

_MAX_UNBINNED = 12
_MAX_VALUES = 150
_LOG_STEPS = (1 / 8, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Slots:
    """The places along one axis of a plot, from low to high.

    Attributes:
        name: The axis; empty where there is none to show.
        labels: A short text for each place.
        values: The values, one per place; empty when binned.
        edges: Where the bins meet, one more than places; empty when not binned.
        edge_labels: A short text for each edge.
    """

    name: str
    labels: tuple[str, ...]
    values: tuple[Any, ...] = ()
    edges: tuple[float, ...] = ()
    edge_labels: tuple[str, ...] = ()

    @property
    def is_binned(self) -> bool:
        """Whether a place stands for a range of values."""
        return bool(self.edges)

    def __len__(self) -> int:
        return len(self.labels)


NO_AXIS = Slots(name="", labels=("",), values=(None,))
"""Stands in for a missing axis: a single place for everything."""


def make_slots(axis: Axis, column: pd.Series[Any], *, is_grid: bool) -> Slots:
    """Return the places along an axis.

    Args:
        axis: The axis.
        column: Its value in each configuration; values that were not planned get a place too.
        is_grid: Whether every combination of values was planned, so that many values are meant.

    Returns:
        One place per value; at most `MAX_BINS` bins where a sampler chose more than 12 values.
    """
    values = _distinct(axis, column)
    is_numeric = axis.scale is not Scale.CATEGORICAL
    limit = _MAX_VALUES if is_grid else _MAX_UNBINNED
    if not is_numeric or len(values) <= limit:
        return Slots(name=axis.name, labels=distinct_labels(values), values=values)
    is_log = axis.scale is Scale.LOG and values[0] > 0
    edges = _log_edges(values[0], values[-1]) if is_log else _linear_edges(values[0], values[-1])
    texts = distinct_labels(edges)
    labels = tuple(f"{low} to {high}" for low, high in itertools.pairwise(texts))
    return Slots(name=axis.name, labels=labels, edges=edges, edge_labels=texts)


def find_slots(slots: Slots, column: Iterable[Any]) -> NDArray[np.intp]:
    """Return the place of each value, shape ``(n_values,)``; -1 for values without one."""
    if slots.is_binned:
        numbers = np.asarray([_number(value) for value in column], dtype=float)
        inner = np.asarray(slots.edges[1:-1])
        # A hair of tolerance keeps a value that sits on an edge in the bin above it.
        found = np.searchsorted(inner * (1 - 1e-9), numbers, side="right")
        return np.where(np.isnan(numbers), -1, found).astype(np.intp)
    places = {_key(value): index for index, value in enumerate(slots.values)}
    return np.asarray([places.get(_key(value), -1) for value in column], dtype=np.intp)


def _distinct(axis: Axis, column: pd.Series[Any]) -> tuple[Any, ...]:
    """Return planned and found values, each once: ascending, or in the planned order."""
    by_key = {_key(value): value for value in (*axis.values, *column.dropna().unique())}
    values = list(by_key.values())
    if axis.scale is not Scale.CATEGORICAL:
        values.sort(key=float)
    return tuple(values)


def _key(value: Any) -> Any:
    """Return what makes two values the same: 12 digits of a number, the text of anything else."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    number = _number(value)
    return str(value) if math.isnan(number) else float(f"{number:.11e}")


def _number(value: Any) -> float:
    if isinstance(value, int | float | np.integer | np.floating):
        return float(value)
    return math.nan


def _log_edges(low: float, high: float) -> tuple[float, ...]:
    """Return at most `MAX_BINS` + 1 edges, evenly spaced in the exponent."""
    first, last = math.log10(low), math.log10(high)
    for step in (*_LOG_STEPS, *range(2, 700)):
        start = math.floor(first / step + 1e-9)
        stop = max(math.ceil(last / step - 1e-9), start + 1)
        if stop - start <= MAX_BINS:
            return tuple(float(f"{10 ** (k * step):.3g}") for k in range(start, stop + 1))
    return (low, high)


def _linear_edges(low: float, high: float) -> tuple[float, ...]:
    """Return at most `MAX_BINS` + 1 edges at multiples of 1, 2 or 5 times a power of ten."""
    unit = 10.0 ** math.floor(math.log10((high - low) / MAX_BINS))
    for factor in (1, 2, 5, 10, 20):
        step = factor * unit
        start = math.floor(low / step + 1e-9)
        stop = max(math.ceil(high / step - 1e-9), start + 1)
        if stop - start <= MAX_BINS:
            return tuple(float(f"{k * step:.9g}") for k in range(start, stop + 1))
    return (low, high)
