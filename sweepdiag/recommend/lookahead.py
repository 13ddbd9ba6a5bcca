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
"""Siblings that answer; 5 to 16 were as good on published sweeps."""

LEAST_SIBLINGS = 4
"""Fewer are too seldom alike: in sweeps of three, fixed criteria lost less."""

_PRIOR_SIBLINGS = 0.5
"""How many siblings the guess weighs that is made without looking for any that are alike. Eight
that gained nothing do not tell that a ninth will not: a quarter to one were as good."""

_MOST_SIBLINGS = 256
"""Complete curves that are asked, evenly taken from all: time grows with their number."""
_LEAST_FALL = 0.02
"""Of the best loss since the first evaluation; less is nothing learned, and nothing to tell."""
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
    smoothed loss has risen above its minimum, how much it fell lately and how much in all. The
    siblings that looked most like it after the same evaluation tell by their further course what
    best loss to expect when. A guess that knows of no likeness counts as half a sibling: the mean
    of what the others gain on average and of what the curve gained of late. Training stops once
    no later evaluation is worth the way to it, at a price in relative improvement for the whole
    budget. No curve is asked about its own further course.

    Losses must be positive, as for GL: a curve whose best so far is not positive goes on.

    Args:
        val_losses: Validation loss per evaluation, shape ``(n_curves, n_points)``, of trainings
            that belong together; NaN after the end of shorter ones. With fewer than four siblings,
            and so for a curve alone of shape ``(n_points,)``, nothing is stopped.
        train_losses: Not used.
        price: Relative improvement of the best loss that the whole budget must bring to be worth
            its time: at 0.03, the last half of it must bring 1.5 %.
        n_alike: Siblings whose mean is taken; all of them where there are fewer.

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
        has_learned if has_learned.sum() > LEAST_SIBLINGS else np.ones(len(best), dtype=bool)
    )
    places = np.flatnonzero(is_asked)
    evenly = np.linspace(0, len(places) - 1, min(_MOST_SIBLINGS, len(places)))
    return places[evenly.round().astype(np.intp)]


def _descriptions(curves: _Floats, best: _Floats) -> Iterator[tuple[int, _Floats]]:
    """Yield, evaluation by evaluation, what each curve looks like, shape ``(n_curves, 4)``."""
    smooth = finite_or_inf(curves[:, 0])
    lowest = smooth.copy()
    place = np.zeros(len(curves))
    for index in range(curves.shape[1]):
        loss = curves[:, index]
        if index:
            smooth = np.where(np.isfinite(loss), _DECAY * smooth + (1 - _DECAY) * loss, smooth)
            lowest = np.fmin(lowest, smooth)
            place = np.where(best[:, index] < best[:, index - 1], index, place)
        if index < _LEAST_POINTS - 1:
            continue
        waited = (index - place) / (index + 1)
        risen = np.log1p(_STEEP * np.clip(smooth / lowest - 1, 0, 1))
        fell_lately = np.sqrt(np.clip(np.log(best[:, _lately(index)] / best[:, index]), 0, 1))
        fell = np.sqrt(np.clip(np.log(best[:, 0] / best[:, index]), 0, _FAR))
        yield index, np.nan_to_num(np.stack([waited, risen, fell_lately, fell], axis=1))


def _expected_gains(
    description: _Floats,
    best: _Floats,
    index: int,
    going: NDArray[np.intp],
    asked: NDArray[np.intp],
    n_alike: int,
) -> _Floats:
    """Return the relative fall of the best loss to expect by each later evaluation.

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
    scaled = description / (description[asked].std(axis=0) + _TINY)
    still = _relative_fall(best[asked, index, None], best[asked, index + 1 :])
    answers = scaled[asked]
    n_alike = min(n_alike, len(asked) - 1)
    gains = np.empty((len(going), still.shape[1]))
    for start in range(0, len(going), _BLOCK):
        rows = going[start : start + _BLOCK]
        is_own = rows[:, None] == asked
        # Squared distances, but for what all siblings of a row have in common.
        distances = (answers**2).sum(axis=1) - 2 * scaled[rows] @ answers.T
        distances[is_own] = np.inf
        near = np.argpartition(distances, n_alike - 1, axis=1)[:, :n_alike]
        guess = (_mean_of_others(still, is_own) + _fall_before(best[rows], index)) / 2
        total = still[near].sum(axis=1) + _PRIOR_SIBLINGS * guess
        gains[start : start + _BLOCK] = total / (n_alike + _PRIOR_SIBLINGS)
    return gains


def _mean_of_others(still: _Floats, is_own: NDArray[np.bool_]) -> _Floats:
    """Return the mean over siblings, for each row without the sibling that it is itself."""
    n_others = still.shape[0] - is_own.sum(axis=1, keepdims=True)
    mean: _Floats = (still.sum(axis=0) - is_own.astype(float) @ still) / n_others
    return mean


def _lately(index: int) -> int:
    """Return the evaluation before which a fall is no news, after so many."""
    return max(int(_RECENTLY * (index + 1)) - 1, 0)


def _fall_before(best: _Floats, index: int) -> _Floats:
    """Return how much each curve fell, of late, in as many evaluations as there are to come."""
    back = np.maximum(index - np.arange(1, best.shape[1] - index), _lately(index))
    return _relative_fall(best[:, back], best[:, index, None])


def _relative_fall(before: _Floats, after: _Floats) -> _Floats:
    return np.nan_to_num(1 - after / before, nan=0.0, posinf=0.0, neginf=0.0)
