"""Curves as they might go on: from an early part to the whole length of a training.

A verdict on half a curve is worth something if every way in which the curve can be expected to go
on ends with that same verdict.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.features.resample import random_keys, uniform_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sweepdiag.features.curves import CurveArrays, FloatArray

__all__ = ["MIN_POINTS", "continue_curves"]

MIN_POINTS = 5
"""Evaluations from which on a level, a slope and their errors can be told."""

_WINDOW = 6
"""Values that a line is laid through at least."""
_GROWTH = 1.25
_AS_NOISY = 1.5
"""The line goes back as far as its residuals are no larger than so many times those of the least:
what has long been at one level has a better known level, and no slope by chance."""
_WAYS = ((0.0, False), (1.0, False), (2.0, False), (0.0, True), (0.0, True), (0.0, True))
"""In turn, what the late slope is multiplied with, and whether the curve wanders. It stays where
it is, goes on as it does, or goes twice as fast, since trainings that begin slowly gather speed
before they level off. What blew up may wander back: this has as many continuations."""
_LASTING = 0.5
"""Share of a step that lasts: of independent noise, half is undone by the next on average."""
_LARGEST_LOG = 700.0


def continue_curves(
    curves: CurveArrays,
    *,
    epochs: FloatArray,
    n_continuations: int,
    is_positive: NDArray[np.bool_],
) -> CurveArrays:
    """Return each curve several times over, continued to the end of the training.

    A straight line is laid through the last values (of the logarithms where the noise is relative
    to the level): 6, and as many more as it describes as well. In turn, a continuation stays at
    the mean of these values, follows the line, or falls or rises twice as steeply; and as many
    wander from the mean by half of the curve's last steps, drawn at random. Level and slope are
    drawn from their standard errors, and residuals of the line, the same places for training and
    validation, are added. What is not finite stays so. Random numbers depend on the curve's name
    alone.

    Args:
        curves: Curves that all have the same evaluations, at least 5 of them.
        epochs: Epochs of all evaluations of the whole training, shape ``(n_points,)``; the
            curves' own come first.
        n_continuations: Continuations of each curve.
        is_positive: Per curve, whether the noise is relative to the level.

    Returns:
        ``n_curves * n_continuations`` curves, all continuations of the first curve first, with
        ``n_points`` evaluations each. Metrics are NaN.

    Raises:
        ValueError: If the curves are too short, or differ in length.
    """
    n_known, n_points = curves.n_points, len(epochs)
    if n_known < MIN_POINTS or (curves.lengths != n_known).any() or n_points < n_known:
        message = f"curves must all have n evaluations, {MIN_POINTS} <= n <= {n_points}"
        raise ValueError(message)
    n_rows = curves.n_curves * n_continuations
    keys = random_keys(curves.run_ids, n_continuations)
    draws = _Draws(keys, n_continuations, n_points - n_known)
    losses = [
        _continued(values, curves.epochs[0], epochs[n_known:], draws, is_positive)
        for values in (curves.train_loss, curves.val_loss)
    ]
    return dataclasses.replace(
        curves,
        run_ids=tuple(np.repeat(np.asarray(curves.run_ids, dtype=object), n_continuations)),
        epochs=np.tile(epochs, (n_rows, 1)),
        train_loss=losses[0],
        val_loss=losses[1],
        val_metric=np.full((n_rows, n_points), np.nan),
        lengths=np.full(n_rows, n_points, dtype=np.int64),
    )


class _Draws:
    """Random numbers of all continuations, shared by training and validation loss.

    Attributes:
        n_continuations: Of each curve.
        factors: What the slope is multiplied with, shape ``(n_rows, 1)``.
        wanders: Which continuations wander, shape ``(n_rows, 1)``.
        deviates: Standard normal, shape ``(n_rows, 1)``: how far level or slope are off.
        places: In [0, 1), shape ``(n_rows, n_future)``: whose residual, or step, is added.
    """

    def __init__(self, keys: NDArray[np.uint64], n_continuations: int, n_future: int) -> None:
        self.n_continuations = n_continuations
        ways = np.resize(_WAYS, (n_continuations, 2))
        self.factors, wanders = np.tile(ways, (len(keys) // n_continuations, 1)).T[:, :, None]
        self.wanders: NDArray[np.bool_] = wanders > 0
        numbers = uniform_numbers(keys, n_future + 2)
        # Box and Muller, 1958.
        radius = np.sqrt(-2.0 * np.log1p(-numbers[:, :1]))
        self.deviates = radius * np.cos(2.0 * np.pi * numbers[:, 1:2])
        self.places = numbers[:, 2:]

    def repeat(self, of_curves: NDArray[Any]) -> NDArray[Any]:
        """Return what is known of each curve once for each of its continuations."""
        return np.repeat(of_curves, self.n_continuations, axis=0)


def _continued(
    values: FloatArray,
    known: FloatArray,
    future: FloatArray,
    draws: _Draws,
    is_positive: NDArray[np.bool_],
) -> FloatArray:
    """Return one loss of all continuations, shape ``(n_rows, n_known + n_future)``."""
    window = values[:, -min(len(known) - 1, _WINDOW) :]
    is_finite: NDArray[np.bool_] = np.isfinite(window).min(axis=1)
    is_log: NDArray[np.bool_] = is_positive & (window > 0).all(axis=1) & is_finite
    with np.errstate(all="ignore"):
        scaled = np.where(is_log[:, None], np.log(values), values)
        line = _longest_line(scaled, known)
        levels = draws.repeat(line.level) + (draws.factors == 0.0) * draws.deviates * draws.repeat(
            line.level_error
        )
        slopes = draws.repeat(line.slope) + draws.deviates * draws.repeat(line.slope_error)
        path = levels + draws.factors * slopes * (future - draws.repeat(line.centre))
        path += _drawn(draws, line.residuals, line.width)
        steps = np.diff(scaled[:, -window.shape[1] :], axis=1)
        steps -= steps.mean(axis=1, keepdims=True)
        path += draws.wanders * _LASTING * np.cumsum(_drawn(draws, steps), axis=1)
        path = np.where(
            draws.repeat(is_log)[:, None],
            np.exp(np.clip(path, -_LARGEST_LOG, _LARGEST_LOG)),
            path,
        )
    before = draws.repeat(values)
    path = np.where(draws.repeat(is_finite)[:, None], path, before[:, -1:])
    return np.concatenate([before, path], axis=1)


def _drawn(draws: _Draws, rows: FloatArray, width: NDArray[np.int64] | None = None) -> FloatArray:
    """Return drawn values of each curve's row, of the last ``width`` of them."""
    n_last = np.full((len(rows), 1), rows.shape[1]) if width is None else width
    places = rows.shape[1] - 1 - (draws.places * draws.repeat(n_last)).astype(np.int64)
    return np.take_along_axis(draws.repeat(rows), places, axis=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """The least-squares line through the last values of each curve.

    All have shape ``(n_curves, 1)`` but ``residuals``.

    Attributes:
        width: How many values it goes through.
        centre: The mean of their epochs.
        level: Their mean.
        slope: Per epoch.
        level_error: Standard error of the level.
        slope_error: Standard error of the slope.
        residuals: Shape ``(n_curves, n_known)``, enlarged by what two fitted numbers took from
            their variance; 0 before the line begins.
    """

    width: NDArray[np.int64]
    centre: FloatArray
    level: FloatArray
    slope: FloatArray
    level_error: FloatArray
    slope_error: FloatArray
    residuals: FloatArray


def _longest_line(values: FloatArray, known: FloatArray) -> _Line:
    """Return the line that goes back as far as it describes a curve as well as its last values."""
    longest = line = _line_through(values, known, min(len(known) - 1, _WINDOW))
    limit = _AS_NOISY * line.level_error * np.sqrt(line.width)
    is_good = np.ones_like(limit, dtype=bool)
    while int(line.width[0, 0]) < len(known) - 1 and is_good.any():
        width = min(math.ceil(_GROWTH * int(line.width[0, 0])), len(known) - 1)
        line = _line_through(values, known, width)
        is_good &= line.level_error * np.sqrt(line.width) <= limit
        chosen = {
            field.name: np.where(is_good, getattr(line, field.name), getattr(longest, field.name))
            for field in dataclasses.fields(_Line)
        }
        longest = _Line(**chosen)
    return longest


def _line_through(values: FloatArray, known: FloatArray, width: int) -> _Line:
    """Return the line through the last ``width`` values of each row."""
    at, last = known[-width:], values[:, -width:]
    distances = at - at.mean()
    squares = (distances**2).sum()
    level = last.mean(axis=1, keepdims=True)
    slope = (last * distances).sum(axis=1, keepdims=True) / squares
    residuals = (last - level - slope * distances) * np.sqrt(width / (width - 2))
    spread = np.sqrt((residuals**2).mean(axis=1, keepdims=True))
    return _Line(
        width=np.full(level.shape, width),
        centre=np.full(level.shape, at.mean()),
        level=level,
        slope=slope,
        level_error=spread / np.sqrt(width),
        slope_error=spread / np.sqrt(squares),
        residuals=np.concatenate([np.zeros_like(values[:, :-width]), residuals], axis=1),
    )
