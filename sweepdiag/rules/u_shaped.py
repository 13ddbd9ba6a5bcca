"""Validation loss that turned upwards."""

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
    percent,
    smoothing_window,
    standard_error,
    where_true,
)
from sweepdiag.wording import epoch_text

if TYPE_CHECKING:
    from sweepdiag.features import FeatureMatrix
    from sweepdiag.rules.base import BoolArray, CurveRow, FloatArray
    from sweepdiag.rules.context import JudgingContext
    from sweepdiag.rules.thresholds import Thresholds

__all__ = [
    "UShapedRule",
    "beyond_noise",
    "has_sustained_rise",
    "is_large_rise",
    "is_second_descent",
    "keeps_rise",
    "validation_rise",
]


class UShapedRule(MarginRule):
    """Validation loss has a minimum inside the curve and a lasting rise after it.

    What it checks: the smoothed validation loss ends 4.5 % or more above its minimum (for losses
    without a floor: a tenth of the fall before it is lost again), by more than noise explains and
    with half of the rise left at the end, or rising clearly over the last third, with each of
    the last values above the minimum, and for 3 % of the training or longer, while training loss
    does not rise with it.

    Why it matters: the network learns the training set by heart. The weights at the turning epoch
    are better than those at the end; less capacity, more data or regularisation move the turn.

    What it needs: 5 finite training and validation losses.

    Known false alarms: a cyclic schedule stopped in the middle of a cycle; cross-entropy that
    rises through overconfidence while accuracy still improves (tag ``metric_disagrees``). A second
    descent (double descent, a drop of the learning rate) that is under way is not called.

    References:
        Prechelt, "Early Stopping - But When?", 1998; Li et al., "Keeping Deep Learning Models in
        Check", 2024.
    """

    verdict = VerdictClass.U_SHAPED
    priority = 30

    def margin(
        self, features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
    ) -> FloatArray:
        """Return how far each curve is inside the class, in [-1, 1]; >= 0 is inside."""
        has_enough = at_least(
            np.fmin(features.column("train_n_finite"), features.column("val_n_finite")),
            thresholds.min_evaluations,
        )
        is_inside = (features.column("val_smooth_min") < features.column("val_first")) | (
            features.column("first_epoch") > 0
        )
        return all_of(
            has_enough,
            where_true(is_inside),
            validation_rise(features, thresholds, context),
            _train_does_not_rise(features, thresholds, context),
            where_true(~is_second_descent(features, thresholds)),
        )

    def evidence(self, row: CurveRow) -> str:
        """Return one sentence with the numbers that put the curve into the class."""
        rise = row["val_rise"] if row["has_floor"] else row["val_rise_range"]
        unit = "" if row["has_floor"] else " of its fall"
        floor = row.context.floor
        sentence = (
            f"validation loss rose {percent(rise)}{unit} from epoch "
            f"{epoch_text(row['val_smooth_min_epoch'])} to {epoch_text(row['val_last_epoch'])}"
            f"{averaged(row, 'val', 'means of')}, from a minimum of {row['val_min'] + floor:.4g} "
            f"to {row['val_last'] + floor:.4g},"
        )
        change = row["train_change"]
        if not row["has_floor"] or not np.isfinite(change):
            return f"{sentence} while training loss did not rise"
        if abs(change) < 0.01:
            return f"{sentence} while training loss stayed"
        if change < 0:
            return f"{sentence} while training loss fell {percent(-change)}"
        return f"{sentence} while training loss rose {percent(change)} only"


