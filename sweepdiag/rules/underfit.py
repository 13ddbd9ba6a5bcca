"""Training that could have learned more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.records import VerdictClass
from sweepdiag.rules.base import (
    MarginRule,
    all_of,
    any_of,
    at_least,
    at_most,
    percent,
    standard_error,
    where_true,
)

if TYPE_CHECKING:
    from sweepdiag.features import FeatureMatrix
    from sweepdiag.rules.base import CurveRow, FloatArray
    from sweepdiag.rules.context import JudgingContext
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["UnderfitRule", "late_fall"]


class UnderfitRule(MarginRule):
    """Something was learned, and there is more to learn.

    What it checks: both losses are still falling at the end: over the last third by 5 % of their
    level and 2 % of all that was learned, or by 12 % of all that was learned; or, in a sweep,
    another configuration reaches both a lower training and a lower validation loss, by a tenth
    and beyond the noise between seeds; or, for a curve alone, it stays close to where it
    started.

    Why it matters: the remedy is the opposite of that for overfitting: more epochs, a higher
    learning rate, more capacity. The tags ``still_improving`` and ``plateaued`` say which.

    What it needs: 5 finite training losses; for the comparison, siblings.

    Known false alarms: a task with much irreducible noise, seen alone. A training loss far above
    the sweep's best proves nothing by itself, since that best may be overfitting; hence both
    losses must be lower.

    References:
        Godbole et al., "Deep Learning Tuning Playbook", 2023; AUTOTRAINER, 2021 (slow
        convergence).
    """

    verdict = VerdictClass.UNDERFIT
    priority = 50

    def margin(
        self, features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
    ) -> FloatArray:
        """Return how far each curve is inside the class, in [-1, 1]; >= 0 is inside."""
        has_enough = at_least(features.column("train_n_finite"), thresholds.min_evaluations)
        has_val = features.column("val_n_finite") >= thresholds.min_evaluations
        val = all_of(
            late_fall(features, thresholds, context, "val"),
            _is_near_minimum(features, thresholds),
        )
        is_improving = all_of(
            late_fall(features, thresholds, context, "train"), np.where(has_val, val, 1.0)
        )
        has_better = where_true(np.isfinite(context.reference_val))
        alternatives = [is_improving, has_better]
        if context.kind == "alone":
            alternatives.append(_stays_high(features, thresholds, context))
        return all_of(has_enough, any_of(*alternatives))

    def evidence(self, row: CurveRow) -> str:
        """Return one sentence with the numbers that put the curve into the class."""
        floor = row.context.floor
        if row.reference_id is not None:
            return (
                f"training loss reached {row['train_smooth_min'] + floor:.4g} and validation loss "
                f"{row['val_smooth_min'] + floor:.4g}; configuration {row.reference_id} reaches "
                f"{row['reference_train'] + floor:.4g} and {row['reference_val'] + floor:.4g}"
            )
        has_val = row["val_n_finite"] >= row.thresholds.min_evaluations
        words, prefix = ("validation", "val") if has_val else ("training", "train")
        change = row[f"{prefix}_late_change"]
        if change < 0 and -change > 0.01 * abs(row[f"{prefix}_smooth_last"]):
            size = (
                percent(-row[f"{prefix}_late_slope"]) if row["has_floor"] else f"by {-change:.3g}"
            )
            return (
                f"{words} loss was still falling: {size} over the last third, to "
                f"{row[f'{prefix}_smooth_last'] + floor:.4g} at epoch {row['last_epoch']:g}"
            )
        return (
            f"training loss stayed at {row['train_smooth_last'] + floor:.4g}, which is "
            f"{percent(row['train_smooth_last'] / row['start_train'])} of the "
            f"{row['start_train'] + floor:.4g} it started from"
        )


def late_fall(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext, prefix: str
) -> FloatArray:
    """Return the margin of a loss that is still falling in the last third.

    Args:
        features: The features.
        thresholds: The limits.
        context: What the curves are judged against.
        prefix: ``train`` or ``val``.

    Returns:
        The margin per curve.
    """
    fall = -features.column(f"{prefix}_late_change")
    start = getattr(context, f"start_{prefix}")
    with np.errstate(all="ignore"):
        learned = np.fmax(start, features.column(f"{prefix}_first"))
        share = fall / (learned - features.column(f"{prefix}_smooth_last"))
        in_errors = fall / features.column(f"{prefix}_late_change_se")
    level = np.where(
        context.has_floor,
        at_least(-features.column(f"{prefix}_late_slope"), thresholds.improving_slope),
        1.0,
    )
    is_large = any_of(
        all_of(level, at_least(share, thresholds.improving_share)),
        at_least(share, thresholds.improving_share_large),
    )
    return all_of(is_large, at_least(in_errors, thresholds.improving_t))


def _is_near_minimum(features: FeatureMatrix, thresholds: Thresholds) -> FloatArray:
    """Return the margin of a validation loss that ends at its minimum, noise apart."""
    rise = features.column("val_smooth_last") - features.column("val_smooth_min")
    return any_of(
        at_most(features.column("val_rise_range"), thresholds.improving_share),
        at_most(rise, 2.0 * standard_error(features, "val")),
    )


def _stays_high(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> FloatArray:
    limit = np.where(
        context.is_start_known, thresholds.plateau_level, thresholds.plateau_level_unknown
    )
    with np.errstate(all="ignore"):
        level = features.column("train_smooth_last") / context.start_train
    return all_of(where_true(context.has_floor), at_least(level, limit))
