"""The tried configurations as points: where they lie, how good they are, what went wrong."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sweepdiag.recommend._curves import cost_sign
from sweepdiag.records import Axis, AxisValue, Scale, Tag, VerdictClass

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = [
    "LOSS_FLOOR",
    "METRIC_FLOOR",
    "Candidates",
    "Fate",
    "Noise",
    "acceptable",
    "estimate_noise",
    "read_candidates",
]

LOSS_FLOOR = 0.05
"""Losses within 5 % of the best count as equally good, however small the seed noise."""

METRIC_FLOOR = 0.01
"""Metrics within 1 % of the best count as equally good, however small the seed noise."""

# Below this probability, differences as large as those seen are not seed noise alone.
_TIE_LEVEL = 0.01
# A spread between seeds so many times the median spread is not ordinary noise (about 1 in 1,000
# pairs of seeds is so far apart by chance).
_OUTLIER_FACTOR = 5.0
_FEWEST_FOR_OUTLIERS = 6
# Chance that any of the configurations that equal the best is taken for worse.
_MISS_LEVEL = 0.05

# Order statistics of normal samples of 2 to 5, the usual numbers of seeds.
_EXPECTED_MAXIMUM = {2: 0.5642, 3: 0.8463, 4: 1.0294, 5: 1.1630}
_MEDIAN_VARIANCE = {1: 1.0, 2: 0.5, 3: 0.4487, 4: 0.2982, 5: 0.2868}

_Costs: TypeAlias = "NDArray[np.float64]"


class Fate(enum.StrEnum):
    """What became of a configuration. Only the first may be inside a region."""

    TRAINS = "trains"
    NO_VALUE = "no value"
    FAILED = "failed"
    NOT_LEARNING = "not learning"
    UNSTABLE = "unstable"
    DIVERGING = "diverging"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """Every tried configuration, one per index.

    Attributes:
        axes: The axes that the table has a column for and at least one value in.
        config_ids: Shape ``(n_points,)``.
        values: Axis values as they were, per configuration.
        coords: Shape ``(n_points, n_axes)``, in [0, 1]: even steps are even distances.
        fates: What became of each.
        verdicts: Majority verdict, or an empty string.
        best: Median over seeds of the monitored value, as a cost; infinite where there is none.
        worst: The same of the worst seed.
        n_judged: Seeds behind each.
        n_failed: Seeds that could not be trained.
    """

    axes: tuple[Axis, ...]
    config_ids: tuple[str, ...]
    values: tuple[tuple[AxisValue, ...], ...]
    coords: NDArray[np.float64]
    fates: tuple[Fate, ...]
    verdicts: tuple[str, ...]
    best: _Costs
    worst: _Costs
    n_judged: NDArray[np.int64]
    n_failed: NDArray[np.int64]

    @property
    def trains(self) -> NDArray[np.bool_]:
        """Return which configurations may be recommended as far as their verdict goes."""
        return np.array([fate is Fate.TRAINS for fate in self.fates], dtype=bool)

    def robust_best(self) -> int:
        """Return the index of the configuration whose worst seed is best."""
        order = np.lexsort((self.best, np.where(self.trains, self.worst, np.inf)))
        return int(order[0])


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """How much a single run differs from the next seed's.

    Attributes:
        seed_sd: Standard deviation between seeds near the best; NaN with one seed.
        is_tie: Whether all configurations that train differ by no more than seed noise.
        n_pooled: Configurations behind the figure.
        is_outlier: Which configurations have a seed so far off that it is no ordinary noise.
    """

    seed_sd: float
    is_tie: bool
    n_pooled: int
    is_outlier: NDArray[np.bool_]

    @property
    def is_known(self) -> bool:
        """Return whether there were at least two seeds."""
        return math.isfinite(self.seed_sd)


def read_candidates(
    axes: tuple[Axis, ...], configurations: pd.DataFrame, monitor: str, metric_mode: str | None
) -> Candidates:
    """Return the tried configurations of a table.

    Rows that were neither judged nor failed were not tried and are left out, as are rows without
    a value on one of the axes.
    """
    sign = cost_sign(monitor, metric_mode)
    known = tuple(
        axis
        for axis in axes
        if axis.name in configurations.columns and configurations[axis.name].notna().any()
    )
    names = [axis.name for axis in known]
    was_tried = (configurations["n_judged"] > 0) | (configurations["n_failed"] > 0)
    rows = configurations[was_tried & configurations[names].notna().all(axis=1)]
    best = _finite(sign * rows["best_monitor"].to_numpy(dtype=float))
    worst = _finite(sign * rows["worst_monitor"].to_numpy(dtype=float))
    records = rows.to_dict("records")
    fates = tuple(
        _fate({str(name): value for name, value in row.items()}, has_value=bool(np.isfinite(cost)))
        for row, cost in zip(records, worst, strict=True)
    )
    values = tuple(tuple(_scalar(row[name]) for name in names) for row in records)
    goodness = np.where([fate is Fate.TRAINS for fate in fates], worst, np.inf)
    columns = [
        _coordinates(axis, [row[index] for row in values], goodness)
        for index, axis in enumerate(known)
    ]
    return Candidates(
        axes=known,
        config_ids=tuple(str(config_id) for config_id in rows["config_id"]),
        values=values,
        coords=np.array(columns, dtype=float).reshape(len(known), len(rows)).T,
        fates=fates,
        verdicts=tuple(_text(row["verdict"]) for row in records),
        best=best,
        worst=worst,
        n_judged=rows["n_judged"].to_numpy(dtype=np.int64),
        n_failed=rows["n_failed"].to_numpy(dtype=np.int64),
    )


def estimate_noise(candidates: Candidates) -> Noise:
    """Return the seed noise of the better configurations, and whether it explains everything.

    From the table's median and worst seed: their distance is, on average, a known number of
    standard deviations. The figure is pooled over the better quarter (at least 6) of what trains,
    because noise often grows with the loss.
    """
    repeated = candidates.trains & (candidates.n_judged >= 2)
    is_outlier = np.zeros_like(repeated)
    if not repeated.any():
        return Noise(seed_sd=math.nan, is_tie=False, n_pooled=0, is_outlier=is_outlier)
    units = [_expected_maximum(int(n)) for n in np.maximum(candidates.n_judged, 2)]
    best, worst = (np.where(repeated, cost, 0.0) for cost in (candidates.best, candidates.worst))
    spreads = (worst - best) / np.array(units)
    # Without this, one seed that went astray would make everything a tie.
    is_outlier = repeated & _is_far_off(spreads, repeated)
    indices = np.flatnonzero(repeated & ~is_outlier)
    spreads = spreads[indices]
    n_pooled = min(len(indices), max(6, -(-len(indices) // 4)))
    near_best = np.argsort(candidates.best[indices], kind="stable")[:n_pooled]
    return Noise(
        seed_sd=float(spreads[near_best].mean()),
        is_tie=_is_tie(candidates, indices, float(spreads.mean())),
        n_pooled=n_pooled,
        is_outlier=is_outlier,
    )


def _is_far_off(spreads: _Costs, repeated: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if int(repeated.sum()) < _FEWEST_FOR_OUTLIERS:
        return np.zeros_like(repeated)
    typical = float(np.median(spreads[repeated]))
    return np.asarray(spreads > _OUTLIER_FACTOR * typical) if typical > 0 else spreads < 0.0


def acceptable(candidates: Candidates, noise: Noise, *, monitor: str) -> NDArray[np.bool_]:
    """Return which configurations are as good as the best as far as anyone can tell.

    Both their median and their worst seed must be within a tolerance of those of the
    configuration whose worst seed is best. The tolerance is the larger of a relative floor and
    the difference that seed noise alone would rarely exceed for any of the configurations.
    """
    trains = candidates.trains
    if noise.is_tie:
        return trains & ~noise.is_outlier
    best = candidates.robust_best()
    floor = LOSS_FLOOR if monitor == "val_loss" else METRIC_FLOOR
    for_median, for_worst = _noise_tolerances(candidates, noise, best)
    costs = ((candidates.best, for_median), (candidates.worst, for_worst))
    within = trains.copy()
    for cost, from_noise in costs:
        tolerance = np.maximum(from_noise, floor * abs(cost[best]))
        within &= cost <= cost[best] + tolerance
    return within


def _noise_tolerances(candidates: Candidates, noise: Noise, best: int) -> tuple[_Costs, _Costs]:
    n_points = len(candidates.config_ids)
    if not noise.is_known:
        return np.zeros(n_points), np.zeros(n_points)
    # The more configurations are compared, the larger the largest difference by chance.
    n_compared = max(int(candidates.trains.sum()), 2)
    z = NormalDist().inv_cdf(1.0 - _MISS_LEVEL / n_compared)
    variances = np.array([_median_variance(int(n)) for n in candidates.n_judged])
    for_median = z * noise.seed_sd * np.sqrt(variances + variances[best])
    # The worst seed is one run, so its difference is that of two single runs.
    for_worst = np.full(n_points, z * noise.seed_sd * math.sqrt(2.0))
    return for_median, for_worst


def _is_tie(candidates: Candidates, indices: NDArray[np.intp], seed_sd: float) -> bool:
    """Return whether an F test finds nothing between configurations beside seed noise."""
    if len(indices) < 2 or (candidates.n_judged[candidates.trains] < 2).any():
        return False
    medians = candidates.best[indices]
    if seed_sd == 0.0:
        return bool(np.ptp(medians) == 0.0)
    n_judged = candidates.n_judged[indices]
    expected = seed_sd**2 * float(np.mean([_median_variance(int(n)) for n in n_judged]))
    from scipy.stats import f

    probability = f.sf(
        float(medians.var(ddof=1)) / expected, len(indices) - 1, int((n_judged - 1).sum())
    )
    return bool(probability > _TIE_LEVEL)


def _expected_maximum(n: int) -> float:
    """Return the expected largest of n standard normal values (Blom's formula for many)."""
    blom = NormalDist().inv_cdf((n - 0.375) / (n + 0.25))
    return _EXPECTED_MAXIMUM.get(n, blom)


def _median_variance(n: int) -> float:
    """Return the variance of the median of n standard normal values (an estimate for many)."""
    many = math.pi / (2.0 * max(n, 1) + math.pi - 2.0)
    return _MEDIAN_VARIANCE.get(n, many)


def _fate(row: dict[str, Any], *, has_value: bool) -> Fate:
    verdict = _text(row["verdict"])
    if row["n_judged"] < 1:
        return Fate.FAILED
    if verdict == VerdictClass.DIVERGING:
        return Fate.DIVERGING
    if Tag.UNSTABLE in _tags(row["tags"]):
        return Fate.UNSTABLE
    if verdict == VerdictClass.NOT_LEARNING:
        return Fate.NOT_LEARNING
    return Fate.TRAINS if has_value else Fate.NO_VALUE


def _tags(value: Any) -> set[str]:
    return {str(tag) for tag in value} if isinstance(value, list | tuple | np.ndarray) else set()


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str) else ""


