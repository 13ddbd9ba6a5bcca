"""How often a curve would get the same class if its noise had come out differently."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sweepdiag.features import compute_features, resample_curves
from sweepdiag.records import VerdictClass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sweepdiag.features import CurveArrays, FeatureMatrix
    from sweepdiag.rules.base import FloatArray, Rule
    from sweepdiag.rules.context import JudgingContext
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["first_matches", "rule_margins", "vote"]

IntArray = NDArray[np.int64]

_BATCH_ELEMENTS = 2**16
"""Resampled values per series that a thread holds at a time: 0.5 MiB in float64."""
_MOST_THREADS = 16


def rule_margins(
    rules: Sequence[Rule],
    features: FeatureMatrix,
    thresholds: Thresholds,
    context: JudgingContext,
) -> FloatArray:
    """Return the margin of every rule, shape ``(n_rules, n_curves)``."""
    return np.stack([rule.margin(features, thresholds, context) for rule in rules])


def first_matches(
    rules: Sequence[Rule],
    features: FeatureMatrix,
    thresholds: Thresholds,
    context: JudgingContext,
) -> IntArray:
    """Return the place of the first rule that matches each curve; the last rule catches all."""
    chosen = np.full(features.n_curves, len(rules) - 1, dtype=np.int64)
    for place in reversed(range(len(rules) - 1)):
        chosen[rules[place].matches(features, thresholds, context)] = place
    return chosen


def vote(
    curves: CurveArrays,
    rules: Sequence[Rule],
    thresholds: Thresholds,
    context: JudgingContext,
    n_resamples: int,
) -> FloatArray:
    """Return, per curve, the share of its resamples that each rule wins.

    ``inconclusive`` does not take part: its shares are 0.

    Args:
        curves: The curves, floor subtracted.
        rules: The rules in order.
        thresholds: The limits.
        context: What the curves are judged against.
        n_resamples: Resamples per curve, at least 1.

    Returns:
        Shares, shape ``(n_curves, n_rules)``; rows sum to 1.
    """
    places = [i for i, rule in enumerate(rules) if rule.verdict is not VerdictClass.INCONCLUSIVE]
    voters = [rules[place] for place in places]
    shares = np.zeros((curves.n_curves, len(rules)))
    batch = max(1, _BATCH_ELEMENTS // max(1, n_resamples * curves.n_points))
    parts = [slice(start, start + batch) for start in range(0, curves.n_curves, batch)]

    def winners(rows: slice) -> IntArray:
        part = curves.select(rows)
        # A thread does not inherit how its parent treats overflows.
        with np.errstate(all="ignore"):
            resampled = resample_curves(
                part, n_resamples=n_resamples, is_positive=context.has_floor[rows]
            )
            return first_matches(
                voters,
                compute_features(resampled),
                thresholds,
                context.select(rows, n_resamples),
            ).reshape(part.n_curves, n_resamples)

    for rows, won in zip(parts, _mapped(winners, parts), strict=True):
        for voter, place in enumerate(places):
            shares[rows, place] = (won == voter).mean(axis=1)
    return shares


def _mapped(winners: Callable[[slice], IntArray], parts: Sequence[slice]) -> list[IntArray]:
    """Return the winners of each part; several parts are shared among the cores."""
    n_threads = _n_threads(len(parts))
    if n_threads == 1:
        return [winners(rows) for rows in parts]
    # NumPy lets go of the interpreter's lock, and no curve's votes depend on another's.
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(winners, parts))


def _n_threads(n_parts: int) -> int:
    """Return how many threads there is work and a core for."""
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    n_cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, min(n_parts, n_cores, _MOST_THREADS))
