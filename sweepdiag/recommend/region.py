"""Where to train: a box on the axes inside which everything that was tried is worth training."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.messages import monitor_name
from sweepdiag.recommend._boxes import inside, largest_box
from sweepdiag.recommend._candidates import Candidates, Fate, read_candidates
from sweepdiag.recommend._noise import Noise, acceptable, estimate_noise
from sweepdiag.recommend._reasons import region_reasons
from sweepdiag.recommend._sides import axis_range, centre_of, clearance
from sweepdiag.recommend._words import (
    LEARNING_RATES,
    axis_name,
    join,
    range_text,
    value_text,
)
from sweepdiag.records import Axis, AxisRange, Region, VerdictClass

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from sweepdiag.recommend._boxes import Box

__all__ = ["RegionCause", "RegionOutcome", "recommend_region"]

# Boxes are sought around so many of the best configurations.
_MOST_STARTS = 24


class RegionCause(enum.StrEnum):
    """Why there is a region, or none."""

    FOUND = "found"
    TIE = "tie"
    SINGLE = "single"
    NO_AXES = "no axes"
    NOTHING_JUDGED = "nothing judged"
    NO_VALUES = "no values"
    ALL_DIVERGING = "all diverging"
    ALL_NOT_LEARNING = "all not learning"
    NOTHING_GENERALISES = "nothing generalises"
    NOTHING_TRAINS = "nothing trains"


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionOutcome:
    """A region or its absence, and how to say it.

    Attributes:
        region: The box, or ``None``.
        cause: Why there is one, or none.
        answer: One or two sentences, without the epoch at which to stop and the last full stop.
        candidates: The tried configurations that it was found among.
        is_noise_known: Whether at least two seeds show how much a run varies.
        is_noise_too_large: Whether seed noise asked for more tolerance than is ever given.
        seed_factor: How many times the loss of one seed another's is; NaN if it is not known.
        best_config_id: The configuration whose worst seed is best, if any trains.
        equals: Configurations outside the box that are as good as the best, best first.
    """

    region: Region | None
    cause: RegionCause
    answer: str
    candidates: Candidates
    is_noise_known: bool = False
    is_noise_too_large: bool = False
    seed_factor: float = math.nan
    best_config_id: str | None = None
    equals: tuple[str, ...] = ()


def recommend_region(
    *,
    axes: tuple[Axis, ...],
    configurations: pd.DataFrame,
    monitor: str,
    metric_mode: str | None,
    baseline_val_loss: float | None = None,
    metric: str | None = None,
) -> RegionOutcome:
    """Return the largest box of configurations that are as good as the best, and sound.

    A configuration may be inside if none of its seeds diverged, it learned, its validation loss
    is at least 2 % below that of a constant prediction, and both its median and its worst seed
    are within a tolerance of the configuration whose worst seed is best. The tolerance is what
    seed noise would rarely exceed, and at least 5 % of the best loss (``LOSS_FLOOR``) or 1 % of
    the best metric (``METRIC_FLOOR``); with one seed the noise is unknown and only that floor is
    left. Losses above zero are compared as ratios, and noise widens their tolerance to 25 %
    (``LOSS_CAP``) and no further. Where all configurations together differ by no more than seed
    noise, none is preferred: the box is the whole tried space.

    The box is the largest around any of the best; of equal ones the one with more healthy
    configurations, then the one with more room to what is bad, then the best configuration's.

    A configuration that overfits may be inside, since what counts is its best epoch.

    Args:
        axes: The sweep's axes; those without a column are left out.
        configurations: Columns of ``configurations.parquet``.
        monitor: ``val_loss`` or ``val_metric``.
        metric_mode: ``max`` or ``min``.
        baseline_val_loss: Validation loss of a constant prediction, if it is known.
        metric: Name of the metric, for texts.

    Returns:
        The region, or why there is none.
    """
    candidates = read_candidates(axes, configurations, monitor, metric_mode, baseline_val_loss)
    name = monitor_name(monitor, metric)
    if not candidates.trains.any():
        return _nothing(candidates, name)
    best = candidates.robust_best()
    if not candidates.axes:
        return _without_axes(candidates, best, name)
    noise = estimate_noise(candidates, monitor=monitor)
    is_good, is_capped = acceptable(candidates, noise, monitor=monitor)
    box = _largest_box(candidates, is_good)
    centre = centre_of(candidates, is_good, box, prefer_middle=noise.is_tie)
    contained = np.flatnonzero(inside(candidates.coords, box))
    ranges = tuple(
        axis_range(candidates, is_good, box, axis, centre) for axis in range(len(candidates.axes))
    )
    region = Region(
        axes=ranges,
        config_ids=tuple(candidates.config_ids[int(index)] for index in contained),
        centre_config_id=candidates.config_ids[centre],
        reasons=region_reasons(
            candidates, noise, contained, centre, monitor, name=name, is_capped=is_capped
        ),
    )
    cause = _cause(candidates, noise)
    return RegionOutcome(
        region=region,
        cause=cause,
        answer=_answer(region, cause, candidates),
        candidates=candidates,
        is_noise_known=noise.is_known,
        is_noise_too_large=is_capped,
        seed_factor=noise.factor,
        best_config_id=candidates.config_ids[best],
        equals=_equals(candidates, is_good, box),
    )


def _equals(candidates: Candidates, is_good: NDArray[np.bool_], box: Box) -> tuple[str, ...]:
    """Return what no box can hold together with the region, but is as good, best first."""
    outside = np.flatnonzero(is_good & ~inside(candidates.coords, box))
    ranked = sorted(outside, key=lambda index: float(candidates.worst[index]))
    return tuple(candidates.config_ids[int(index)] for index in ranked)


def _largest_box(candidates: Candidates, is_good: NDArray[np.bool_]) -> Box:
    """Return the largest box around one of the best configurations.

    Of equal ones, the one with the most healthy configurations, then the one with the most room
    between its inside and what is bad, then the best configuration's.

    Acceptable configurations differ by no more than noise, so a wide box around the second best
    says more than a narrow one around a winner that may have been lucky.
    """
    ranked = sorted(np.flatnonzero(is_good), key=lambda index: float(candidates.worst[index]))
    boxes = [
        largest_box(candidates.coords, is_good, int(start)) for start in ranked[:_MOST_STARTS]
    ]
    sizes = [int((inside(candidates.coords, box) & is_good).sum()) for box in boxes]
    largest = [box for box, size in zip(boxes, sizes, strict=True) if size == max(sizes)]

    def soundness(box: Box) -> tuple[int, float]:
        contained = np.flatnonzero(inside(candidates.coords, box))
        n_healthy = sum(
            candidates.verdicts[int(index)] == VerdictClass.HEALTHY for index in contained
        )
        return n_healthy, clearance(candidates, is_good, box)

    return max(largest, key=soundness)


def _cause(candidates: Candidates, noise: Noise) -> RegionCause:
    if len(candidates.config_ids) == 1:
        return RegionCause.SINGLE
    return RegionCause.TIE if noise.is_tie else RegionCause.FOUND


def _answer(region: Region, cause: RegionCause, candidates: Candidates) -> str:
    ranges = ", ".join(range_text(side) for side in region.axes)
    if cause is RegionCause.SINGLE:
        return f"Only one configuration was tried, and it trains: {ranges}"
    start = _start_text(region.axes)
    if cause is RegionCause.TIE:
        every = "Every configuration ties"
        if not candidates.trains.all():
            every = "All configurations that train tie"
        return f"{every} within seed noise: train anywhere with {ranges}{start}"
    return f"Train with {ranges}{start}"


def _start_text(ranges: tuple[AxisRange, ...]) -> str:
    open_sides = [side for side in ranges if len(side.values) > 1]
    if not open_sides:
        return ""
    places = [f"{axis_name(side.name)} {value_text(side.centre)}" for side in open_sides]
    return f" (start at {join(places)})"


def _nothing(candidates: Candidates, name: str) -> RegionOutcome:
    judged = [fate for fate in candidates.fates if fate is not Fate.FAILED]
    lr = next((axis.name for axis in candidates.axes if axis.name in LEARNING_RATES), None)
    if not judged:
        cause, answer = RegionCause.NOTHING_JUDGED, _nothing_judged(candidates)
    elif Fate.DOES_NOT_GENERALISE in judged:
        cause = RegionCause.NOTHING_GENERALISES
        answer = (
            "Training loss falls, but validation never beats a constant prediction: check labels "
            "and the split; if they are right, more data or regularisation may help"
        )
    elif Fate.NO_VALUE in judged:
        # What has no value may train well: of the others nothing follows for it.
        cause, answer = RegionCause.NO_VALUES, _no_values(judged, name)
    elif all(fate in {Fate.DIVERGING, Fate.UNSTABLE} for fate in judged):
        cause = RegionCause.ALL_DIVERGING
        answer = f"Nothing here trains: every configuration diverges. {_widen(candidates, lr, -1)}"
    elif all(fate is Fate.NOT_LEARNING for fate in judged):
        cause = RegionCause.ALL_NOT_LEARNING
        answer = (
            "Nothing here trains: no configuration is better than a constant prediction. "
            f"{_widen(candidates, lr, +1)}, or look for an error in labels, loss or model"
        )
    else:
        cause = RegionCause.NOTHING_TRAINS
        answer = f"Nothing here trains: {_fates_text(judged)}"
        if lr is not None:
            answer += ". Look for a learning rate between those that diverge and the others"
    return RegionOutcome(region=None, cause=cause, answer=answer, candidates=candidates)


def _no_values(judged: Sequence[Fate], name: str) -> str:
    lack = f"has a finite {name} in every seed"
    if all(fate is Fate.NO_VALUE for fate in judged):
        return f"No region can be given: no configuration {lack}"
    return f"No region can be given: no configuration that may train {lack}; {_fates_text(judged)}"


def _nothing_judged(candidates: Candidates) -> str:
    if candidates.config_ids:
        return "No region can be given: no training came to an end"
    return "No region can be given: nothing was trained"


def _widen(candidates: Candidates, lr: str | None, direction: int) -> str:
    if lr is None:
        return f"{'Lower' if direction < 0 else 'Raise'} the learning rate"
    index = [axis.name for axis in candidates.axes].index(lr)
    tried = [float(values[index]) for values in candidates.values]
    if direction < 0:
        return f"Widen {lr} downwards, below {value_text(min(tried))}"
    return f"Widen {lr} upwards, above {value_text(max(tried))}"


def _fates_text(fates: Sequence[Fate]) -> str:
    words = {
        Fate.DIVERGING: "diverge",
        Fate.UNSTABLE: "diverge in some seeds",
        Fate.NOT_LEARNING: "do not learn",
    }
    return join(
        f"{fates.count(fate)} of {len(fates)} configurations {word}"
        for fate, word in words.items()
        if fate in fates
    )


def _without_axes(candidates: Candidates, best: int, name: str) -> RegionOutcome:
    worst = abs(float(candidates.worst[best]))
    n_seeds = int(candidates.n_judged[best])
    if len(candidates.config_ids) == 1 and n_seeds > 1:
        middle = abs(float(candidates.best[best]))
        answer = (
            f"One configuration with {n_seeds} seeds: the best {name} is {value_text(middle)} in "
            f"the median, {value_text(worst)} in the worst of them"
        )
    else:
        answer = (
            "No axes are known, so there is no region to give. The best run is "
            f"{candidates.config_ids[best]}, with a {name} of {worst:.3g}"
        )
    return RegionOutcome(
        region=None,
        cause=RegionCause.NO_AXES,
        answer=answer,
        candidates=candidates,
        best_config_id=candidates.config_ids[best],
    )