def validation_rise(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> FloatArray:
    """Return the margin of a lasting rise of the validation loss at the end."""
    # Validation that is no worse than training lost nothing to what was learned by heart.
    is_worse = ~(features.column("val_smooth_last") <= features.column("train_smooth_last"))
    keeps = keeps_rise(features, is_worse=is_worse)
    return all_of(
        is_large_rise(
            features, thresholds, context, thresholds.u_shape_rise, thresholds.u_shape_min_range
        ),
        any_of(
            all_of(beyond_noise(features, thresholds), where_true(keeps)),
            at_least(
                features.column("val_late_change"),
                thresholds.improving_t * features.column("val_late_change_se"),
            ),
        ),
        where_true(features.column("val_tail_min") >= features.column("val_smooth_min")),
        where_true(features.column("val_smooth_min_position") <= 1.0 - thresholds.u_shape_lasting),
    )


def is_large_rise(
    features: FeatureMatrix,
    thresholds: Thresholds,
    context: JudgingContext,
    share: float,
    least: float,
) -> FloatArray:
    """Return the margin of a smoothed validation loss that ends a share above its minimum.

    Args:
        features: The features.
        thresholds: The limits.
        context: What the curves are judged against.
        share: The share, relative to the minimum; losses without a floor have their own.
        least: Share of the fall that the rise must make up (losses with a floor).

    Returns:
        The margin per curve.
    """
    rise = features.column("val_smooth_last") - features.column("val_smooth_min")
    by_range = features.column("val_rise_range")
    with np.errstate(all="ignore"):
        by_start = rise / np.abs(context.start_val - features.column("val_smooth_min"))
        level = features.column("val_smooth_last") / context.start_val
    return np.where(
        context.has_floor,
        all_of(
            at_least(features.column("val_rise"), share),
            at_least(level, thresholds.u_shape_min_level),
            any_of(
                at_least(by_range, least),
                at_least(by_start, least),
            ),
        ),
        at_least(by_range, thresholds.u_shape_rise_range),
    )


def keeps_rise(features: FeatureMatrix, *, is_worse: BoolArray | None = None) -> BoolArray:
    """Return where the end of the validation loss keeps half of its rise over the minimum.

    A spike lifts the smoothed loss for as many evaluations as it spans, even if it is over: so the
    last value has to, or, where the minimum lies before it, the mean of the last third.

    Args:
        features: The features.
        is_worse: Where that mean counts, shape ``(n_curves,)``; everywhere if ``None``.
    """
    lowest = features.column("val_smooth_min")
    least = lowest + 0.5 * (features.column("val_smooth_last") - lowest)
    with np.errstate(all="ignore"):
        late_mean = features.column("val_late_change") / features.column("val_late_slope")
    counts = features.column("val_smooth_min_position") < 2 / 3
    if is_worse is not None:
        counts &= is_worse
    keeps: BoolArray = (features.column("val_last") >= least) | (counts & (late_mean >= least))
    return keeps


def beyond_noise(features: FeatureMatrix, thresholds: Thresholds) -> FloatArray:
    """Return the margin of a rise of the smoothed validation loss that noise does not explain."""
    rise = features.column("val_smooth_last") - features.column("val_smooth_min")
    n_independent = features.column("val_n_finite") / smoothing_window(features, "val")
    with np.errstate(all="ignore"):
        by_chance = np.sqrt(2 * np.log(np.fmax(n_independent, 1.0)))
    limit = (thresholds.u_shape_noise + by_chance) * standard_error(features, "val")
    return at_least(rise, limit)


def has_sustained_rise(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> BoolArray:
    """Return where validation loss has turned, whatever the class: there is a turning epoch."""
    has_enough = features.column("val_n_finite") >= thresholds.min_evaluations
    is_rising = validation_rise(features, thresholds, context) >= 0
    return has_enough & is_rising & ~is_second_descent(features, thresholds)


def _train_does_not_rise(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> FloatArray:
    train = features.column("train_smooth_last") - features.column("train_at_val_min")
    val = features.column("val_smooth_last") - features.column("val_smooth_min")
    rises_less = any_of(
        at_most(train, thresholds.u_shape_train_share * val),
        at_most(train, 2.0 * standard_error(features, "train")),
    )
    # A training loss close to 0 may rise by a large factor beside a much larger validation loss.
    relative = at_most(
        features.column("train_change"),
        np.fmax(thresholds.u_shape_train_share * features.column("val_rise"), 0.0),
    )
    is_comparable = context.has_floor & (features.column("train_at_val_min") > 0)
    is_steady = all_of(
        at_most(train, 2.0 * standard_error(features, "train")),
        at_most(features.column("train_change"), thresholds.u_shape_train_factor),
    )
    return all_of(rises_less, np.where(is_comparable, any_of(relative, is_steady), 1.0))


def is_second_descent(features: FeatureMatrix, thresholds: Thresholds) -> BoolArray:
    """Return where a rise of validation is being made good again, and half of it has been."""
    is_falling = features.column("val_late_change") < -2 * features.column("val_late_change_se")
    has_turned: BoolArray = (
        features.column("val_regained") >= thresholds.second_descent_regained
    ) & is_falling
    return has_turned
