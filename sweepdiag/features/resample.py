"""Curves as they might have come out: residuals of blocks of evaluations exchanged.

Random numbers are a hash of (run id, resample, block), not a stream, so that a curve's resamples
depend neither on the other curves nor on their order nor on how they are split into batches.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.features._series import Series, prepare_series
from sweepdiag.features.curves import CurveArrays, FloatArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["random_keys", "resample_curves", "uniform_numbers"]

_KERNEL = np.array([-3.0, 12.0, 17.0, 12.0, -3.0]) / 35.0
"""Least-squares parabola through five values (Savitzky and Golay, 1964)."""
_OUTLIER = 6.0
"""Residuals above this many medians (about 4 standard deviations) are not exchanged."""
_BLOCK = 5
_MIN_REACH = 4


def resample_curves(
    curves: CurveArrays, *, n_resamples: int, is_positive: NDArray[np.bool_]
) -> CurveArrays:
    """Return resampled curves by a residual block bootstrap around the smooth curve.

    Each curve is split into a local parabola and residuals. A resample adds, block by block, the
    residuals of a stretch near that block (at most an eighth of the curve away), since noise
    mostly changes along a curve. Training and validation losses take the same stretches, so that
    what they have in common stays in common. Spikes and steps stay where they are. The first
    value, and values that are not finite, stay as they are; a curve with fewer than 5 finite
    values is repeated unchanged.

    Args:
        curves: The curves.
        n_resamples: Resamples per curve.
        is_positive: Per curve, whether the noise is relative to the level (a loss whose floor is
            zero) rather than the same everywhere; where a value is not positive it is the latter.

    Returns:
        ``n_curves * n_resamples`` curves, all resamples of the first curve first. Metrics stay as
        they are.
    """
    keys = random_keys(curves.run_ids, n_resamples)
    losses = []
    with np.errstate(all="ignore"):
        for values in (curves.train_loss, curves.val_loss):
            series = prepare_series(values, curves.epochs, curves.lengths)
            packed = _resample_packed(series, keys, n_resamples, is_positive)
            losses.append(_unpack(packed, series, values, n_resamples))
    epochs = np.repeat(curves.epochs, n_resamples, axis=0)
    return CurveArrays(
        run_ids=tuple(np.repeat(np.asarray(curves.run_ids, dtype=object), n_resamples)),
        epochs=epochs,
        train_loss=losses[0],
        val_loss=losses[1],
        val_metric=np.repeat(curves.val_metric, n_resamples, axis=0),
        lengths=np.repeat(curves.lengths, n_resamples),
    )


def _resample_packed(
    series: Series,
    keys: NDArray[np.uint64],
    n_resamples: int,
    is_positive: NDArray[np.bool_],
) -> FloatArray:
    """Return resampled packed values, all resamples of a curve together."""
    is_log = is_positive & np.where(series.is_valid, series.values > 0, True).all(axis=1)
    values = np.where(
        is_log[:, None], np.log(np.where(is_log[:, None], series.values, 1.0)), series.values
    )
    values = np.where(series.is_valid, values, 0.0)
    residuals, smooth = _split(values, series.counts)
    sources = _source_indices(np.repeat(series.counts, n_resamples), keys, values.shape[1])
    drawn = np.take_along_axis(np.repeat(residuals, n_resamples, axis=0), sources, axis=1)
    drawn[:, :1] = 0.0
    result = np.repeat(smooth, n_resamples, axis=0) + drawn
    return np.where(np.repeat(is_log, n_resamples)[:, None], np.exp(result), result)


def _split(values: FloatArray, counts: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Return residuals and the smooth curve.

    The parabola keeps 17/35 of the noise's variance and leaves the rest as residuals, so that
    curve plus exchanged residuals is as noisy as the original.

    The first and last two values have no full window; there the curve counts as smooth.
    """
    residuals = np.zeros_like(values)
    n_points = values.shape[1]
    if n_points >= 5:
        inner = sum(
            weight * values[:, offset : n_points - 4 + offset]
            for offset, weight in enumerate(_KERNEL)
        )
        is_inner = np.arange(2, n_points - 2) < (counts - 2)[:, None]
        residuals[:, 2:-2] = np.where(is_inner, values[:, 2:-2] - inner, 0.0)
        residuals[_is_outlying(residuals, counts)] = 0.0
    return residuals, values - residuals


def _is_outlying(residuals: FloatArray, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which residuals are spikes or steps: these happened where they happened."""
    sizes = np.abs(residuals)
    n_points = residuals.shape[1]
    is_inside = (np.arange(n_points) >= 2) & (np.arange(n_points) < (counts - 2)[:, None])
    ordered = np.sort(np.where(is_inside, sizes, np.inf), axis=1)
    middle = np.clip((counts - 4) // 2, 0, max(n_points - 1, 0))
    median = np.take_along_axis(ordered, middle[:, None], axis=1)
    return sizes > _OUTLIER * median


def _source_indices(
    counts: NDArray[np.int64], keys: NDArray[np.uint64], n_points: int
) -> NDArray[np.int64]:
    """Return, for each place, the place whose residual it takes."""
    reach = np.maximum(_MIN_REACH, counts // 8)[:, None]
    places = np.arange(n_points)
    blocks = (places // _BLOCK).astype(np.uint64)
    draws = _mix(keys[:, None] + blocks[::_BLOCK] * np.uint64(0x9E3779B97F4A7C15))
    shifts = (draws >> np.uint64(33)).astype(np.int64) % (2 * reach + 1) - reach
    source = places + np.repeat(shifts, _BLOCK, axis=1)[:, :n_points]
    low, high = 2, np.maximum(counts - 3, 2)[:, None]
    # Reflecting at both ends keeps neighbours neighbours, where clipping would repeat one value.
    source = np.where(source < low, 2 * low - source, source)
    source = np.where(source > high, 2 * high - source, source)
    clipped: NDArray[np.int64] = np.clip(source, 0, max(n_points - 1, 0))
    return clipped


def _unpack(
    packed: FloatArray, series: Series, original: FloatArray, n_resamples: int
) -> FloatArray:
    """Put resampled values back where the finite ones were."""
    result = np.repeat(original, n_resamples, axis=0)
    is_valid = np.repeat(series.is_valid, n_resamples, axis=0)
    in_place = np.arange(original.shape[1])
    if not (series.is_valid & (series.positions != in_place)).any():  # no gaps between values
        np.copyto(result, packed, where=is_valid)
        return result
    rows, places = np.nonzero(is_valid)
    columns = np.repeat(series.positions, n_resamples, axis=0)[rows, places]
    result[rows, columns] = packed[rows, places]
    return result


def random_keys(names: Sequence[str], n_repeats: int) -> NDArray[np.uint64]:
    """Return 64 random bits for each repeat of each name, all repeats of the first name first."""
    numbers = np.arange(n_repeats, dtype=np.uint64)
    return _mix(np.add.outer(_hash_names(names), numbers).reshape(-1))


def uniform_numbers(keys: NDArray[np.uint64], n_numbers: int) -> FloatArray:
    """Return random numbers in [0, 1), shape ``(n_keys, n_numbers)``, the same for equal keys."""
    steps = np.arange(n_numbers, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    bits = _mix(keys[:, None] + steps) >> np.uint64(11)
    numbers: FloatArray = bits.astype(np.float64) * 2.0**-53
    return numbers


def _hash_names(names: Sequence[str]) -> NDArray[np.uint64]:
    digests = [hashlib.sha256(name.encode()).digest()[:8] for name in names]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _mix(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return 64 well-mixed bits per key (the finaliser of SplitMix64, Steele et al., 2014)."""
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))
