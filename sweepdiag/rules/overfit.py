"""A gap between training and validation that grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.records import VerdictClass
from sweepdiag.rules.base import (
    MarginRule,
    all_of,
    any_of,
    at_least,
    averaged,
    percent,
    standard_error,
    where_true,
)
from sweepdiag.wording import epoch_text

if TYPE_CHECKING:
    from sweepdiag.features import FeatureMatrix
    from sweepdiag.rules.base import BoolArray, CurveRow, FloatArray
    from sweepdiag.rules.context import JudgingContext
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["OverfitRule", "never_beats_baseline", "still_parts"]


class OverfitRule(MarginRule):
    """Validation loss stays far above training loss, and the gap still grows.

    What it checks: at the end the gap is 15 % or more of what training learned, at least as
    large as the training loss itself (where the loss has a floor), and it has grown by a tenth of
    itself since validation was best or over the last third; or validation loss falls no more and
    the gap is half of what training learned, and either twice the training loss, or as much
    has opened since the first evaluation while training loss fell by 5 % or more; or
    training loss fell by 5 % or more while validation loss never got 2 % below that of the best
    constant prediction.

    Why it matters: what is learned now does not carry over to new data, even though validation
    loss has not turned upwards (yet).

    What it needs: 5 finite training and validation losses.

    Known false alarms: a validation set from another distribution, when training happens to still
    improve (the finding on train/validation shift looks at the whole sweep). A smaller gap that is
    there from the first epoch and does not grow is not called.

    References:
        Godbole et al., "Deep Learning Tuning Playbook", 2023; Li et al., "Keeping Deep Learning
        Models in Check", 2024.
    """

    verdict = VerdictClass.OVERFIT
    priority = 40

    def margin(
        self, features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
    ) -> FloatArray:
        """Return how far each curve is inside the class, in [-1, 1]; >= 0 is inside."""
        has_enough = at_least(
            np.fmin(features.column("train_n_finite"), features.column("val_n_finite")),
            thresholds.min_evaluations,
        )
        relative = features.column("gap_ratio")
        ratio = np.where(context.has_floor, at_least(relative, thresholds.overfit_gap_ratio), 1.0)
        grows = all_of(_gap_grows(features, thresholds, context), ratio)
        is_improving = _is_falling(features, thresholds) & (
            features.column("val_late_slope") <= -thresholds.improving_slope
        )
        is_wide = all_of(
            where_true(context.has_floor & _lasts(features) & ~is_improving),
            any_of(
                all_of(
                    at_least(_share_of_learned(features, context), thresholds.overfit_wide_share),
                    at_least(relative, thresholds.overfit_wide_ratio),
                ),
                _opened_for_good(features, thresholds, context, _noise_of_gap(features)),
            ),
        )
        return all_of(
            has_enough,
            any_of(grows, is_wide, _nothing_carried_over(features, thresholds, context)),
        )

    def evidence(self, row: CurveRow) -> str:
        """Return one sentence with the numbers that put the curve into the class."""
        gap, floor = row["gap_last"], row.context.floor
        if never_beats_baseline(row.features, row.thresholds, row.context).item():
            return (
                f"training loss fell from {row['train_first'] + floor:.4g} to "
                f"{row['train_last'] + floor:.4g}, but validation loss never got clearly below "
                f"the {row['baseline_val'] + floor:.4g} of the best constant prediction: its "
                f"minimum is {row['val_min'] + floor:.4g} at epoch "
                f"{epoch_text(row['val_min_epoch'])}"
            )
        growth = max(
            row["gap_growth"], row["val_late_change"] - row["train_late_change"], key=np.nan_to_num
        )
        remark = averaged(row, "val", "means of the last")
        sentence = (
            f"validation loss ended at {row['val_smooth_last'] + floor:.4g}, training loss at "
            f"{row['train_smooth_last'] + floor:.4g}{remark}: a gap of {gap:.4g}, "
        )
        if growth < row.thresholds.overfit_gap_growth * gap:
            learned = max(row["start_train"], row["train_first"]) - row["train_smooth_last"]
            return f"{sentence}{percent(min(gap / learned, 1.0))} of what training learned"
        return (
            f"{sentence}of which {percent(min(growth / gap, 1.0))} opened since epoch "
            f"{epoch_text(_opened_at(row))}"
        )


def never_beats_baseline(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> BoolArray:
    """Return where validation never got clearly below the known best constant prediction."""
    limit = (1 - thresholds.overfit_baseline) * context.baseline_val
    is_out: BoolArray = (
        context.has_floor
        & (context.baseline_val > 0)
        & (features.column("val_smooth_min") > limit)
    )
    return is_out


def still_parts(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> BoolArray:
    """Return where training loss still falls, validation loss does no more, and the gap grows.

    However large the training loss is: that of a language model never gets near 0.
    """
    fall = -features.column("train_late_change")
    error = features.column("train_late_change_se")
    is_falling = (fall >= thresholds.improving_t * error) & (
        -features.column("train_late_slope") >= thresholds.improving_slope
    )
    stays = features.column("val_late_change") >= -thresholds.improving_regained * fall
    parts: BoolArray = is_falling & stays & (_gap_grows(features, thresholds, context) >= 0)
    return parts


def _gap_grows(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> FloatArray:
    """Return the margin of a gap of much that was learned that grew lately, beyond noise."""
    gap, noise = features.column("gap_last"), _noise_of_gap(features)
    late = features.column("val_late_change") - features.column("train_late_change")
    with np.errstate(all="ignore"):
        growth = np.fmax(features.column("gap_growth"), late) / gap
    return all_of(
        where_true(_lasts(features)),
        at_least(_share_of_learned(features, context), thresholds.overfit_gap_share),
        at_least(growth, thresholds.overfit_gap_growth),
        any_of(at_least(features.column("gap_growth"), noise), at_least(late, noise)),
    )


def _share_of_learned(features: FeatureMatrix, context: JudgingContext) -> FloatArray:
    """Return the gap relative to what training learned; NaN where it learned nothing."""
    with np.errstate(all="ignore"):
        learned = np.fmax(context.start_train, features.column("train_first"))
        learned = learned - features.column("train_smooth_last")
        share: FloatArray = np.where(learned > 0, features.column("gap_last") / learned, np.nan)
    return share


def _lasts(features: FeatureMatrix) -> BoolArray:
    """A few spikes at the end lift the mean, not the lowest of the last values."""
    lasting = features.column("val_tail_min") - features.column("train_smooth_last")
    lasts: BoolArray = lasting >= 0.5 * features.column("gap_last")
    return lasts


def _noise_of_gap(features: FeatureMatrix) -> FloatArray:
    """Return three standard errors of the gap."""
    noise: FloatArray = 3.0 * np.hypot(
        standard_error(features, "train"), standard_error(features, "val")
    )
    return noise


def _nothing_carried_over(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> FloatArray:
    """Training got below the baseline, validation did not, and it is not just late."""
    with np.errstate(all="ignore"):
        fall = 1 - features.column("train_smooth_last") / context.start_train
    is_out = never_beats_baseline(features, thresholds, context)
    return all_of(
        where_true(is_out & ~_is_falling(features, thresholds)),
        at_least(fall, thresholds.overfit_baseline_learned),
    )


def _opened_for_good(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext, noise: FloatArray
) -> FloatArray:
    """Return the margin of a gap that was not there at first, of most that training learned.

    Whatever training loss has become: in a loss of several terms one of them may stay large.
    """
    gap = features.column("gap_last")
    level = features.column("train_smooth_last")
    opened = gap - (features.column("val_first") - features.column("train_first"))
    with np.errstate(all="ignore"):
        # From the highest value: a loss that rose at first has that to learn again.
        learned = np.fmax(context.start_train, features.column("train_max")) - level
        share = np.where(learned > 0, np.fmin(gap, opened) / learned, np.nan)
        fall = learned / (learned + level)
    return all_of(
        at_least(share, thresholds.overfit_wide_share),
        at_least(fall, thresholds.overfit_baseline_learned),
        at_least(opened, noise),
    )


def _is_falling(features: FeatureMatrix, thresholds: Thresholds) -> BoolArray:
    """Return where validation loss clearly falls over the last third."""
    error = features.column("val_late_change_se")
    is_falling: BoolArray = features.column("val_late_change") < -thresholds.improving_t * error
    return is_falling


def _opened_at(row: CurveRow) -> float:
    """Return the epoch since which the gap grew: the validation minimum or the last third."""
    late = row["val_late_change"] - row["train_late_change"]
    if np.nan_to_num(row["gap_growth"]) >= np.nan_to_num(late):
        return row["val_smooth_min_epoch"]
    return float(round(row["first_epoch"] + 2 / 3 * (row["last_epoch"] - row["first_epoch"])))
