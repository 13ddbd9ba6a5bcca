"""The best that other configurations of the same sweep reach."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sweepdiag.features import FeatureMatrix
    from sweepdiag.rules.base import BoolArray, FloatArray
    from sweepdiag.rules.context import JudgingContext
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["with_siblings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Configurations:
    """What each configuration reaches over its usable seeds, in the order of validation loss."""

    names: NDArray[np.object_]
    train: FloatArray
    val: FloatArray


def with_siblings(
    context: JudgingContext,
    features: FeatureMatrix,
    config_ids: Sequence[str],
    is_usable: BoolArray,
    thresholds: Thresholds,
) -> JudgingContext:
    """Return the context with, per curve, a sibling that reaches lower losses if there is one.

    A configuration stands for the medians over its usable seeds of the lowest smoothed validation
    loss and of the training loss at that point. It is a reference for a curve of another
    configuration if both are lower than the curve's own lowest losses by a tenth and by 2 % of the
    start, or by half and 0.1 % of the start (where seeds show the noise), and by three standard
    deviations between seeds. Of several, the one with the lowest validation loss of the sweep
    is taken if it is among them, otherwise that with the lowest training loss.

    Args:
        context: The context without references.
        features: Features of all curves.
        config_ids: Configuration of each curve.
        is_usable: Curves that may serve as references (not diverging, learned something).
        thresholds: The limits.

    Returns:
        The context with references.
    """
    ids = np.asarray(config_ids, dtype=object)
    val, train = features.column("val_smooth_min"), features.column("train_at_val_min")
    is_usable = is_usable & np.isfinite(val) & np.isfinite(train)
    if not is_usable.any():
        return context
    known = _summarise(ids[is_usable], train[is_usable], val[is_usable])
    own_train = features.column("train_smooth_min")
    val_limit = val - _required(
        val, context.start_val, _seed_noise(ids[is_usable], val[is_usable]), thresholds, context
    )
    train_limit = own_train - _required(
        own_train,
        context.start_train,
        _seed_noise(ids[is_usable], train[is_usable]),
        thresholds,
        context,
    )
    chosen = _lowest_before(known, ids, val_limit, train_limit)
    is_found = chosen >= 0
    picked = np.maximum(chosen, 0)
    return dataclasses.replace(
        context,
        reference_train=np.where(is_found, known.train[picked], np.nan),
        reference_val=np.where(is_found, known.val[picked], np.nan),
        reference_ids=tuple(
            str(known.names[i]) if found else None
            for i, found in zip(picked, is_found, strict=True)
        ),
    )


def _summarise(ids: NDArray[np.object_], train: FloatArray, val: FloatArray) -> _Configurations:
    names, medians_train, medians_val = [], [], []
    for name, rows in _groups(ids):
        names.append(name)
        medians_train.append(float(np.median(train[rows])))
        medians_val.append(float(np.median(val[rows])))
    order = np.argsort(medians_val, kind="stable")
    return _Configurations(
        names=np.asarray(names, dtype=object)[order],
        train=np.asarray(medians_train)[order],
        val=np.asarray(medians_val)[order],
    )


def _groups(ids: NDArray[np.object_]) -> list[tuple[str, list[int]]]:
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(ids):
        rows.setdefault(name, []).append(row)
    return list(rows.items())


def _seed_noise(ids: NDArray[np.object_], values: FloatArray) -> tuple[float, float]:
    """Return the typical deviation between seeds, relative to the level and absolute.

    The median over configurations with at least two seeds; 0 if there are none.
    """
    relative, absolute = [], []
    for _, rows in _groups(ids):
        if len(rows) > 1:
            deviation = float(np.std(values[rows], ddof=1))
            absolute.append(deviation)
            level = abs(float(np.mean(values[rows])))
            relative.append(deviation / level if level > 0 else 0.0)
    if not absolute:
        return 0.0, 0.0
    return float(np.median(relative)), float(np.median(absolute))


def _required(
    values: FloatArray,
    start: FloatArray,
    noise: tuple[float, float],
    thresholds: Thresholds,
    context: JudgingContext,
) -> FloatArray:
    """Return by how much another configuration must be lower."""
    relative, absolute = noise
    level, scale = np.abs(values), np.abs(start)
    by_share = np.fmax(thresholds.sibling_relative * level, thresholds.sibling_share * scale)
    # Next to zero a share of the start would hide factors; without seeds noise would pass for one.
    by_factor = np.fmax(thresholds.sibling_factor * level, thresholds.u_shape_min_range * scale)
    with_floor = np.fmax(
        np.fmin(by_share, by_factor) if relative > 0 else by_share,
        # Noise in factors: so many deviations below, whatever a level is times too high.
        -math.expm1(-thresholds.sibling_noise * relative) * level,
    )
    without_floor = np.fmax(
        thresholds.sibling_noise * absolute,
        thresholds.sibling_relative * np.abs(start - values),
    )
    return np.where(context.has_floor, with_floor, without_floor)


def _lowest_before(
    known: _Configurations,
    ids: NDArray[np.object_],
    val_limit: FloatArray,
    train_limit: FloatArray,
) -> NDArray[np.int64]:
    """Return per curve the configuration with the lowest training loss below both limits, or -1.

    Configurations are in ascending order of validation loss, so those below a curve's limit are a
    prefix. Two candidates per prefix are kept, in case the first is the curve's own. The one with
    the lowest validation loss of all is preferred where it qualifies.
    """
    n_below = np.searchsorted(known.val, val_limit)
    first, second = _running_lowest(known.train)
    chosen = np.full(len(ids), -1, dtype=np.int64)
    overall = np.zeros_like(first)
    for candidates in (second, first, overall):
        candidate = np.where(n_below > 0, candidates[np.maximum(n_below - 1, 0)], -1)
        place = np.maximum(candidate, 0)
        is_fit = (candidate >= 0) & (known.train[place] <= train_limit)
        is_fit &= known.names[place] != ids
        chosen = np.where(is_fit, candidate, chosen)
    return chosen


def _running_lowest(values: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the index of the lowest and of the second lowest value of each prefix."""
    first = np.full(len(values), -1, dtype=np.int64)
    second = np.full(len(values), -1, dtype=np.int64)
    best, next_best = -1, -1
    for index, value in enumerate(values):
        if best < 0 or value < values[best]:
            best, next_best = index, best
        elif next_best < 0 or value < values[next_best]:
            next_best = index
        first[index], second[index] = best, next_best
    return first, second
