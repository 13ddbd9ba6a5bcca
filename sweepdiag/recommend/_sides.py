"""What lies beyond each side of a box, and which configuration inside is furthest from harm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.recommend._boxes import Box, inside
from sweepdiag.recommend._candidates import Candidates, Fate
from sweepdiag.recommend._words import percent_of, value_text
from sweepdiag.records import AxisRange, Scale, VerdictClass

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Side", "axis_range", "centre_of", "clearance", "look_beyond"]

_WORSE = "is {} worse"
# Overfitting alone keeps nothing out of a region: its best epoch must be worse as well.
_OVERFITS = "overfits and is {} worse"
_UNDERFITS = "underfits"
_FATE_WORDS = {
    Fate.NO_VALUE: "has no finite monitored value",
    Fate.FAILED: "could not be trained",
    Fate.DOES_NOT_GENERALISE: "does not beat a constant prediction",
    Fate.NOT_LEARNING: "does not learn",
    Fate.UNSTABLE: "diverges in some seeds",
    Fate.DIVERGING: "diverges",
}
_VERDICT_WORDS = {
    VerdictClass.UNDERFIT.value: _UNDERFITS,
    VerdictClass.OVERFIT.value: _OVERFITS,
    VerdictClass.U_SHAPED.value: _OVERFITS,
}
# From mild to grave.
_HARMS = (_WORSE, _OVERFITS, _UNDERFITS, *_FATE_WORDS.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One side of a box along one axis.

    Attributes:
        is_bad: Whether something that was tried beyond it is bad.
        distance: From the side to the next tried value beyond, in coordinates; infinite where
            nothing was tried.
        reason: What lies beyond, in words.
    """

    is_bad: bool
    distance: float
    reason: str


def look_beyond(
    candidates: Candidates,
    is_good: NDArray[np.bool_],
    box: Box,
    axis: int,
    *,
    upper: bool,
    centre: int | None = None,
) -> Side:
    """Return what was tried next to a box on one side.

    Next to the box are the configurations that differ from those inside only along this axis;
    where scattered points offer none, those that differ most along it. What is said is true of
    the neighbour of ``centre`` if that one is bad, and of most of the bad ones otherwise.
    """
    coords = candidates.coords
    outside = np.maximum(np.maximum(box[0] - coords, coords - box[1]), 0.0)
    place = coords[:, axis]
    is_beyond = place > box[1][axis] if upper else place < box[0][axis]
    others = np.delete(outside, axis, axis=1).max(axis=1, initial=0.0)
    beside = is_beyond & (others == 0.0)
    if not beside.any():
        beside = is_beyond & (others <= outside[:, axis])
    if not beside.any():
        return Side(is_bad=False, distance=np.inf, reason=_untried(candidates, axis, upper=upper))
    nearest = float(outside[beside, axis].min())
    beside &= np.isclose(outside[:, axis], nearest, rtol=0.0, atol=1e-12)
    return _described(candidates, is_good, np.flatnonzero(beside), axis, nearest, centre)


def _untried(candidates: Candidates, axis: int, *, upper: bool) -> str:
    if float(np.ptp(candidates.coords[:, axis])) == 0.0:
        return "no other value was tried"
    return f"no {'higher' if upper else 'lower'} value was tried"


def _described(
    candidates: Candidates,
    is_good: NDArray[np.bool_],
    beside: NDArray[np.intp],
    axis: int,
    distance: float,
    centre: int | None,
) -> Side:
    place = value_text(candidates.values[int(beside[0])][axis])
    bad = beside[~is_good[beside]]
    if not bad.size:
        # Possible beside scattered points, and where another axis made the larger box.
        return Side(is_bad=False, distance=distance, reason=f"{place} is about as good")
    harms = [_harm(candidates, int(index)) for index in bad]
    in_row = _in_row(candidates, bad, axis, centre)
    # Of equally frequent reasons the graver one is given.
    harm = max(
        {harm for harm, is_in in zip(harms, in_row, strict=True) if is_in},
        key=lambda harm: (harms.count(harm), _HARMS.index(harm)),
    )
    same = bad[[other == harm for other in harms]]
    if harm in {_OVERFITS, _WORSE}:
        harm = harm.format(_how_much_worse(candidates, same))
    partly = (
        "" if same.size == beside.size else f" for {same.size} of {beside.size} configurations"
    )
    return Side(is_bad=True, distance=distance, reason=f"{harm} at {place}{partly}")


