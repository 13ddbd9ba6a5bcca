"""An early-stopping criterion that asks the siblings: what did such curves still gain from here?

A single curve cannot know that the learning rate will drop, or that trainings of this kind improve
again after a rise. The other curves of its sweep went through the same schedule on the same data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from sweepdiag.errors import ConfigError
from sweepdiag.recommend._curves import finite_or_inf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

__all__ = ["sibling_lookahead"]

_Floats: TypeAlias = "NDArray[np.float64]"

N_ALIKE = 8
"""Siblings that answer; 6 to 16 were as good on the sweeps that it was chosen on."""

LEAST_SIBLINGS = 4
"""Fewer are too seldom alike: in sweeps of three, fixed criteria lost less."""

_NEAR = 0.3
"""Squared distance at which a sibling answers with half the weight of one that is no different.
In a small sweep most of the eight nearest are not alike; 0.15 to 1 were as good."""

_PRIOR_SIBLINGS = 0.5
"""How many siblings the guess weighs that is made without looking for any that are alike. Eight
that gained nothing do not tell that a ninth will not: a quarter to one were as good."""

_MOST_SIBLINGS = 256
"""Complete curves that are asked, evenly taken from all: time grows with their number."""
_LEAST_FALL = 0.02
"""Of the best loss since the first evaluation; less is nothing learned, and nothing to tell."""
_LEAST_LEARNED = 3
"""Siblings that have learned must be as many, or all are asked."""
_BLOCK = 256
"""Curves that are answered at a time: their distances to all siblings fit into the cache."""
_LEAST_POINTS = 4
"""Evaluations before the first answer: a best one, a wait and a fall need as many."""
_DECAY = 0.8
_RECENTLY = 0.8
"""Share of the time so far, before which a fall is no news."""
_STEEP = 20.0
"""Rises of more than a twentieth count on a logarithmic scale."""
_FAR = 4.0
_QUIET = 1e-4
"""Relative noise below which a curve does not count as any smoother."""
_MOST_GAINED = 1.0
"""One sibling that fell to a thousandth does not outweigh all others."""
_TINY = 1e-9


def sibling_lookahead(
    val_losses: ArrayLike,
    train_losses: ArrayLike | None = None,  # noqa: ARG001 - every criterion takes both
    *,
    price: float,
    n_alike: int = N_ALIKE,
) -> NDArray[np.intp]:
    """Return where what is still to be gained is not worth the time, as told by the siblings.

    After every evaluation a curve is described by how long ago its best loss is, how far its
    smoothed loss has risen above its minimum and which way it went of late, how much the best
    loss fell lately and how much in all, and how noisy it is. The siblings that looked most like
    it after the same evaluation tell by their further course what best loss to expect when, each
    with a weight that falls with its distance. A guess that knows of no likeness counts as half a
    sibling: the mean of what the others gain on average and of what the curve gained of late.
    Training stops once no later evaluation is worth the way to it, at a price in relative
    improvement for the whole budget. No curve is asked about its own further course.

    Losses must be positive, as for GL: a curve whose best so far is not positive goes on.

    Args:
        val_losses: Validation loss per evaluation, shape ``(n_curves, n_points)``, of trainings
            that belong together; NaN after the end of shorter ones. With fewer than four siblings,
            and so for a curve alone of shape ``(n_points,)``, nothing is stopped.
        train_losses: Not used.
        price: Relative improvement of the best loss that the whole budget must bring to be worth
            its time: at 0.03, the last half of it must bring 1.5 %. Relative to what it falls
            to, as regret is, and 100 % at most.
        n_alike: Siblings whose weighted mean is taken; all of them where there are fewer.

    Returns:
        Index per curve.

    Raises:
        ConfigError: If ``price < 0`` or ``n_alike < 1``.
    """
    if not price >= 0:
        message = f"price must be at least 0, got {price}"
        raise ConfigError(message)
    if n_alike < 1:
        message = f"n_alike must be at least 1, got {n_alike}"
        raise ConfigError(message)
    losses = np.asarray(val_losses, dtype=float)
    curves = np.atleast_2d(losses)
    n_points = curves.shape[1]
    stops = np.full(len(curves), n_points - 1, dtype=np.intp)
    if len(curves) > LEAST_SIBLINGS:
        with np.errstate(all="ignore"):
            best = np.minimum.accumulate(finite_or_inf(curves), axis=1)
            asked = _asked(best)
            going = (np.isfinite(curves[:, 0]) & (best[:, -1] > 0)).nonzero()[0]
            for index, description in _descriptions(curves, best):
                if index >= n_points - 1 or not going.size:
                    break
                gains = _expected_gains(description, best, index, going, asked, n_alike)
                costs = price * np.arange(1, n_points - index) / n_points
                is_over = ~((gains - costs).max(axis=1) > 0)
                stops[going[is_over]] = index
                going = going[~is_over]
    return stops if losses.ndim > 1 else stops[0]


def _asked(best: _Floats) -> NDArray[np.intp]:
    """Return the curves that may answer: those that have learned, if there are some."""
    has_learned = best[:, -1] < (1 - _LEAST_FALL) * best[:, 0]
    is_asked = (
        has_learned if has_learned.sum() >= _LEAST_LEARNED else np.ones(len(best), dtype=bool)
    )
    places = np.flatnonzero(is_asked)
    evenly = np.linspace(0, len(places) - 1, min(_MOST_SIBLINGS, len(places)))
    return places[evenly.round().astype(np.intp)]


def _descriptions(curves: _Floats, best: _Floats) -> Iterator[tuple[int, _Floats]]:
    """Yield, evaluation by evaluation, what each curve looks like, shape ``(n_curves, 6)``."""
    smooth = finite_or_inf(curves[:, 0])
    lowest = smooth.copy()
    place, noise = np.zeros(len(curves)), np.zeros(len(curves))
    smooth_before = [smooth]
    for index in range(curves.shape[1]):
        loss = curves[:, index]
        if index:
            smooth = _mean_with(loss, smooth)
            lowest = np.fmin(lowest, smooth)
            noise = _mean_with(np.abs(loss - smooth), noise)
            place = np.where(best[:, index] < best[:, index - 1], index, place)
            smooth_before.append(smooth)
        if index < _LEAST_POINTS - 1:
            continue
        lately = _lately(index)
        waited = (index - place) / (index + 1)
        risen = np.log1p(_STEEP * np.clip(smooth / lowest - 1, 0, 1))
        way = np.clip(np.log(smooth / smooth_before[lately]), -1, 1)
        trend = np.sign(way) * np.sqrt(np.abs(way))
        fell_lately = np.sqrt(np.clip(np.log(best[:, lately] / best[:, index]), 0, 1))
        fell = np.sqrt(np.clip(np.log(best[:, 0] / best[:, index]), 0, _FAR))
        noisy = np.log(np.clip(noise / smooth, _QUIET, 1)) / 2
        columns = [waited, risen, trend, fell_lately, fell, noisy]
        yield index, np.nan_to_num(np.stack(columns, axis=1))


def _mean_with(value: _Floats, mean: _Floats) -> _Floats:
    """Return the exponential mean after one more value; one that is not finite leaves it."""
    return np.where(np.isfinite(value), _DECAY * mean + (1 - _DECAY) * value, mean)


def _expected_gains(
    description: _Floats,
    best: _Floats,
    index: int,
    going: NDArray[np.intp],
    asked: NDArray[np.intp],
    n_alike: int,
) -> _Floats:
    """Return the gain of the best loss to expect by each later evaluation.

    Args:
        description: What each curve looks like after this evaluation.
        best: Best loss so far of all curves.
        index: Of this evaluation.
        going: Curves that have not stopped.
        asked: Curves that may answer.
        n_alike: How many of them do.

    Returns:
        Shape ``(len(going), n_points - index - 1)``.
    """
    centre, spread = description[asked].mean(axis=0), description[asked].std(axis=0)
    scaled = (description - centre) / (spread + _TINY)
    still = _gain(best[asked, index, None], best[asked, index + 1 :])
    answers = scaled[asked]
    n_alike = min(n_alike, len(asked) - 1)
    gains = np.empty((len(going), still.shape[1]))
    for start in range(0, len(going), _BLOCK):
        rows = going[start : start + _BLOCK]
        is_own = rows[:, None] == asked
        distances = _squared_distances(scaled[rows], answers)
        distances[is_own] = np.inf
        near = np.argpartition(distances, n_alike - 1, axis=1)[:, :n_alike]
        weights = np.zeros_like(distances)
        of_near = np.take_along_axis(distances, near, axis=1)
        np.put_along_axis(weights, near, 1 / (1 + of_near / _NEAR), axis=1)
        guess = (_mean_of_others(still, is_own) + _gain_before(best[rows], index)) / 2
        total = weights @ still + _PRIOR_SIBLINGS * guess
        total_weight = weights.sum(axis=1, keepdims=True) + _PRIOR_SIBLINGS
        gains[start : start + _BLOCK] = total / total_weight
    return gains


def _squared_distances(left: _Floats, right: _Floats) -> _Floats:
    """Return those between all rows of both, without making their differences.

    Precise where the rows are near the origin.
    """
    squares = (left**2).sum(axis=1, keepdims=True) + (right**2).sum(axis=1)
    distances: _Floats = np.maximum(squares - 2 * left @ right.T, 0)
    return distances


def _mean_of_others(still: _Floats, is_own: NDArray[np.bool_]) -> _Floats:
    """Return the mean over siblings, for each row without the sibling that it is itself."""
    n_others = still.shape[0] - is_own.sum(axis=1, keepdims=True)
    mean: _Floats = (still.sum(axis=0) - is_own.astype(float) @ still) / n_others
    return mean


def _lately(index: int) -> int:
    """Return the evaluation before which a fall is no news, after so many."""
    return max(int(_RECENTLY * (index + 1)) - 1, 0)


def _gain_before(best: _Floats, index: int) -> _Floats:
    """Return how much each curve gained, of late, in as many evaluations as there are to come."""
    back = np.maximum(index - np.arange(1, best.shape[1] - index), _lately(index))
    return _gain(best[:, back], best[:, index, None])


def _gain(before: _Floats, after: _Floats) -> _Floats:
    """Return how far one loss is above a later one, relative to the later one."""
    return np.clip(np.nan_to_num(before / after - 1, nan=0.0), 0, _MOST_GAINED)