def _finite(costs: _Costs) -> _Costs:
    return np.where(np.isfinite(costs), costs, np.inf)


def _scalar(value: Any) -> AxisValue:
    scalar: AxisValue = value.item() if isinstance(value, np.generic) else value
    return scalar


def _coordinates(axis: Axis, values: list[AxisValue], goodness: _Costs) -> NDArray[np.float64]:
    """Return positions in [0, 1] along one axis."""
    if axis.scale is Scale.CATEGORICAL:
        raw = _category_ranks(values, goodness)
    else:
        raw = np.array([float(value) for value in values])
        if axis.scale is Scale.LOG:
            # A log axis may have been given a 0 ("no weight decay"): count steps instead.
            steps = np.searchsorted(np.unique(raw), raw).astype(float)
            raw = np.log(raw) if (raw > 0).all() else steps
    lowest, span = float(raw.min(initial=np.inf)), float(np.ptp(raw)) if raw.size else 0.0
    return (raw - lowest) / span if span > 0 else np.zeros(raw.size)


def _category_ranks(values: list[AxisValue], goodness: _Costs) -> NDArray[np.float64]:
    """Return the rank of each value's category, the one with the best configuration first.

    Categories have no order of their own. Ranked so, a box reaches from the best category to
    ever worse ones, which is all that a box can mean there.
    """
    keys = [(type(value).__name__, value) for value in values]
    best_of: dict[tuple[str, AxisValue], float] = {}
    for key, cost in zip(keys, goodness, strict=True):
        best_of[key] = min(cost, best_of.get(key, np.inf))
    ranked = sorted(best_of, key=lambda key: best_of[key])
    return np.array([ranked.index(key) for key in keys], dtype=float)
