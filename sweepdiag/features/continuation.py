"""Curves as they might go on: from an early part to the whole length of a training.

A verdict on half a curve is worth something if every way in which the curve can be expected to go
on ends with that same verdict.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.features.resample import random_keys, uniform_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sweepdiag.features.curves import CurveArrays, FloatArray

__all__ = ["MIN_POINTS", "continue_curves"]

MIN_POINTS = 5
"""Evaluations from which on a level, a slope and their errors can be told."""

_WINDOW = 6
_SLOPES = (0.0, 1.0, 2.0)
"""What the late slope is multiplied with: a curve stays where it is, goes on as it does, or goes
twice as fast, since trainings that begin slowly gather speed before they level off."""
_LARGEST_LOG = 700.0


def continue_curves(
    curves: CurveArrays,
    *,
    epochs: FloatArray,
    n_continuations: int,
    is_positive: NDArray[np.bool_],
) -> CurveArrays:
    """Return each curve several times over, continued to the end of the training.

    A straight line is laid through the last 6 values (all but the first where there are fewer);
    of the logarithms where the noise is relative to the level. In turn, a continuation stays at
    the mean of these values, follows the line, or falls or rises twice as steeply. Level and
    slope are drawn from their standard errors, and residuals of the line, the same places for
    training and validation, are added. What is not finite stays so. Random numbers depend on the
    curve's name alone.

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
        deviates: Standard normal, shape ``(n_rows, 1)``: how far level or slope are off.
        places: In [0, 1), shape ``(n_rows, n_future)``: whose residual is added.
    """

    def __init__(self, keys: NDArray[np.uint64], n_continuations: int, n_future: int) -> None:
        self.n_continuations = n_continuations
        factors = np.resize(_SLOPES, n_continuations)
        self.factors = np.tile(factors, len(keys) // n_continuations)[:, None]
        numbers = uniform_numbers(keys, n_future + 2)
        # Box and Muller, 1958.
        radius = np.sqrt(-2.0 * np.log1p(-numbers[:, :1]))
        self.deviates = radius * np.cos(2.0 * np.pi * numbers[:, 1:2])
        self.places = numbers[:, 2:]


def _continued(
    values: FloatArray,
    known: FloatArray,
    future: FloatArray,
    draws: _Draws,
    is_positive: NDArray[np.bool_],
) -> FloatArray:
    """Return one loss of all continuations, shape ``(n_rows, n_known + n_future)``."""
    repeats = draws.n_continuations
    width = min(len(known) - 1, _WINDOW)
    window, at = values[:, -width:], known[-width:]
    is_finite = np.isfinite(window).all(axis=1)
    is_log = is_positive & (window > 0).all(axis=1) & is_finite
    with np.errstate(all="ignore"):
        scaled = np.where(is_log[:, None], np.log(window), window)
        level, slope, residuals = _line(scaled, at)
        drawn = np.take_along_axis(
            np.repeat(residuals, repeats, axis=0),
            (draws.places * width).astype(np.int64),
            axis=1,
        )
        spread = np.sqrt((residuals**2).mean(axis=1, keepdims=True))
        level_error = np.repeat(spread / np.sqrt(width), repeats, axis=0)
        slope_error = np.repeat(spread / np.sqrt(((at - at.mean()) ** 2).sum()), repeats, axis=0)
        is_flat = draws.factors == 0.0
        levels = np.repeat(level, repeats, axis=0) + is_flat * draws.deviates * level_error
        slopes = np.repeat(slope, repeats, axis=0) + draws.deviates * slope_error
        path = levels + draws.factors * slopes * (future - at.mean()) + drawn
        is_log_row = np.repeat(is_log, repeats)[:, None]
        path = np.where(is_log_row, np.exp(np.clip(path, -_LARGEST_LOG, _LARGEST_LOG)), path)
    before = np.repeat(values, repeats, axis=0)
    path = np.where(np.repeat(is_finite, repeats)[:, None], path, before[:, -1:])
    return np.concatenate([before, path], axis=1)


def _line(values: FloatArray, at: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return mean, slope and residuals of a least-squares line through each row.

    The residuals are enlarged by what two fitted numbers took from their variance.
    """
    n_values = len(at)
    distances = at - at.mean()
    level = values.mean(axis=1, keepdims=True)
    slope = (values * distances).sum(axis=1, keepdims=True) / (distances**2).sum()
    residuals = values - level - slope * distances
    return level, slope, residuals * np.sqrt(n_values / (n_values - 2))
