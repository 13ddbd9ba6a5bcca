"""How one axis goes on in the next sweep: narrower around the region, wider past an open edge."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.recommend._coordinates import (
    LINEAR,
    LOG,
    Coordinate,
    coordinate_of,
    drawn_scale,
    is_log,
)
from sweepdiag.recommend._words import LEARNING_RATES, axis_name, join, value_text
from sweepdiag.records import Axis, AxisRange, AxisValue, Scale
from sweepdiag.space import AxisLimits, axis_limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "AxisPlan",
    "continuous_block",
    "n_values",
    "thinner",
    "unchanged_block",
    "zoomed_axis",
]

# Steps past an open edge where the best value sits (of a range; lists go one), and past any other.
_WIDENED_STEPS = 2.0
_MARGIN = 0.5
# Of what drawn points span, two steps are at most so much: the span is wide already.
_WIDENED_SHARE = 0.2
_HIGHER_RATES = math.log(10.0)
"""How far up a learning rate or a decay is widened at most, as a logarithm."""
_FEWEST_POINTS, _MOST_POINTS = 5, 8
# An axis with more values than this was sampled: its neighbours are no grid steps.
_MOST_GRID_VALUES = 20
# Lists longer than this are not refined between their values: all of them are about as good.
_MOST_REFINED_VALUES = 2
# A grid that has to shrink keeps so many values of a list.
_FEWEST_VALUES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class AxisPlan:
    """One axis in the next sweep's file.

    Attributes:
        block: Its block.
        reasons: A sentence on every change.
        best: The values that are best so far, which the next sweep has to confirm.
    """

    block: dict[str, Any]
    reasons: tuple[str, ...]
    best: tuple[AxisValue, ...] = ()


def zoomed_axis(
    axis: Axis,
    side: AxisRange,
    tried: Sequence[AxisValue],
    best: Sequence[AxisValue],
    *,
    equals: Sequence[AxisValue] = (),
    is_tie: bool,
    n_train: int | None,
    drawn_share: float | None = None,
) -> AxisPlan:
    """Return how an axis goes on after a region was found.

    Args:
        axis: The axis.
        side: Its side of the region.
        tried: The values that were tried.
        best: The values at the best configuration and at the region's centre.
        equals: The values of configurations outside the region that are as good as the best.
        is_tie: Whether nothing speaks for any value, so that the range stays as it is.
        n_train: Training samples, the largest possible batch.
        drawn_share: Where values were drawn and are nobody's choice: how far points lie apart
            along the axis, as a share of what they span.
    """
    if side.low is None or side.high is None:
        plan = _category_plan(side, tried, equals)
        return dataclasses.replace(plan, best=tuple(best))
    numbers = sorted({float(value) for value in tried})
    if drawn_share is not None:
        axis = dataclasses.replace(axis, scale=drawn_scale(numbers))
    is_range = is_continuous(axis, is_drawn=drawn_share is not None)
    ladder = _Ladder(
        axis=axis,
        tried=numbers,
        limits=axis_limits(axis.name, numbers, n_train),
        coordinate=coordinate_of(axis, numbers, is_range=is_range),
        drawn_share=drawn_share if is_range else None,
    )
    best_numbers = {float(value) for value in best}
    if is_tie or (len(numbers) == 1 and axis.name not in LEARNING_RATES):
        down = up = 0.0
    else:
        spans_axis = len(numbers) > 1 and (side.low, side.high) == (numbers[0], numbers[-1])
        down = ladder.steps_beyond(side.low, best_numbers, spans_axis=spans_axis, upper=False)
        up = ladder.steps_beyond(side.high, best_numbers, spans_axis=spans_axis, upper=True)
    if is_range:
        block = ladder.continuous(side, down, up)
    else:
        block = ladder.listed(side, down, up, best_numbers)
    reasons = _reasons(axis, block, down, up, ladder)
    return AxisPlan(block=block, reasons=reasons, best=tuple(best))


def is_continuous(axis: Axis, *, is_drawn: bool = False) -> bool:
    """Return whether an axis is a range between whose ends any value may be tried.

    Learning rates are, and what was drawn, but for whole numbers. Other values were chosen one
    by one, such as 0 among weight decays: a list that holds the best of them, which a range would
    pass by.

    Args:
        axis: The axis.
        is_drawn: Whether points were drawn. More values than a list has were drawn in any case.
    """
    if axis.scale is Scale.CATEGORICAL:
        return False
    if axis.name in LEARNING_RATES:
        return axis.scale is not Scale.LOG or all(float(value) > 0 for value in axis.values)
    if len(axis.values) <= _MOST_GRID_VALUES and not is_drawn:
        return False
    return not all(isinstance(value, int) for value in axis.values)


def n_values(block: Mapping[str, Any]) -> int:
    """Return how many values of a grid an axis's block stands for."""
    return int(block["n"]) if "n" in block else len(block.get("values", (None,)))


