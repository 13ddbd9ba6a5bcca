"""Whether a curve still improves where it ends: one answer for findings and recommendation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sweepdiag.features.curves import FloatArray
    from sweepdiag.features.share_unit import ShareUnit

__all__ = ["LEAST_OF_LEARNED", "late_gain", "n_late"]

LEAST_OF_LEARNED = 0.005
"""Improvement at the end as a share of all that was learned, below which there is none."""

_LATE_PART = 0.2
"""Part of the evaluations that is the end of a curve."""

_FEWEST_LATE = 4
"""Evaluations of that part at least: a line through fewer has no error to speak of."""

_LATE_GAIN = 0.02
"""Improvement over that part, as a share of the level, from which more epochs are worth it."""

_LATE_ERRORS = 3.0
"""The same in standard errors of a straight line through that part."""


def n_late(n_evaluations: int) -> int:
    """Return how many evaluations count as the end of a curve.

    Args:
        n_evaluations: Evaluations of the whole curve.
    """
    return max(_FEWEST_LATE, round(_LATE_PART * n_evaluations))


def late_gain(
    costs: FloatArray,
    *,
    cost_sign: float,
    unit: ShareUnit,
    least_of_learned: float = LEAST_OF_LEARNED,
) -> float:
    """Return how much a curve improves at its end, as a share of its level there.

    A straight line is laid through the last fifth of the values, at least four. It counts if it
    falls by more than 2 % of the level that it starts from, by more than three of its standard
    errors and by a least share of all that was learned; if as many values before lie, in the mean,
    above those of the end by more than half of that fall; and if the line ends near the best of
    the curve: above the lowest value before by less than it falls. So what rises again, spikes or
    swings by chance does not improve, even if it falls at last.

    Args:
        costs: The monitored value per evaluation, smaller is better, shape ``(n_points,)``; what
            is not finite is left out.
        cost_sign: -1 if the monitored value itself is better when larger, else 1.
        unit: What shares are taken of.
        least_of_learned: That least share.

    Returns:
        A share of ``unit``; 0 where there is no such improvement, or too few values are finite.
    """
    costs = costs[np.isfinite(costs)]
    n = n_late(costs.size)
    if costs.size <= n:
        return 0.0
    late, before = costs[-n:], costs[-2 * n : -n]
    x = np.arange(n) - (n - 1) / 2
    slope = float(x @ late / (x @ x))
    residuals = late - late.mean() - slope * x
    # A power of two changes no digit and keeps the squares of huge and tiny losses in range.
    exponent = int(np.frexp(np.abs(residuals).max())[1])
    scaled = np.ldexp(residuals, -exponent)
    error = float(np.ldexp(np.sqrt(scaled @ scaled / (n - 2) / (x @ x)), exponent))
    gain, mean = -slope * (n - 1), float(late.mean())
    # Of what it falls from, or of all that was learned until its end: never more than the whole.
    place = mean - gain / 2 if unit.origin is None else mean + gain / 2
    level = unit.at(cost_sign * place, start=cost_sign * float(costs[0]))
    is_clear = (
        -slope > _LATE_ERRORS * error
        and gain > least_of_learned * (costs[0] - costs.min())
        and float(before.mean()) - mean > gain / 2
        and mean - gain / 2 - costs[:-n].min() < gain
    )
    return gain / level if is_clear and gain > _LATE_GAIN * level > 0 else 0.0
