"""How often a curve would get the same class if its noise had come out differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sweepdiag.features import compute_features, resample_curves
from sweepdiag.records import VerdictClass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.features import CurveArrays, FeatureMatrix
    from sweepdiag.rules.base import FloatArray, Rule
    from sweepdiag.rules.context import JudgingContext
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["first_matches", "rule_margins", "vote"]

IntArray = NDArray[np.int64]

_BATCH_ELEMENTS = 2**20
"""Resampled values per series held in memory at a time: 8 MiB in float64."""


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
    for start in range(0, curves.n_curves, batch):
        rows = slice(start, start + batch)
        part = curves.select(rows)
        resampled = resample_curves(
            part, n_resamples=n_resamples, is_positive=context.has_floor[rows]
        )
        winners = first_matches(
            voters,
            compute_features(resampled),
            thresholds,
            context.select(rows, n_resamples),
        ).reshape(part.n_curves, n_resamples)
        for voter, place in enumerate(places):
            shares[rows, place] = (winners == voter).mean(axis=1)
    return shares
