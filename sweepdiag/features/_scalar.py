"""The formulas of one curve in plain Python, from the parts that a reading of it gives.

The oracle finds the parts by looking at the whole curve, the running form point by point; what is
made of them is here. Numbers divide as in IEEE arithmetic: ``1 / 0`` is infinity, ``0 / 0`` NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "EMPTY_COLUMNS",
    "NAN",
    "Finiteness",
    "LateLine",
    "SeriesParts",
    "divide",
    "finiteness_columns",
    "late_line",
    "median",
    "pair_columns",
    "residual",
    "series_columns",
    "window_of",
]

NAN, INFINITY = math.nan, math.inf
_NORMAL_MEDIAN = 0.6744897502
_LARGEST = 1.7976931348623157e308

EMPTY_COLUMNS = {"spikes": 0.0, "spikes_recovered": 0.0, "plateau": 0.0, "drops": 0.0}
"""What is defined for a series without values; everything else is NaN."""


@dataclass(kw_only=True, slots=True)
class Finiteness:
    """Where a series had finite values; places are those of its evaluations, -1 for none."""

    n_evaluations: int = 0
    n_finite: int = 0
    first: int = -1
    last: int = -1
    first_bad: int = -1
    longest_gap: int = 0
    has_infinity: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class LateLine:
    """The line through the last third of a series."""

    first: float
    first_epoch: float
    level: float
    change: float
    change_se: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesParts:
    """What the formulas of one series are made of.

    Attributes:
        values: The finite values.
        smooth: Their trailing mean over ``window`` values.
        window: 5, 3 or 1 values.
        first_epoch: Epoch of the first value.
        last_epoch: Epoch of the last value.
        lowest: Lowest value.
        lowest_epoch: Its epoch.
        highest: Highest value.
        smooth_lowest: Lowest of ``smooth``.
        smooth_lowest_epoch: Epoch at the centre of its window.
        tail_lowest: Lowest of the last ``window`` values.
        noise_median: Median of the residuals of the second half.
        n_sign_changes: Neighbouring steps of opposite sign.
        late: The line through the last third.
    """

    values: Sequence[float]
    smooth: Sequence[float]
    window: int
    first_epoch: float
    last_epoch: float
    lowest: float
    lowest_epoch: float
    highest: float
    smooth_lowest: float
    smooth_lowest_epoch: float
    tail_lowest: float
    noise_median: float
    n_sign_changes: int
    late: LateLine


def divide(a: float, b: float) -> float:
    """Return ``a / b`` as IEEE arithmetic has it."""
    if b != 0:
        return a / b
    if a == 0 or math.isnan(a):
        return NAN
    return math.copysign(INFINITY, a) * math.copysign(1.0, b)


def window_of(n_finite: int) -> int:
    """Return how many values the moving mean of so many spans."""
    return 5 if n_finite >= 20 else 3 if n_finite >= 9 else 1


def residual(x: tuple[float, float, float], t: tuple[float, float, float]) -> float:
    """Return the middle value's distance from the line between its neighbours, scaled.

    Scaled so that independent noise of deviation 1 gives a residual of deviation 1.
    """
    weight = divide(t[1] - t[0], t[2] - t[0])
    other = 1 - weight
    distance = x[1] - other * x[0] - weight * x[2]
    return distance / math.sqrt(1 + other * other + weight * weight)


def median(ordered: Sequence[float]) -> float:
    """Return the median of sorted values; NaN of none."""
    n = len(ordered)
    if n == 0:
        return NAN
    return 0.5 * (ordered[(n + 1) // 2 - 1] + ordered[n // 2])


def finiteness_columns(finite: Finiteness, epochs: Sequence[float]) -> dict[str, float]:
    """Return the counts of values that were not finite, apart from those never evaluated."""
    reach = finite.last - finite.first + 1 if finite.n_finite else 0
    n_missing = reach - finite.n_finite
    tail = finite.n_evaluations - 1 - finite.last
    is_absent = finite.n_finite == 0 and not finite.has_infinity
    is_sparse = finite.n_finite > 1 and not finite.has_infinity and n_missing >= 0.3 * reach
    is_explained = is_sparse and tail <= finite.longest_gap
    n_bad, first_bad = 0, -1
    if finite.n_finite == 0 and finite.has_infinity:
        n_bad, first_bad = finite.n_evaluations, 0
    elif is_sparse and not is_explained:
        n_bad, first_bad = tail, finite.last + 1
    elif not (is_sparse or is_absent):
        n_bad, first_bad = n_missing + tail, finite.first_bad
    return {
        "n_finite": float(finite.n_finite),
        "n_nonfinite": float(n_bad),
        "first_nonfinite_epoch": epochs[first_bad] if n_bad else NAN,
        "ends_finite": NAN if is_absent else float(tail == 0 or is_explained),
    }


def late_line(x: Sequence[float], t: Sequence[float]) -> LateLine:
    """Return the line through the last third, or the last five values if these are more.

    Args:
        x: Finite values, at least one.
        t: Their epochs.

    Returns:
        The least-squares line.
    """
    n_used = max(-(-len(x) // 3), min(len(x), 5))
    x, t = x[-n_used:], t[-n_used:]
    level, centre = sum(x) / n_used, sum(t) / n_used
    squares = sum((b - centre) * (b - centre) for b in t)
    slope = divide(sum((b - centre) * (a - level) for a, b in zip(x, t, strict=True)), squares)
    # A power of two changes no digit and keeps the squares of huge and tiny losses in range.
    exponent = math.frexp(max(abs(a) for a in x))[1]
    misfits = [
        _shifted((a - level) - slope * (b - centre), -exponent) for a, b in zip(x, t, strict=True)
    ]
    variance = sum(misfit * misfit for misfit in misfits) / max(n_used - 2, 1)
    deviation = _shifted(math.sqrt(divide(variance, squares)), exponent)
    error = deviation if n_used >= 3 else NAN
    span = t[-1] - t[0]
    return LateLine(
        first=x[0],
        first_epoch=t[0],
        level=level,
        change=slope * span,
        change_se=error * span,
    )


def series_columns(parts: SeriesParts) -> dict[str, float]:
    """Return the features of one series with at least one finite value."""
    x, last = parts.values, parts.smooth[-1]
    noise = parts.noise_median / _NORMAL_MEDIAN
    top = NAN if math.isnan(last) else max(x[0], last)
    span, rise = top - parts.smooth_lowest, last - parts.smooth_lowest
    since = parts.smooth_lowest_epoch - parts.first_epoch
    late = parts.late
    columns = {
        "first": x[0],
        "last": x[-1],
        "last_epoch": parts.last_epoch,
        "min": parts.lowest,
        "min_epoch": parts.lowest_epoch,
        "max": parts.highest,
        "smooth_last": last,
        "smooth_min": parts.smooth_lowest,
        "smooth_min_epoch": parts.smooth_lowest_epoch,
        "smooth_min_position": divide(since, parts.last_epoch - parts.first_epoch),
        "tail_min": parts.tail_lowest,
        "rise": divide(rise, abs(parts.smooth_lowest)),
        "rise_range": divide(rise, span) if rise > 0 else 0.0,
        "rise_z": divide(rise, noise * math.sqrt(2 / parts.window)),
        "later_fall": divide(x[1] - parts.smooth_lowest, abs(x[1])) if len(x) > 1 else NAN,
        "noise": noise,
        "noise_level": divide(noise, abs(last)),
        "noise_range": divide(noise, span),
        "late_first": late.first,
        "late_first_epoch": late.first_epoch,
        "late_change": late.change,
        "late_change_se": late.change_se,
        "late_slope": divide(late.change, abs(late.level)),
        "late_slope_se": divide(late.change_se, abs(late.level)),
        "sign_changes": divide(parts.n_sign_changes, len(x) - 2) if len(x) > 2 else NAN,
    }
    return columns | _shape_columns(parts, _nan_to_num(noise), span)


def _shape_columns(parts: SeriesParts, noise: float, span: float) -> dict[str, float]:
    """Return what is measured against noise and range: spikes, drops and the flat end."""
    x, s = parts.values, parts.smooth
    spike = _larger(6.0 * noise, 0.1 * span)
    drop = _larger(5.0 * noise, 0.05 * span)
    flat = _larger(0.02 * span, 2.0 * noise / math.sqrt(parts.window))
    n_spikes = n_recovered = n_drops = 0
    was_high = False
    for i in range(1, len(x)):
        jump = x[i] - s[i - 1]
        is_high = jump > spike and jump > 0
        if is_high and not was_high:
            n_spikes += 1
            n_recovered += s[-1] <= s[i - 1] + 0.5 * jump
        was_high = is_high
    for i in range(5, len(x)):
        fall = x[i - 1] - x[i]
        n_drops += fall > drop and fall > 4.0 * (abs(x[i - 5] - x[i - 1]) / 4)
    n_flat = 0
    while n_flat < len(s) and not abs(s[-1 - n_flat] - s[-1]) > flat:
        n_flat += 1
    return {
        "spikes": float(n_spikes),
        "spikes_recovered": float(n_recovered),
        "plateau": float(n_flat),
        "drops": float(n_drops),
    }


def pair_columns(
    *,
    train_last: float,
    train_at_best: float,
    val_last: float,
    val_best: float,
    val_peak: float,
    below: tuple[int, int],
) -> dict[str, float]:
    """Return the features of training and validation loss together.

    Args:
        train_last: Smoothed training loss at the end.
        train_at_best: The same where the smoothed validation loss was lowest.
        val_last: Smoothed validation loss at the end.
        val_best: Its minimum.
        val_peak: Its maximum from the minimum on.
        below: Evaluations with validation loss below training loss, and those with both.

    Returns:
        The columns.
    """
    gap, gap_at_best = val_last - train_last, val_best - train_at_best
    has_risen = val_peak > val_best
    regained = divide(val_peak - val_last, val_peak - val_best) if has_risen else 0.0
    return {
        "gap_last": gap,
        "gap_at_val_min": gap_at_best,
        "gap_growth": gap - gap_at_best,
        "gap_ratio": divide(gap, abs(train_last)),
        "train_at_val_min": train_at_best,
        "train_change": divide(train_last - train_at_best, abs(train_at_best)),
        "val_regained": NAN if math.isnan(val_best) else regained,
        "val_below_train": divide(below[0], below[1]),
    }


def _shifted(x: float, exponent: int) -> float:
    """Return ``x * 2**exponent``, infinite where it is too large for a number."""
    half = exponent // 2
    return x * math.ldexp(1.0, half) * math.ldexp(1.0, exponent - half)


def _larger(a: float, b: float) -> float:
    """Return the larger of two numbers, passing over NaN."""
    if math.isnan(a):
        return b
    return a if math.isnan(b) else max(a, b)


def _nan_to_num(x: float) -> float:
    return 0.0 if math.isnan(x) else min(x, _LARGEST)
