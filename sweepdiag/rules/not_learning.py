"""Training that learned nothing."""

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
    averaged,
    standard_error,
    where_true,
)
from sweepdiag.wording import epoch_text

if TYPE_CHECKING:
    from sweepdiag.features import FeatureMatrix
    from sweepdiag.rules.base import CurveRow, FloatArray
    from sweepdiag.rules.context import JudgingContext
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["NotLearningRule"]


class NotLearningRule(MarginRule):
    """Training loss never got below that of the best constant prediction.

    What it checks: the lowest smoothed training loss, or the last one, is within 2 % of its start,
    or within the noise of it, up to 10 %; or, where only the curve itself is known, it fell to one
    level at once, the same as that of the validation loss, and never moved again. The start is the
    loss of the zero-rule baseline (always the majority class, always the mean) where that is
    known, otherwise the first evaluated loss.

    Why it matters: whatever the metric says, the inputs are not used. The learning rate is far too
    low, or so high that the network died in its first steps, or there is a bug: shuffled labels,
    a detached loss, frozen parameters.

    What it needs: 5 finite training losses, and a loss before training or the baseline.

    Known false alarms: a linear model that converges within the first epoch; a log that begins
    when training has already converged; a task so noisy that 2 % is all there is to learn.

    References:
        Any text on zero-rule classifiers; the "dead network" of TheDeepChecker, 2023.
    """

    verdict = VerdictClass.NOT_LEARNING
    priority = 20

    def margin(
        self, features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
    ) -> FloatArray:
        """Return how far each curve is inside the class, in [-1, 1]; >= 0 is inside."""
        has_enough = at_least(features.column("train_n_finite"), thresholds.min_evaluations)
        return all_of(
            has_enough,
            any_of(
                _never_fell(features, thresholds, context),
                _found_a_constant(features, thresholds, context),
            ),
        )

    def evidence(self, row: CurveRow) -> str:
        """Return one sentence with the numbers that put the curve into the class."""
        start, lowest, floor = row["start_train"], row["train_smooth_min"], row.context.floor
        if _never_fell(row.features, row.thresholds, row.context).item() < 0:
            return (
                f"training loss fell from {row['train_first'] + floor:.4g} to its level at once; "
                f"after that its minimum was {row['train_min'] + floor:.4g} at epoch "
                f"{epoch_text(row['train_min_epoch'])} and its end "
                f"{row['train_last'] + floor:.4g}; "
                "validation loss is about the same: the network predicts a constant"
            )
        whose = "the best constant prediction has" if row["is_start_known"] else "it started from"
        target = f"the {start + floor:.4g} that {whose}"
        if start - lowest > row.thresholds.not_learning_fall * abs(start):
            last = row["train_smooth_last"]
            relation = "no better than" if last >= start else "hardly better than"
            return (
                f"training loss ended at {last + floor:.4g}{averaged(row, 'train')}, {relation} "
                f"{target}"
            )
        sentence = (
            f"the lowest training loss of {row['train_n_finite']:g} evaluations is "
            f"{row['train_min'] + floor:.4g} (epoch "
            f"{epoch_text(row['train_min_epoch'])}), against {target}"
        )
        remark = averaged(row, "train", "lowest mean of")
        if remark and start - row["train_min"] > row.thresholds.not_learning_fall * abs(start):
            sentence += f"; smoothed it is {lowest + floor:.4g}{remark}"
        return sentence


def _never_fell(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> FloatArray:
    """Compare the lowest and the last level with the start.

    The noise is that of short curves as well, where a spike or a steep fall passes for it: it
    explains no fall that anybody would see.
    """
    start = context.start_train
    in_noise = thresholds.not_learning_noise * standard_error(features, "train")
    least = thresholds.not_learning_fall * np.abs(start)
    most = thresholds.not_learning_noise_fall * np.abs(start)
    limit = np.where(context.has_floor, np.clip(in_noise, least, most), in_noise)
    return any_of(
        _at_most_limit(start - features.column("train_smooth_min"), limit),
        _at_most_limit(start - features.column("train_smooth_last"), limit),
    )


def _at_most_limit(fall: FloatArray, limit: FloatArray) -> FloatArray:
    with np.errstate(all="ignore"):
        excess = np.where(limit > 0, 1 - fall / limit, np.where(fall <= 0, 0.0, -1.0))
    margin: FloatArray = np.clip(np.nan_to_num(excess, nan=-1.0), -1.0, 1.0)
    return margin


def _found_a_constant(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> FloatArray:
    """Tell chance from a good level where the best constant prediction is not known."""
    with np.errstate(all="ignore"):
        level = features.column("train_smooth_last") / features.column("train_first")
    return all_of(
        where_true(~context.is_start_known & context.has_floor),
        at_most(features.column("train_later_fall"), thresholds.not_learning_later),
        at_most(np.abs(features.column("gap_ratio")), thresholds.not_learning_gap),
        at_least(level, thresholds.not_learning_level),
    )
