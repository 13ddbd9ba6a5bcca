"""The features of one curve, slowly and obviously: what the fast forms are tested against."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.features.curves import CurveArrays

__all__ = ["features_oracle"]


def features_oracle(curves: CurveArrays) -> dict[str, list[float]]:
    """Return every feature by name, one value per curve.

    Args:
        curves: The curves.

    Returns:
        The columns that ``features_numpy`` returns, as lists.
    """
    rows = []
    for i, length in enumerate(curves.lengths.tolist()):
        columns = (curves.epochs, curves.train_loss, curves.val_loss, curves.val_metric)
        rows.append(_curve_features(*(column[i, :length].tolist() for column in columns)))
    return {name: [row[name] for row in rows] for name in FEATURE_NAMES}


def _curve_features(
    epochs: list[float], train: list[float], val: list[float], metric: list[float]
) -> dict[str, float]:
    features = dict.fromkeys(FEATURE_NAMES, NAN) | {"n_evaluations": float(len(epochs))}
    if epochs:
        features |= {"first_epoch": epochs[0], "last_epoch": epochs[-1]}
    for prefix, loss in (("train", train), ("val", val)):
        columns = finiteness_columns(_finiteness(loss), epochs) | _series(loss, epochs)
        features |= {f"{prefix}_{name}": value for name, value in columns.items()}
    return features | _pair(train, val) | _metric(metric, val, epochs)


def _places(values: Sequence[float]) -> list[int]:
    return [i for i, x in enumerate(values) if math.isfinite(x)]


def _finiteness(values: list[float]) -> Finiteness:
    places = _places(values)
    if not places:
        has_infinity = any(map(math.isinf, values))
        return Finiteness(n_evaluations=len(values), has_infinity=has_infinity)
    bad = [i for i in range(places[0], len(values)) if not math.isfinite(values[i])]
    gaps = [b - a - 1 for a, b in pairwise(places)]
    return Finiteness(
        n_evaluations=len(values),
        n_finite=len(places),
        first=places[0],
        last=places[-1],
        first_bad=bad[0] if bad else -1,
        longest_gap=max(gaps, default=0),
        has_infinity=any(math.isinf(x) for x in values),
    )


def _smooth(x: Sequence[float]) -> list[float]:
    """Return the trailing mean; sums run backwards from each value, as in the other forms."""
    window = window_of(len(x))
    means = []
    for i in range(len(x)):
        used = list(reversed(x[max(0, i - window + 1) : i + 1]))
        total = used[0]
        for value in used[1:]:
            total += value
        means.append(total / len(used))
    return means


def _series(loss: Sequence[float], epochs: Sequence[float]) -> dict[str, float]:
    places = _places(loss)
    x, t = [loss[i] for i in places], [epochs[i] for i in places]
    n = len(x)
    if n == 0:
        return dict(EMPTY_COLUMNS)
    s, window = _smooth(x), window_of(n)
    best = s.index(min(s))
    residuals = [
        residual((x[i - 1], x[i], x[i + 1]), (t[i - 1], t[i], t[i + 1]))
        for i in range(max(1, n // 2), n - 1)
    ]
    steps = [_sign(x[i + 1] - x[i]) for i in range(n - 1)]
    return series_columns(
        SeriesParts(
            values=x,
            smooth=s,
            window=window,
            first_epoch=t[0],
            last_epoch=t[-1],
            lowest=min(x),
            lowest_epoch=t[x.index(min(x))],
            highest=max(x),
            smooth_lowest=s[best],
            smooth_lowest_epoch=t[best - (min(best + 1, window) - 1) // 2],
            tail_lowest=min(x[-window:]),
            noise_median=median(sorted(abs(r) for r in residuals if math.isfinite(r))),
            n_sign_changes=sum(a * b < 0 for a, b in pairwise(steps)),
            late=late_line(x, t),
        )
    )


def _pair(train: list[float], val: list[float]) -> dict[str, float]:
    val_smooth = _smooth([val[i] for i in _places(val)])
    train_smooth = _smooth([train[i] for i in _places(train)])
    best = val_smooth.index(min(val_smooth)) if val_smooth else -1
    differences = [a - b for a, b in zip(train[1:], val[1:], strict=True)]
    known = [d for d in differences if math.isfinite(d)]
    return pair_columns(
        train_last=train_smooth[-1] if train_smooth else NAN,
        train_at_best=_at_best(train, val),
        val_last=val_smooth[-1] if val_smooth else NAN,
        val_best=val_smooth[best] if val_smooth else NAN,
        val_peak=max(val_smooth[best:]) if val_smooth else NAN,
        below=(sum(d > 0 for d in known), len(known)),
    )


def _at_best(values: list[float], val: list[float]) -> float:
    """Return the smoothed value where the smoothed validation loss was lowest."""
    places = _places(val)
    if not places:
        return NAN
    smooth = _smooth([val[i] for i in places])
    best_place = places[smooth.index(min(smooth))]
    before = [i for i in _places(values) if i <= best_place]
    everything = _smooth([values[i] for i in _places(values)])
    return everything[len(before) - 1] if before else NAN


def _metric(metric: list[float], val: list[float], epochs: list[float]) -> dict[str, float]:
    places = _places(metric)
    if not places:
        return {}
    x, t = [metric[i] for i in places], [epochs[i] for i in places]
    return {
        "metric_first": x[0],
        "metric_last": _smooth(x)[-1],
        "metric_min": min(x),
        "metric_min_epoch": t[x.index(min(x))],
        "metric_max": max(x),
        "metric_max_epoch": t[x.index(max(x))],
        "metric_at_val_min": _at_best(metric, val),
    }


def _sign(x: float) -> int:
    return (x > 0) - (x < 0)
