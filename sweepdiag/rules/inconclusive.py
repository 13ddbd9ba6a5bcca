"""Curves that do not say enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweepdiag.records import VerdictClass
from sweepdiag.rules.base import (
    MarginRule,
    all_of,
    any_of,
    at_least,
    averaged,
    percent,
    where_true,
)
from sweepdiag.rules.diverging import ends_where_it_started
from sweepdiag.rules.overfit import never_beats_baseline
from sweepdiag.rules.u_shaped import beyond_noise, is_large_rise, keeps_rise
from sweepdiag.wording import epoch_text, plural

if TYPE_CHECKING:
    from sweepdiag.features import FeatureMatrix
    from sweepdiag.rules.base import CurveRow, FloatArray
    from sweepdiag.rules.context import JudgingContext
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["InconclusiveRule", "unstable_validation"]


class InconclusiveRule(MarginRule):
    """Too few evaluations, only one of the losses, or evidence on both sides.

    What it checks: fewer than 5 finite training or validation losses; or a validation loss that
    is no number now and then, and at the end, beside a sound training loss; or a training loss
    that has lost a fifth of its fall again without diverging, or that scatters by a fifth of its
    range; or a validation loss that ends a tenth above its minimum without a lasting rise (4.5 %
    where that is beyond noise), or that never got below the best constant prediction. A verdict
    that too few resampled curves agree with becomes inconclusive as well, with that verdict as
    runner-up.

    Why it matters: no verdict is better than a wrong one that somebody acts on.

    What it needs: nothing.

    Known false alarms: a training logged without validation is never called healthy, however well
    it went.
    """

    verdict = VerdictClass.INCONCLUSIVE
    priority = 60

    def margin(
        self, features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
    ) -> FloatArray:
        """Return how far each curve is inside the class, in [-1, 1]; >= 0 is inside."""
        enough = thresholds.min_evaluations - 0.5
        return any_of(
            -at_least(features.column("train_n_finite"), enough),
            -at_least(features.column("val_n_finite"), enough),
            where_true(features.column("val_ends_finite") == 0),
            at_least(features.column("train_rise_range"), thresholds.instability_regained),
            _scatters(features, thresholds),
            unstable_validation(features, thresholds, context),
            where_true(ends_where_it_started(features, thresholds, context)),
            where_true(never_beats_baseline(features, thresholds, context)),
        )

    def evidence(self, row: CurveRow) -> str:
        """Return one sentence with the numbers that put the curve into the class."""
        needed = row.thresholds.min_evaluations
        if row["n_evaluations"] == 0:
            return "nothing was evaluated"
        if row["val_n_finite"] == 0:
            return (
                "there is no validation loss, so that a good fit cannot be told from overfitting"
            )
        if row["train_n_finite"] == 0:
            return "there is no training loss, so that nothing tells under- from overfitting"
        fewest = min(row["train_n_finite"], row["val_n_finite"])
        if fewest < needed:
            n_known = plural(fewest, "evaluation")
            return f"only {n_known} with finite losses; at least {needed:g} are needed"
        if row["val_ends_finite"] == 0:
            return (
                "validation loss is not finite now and then, and at the end (first at epoch "
                f"{epoch_text(row['val_first_nonfinite_epoch'])}), although training loss is near "
                "its minimum: look at how validation is evaluated"
            )
        if row["train_rise_range"] >= row.thresholds.instability_regained:
            return (
                f"training loss lost {percent(row['train_rise_range'])} of its fall again between "
                f"epoch {epoch_text(row['train_smooth_min_epoch'])} and "
                f"{epoch_text(row['train_last_epoch'])}"
                f"{averaged(row, 'train', 'means of')}"
            )
        if _scatters(row.features, row.thresholds).item() >= 0:
            return (
                f"training loss scatters by {percent(row['train_noise_range'])} of its range from "
                "one evaluation to the next"
            )
        if ends_where_it_started(row.features, row.thresholds, row.context).item():
            floor = row.context.floor
            return (
                f"training loss ended at {row['train_last'] + floor:.4g} after a minimum of "
                f"{row['train_min'] + floor:.4g} at epoch {epoch_text(row['train_min_epoch'])}"
            )
        return _of_validation(row)


def _scatters(features: FeatureMatrix, thresholds: Thresholds) -> FloatArray:
    """Return the margin of a training loss that jumps; what never turns round only bends."""
    return all_of(
        at_least(features.column("train_noise_range"), thresholds.instability_noise),
        where_true(features.column("train_sign_changes") > 0),
    )


def unstable_validation(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> FloatArray:
    """Return the margin of a validation loss that ends far above its minimum, lasting or not."""
    least = thresholds.instability_min_range
    return all_of(
        where_true(keeps_rise(features)),
        any_of(
            is_large_rise(features, thresholds, context, thresholds.instability_rise, least),
            all_of(
                is_large_rise(features, thresholds, context, thresholds.u_shape_rise, least),
                beyond_noise(features, thresholds),
            ),
        ),
    )


def _of_validation(row: CurveRow) -> str:
    floor = row.context.floor
    minimum = f"{row['val_min'] + floor:.4g} at epoch {epoch_text(row['val_min_epoch'])}"
    if never_beats_baseline(row.features, row.thresholds, row.context).item():
        return (
            f"validation loss never got clearly below the {row['baseline_val'] + floor:.4g} of "
            f"the best constant prediction: its minimum is {minimum}"
        )
    lowest, epoch = row["val_smooth_min"] + floor, row["val_smooth_min_epoch"]
    return (
        f"validation loss is unstable: after a minimum of {lowest:.4g} at epoch "
        f"{epoch_text(epoch)} it ended at "
        f"{row['val_smooth_last'] + floor:.4g}{averaged(row, 'val', 'means of')}"
    )
