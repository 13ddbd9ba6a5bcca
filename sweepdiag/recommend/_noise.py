"""How much seeds differ, and which configurations are as good as the best in view of that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from sweepdiag.features.seed_spread import seed_factor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sweepdiag.recommend._candidates import Candidates

__all__ = [
    "LOSS_CAP",
    "LOSS_FLOOR",
    "METRIC_FLOOR",
    "Acceptable",
    "Noise",
    "acceptable",
    "estimate_noise",
]

LOSS_FLOOR = 0.05
"""Losses within 5 % of the best count as equally good, however small the seed noise."""

METRIC_FLOOR = 0.01
"""Metrics within 1 % of the best count as equally good, however small the seed noise."""

LOSS_CAP = 0.25
"""Losses more than 25 % above the best do not count as equally good, however large the noise."""

# Below this probability, differences as large as those seen are not seed noise alone.
_TIE_LEVEL = 0.01
# A spread between seeds so many times the median spread is not ordinary noise (about 1 in 1,000
# pairs of seeds is so far apart by chance).
_OUTLIER_FACTOR = 5.0
_FEWEST_FOR_OUTLIERS = 6
# Chance that any of the configurations that equal the best is taken for worse.
_MISS_LEVEL = 0.05

# Of normal samples of 2 to 5, the usual numbers of seeds: the mean and the median distance of
# the largest from the median, and the variance of the median.
_MEAN_DISTANCE = {2: 0.5642, 3: 0.8463, 4: 1.0294, 5: 1.1630}
_MEDIAN_DISTANCE = {2: 0.4769, 3: 0.6892, 4: 0.9175, 5: 1.0643}
_MEDIAN_VARIANCE = {1: 1.0, 2: 0.5, 3: 0.4487, 4: 0.2982, 5: 0.2868}

_Costs: TypeAlias = "NDArray[np.float64]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """How much a single run differs from the next seed's.

    Attributes:
        seed_sd: Standard deviation between seeds near the best, of the logarithm if ``is_log``;
            NaN with one seed.
        is_tie: Whether all configurations that train differ by no more than seed noise.
        n_pooled: Configurations behind the figure.
        is_outlier: Which configurations have a seed so far off that it is no ordinary noise.
        is_log: Whether everything is compared on a log scale: losses that are all positive.
    """

    seed_sd: float
    is_tie: bool
    n_pooled: int
    is_outlier: NDArray[np.bool_]
    is_log: bool

    @property
    def is_known(self) -> bool:
        """Return whether there were at least two seeds."""
        return math.isfinite(self.seed_sd)

    @property
    def factor(self) -> float:
        """Return how many times the loss of one seed another's is; NaN if it is not known."""
        return seed_factor(self.seed_sd) if self.is_log else math.nan


class Acceptable(NamedTuple):
    """Which configurations are as good as the best.

    Attributes:
        is_good: One flag per configuration.
        is_capped: Whether seed noise asked for so much tolerance that the cap left some out.
    """

    is_good: NDArray[np.bool_]
    is_capped: bool


