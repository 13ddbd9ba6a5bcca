"""Metrics as Sacred writes them: steps, times and values of each, in one object."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sweepdiag.readers.numbers import parse_numbers
from sweepdiag.readers.scalars import Scalar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["sacred_scalars"]

_STEPS, _VALUES, _TIMES = "steps", "values", "timestamps"


def sacred_scalars(content: Any) -> list[Scalar]:
    """Return the scalars of a document in the order in which they were logged.

    Args:
        content: What the file holds; each metric of Sacred's is an object of equally long lists.

    Returns:
        The scalars, without values that are no numbers, such as tables; an empty list if it is no
        such document.
    """
    if not isinstance(content, dict) or not all(map(_is_metric, content.values())):
        return []
    scalars = [one for tag, metric in content.items() for one in _scalars(tag, metric)]
    return sorted(scalars, key=lambda scalar: (scalar.time, scalar.step))


def _is_metric(metric: Any) -> bool:
    if not isinstance(metric, dict):
        return False
    steps, values = metric.get(_STEPS), metric.get(_VALUES)
    return isinstance(steps, list) and isinstance(values, list) and len(steps) == len(values)


def _scalars(tag: str, metric: Mapping[str, Any]) -> Iterator[Scalar]:
    times = metric.get(_TIMES) or [None] * len(metric[_STEPS])
    for step, time, value in zip(metric[_STEPS], times, metric[_VALUES], strict=False):
        if isinstance(step, int | float) and isinstance(value, int | float):
            (place, number), _, _ = parse_numbers([step, value])
            yield Scalar(
                time=_seconds(time, place), step=float(place), tag=tag, value=float(number)
            )


def _seconds(time: Any, step: float) -> float:
    """Return a time in seconds; where it is none, the steps tell the order."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except (TypeError, ValueError):
        return float(step)
