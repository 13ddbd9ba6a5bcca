"""Which trainings need not be trained to their end, by the verdict that they will have there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.features import MIN_POINTS, compute_features, continue_curves
from sweepdiag.records import VerdictClass
from sweepdiag.rules.context import build_context, remove_floor
from sweepdiag.rules.judge import active_rules, judge_curves
from sweepdiag.rules.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.features import CurveArrays, FeatureMatrix
    from sweepdiag.records import SweepFacts
    from sweepdiag.rules.base import FloatArray, Rule
    from sweepdiag.rules.confidence import IntArray
    from sweepdiag.rules.context import JudgingContext

__all__ = ["STOPPABLE", "stop_reasons"]

STOPPABLE = frozenset({VerdictClass.DIVERGING, VerdictClass.NOT_LEARNING})
"""Classes that end a training: nothing in the rest of such a curve is of use.

An overfitting curve may descend once more, and its minimum is what the recommendation rests on.
"""

_N_CONTINUATIONS = (6, 36)
"""A few refute most; what they leave gets all of them, these among them."""


def stop_reasons(
    curves: CurveArrays,
    *,
    epochs: FloatArray,
    facts: SweepFacts | None,
    thresholds: Thresholds | None = None,
) -> list[str | None]:
    """Return why each of some running trainings should end now; ``None`` if it should not.

    A training ends if its curve so far is diverging or not learning, and so is every one of 36
    continuations of it to the end of the budget (see ``features.continue_curves``), by the rules
    that judge whole curves. A curve is judged alone, so the answer does not depend on the others,
    and what it is ended for is the verdict that a report gives it.

    Args:
        curves: The curves so far, all with the same evaluations.
        epochs: Epochs of all evaluations up to the end of the training, shape ``(n_points,)``.
        facts: What is known of the task.
        thresholds: The limits; ``None`` takes the defaults.

    Returns:
        One sentence or ``None`` per curve.
    """
    reasons: list[str | None] = [None] * curves.n_curves
    limits = thresholds or Thresholds()
    if curves.n_points < max(MIN_POINTS, limits.min_evaluations):
        return reasons
    rules = _deciding_rules()
    with np.errstate(all="ignore"):
        known, floor = remove_floor(curves, facts)
        features = compute_features(known)
        context = build_context(features, facts, "alone", floor)
        chosen = _first_matches(rules, features, limits, context)
        may_stop = np.array([*(rule.verdict in STOPPABLE for rule in rules), False])
        settled = np.flatnonzero(may_stop[chosen])
        for n_continuations in _N_CONTINUATIONS:
            if not settled.size:
                return reasons
            futures = continue_curves(
                known.select(settled),
                epochs=epochs,
                n_continuations=n_continuations,
                is_positive=context.has_floor[settled],
            )
            later = compute_features(futures)
            later_context = build_context(later, facts, "alone", floor)
            ends = _first_matches(rules, later, limits, later_context)
            is_same = ends.reshape(len(settled), -1) == chosen[settled][:, None]
            settled = settled[is_same.all(axis=1)]
    # The vote of resampled curves can take a verdict back; it is left to the few that are settled.
    verdicts = judge_curves(curves.select(settled), facts=facts, thresholds=limits)
    for place, verdict in zip(settled, verdicts, strict=True):
        if verdict.verdict in STOPPABLE:
            reasons[place] = f"{verdict.verdict}: {verdict.evidence}"
    return reasons


def _deciding_rules() -> tuple[Rule, ...]:
    """Return the rules in order, up to the last that ends a training: no other matters."""
    rules = active_rules()
    last = max(place for place, rule in enumerate(rules) if rule.verdict in STOPPABLE)
    return rules[: last + 1]


def _first_matches(
    rules: Sequence[Rule],
    features: FeatureMatrix,
    thresholds: Thresholds,
    context: JudgingContext,
) -> IntArray:
    """Return the place of the first rule that matches each curve; ``len(rules)``: none does."""
    matches = [rule.matches(features, thresholds, context) for rule in rules]
    none = np.ones(features.n_curves, dtype=bool)
    places: IntArray = np.argmax(np.stack([*matches, none]), axis=0)
    return places