def thinner(plan: AxisPlan) -> AxisPlan | None:
    """Return a plan with one value less, the same ends and the best values so far.

    Args:
        plan: The plan of an axis.

    Returns:
        A shorter plan; ``None`` if no value can be spared.
    """
    block = plan.block
    if "n" in block:
        if block["n"] <= _FEWEST_POINTS:
            return None
        return dataclasses.replace(plan, block={**block, "n": block["n"] - 1})
    values = list(block.get("values", ()))
    # The lowest first: the upper end is where a widened axis is still unknown.
    spare = next((i for i in range(1, len(values) - 1) if values[i] not in plan.best), None)
    if len(values) <= _FEWEST_VALUES or spare is None:
        return None
    return dataclasses.replace(plan, block=_list_block(values[:spare] + values[spare + 1 :]))


def unchanged_block(axis: Axis) -> dict[str, Any]:
    """Return an axis's block as it was planned, for as long as a list can say it."""
    if is_continuous(axis) and len(axis.values) > _MOST_GRID_VALUES:
        numbers = [float(value) for value in axis.values]
        return continuous_block(axis, min(numbers), max(numbers), _MOST_POINTS)
    return _list_block(axis.values)


def continuous_block(axis: Axis, low: float, high: float, n: int) -> dict[str, Any]:
    """Return a range's block, with ends of three significant digits."""
    log = is_log(axis) and low > 0
    return {
        "min": _rounded(low),
        "max": _rounded(high),
        "distribution": "log_uniform_values" if log else "uniform",
        "n": n,
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ladder:
    """The tried values of an axis in ascending order, and moves along them.

    Where ratios matter, 0 is no rung: it lies infinitely far below the lowest one. Drawn points
    are no rungs either: the next value on one axis belongs to a point that may lie far away on
    the others. Their steps are the distance of as many points on a grid.
    """

    axis: Axis
    tried: list[float]
    limits: AxisLimits
    coordinate: Coordinate
    drawn_share: float | None = None

    @property
    def _rungs(self) -> list[float]:
        """The values that have a place."""
        return [value for value in self.tried if math.isfinite(self.coordinate.place(value))]

    def steps_beyond(
        self, end: float, best: set[float], *, spans_axis: bool, upper: bool
    ) -> float:
        """Return how many steps to go past an end of the region."""
        if end != (self.tried[-1] if upper else self.tried[0]):
            return _MARGIN
        if end == (self.limits.high if upper else self.limits.low):
            return 0.0
        # Beyond is unknown ground: worth two steps only if the best value points there, and not
        # if the region spans the axis, since then its values differ by next to nothing.
        if end not in best or spans_axis:
            return _MARGIN
        if self.drawn_share is not None:
            return max(_MARGIN, min(_WIDENED_STEPS, _WIDENED_SHARE / self.drawn_share))
        if upper and self.axis.name in LEARNING_RATES and len(self.tried) > 1:
            return _WIDENED_STEPS * self._reach(end, steps=_WIDENED_STEPS)
        return _WIDENED_STEPS

    def _reach(self, end: float, *, steps: float = 1.0) -> float:
        """Return what share of the steps up stays within a decade, where that is what counts.

        Beyond it learning rates mostly end in divergence, and decays leave nothing of the weights.
        """
        is_rate = self.axis.name in {*LEARNING_RATES, "weight_decay"} and self.coordinate is LOG
        return min(1.0, _HIGHER_RATES / (steps * self._step(end, upper=True))) if is_rate else 1.0

    def moved(self, end: float, steps: float, *, upper: bool) -> float:
        """Return the legal value some steps past an end."""
        if end not in self._rungs:
            # From 0 upwards: towards the lowest rung.
            end, upper = self._rungs[0], False
        size = self._step(end, upper=upper) * steps * (1 if upper else -1)
        return self.limits.clip(self.coordinate.value(self.coordinate.place(end) + size))

    def _step(self, end: float, *, upper: bool) -> float:
        """Return the distance to the next rung."""
        rungs = self._rungs
        places = np.array([self.coordinate.place(value) for value in rungs])
        if len(places) == 1:
            return abs(end) / 2.0 or 0.1 if self.coordinate is LINEAR else math.log(10.0)
        if self.drawn_share is not None:
            return float(places[-1] - places[0]) * self.drawn_share
        if len(places) > _MOST_GRID_VALUES and end in {rungs[0], rungs[-1]}:
            return float(places[-1] - places[0]) / 10.0
        gaps = np.diff(places)
        index = rungs.index(end)
        # At the last rung the step is that of the rung before.
        gap = min(index, len(gaps) - 1) if upper else max(index - 1, 0)
        return float(gaps[gap])

    def continuous(self, side: AxisRange, down: float, up: float) -> dict[str, Any]:
        low = self.moved(float(side.low or 0.0), down, upper=False)
        high = self.moved(float(side.high or 0.0), up, upper=True)
        if _rounded(low) >= _rounded(high):
            return _list_block(side.values)
        n = min(max(len(self.tried), _FEWEST_POINTS), _MOST_POINTS)
        return continuous_block(self.axis, low, high, n)

    def listed(self, side: AxisRange, down: float, up: float, best: set[float]) -> dict[str, Any]:
        kept = sorted(float(value) for value in side.values)
        numbers = set(kept)
        if len(kept) <= _MOST_REFINED_VALUES and down + up > 0:
            numbers |= {self._between(a, b) for a, b in itertools.pairwise(kept)}
        for steps, upper, end in ((down, False, kept[0]), (up, True, kept[-1])):
            # Widening adds two values, up to one step: what a larger batch or capacity costs grows
            # with it. Half a step finds where it gets worse; past the last value tried there is
            # nothing to find.
            is_open = end == (self.tried[-1] if upper else self.tried[0])
            parts = (0.5, 1.0) if steps >= 1 else () if is_open else (steps,)
            reach = self._reach(end) if steps >= 1 and upper else 1.0
            numbers |= {self._fitted(self.moved(end, reach * p, upper=upper)) for p in parts}
        known_bad = set(self.tried) - set(kept)
        legal = [self.limits.clip(value) for value in numbers - known_bad]
        whole = self._is_whole
        values: set[AxisValue] = {int(value) if whole else value for value in legal}
        return _list_block(_thinned(sorted(values, key=float), best))

    @property
    def _is_whole(self) -> bool:
        return self.axis.is_structural and all(isinstance(v, int) for v in self.axis.values)

    def _between(self, a: float, b: float) -> float:
        if a not in self._rungs:
            return self._fitted(self.moved(b, _MARGIN, upper=False))
        place = (self.coordinate.place(a) + self.coordinate.place(b)) / 2.0
        return self._fitted(self.coordinate.value(place))

    def _fitted(self, value: float) -> float:
        """Return a value in the manner of those tried: powers of two, integers or floats."""
        if not self._is_whole:
            return _rounded(value)
        if value >= 1 and all(v >= 1 and math.log2(v).is_integer() for v in self.tried):
            power = 2.0 ** round(math.log2(value))
            return power if power <= self.limits.high else 2.0 ** math.floor(math.log2(value))
        return float(round(value))


def _reasons(
    axis: Axis, block: dict[str, Any], down: float, up: float, ladder: _Ladder
) -> tuple[str, ...]:
    name = axis_name(axis.name)
    texts = []
    for steps, direction, which, value in (
        (down, "downwards", "lowest", ladder.tried[0]),
        (up, "upwards", "highest", ladder.tried[-1]),
    ):
        if steps in {0.0, _MARGIN}:
            continue
        if len(ladder.tried) == 1:
            texts.append(f"{name} is widened {direction}: only {value_text(value)} was tried")
        else:
            texts.append(
                f"{name} is widened {direction}: the best value is the {which} tried "
                f"({value_text(value)})"
            )
    if not texts and "min" in block:
        span = f"{value_text(block['min'])}\N{EN DASH}{value_text(block['max'])}"
        if down == up == 0.0:
            texts.append(f"{name} keeps {span}")
        else:
            texts.append(f"{name} zooms to {span}, the region and half a step beyond")
    return tuple(texts)


def _category_plan(
    side: AxisRange, tried: Sequence[AxisValue], equals: Sequence[AxisValue]
) -> AxisPlan:
    """Return the categories of the region, and those that are as good with other values."""
    kept = dict.fromkeys((*side.values, *equals))
    left_out = sorted({str(value) for value in tried} - {str(value) for value in kept})
    reasons = []
    if left_out:
        words = "is left out: it trains" if len(left_out) == 1 else "are left out: they train"
        reasons.append(f"{axis_name(side.name)} {join(left_out)} {words} worse")
    return AxisPlan(block=_list_block(kept), reasons=tuple(reasons))


def _thinned(values: list[AxisValue], best: set[float]) -> list[AxisValue]:
    """Return the values, or as many as a grid can bear: the ends and the best among them."""
    if len(values) <= _MOST_POINTS:
        return values
    step = (len(values) - 1) / (_MOST_POINTS - 1)
    places = {round(i * step) for i in range(_MOST_POINTS)}
    return [v for place, v in enumerate(values) if place in places or float(v) in best]


def _list_block(values: Iterable[AxisValue]) -> dict[str, Any]:
    listed = list(values)
    return {"value": listed[0]} if len(listed) == 1 else {"values": listed}


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