def estimate_noise(candidates: Candidates, *, monitor: str) -> Noise:
    """Return the seed noise of the better configurations, and whether it explains everything.

    From the table's median and worst seed: their distance is typically a known number of
    standard deviations. The figure is the median over the better quarter (at least 6) of what
    trains, because noise often grows with the loss and a few seeds always go astray.
    """
    best, worst, is_log = _scaled(candidates, monitor)
    repeated = candidates.trains & (candidates.n_judged >= 2)
    is_outlier = np.zeros_like(repeated)
    if not repeated.any():
        return Noise(
            seed_sd=math.nan, is_tie=False, n_pooled=0, is_outlier=is_outlier, is_log=is_log
        )
    gaps = np.where(repeated, worst, 0.0) - np.where(repeated, best, 0.0)
    spreads = gaps / _units(candidates, _MEDIAN_DISTANCE)
    # Without this, one seed that went astray would make everything a tie.
    is_outlier = repeated & _is_far_off(spreads, repeated)
    indices = np.flatnonzero(repeated & ~is_outlier)
    n_pooled = min(len(indices), max(6, -(-len(indices) // 4)))
    near_best = indices[np.argsort(best[indices], kind="stable")[:n_pooled]]
    # The test for a tie needs the noise of all, for which the mean is the surer estimate.
    mean_spread = float((gaps / _units(candidates, _MEAN_DISTANCE))[indices].mean())
    is_tie = _is_tie(candidates, best, indices, mean_spread)
    return Noise(
        seed_sd=float(np.median(spreads[near_best])),
        is_tie=is_tie and not (is_log and _is_too_wide(best[indices])),
        n_pooled=n_pooled,
        is_outlier=is_outlier,
        is_log=is_log,
    )


def acceptable(candidates: Candidates, noise: Noise, *, monitor: str) -> Acceptable:
    """Return which configurations are as good as the best as far as anyone can tell.

    Both their median and their worst seed must be within a tolerance of those of the
    configuration whose worst seed is best. The tolerance is the larger of a relative floor and
    the difference that seed noise alone would rarely exceed for any of the configurations; for
    losses above zero it is no more than ``LOSS_CAP``.
    """
    trains = candidates.trains
    if noise.is_tie:
        return Acceptable(trains & ~noise.is_outlier, is_capped=False)
    best = candidates.robust_best()
    relative = LOSS_FLOOR if monitor == "val_loss" else METRIC_FLOOR
    of_median, of_worst, _ = _scaled(candidates, monitor)
    for_median, for_worst = _noise_tolerances(candidates, noise, best)
    within, uncapped = trains.copy(), trains & ~noise.is_outlier
    for cost, from_noise in ((of_median, for_median), (of_worst, for_worst)):
        floor = math.log1p(relative) if noise.is_log else relative * abs(float(cost[best]))
        wanted = np.maximum(from_noise, floor)
        tolerance = np.minimum(wanted, math.log1p(LOSS_CAP)) if noise.is_log else wanted
        within &= cost <= cost[best] + tolerance
        uncapped &= cost <= cost[best] + wanted
    return Acceptable(within, is_capped=bool((uncapped & ~within).any()))


def _scaled(candidates: Candidates, monitor: str) -> tuple[_Costs, _Costs, bool]:
    """Return the costs of median and worst seed, as logarithms where losses are all positive."""
    best, worst, trains = candidates.best, candidates.worst, candidates.trains
    if monitor != "val_loss" or not (np.minimum(best, worst)[trains] > 0).all():
        return best, worst, False
    logs = [np.log(cost, where=trains, out=np.full(cost.shape, np.inf)) for cost in (best, worst)]
    return logs[0], logs[1], True


def _units(candidates: Candidates, table: dict[int, float]) -> _Costs:
    """Return the typical distance of the worst seed from the median, in standard deviations."""
    counts = np.maximum(candidates.n_judged, 2)
    # Blom's formula for many; then mean and median hardly differ.
    return np.array(
        [table.get(n, NormalDist().inv_cdf((n - 0.375) / (n + 0.25))) for n in counts.tolist()]
    )


def _is_far_off(spreads: _Costs, repeated: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if int(repeated.sum()) < _FEWEST_FOR_OUTLIERS:
        return np.zeros_like(repeated)
    typical = float(np.median(spreads[repeated]))
    return np.asarray(spreads > _OUTLIER_FACTOR * typical) if typical > 0 else spreads < 0.0


def _is_too_wide(logs: _Costs) -> bool:
    """Return whether values differ by more than the cap to both sides of a typical one."""
    return float(np.ptp(logs)) > 2.0 * math.log1p(LOSS_CAP)


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


def _is_tie(
    candidates: Candidates, costs: _Costs, indices: NDArray[np.intp], seed_sd: float
) -> bool:
    """Return whether an F test finds nothing between configurations beside seed noise."""
    if len(indices) < 2 or (candidates.n_judged[candidates.trains] < 2).any():
        return False
    medians = costs[indices]
    if seed_sd == 0.0:
        return bool(np.ptp(medians) == 0.0)
    n_judged = candidates.n_judged[indices]
    expected = seed_sd**2 * float(np.mean([_median_variance(int(n)) for n in n_judged]))
    from scipy.stats import f

    probability = f.sf(
        float(medians.var(ddof=1)) / expected, len(indices) - 1, int((n_judged - 1).sum())
    )
    return bool(probability > _TIE_LEVEL)


def _median_variance(n: int) -> float:
    """Return the variance of the median of n standard normal values (an estimate for many)."""
    many = math.pi / (2.0 * max(n, 1) + math.pi - 2.0)
    return _MEDIAN_VARIANCE.get(n, many)
