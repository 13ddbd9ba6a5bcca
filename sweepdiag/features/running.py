"""Features of a curve that is still growing: one new evaluation, new features."""

from __future__ import annotations

import math
from bisect import bisect_left, insort

from sweepdiag.features._scalar import (
    EMPTY_COLUMNS,
    NAN,
    Finiteness,
    SeriesParts,
    finiteness_columns,
    late_line,
    median,
    pair_columns,
    residual,
    series_columns,
    window_of,
)
from sweepdiag.features.table import FEATURE_NAMES

__all__ = ["RunningFeatures"]

_WINDOWS = (1, 3, 5)


class RunningFeatures:
    """Takes one curve's evaluations one by one and knows its features at any time.

    The numbers are those of ``compute_features`` for the curve so far. ``append`` takes constant
    time but for the insertion into a sorted list; ``features`` reads the kept values once more for
    what depends on the noise and the range of the whole curve (spikes, drops, the flat end) and
    for the line through the last third. Not thread-safe; one object per curve.
    """

    def __init__(self) -> None:
        """Begin with a curve without evaluations."""
        self._epochs: list[float] = []
        self._train, self._val, self._metric = (_RunningSeries() for _ in range(3))
        # For each window of the validation loss: the other series when its mean was lowest.
        self._at_best = dict.fromkeys(_WINDOWS, (0, 0))
        self._n_below = self._n_pairs = 0

    def append(
        self, epoch: float, train_loss: float, val_loss: float = NAN, val_metric: float = NAN
    ) -> None:
        """Take one more evaluation.

        Args:
            epoch: Epochs trained, not below that of the evaluation before.
            train_loss: Training loss; may be NaN or infinite, as all losses may.
            val_loss: Validation loss; NaN if it was not evaluated.
            val_metric: Validation metric; NaN if it was not evaluated.
        """
        # NumPy's scalars would warn where Python's numbers follow IEEE arithmetic in silence.
        epoch, train_loss, val_loss = float(epoch), float(train_loss), float(val_loss)
        difference = train_loss - val_loss
        if self._epochs and math.isfinite(difference):
            self._n_pairs += 1
            self._n_below += difference > 0
        self._epochs.append(epoch)
        self._train.append(epoch, train_loss)
        self._metric.append(epoch, float(val_metric))
        for window in self._val.append(epoch, val_loss):
            self._at_best[window] = (len(self._train.values), len(self._metric.values))

    def features(self) -> dict[str, float]:
        """Return every feature of the curve so far.

        Returns:
            One number per entry of ``FEATURES``; NaN where a feature is not defined.
        """
        features = dict.fromkeys(FEATURE_NAMES, NAN)
        features["n_evaluations"] = float(len(self._epochs))
        if self._epochs:
            features["first_epoch"], features["last_epoch"] = self._epochs[0], self._epochs[-1]
        for prefix, series in (("train", self._train), ("val", self._val)):
            columns = series.columns(self._epochs)
            features |= {f"{prefix}_{name}": value for name, value in columns.items()}
        return features | self._pair() | self._metric_columns()

    def _pair(self) -> dict[str, float]:
        val = self._val
        return pair_columns(
            train_last=self._train.smooth_at(len(self._train.values)),
            train_at_best=self._train.smooth_at(self._at_best[val.window][0]),
            val_last=val.smooth_at(len(val.values)),
            val_best=val.best[val.window],
            val_peak=val.peak[val.window],
            below=(self._n_below, self._n_pairs),
        )

    def _metric_columns(self) -> dict[str, float]:
        metric = self._metric
        return {
            "metric_first": metric.values[0] if metric.values else NAN,
            "metric_last": metric.smooth_at(len(metric.values)),
            "metric_min": metric.lowest[0],
            "metric_min_epoch": metric.lowest[1],
            "metric_max": metric.highest[0],
            "metric_max_epoch": metric.highest[1],
            "metric_at_val_min": metric.smooth_at(self._at_best[self._val.window][1]),
        }


