"""The features in NumPy, for all curves of a batch at once.

The order of steps is the order of one pass over a curve: what each series does by itself, then
what training and validation loss do together, then the metric. ``features_numpy`` is the core that
other backends must agree with; checks, splitting into batches and names are in ``compute``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.features._series import IntArray, Series, gather, prepare_series
from sweepdiag.features.curves import CurveArrays, FloatArray

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["features_numpy"]

Columns = dict[str, FloatArray]

_NORMAL_MEDIAN = 0.6744897502
"""Median of ``abs(z)`` for standard normal ``z``: turns a median into a deviation."""
_MISSING_SHARE = 0.3
"""Share of NaN between the first and last finite value from which they count as not evaluated."""
_SPIKE_NOISE, _SPIKE_RANGE = 6.0, 0.1
_DROP_NOISE, _DROP_RANGE, _DROP_SPEED = 5.0, 0.05, 4.0
_PLATEAU_RANGE, _PLATEAU_NOISE = 0.02, 2.0


def features_numpy(curves: CurveArrays) -> Columns:
    """Return every feature by name, each of shape ``(n_curves,)``.

    Args:
        curves: The curves of one batch.

    Returns:
        One float64 column per entry of ``FEATURES``.
    """
    train = prepare_series(curves.train_loss, curves.epochs, curves.lengths)
    val = prepare_series(curves.val_loss, curves.epochs, curves.lengths)
    columns: Columns = {
        "n_evaluations": curves.lengths.astype(np.float64),
        "first_epoch": gather(curves.epochs, np.minimum(curves.lengths, 1) - 1),
        "last_epoch": gather(curves.epochs, curves.lengths - 1),
    }
    for prefix, series, raw in (
        ("train", train, curves.train_loss),
        ("val", val, curves.val_loss),
    ):
        parts = _finiteness(raw, curves.epochs, curves.lengths) | _SeriesFeatures(series).columns()
        columns |= {f"{prefix}_{name}": column for name, column in parts.items()}
    columns |= _pair_features(curves, train, val)
    return columns | _metric_features(curves, val)


def _finiteness(raw: FloatArray, epochs: FloatArray, lengths: IntArray) -> Columns:
    """Count losses that were not finite, apart from those that were never evaluated."""
    places = np.arange(raw.shape[1])
    is_inside = places < lengths[:, None]
    is_finite = np.isfinite(raw) & is_inside
    n_finite = is_finite.sum(axis=1)
    if n_finite.sum() == is_inside.sum():
        return {
            "n_finite": n_finite.astype(np.float64),
            "n_nonfinite": np.zeros(lengths.shape),
            "first_nonfinite_epoch": np.full(lengths.shape, np.nan),
            "ends_finite": np.where(n_finite > 0, 1.0, np.nan),
        }
    first = np.where(n_finite > 0, is_finite.argmax(axis=1), 0)
    last = raw.shape[1] - 1 - is_finite[:, ::-1].argmax(axis=1)
    is_between = (places >= first[:, None]) & (places <= last[:, None])
    has_infinity = (np.isinf(raw) & is_inside).any(axis=1)
    n_missing = (is_between & ~is_finite).sum(axis=1)
    is_sparse = ~has_infinity & (n_missing >= _MISSING_SHARE * (last - first + 1)) & (n_finite > 1)
    tail = np.where(n_finite > 0, lengths - 1 - last, lengths)
    is_explained = is_sparse & (tail <= _longest_gap(is_finite, is_between))
    is_absent = (n_finite == 0) & ~has_infinity
    is_bad = is_inside & ~is_finite & (places >= first[:, None])
    is_bad &= ~(is_sparse[:, None] & is_between) & ~(is_explained | is_absent)[:, None]
    first_bad = np.where(is_bad.any(axis=1), is_bad.argmax(axis=1), -1)
    ends_finite = np.where((tail == 0) | is_explained, 1.0, 0.0)
    return {
        "n_finite": n_finite.astype(np.float64),
        "n_nonfinite": is_bad.sum(axis=1).astype(np.float64),
        "first_nonfinite_epoch": gather(epochs, first_bad),
        "ends_finite": np.where(is_absent, np.nan, ends_finite),
    }


def _longest_gap(is_finite: NDArray[np.bool_], is_between: NDArray[np.bool_]) -> IntArray:
    """Return the longest stretch of non-finite values between finite ones, per row."""
    longest = np.zeros(len(is_finite), dtype=np.int64)
    current = np.zeros(len(is_finite), dtype=np.int64)
    for column in (is_between & ~is_finite).T:
        current = (current + 1) * column
        np.maximum(longest, current, out=longest)
    return longest


@dataclass(slots=True)
class _SeriesFeatures:
    """The features of one loss series; each method returns a few columns."""

    series: Series

    def columns(self) -> Columns:
        series = self.series
        levels = self._levels()
        span = np.maximum(levels["first"], levels["smooth_last"]) - levels["smooth_min"]
        rise = levels["smooth_last"] - levels["smooth_min"]
        noise = self._noise()
        changes = {
            "rise": rise / np.abs(levels["smooth_min"]),
            "rise_range": np.where(
                rise > 0, rise / span, np.where(series.counts > 0, 0.0, np.nan)
            ),
            "rise_z": rise / (noise * np.sqrt(2 / series.windows)),
            "smooth_min_position": _position(series, levels["smooth_min_epoch"]),
            "later_fall": _later_fall(series, levels["smooth_min"]),
            "noise": noise,
            "noise_level": noise / np.abs(levels["smooth_last"]),
            "noise_range": noise / span,
        }
        columns = levels | changes | self._late_slope() | self._spikes(noise, span)
        return columns | self._shape(noise, span)

    def _levels(self) -> Columns:
        series = self.series
        padded = np.where(series.is_valid, series.values, np.inf)
        has_any = series.counts > 0
        lowest = np.where(has_any, _argmin(padded), -1)
        smooth_lowest = self.smooth_min_index()
        centre = smooth_lowest - (np.minimum(smooth_lowest + 1, series.windows) - 1) // 2
        highest = np.where(series.is_valid, series.values, -np.inf).max(axis=1, initial=-np.inf)
        first = np.where(has_any, 0, -1)
        is_tail = np.arange(padded.shape[1]) >= (series.counts - series.windows)[:, None]
        tail_min = np.where(is_tail, padded, np.inf).min(axis=1, initial=np.inf)
        return {
            "first": gather(series.values, first),
            "last": gather(series.values, series.last_index),
            "last_epoch": gather(series.epochs, series.last_index),
            "min": gather(series.values, lowest),
            "min_epoch": gather(series.epochs, lowest),
            "max": np.where(has_any, highest, np.nan),
            "smooth_last": gather(series.smooth, series.last_index),
            "smooth_min": gather(series.smooth, smooth_lowest),
            "smooth_min_epoch": gather(series.epochs, np.where(has_any, centre, -1)),
            "tail_min": np.where(has_any, tail_min, np.nan),
        }

    def smooth_min_index(self) -> IntArray:
        """Return the index of the first minimum of the moving mean; -1 for empty rows."""
        padded = np.where(self.series.is_valid, self.series.smooth, np.inf)
        return np.where(self.series.counts > 0, _argmin(padded), -1)

    def _noise(self) -> FloatArray:
        """Return the standard deviation of a value around the line between its neighbours.

        Taken over the second half, where a falling loss has lost most of its curvature, and from
        the median, so that spikes do not pass for noise.
        """
        # No row's second half begins before that of the shortest one.
        n_least = int(self.series.counts.min(initial=self.series.values.shape[1]))
        start = max(1, n_least // 2)
        x, t = self.series.values[:, start - 1 :], self.series.epochs[:, start - 1 :]
        if x.shape[1] < 3:
            return np.full(len(x), np.nan)
        weight = (t[:, 1:-1] - t[:, :-2]) / (t[:, 2:] - t[:, :-2])
        residual = x[:, 1:-1] - (1 - weight) * x[:, :-2] - weight * x[:, 2:]
        residual /= np.sqrt(1 + (1 - weight) ** 2 + weight**2)
        place = np.arange(start, start + x.shape[1] - 2)
        counts = self.series.counts[:, None]
        is_used = (place >= counts // 2) & (place <= counts - 2) & np.isfinite(residual)
        return _median(np.abs(residual), is_used) / _NORMAL_MEDIAN

    def _late_slope(self) -> Columns:
        """Fit a line to the last third (at least five values where there are as many)."""
        series = self.series
        n_used = np.maximum(-(-series.counts // 3), np.minimum(series.counts, 5))
        start = series.counts - n_used
        is_used = series.is_valid & (np.arange(series.values.shape[1]) >= start[:, None])
        weight = is_used.astype(np.float64)
        level = (series.values * weight).sum(axis=1) / n_used
        t = (series.epochs - ((series.epochs * weight).sum(axis=1) / n_used)[:, None]) * weight
        x = (series.values - level[:, None]) * weight
        t_squares = (t * t).sum(axis=1)
        slope = (t * x).sum(axis=1) / t_squares
        # A power of two changes no digit and keeps the squares of huge and tiny losses in range.
        size = np.abs(series.values * weight).max(axis=1, initial=0.0)
        exponent = np.frexp(size)[1]
        misfit = np.ldexp(x - slope[:, None] * t, -exponent[:, None])
        variance = (misfit * misfit).sum(axis=1) / np.maximum(n_used - 2, 1)
        deviation = np.ldexp(np.sqrt(variance / t_squares), exponent)
        error = np.where(n_used >= 3, deviation, np.nan)
        span = gather(series.epochs, series.last_index) - gather(series.epochs, start)
        first = np.where(series.counts > 0, start, -1)
        return {
            "late_first": gather(series.values, first),
            "late_first_epoch": gather(series.epochs, first),
            "late_change": slope * span,
            "late_change_se": error * span,
            "late_slope": slope * span / np.abs(level),
            "late_slope_se": error * span / np.abs(level),
        }

    def _spikes(self, noise: FloatArray, span: FloatArray) -> Columns:
        """Count jumps above the moving mean before them, and those that were made good."""
        series = self.series
        limit = np.fmax(_SPIKE_NOISE * np.nan_to_num(noise), _SPIKE_RANGE * span)[:, None]
        jump = series.values[:, 1:] - series.smooth[:, :-1]
        is_high = series.is_valid[:, 1:] & (jump > limit) & (jump > 0)
        is_spike = is_high.copy()
        is_spike[:, 1:] &= ~is_high[:, :-1]
        last = gather(series.smooth, series.last_index)[:, None]
        is_recovered = is_spike & (last <= series.smooth[:, :-1] + 0.5 * jump)
        return {
            "spikes": is_spike.sum(axis=1).astype(np.float64),
            "spikes_recovered": is_recovered.sum(axis=1).astype(np.float64),
        }

    def _shape(self, noise: FloatArray, span: FloatArray) -> Columns:
        series = self.series
        x, places = series.values, np.arange(series.values.shape[1])
        root_window = np.sqrt(series.windows)
        noise = np.nan_to_num(noise)
        tolerance = np.fmax(_PLATEAU_RANGE * span, _PLATEAU_NOISE * noise / root_window)
        last = gather(series.smooth, series.last_index)
        is_off = series.is_valid & (np.abs(series.smooth - last[:, None]) > tolerance[:, None])
        last_off = np.where(is_off, places, -1).max(axis=1, initial=-1)
        return {
            "plateau": (series.counts - 1 - last_off).astype(np.float64),
            "drops": self._count_drops(noise, span),
            "sign_changes": _sign_change_share(x, series.counts),
        }

    def _count_drops(self, noise: FloatArray, span: FloatArray) -> FloatArray:
        """Count falls in one step that are far faster than the four steps before them."""
        x = self.series.values
        if x.shape[1] < 6:
            return np.zeros(len(x))
        fall = x[:, 4:-1] - x[:, 5:]
        speed = np.abs(x[:, :-5] - x[:, 4:-1]) / 4
        limit = np.fmax(_DROP_NOISE * noise, _DROP_RANGE * span)[:, None]
        is_drop = self.series.is_valid[:, 5:] & (fall > limit) & (fall > _DROP_SPEED * speed)
        n_drops: FloatArray = is_drop.sum(axis=1).astype(np.float64)
        return n_drops


def _median(rows: FloatArray, is_used: NDArray[np.bool_]) -> FloatArray:
    """Return the median of the used values of each row; NaN without any."""
    ordered = np.sort(np.where(is_used, rows, np.inf), axis=1)
    counts = is_used.sum(axis=1, dtype=np.int64)
    lower = gather(ordered, (counts + 1) // 2 - 1)
    return 0.5 * (lower + gather(ordered, np.where(counts > 0, counts // 2, -1)))


def _position(series: Series, epochs: FloatArray) -> FloatArray:
    """Return where epochs lie between the first (0) and the last finite value (1)."""
    start = gather(series.epochs, np.where(series.counts > 0, 0, -1))
    position: FloatArray = (epochs - start) / (gather(series.epochs, series.last_index) - start)
    return position


def _later_fall(series: Series, smooth_min: FloatArray) -> FloatArray:
    second = gather(series.values, np.where(series.counts > 1, 1, -1))
    fall: FloatArray = (second - smooth_min) / np.abs(second)
    return fall


def _argmin(rows: FloatArray) -> IntArray:
    if rows.shape[1] == 0:
        return np.full(len(rows), -1, dtype=np.int64)
    lowest: IntArray = rows.argmin(axis=1)
    return lowest


def _sign_change_share(x: FloatArray, counts: IntArray) -> FloatArray:
    steps = np.sign(np.diff(x, axis=1))
    is_change = steps[:, 1:] * steps[:, :-1] < 0
    is_change &= np.arange(2, is_change.shape[1] + 2) < counts[:, None]
    share: FloatArray = is_change.sum(axis=1) / np.where(counts > 2, counts - 2, np.nan)
    return share


def _pair_features(curves: CurveArrays, train: Series, val: Series) -> Columns:
    """Compare training and validation loss at the end and where validation was best."""
    lowest = _SeriesFeatures(val).smooth_min_index()
    place = gather(val.positions.astype(np.float64), lowest)
    is_before = train.is_valid & (train.positions <= place[:, None])
    train_at_best = gather(train.smooth, is_before.sum(axis=1) - 1)
    train_last = gather(train.smooth, train.last_index)
    val_last, val_best = gather(val.smooth, val.last_index), gather(val.smooth, lowest)
    is_after = val.is_valid & (np.arange(val.values.shape[1]) >= lowest[:, None])
    peak = np.where(is_after, val.smooth, -np.inf).max(axis=1, initial=-np.inf)
    regained = np.where(peak > val_best, (peak - val_last) / (peak - val_best), 0.0)
    both = curves.train_loss[:, 1:] - curves.val_loss[:, 1:]
    is_pair = np.isfinite(both)
    n_pairs = is_pair.sum(axis=1)
    gap_last, gap_at_best = val_last - train_last, val_best - train_at_best
    return {
        "gap_last": gap_last,
        "gap_at_val_min": gap_at_best,
        "gap_growth": gap_last - gap_at_best,
        "gap_ratio": gap_last / np.abs(train_last),
        "train_at_val_min": train_at_best,
        "train_change": (train_last - train_at_best) / np.abs(train_at_best),
        "val_regained": np.where(val.counts > 0, regained, np.nan),
        "val_below_train": (is_pair & (both > 0)).sum(axis=1)
        / np.where(n_pairs > 0, n_pairs, np.nan),
    }


def _metric_features(curves: CurveArrays, val: Series) -> Columns:
    metric = curves.val_metric
    is_known = np.isfinite(metric) & (np.arange(metric.shape[1]) < curves.lengths[:, None])
    has_any = is_known.any(axis=1)
    if not has_any.any():
        names = ("first", "last", "min", "min_epoch", "max", "max_epoch", "at_val_min")
        return {f"metric_{name}": np.full(curves.n_curves, np.nan) for name in names}
    series = prepare_series(metric, curves.epochs, curves.lengths)
    lowest = _argmin(np.where(is_known, metric, np.inf))
    highest = _argmin(np.where(is_known, -metric, np.inf))
    best_place = gather(val.positions.astype(np.float64), _SeriesFeatures(val).smooth_min_index())
    n_before = (series.is_valid & (series.positions <= best_place[:, None])).sum(axis=1)
    return {
        "metric_first": gather(series.values, np.where(has_any, 0, -1)),
        "metric_last": gather(series.smooth, series.last_index),
        "metric_min": gather(metric, np.where(has_any, lowest, -1)),
        "metric_min_epoch": gather(curves.epochs, np.where(has_any, lowest, -1)),
        "metric_max": gather(metric, np.where(has_any, highest, -1)),
        "metric_max_epoch": gather(curves.epochs, np.where(has_any, highest, -1)),
        "metric_at_val_min": gather(series.smooth, n_before - 1),
    }
