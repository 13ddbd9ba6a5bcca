"""How values, axes and lists are written in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sweepdiag.space import LEARNING_RATES
from sweepdiag.wording import format_value as value_text
from sweepdiag.wording import join, percent

if TYPE_CHECKING:
    from sweepdiag.records import AxisRange

__all__ = [
    "LEARNING_RATES",
    "axis_name",
    "join",
    "percent_of",
    "range_text",
    "sentence",
    "value_text",
]

_LONG_NAMES = {"lr": "learning rate"}


def axis_name(name: str) -> str:
    """Return an axis's name as words: ``lr`` is the learning rate, ``batch_size`` batch size."""
    return _LONG_NAMES.get(name, name.replace("_", " "))


def range_text(side: AxisRange) -> str:
    """Return an axis's recommended values: ``learning rate 0.001-0.1``."""
    name = axis_name(side.name)
    if side.low is None or side.high is None:
        return f"{name} {join([value_text(value) for value in side.values], last='or')}"
    if side.low == side.high:
        return f"{name} {value_text(side.low)}"
    return f"{name} {value_text(side.low)}\N{EN DASH}{value_text(side.high)}"


def percent_of(difference: float, size: float) -> str:
    """Return a difference relative to a size as a percentage, or as it is where the size is 0."""
    if size == 0 or not math.isfinite(difference / size):
        return value_text(difference, digits=2)
    return percent(difference / abs(size))


def sentence(text: str) -> str:
    """Return text with a capital first letter and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