def _in_row(
    candidates: Candidates, indices: NDArray[np.intp], axis: int, centre: int | None
) -> NDArray[np.bool_]:
    """Return which configurations differ from the centre along one axis only; if none, all."""
    everything = np.ones(indices.size, dtype=bool)
    if centre is None:
        return everything
    others = np.delete(candidates.coords, axis, axis=1)
    in_row = (others[indices] == others[centre]).all(axis=1)
    return np.asarray(in_row) if in_row.any() else everything


def _harm(candidates: Candidates, index: int) -> str:
    fate = candidates.fates[index]
    if fate is not Fate.TRAINS:
        return _FATE_WORDS[fate]
    return _VERDICT_WORDS.get(candidates.verdicts[index], _WORSE)


def _how_much_worse(candidates: Candidates, bad: NDArray[np.intp]) -> str:
    reference = candidates.robust_best()
    costs = candidates.worst[bad][np.isfinite(candidates.worst[bad])]
    size = float(candidates.worst[reference])
    return percent_of(float(np.median(costs)) - size, size)


def axis_range(
    candidates: Candidates, is_good: NDArray[np.bool_], box: Box, axis: int, centre: int
) -> AxisRange:
    """Return one axis of a region, with the reasons for its ends."""
    spec = candidates.axes[axis]
    contained = np.flatnonzero(inside(candidates.coords, box))
    tried = {candidates.values[int(index)][axis] for index in contained}
    below = look_beyond(candidates, is_good, box, axis, upper=False, centre=centre)
    above = look_beyond(candidates, is_good, box, axis, upper=True, centre=centre)
    if spec.scale is Scale.CATEGORICAL:
        return AxisRange(
            name=spec.name,
            low=None,
            high=None,
            values=tuple(value for value in spec.values if value in tried) or tuple(tried),
            centre=candidates.values[centre][axis],
            low_reason="categories have no order",
            high_reason=above.reason if above.is_bad else "no other value was tried",
        )
    numbers = sorted(float(value) for value in tried)
    planned = [value for value in spec.values if numbers[0] <= float(value) <= numbers[-1]]
    return AxisRange(
        name=spec.name,
        low=numbers[0],
        high=numbers[-1],
        values=tuple(planned) or tuple(sorted(tried, key=float)),
        centre=candidates.values[centre][axis],
        low_reason=below.reason,
        high_reason=above.reason,
    )


def centre_of(
    candidates: Candidates, is_good: NDArray[np.bool_], box: Box, *, prefer_middle: bool
) -> int:
    """Return the index of the configuration inside that is furthest from the box's bad sides.

    The smallest of its distances to a bad side decides, then the next smallest, then the worst
    seed. Distances count from what is bad, not from the side itself.

    Args:
        candidates: The tried configurations.
        is_good: Which of them may be inside.
        box: The box.
        prefer_middle: Whether the middle of the box decides before the worst seed, for when seed
            noise alone would choose.

    Returns:
        An index into the candidates.
    """
    contained = np.flatnonzero(inside(candidates.coords, box))
    margins = _margins(candidates, is_good, box, candidates.coords[contained])
    middle = np.abs(candidates.coords[contained] - (box[0] + box[1]) / 2.0).max(axis=1)
    off_centre = middle if prefer_middle else np.zeros(contained.size)
    # lexsort takes the most important key last; rounding makes equal distances equal.
    keys = [candidates.best[contained], candidates.worst[contained], np.round(off_centre, 9)]
    keys += [-np.round(margins[:, rank], 9) for rank in reversed(range(margins.shape[1]))]
    return int(contained[np.lexsort(keys)[0]])


def clearance(candidates: Candidates, is_good: NDArray[np.bool_], box: Box) -> float:
    """Return how far from the bad beyond a box one can get inside it; infinite without any."""
    contained = inside(candidates.coords, box)
    margins = _margins(candidates, is_good, box, candidates.coords[contained])
    return round(float(margins[:, 0].max()), 9)


def _margins(
    candidates: Candidates,
    is_good: NDArray[np.bool_],
    box: Box,
    coords: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return each point's distances to the bad beyond the box, ascending, one per axis."""
    margins = np.full(coords.shape, np.inf)
    for axis, spec in enumerate(candidates.axes):
        if spec.scale is Scale.CATEGORICAL:
            continue
        for upper in (False, True):
            side = look_beyond(candidates, is_good, box, axis, upper=upper)
            if side.is_bad:
                edge = box[1][axis] + side.distance if upper else box[0][axis] - side.distance
                margins[:, axis] = np.minimum(margins[:, axis], np.abs(edge - coords[:, axis]))
    margins.sort(axis=1)
    return margins