class _RunningSeries:
    """One series as it grows.

    The window of the moving mean widens while values come in: means, minima and peaks are kept
    for all three widths, and the one that holds now is read.
    """

    def __init__(self) -> None:
        self.values: list[float] = []
        self.epochs: list[float] = []
        self.lowest, self.highest = (NAN, NAN), (NAN, NAN)
        self.best = dict.fromkeys(_WINDOWS, NAN)
        self.best_epoch = dict.fromkeys(_WINDOWS, NAN)
        self.peak = dict.fromkeys(_WINDOWS, NAN)
        self._smooth: dict[int, list[float]] = {window: [] for window in _WINDOWS}
        self._finite = Finiteness()
        self._gap = 0
        self._n_sign_changes = 0
        self._last_step = 0.0
        self._residuals: list[float] = []
        self._ordered: list[float] = []
        self._n_dropped = 0

    @property
    def window(self) -> int:
        """Values per moving mean of the series so far."""
        return window_of(len(self.values))

    def smooth_at(self, count: int) -> float:
        """Return the moving mean that ends at the ``count``-th value; NaN for none."""
        return self._smooth[self.window][count - 1] if count else NAN

    def append(self, epoch: float, x: float) -> list[int]:
        """Take one more value and return the windows whose moving mean is now lowest."""
        finite, place = self._finite, self._finite.n_evaluations
        finite.n_evaluations += 1
        if not math.isfinite(x):
            finite.has_infinity |= math.isinf(x)
            if finite.n_finite:
                self._gap += 1
                finite.first_bad = place if finite.first_bad < 0 else finite.first_bad
            return []
        if not finite.n_finite:
            finite.first = place
        finite.last = place
        finite.n_finite += 1
        finite.longest_gap, self._gap = max(finite.longest_gap, self._gap), 0
        self._take_step(x)
        self.values.append(x)
        self.epochs.append(epoch)
        if not x >= self.lowest[0]:
            self.lowest = (x, epoch)
        if not x <= self.highest[0]:
            self.highest = (x, epoch)
        self._take_residual()
        return [window for window in _WINDOWS if self._take_mean(window)]

    def _take_step(self, x: float) -> None:
        if self.values:
            step = x - self.values[-1]
            self._n_sign_changes += (step > 0 > self._last_step) or (step < 0 < self._last_step)
            self._last_step = step

    def _take_mean(self, window: int) -> bool:
        used = self.values[: -window - 1 : -1]
        total = used[0]
        for value in used[1:]:
            total += value
        mean = total / len(used)
        self._smooth[window].append(mean)
        if mean >= self.best[window]:
            self.peak[window] = max(self.peak[window], mean)
            return False
        self.best[window] = self.peak[window] = mean
        self.best_epoch[window] = self.epochs[-1 - (len(used) - 1) // 2]
        return True

    def _take_residual(self) -> None:
        """Keep the residuals of the second half in order: one comes in, some go out."""
        x, t = self.values, self.epochs
        if len(x) < 3:
            return
        new = abs(residual((x[-3], x[-2], x[-1]), (t[-3], t[-2], t[-1])))
        self._residuals.append(new)
        if math.isfinite(new):
            insort(self._ordered, new)
        while self._n_dropped + 1 < max(1, len(x) // 2):
            old = self._residuals[self._n_dropped]
            if math.isfinite(old):
                del self._ordered[bisect_left(self._ordered, old)]
            self._n_dropped += 1

    def columns(self, epochs: list[float]) -> dict[str, float]:
        """Return the features of the series so far; those not named are NaN."""
        columns = finiteness_columns(self._finite, epochs)
        if not self.values:
            return columns | EMPTY_COLUMNS
        window = self.window
        parts = SeriesParts(
            values=self.values,
            smooth=self._smooth[window],
            window=window,
            first_epoch=self.epochs[0],
            last_epoch=self.epochs[-1],
            lowest=self.lowest[0],
            lowest_epoch=self.lowest[1],
            highest=self.highest[0],
            smooth_lowest=self.best[window],
            smooth_lowest_epoch=self.best_epoch[window],
            tail_lowest=min(self.values[-window:]),
            noise_median=median(self._ordered),
            n_sign_changes=self._n_sign_changes,
            late=late_line(self.values, self.epochs),
        )
        return columns | series_columns(parts)
