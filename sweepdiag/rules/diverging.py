"""Training that blew up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.records import VerdictClass
from sweepdiag.rules.base import (
    MarginRule,
    all_of,
    any_of,
    at_least,
    percent,
    smoothing_window,
    standard_error,
    times,
    where_true,
)
from sweepdiag.wording import epoch_text

if TYPE_CHECKING:
    from sweepdiag.features import FeatureMatrix
    from sweepdiag.rules.base import BoolArray, CurveRow, FloatArray
    from sweepdiag.rules.context import JudgingContext
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["DivergingRule", "ends_where_it_started", "validation_blew_up"]

_NEAR_MINIMUM = 0.02
"""Share of its fall that training loss may lie above its minimum to be near it."""


class DivergingRule(MarginRule):
    """Training loss is no number any more, or far above its best or its start.

    What it checks: the training ends with NaN or infinite losses, at any length (not those of a
    validation that was finite again before, beside a sound training loss); or the last values all
    lie at twice the minimum or more, with a tenth of the whole fall lost again (or at 1.3 times,
    with 30 % lost and beyond noise), and do not fall again; or the loss lies above its start; or
    nearly all that was learned is lost again; or the loss jumped to twice its start and came back
    to chance only (a network that blew up and is dead); or the last validation losses all lie at
    ten times their start or more while training has not come down to half of its own, or at a
    hundred times whatever it does.

    Why it matters: the weights are useless, and every longer run with these settings will be. It
    is nearly always the learning rate, for this batch size and this network.

    What it needs: a training loss; a validation loss alone tells only what lies far above its
    start. Everything but a non-finite end and a last value far above the start needs 5 finite
    values.

    Known false alarms: a warm restart caught at its top; a loss whose weighting is raised during
    training. NaN in the middle with recovery, and losses that were not evaluated at every epoch,
    do not count.

    References:
        Ben Braiek and Khomh, "TheDeepChecker", 2023 (twice the minimum, window of 5); Godbole et
        al., "Deep Learning Tuning Playbook", 2023 ("NaN or uncharacteristically high loss").
    """

    verdict = VerdictClass.DIVERGING
    priority = 10

    def margin(
        self, features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
    ) -> FloatArray:
        """Return how far each curve is inside the class, in [-1, 1]; >= 0 is inside."""
        has_enough = at_least(features.column("train_n_finite"), thresholds.min_evaluations)
        gradual = any_of(
            _rose_from_minimum(features, thresholds, context),
            _lost_all(features, thresholds, context),
            _above_start(features, thresholds, context),
            _jumped_to_chance(features, thresholds, context),
        )
        has_val = at_least(features.column("val_n_finite"), thresholds.min_evaluations)
        # Where training was not logged at all, validation alone has to tell.
        has_train = any_of(has_enough, where_true(features.column("train_n_finite") == 0))
        return any_of(
            where_true(self.is_nonfinite(features)),
            all_of(has_enough, gradual),
            all_of(has_train, has_val, validation_blew_up(features, thresholds, context)),
            _far_above_start(features, thresholds, context),
        )

    @staticmethod
    def is_nonfinite(features: FeatureMatrix) -> BoolArray:
        """Return which curves end with losses that are no numbers, or never had one."""
        train, val = features.column("train_ends_finite"), features.column("val_ends_finite")
        is_nothing_finite = (
            np.isnan(train) & np.isnan(val) & (features.column("n_evaluations") > 0)
        )
        is_broken = (val == 0) & ~_comes_and_goes(features)
        is_nonfinite: BoolArray = (train == 0) | is_broken | is_nothing_finite
        return is_nonfinite

    def evidence(self, row: CurveRow) -> str:
        """Return one sentence with the numbers that put the curve into the class."""
        if row["train_ends_finite"] == 0:
            return _nonfinite_sentence("training", "train", row)
        if row["val_ends_finite"] == 0:
            return _nonfinite_sentence("validation", "val", row)
        if np.isnan(row["train_ends_finite"]) and np.isnan(row["val_ends_finite"]):
            return _nonfinite_sentence("training", "train", row)
        if validation_blew_up(row.features, row.thresholds, row.context).item() >= 0:
            return _validation_sentence(row)
        last, lowest = row["train_last"], row["train_min"]
        floor = row.context.floor
        sentence = f"training loss ended at {last + floor:.4g}"
        if lowest < row["train_first"]:
            sentence += f" after a minimum of {lowest + floor:.4g}"
            sentence += f" at epoch {epoch_text(row['train_min_epoch'])}"
        if row["has_floor"] and lowest > 0 and last >= 1.5 * lowest:
            sentence += f" ({times(last / lowest)})"
        highest = row["train_max"]
        if row["has_floor"] and highest >= row.thresholds.divergence_ratio * row["train_first"]:
            sentence += f", having jumped to {highest + floor:.4g}"
        sentence += f"; it started at {row['train_first'] + floor:.4g}"
        if row["is_start_known"] and row["start_train"] != row["train_first"]:
            sentence += f" (the best constant prediction has {row['start_train'] + floor:.4g})"
        return sentence


def _comes_and_goes(features: FeatureMatrix) -> BoolArray:
    """Return where validation was finite again after being no number, and training is sound.

    Sound is what ends finite, below its start and near its minimum. Then it is the evaluation
    that overflows now and then, as in half precision.
    """
    last = features.column("train_smooth_last")
    is_sound = (
        (features.column("train_ends_finite") == 1)
        & (last < features.column("train_first"))
        & (features.column("train_rise_range") <= _NEAR_MINIMUM)
    )
    is_back = features.column("val_last_epoch") > features.column("val_first_nonfinite_epoch")
    comes_and_goes: BoolArray = is_sound & is_back
    return comes_and_goes


def validation_blew_up(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> FloatArray:
    """Return the margin of a finite validation loss that ends, and stays, far above its start."""
    start = np.fmax(context.start_val, features.column("val_first"))
    with np.errstate(all="ignore"):
        ratio = features.column("val_tail_min") / np.where(start > 0, start, np.nan)
        level = features.column("train_smooth_last") / context.start_train
    ratio = np.where(context.has_floor, ratio, np.nan)
    return any_of(
        at_least(ratio, thresholds.divergence_validation_far),
        all_of(at_least(ratio, thresholds.divergence_validation), at_least(level, 0.5)),
    )


def ends_where_it_started(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> BoolArray:
    """Return where training had learned, and its last loss or half of its fall is lost again."""
    start = np.fmin(context.start_train, features.column("train_first"))
    lowest = features.column("train_smooth_min")
    had_learned = start - lowest >= thresholds.divergence_lost_fall * np.abs(start)
    is_lost: BoolArray = had_learned & (
        (features.column("train_last") >= start)
        | (features.column("train_smooth_last") - lowest >= 0.5 * (start - lowest))
    )
    return is_lost


def _validation_sentence(row: CurveRow) -> str:
    floor = row.context.floor
    count = int(smoothing_window(row.features, "val").item())
    which = "" if count == 1 else f"; none of its last {count} values is lower than "
    which += "" if count == 1 else f"{row['val_tail_min'] + floor:.4g}"
    return (
        f"validation loss ended at {row['val_last'] + floor:.4g}{which}; it started at "
        f"{row['val_first'] + floor:.4g}"
    )


def _rose_from_minimum(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> FloatArray:
    """Every one of the last values, not their mean, since one spike is no divergence."""
    lowest, tail = features.column("train_smooth_min"), features.column("train_tail_min")
    with np.errstate(all="ignore"):
        fall = np.fmax(context.start_train, features.column("train_first")) - lowest
        regained = np.where(fall > 0, (tail - lowest) / fall, np.where(tail > lowest, 1.0, 0.0))
        ratio = np.where(context.has_floor, tail / lowest, np.nan)
    noise = 3.0 * standard_error(features, "train")
    # What is still made good again has jumped, as where a training goes on with other data.
    error = features.column("train_late_change_se")
    is_recovering = (features.column("train_late_change") < -thresholds.improving_t * error) & (
        features.column("train_late_slope") <= -thresholds.improving_slope
    )
    rises = any_of(
        all_of(
            at_least(ratio, thresholds.divergence_ratio),
            at_least(regained, thresholds.divergence_regained),
        ),
        all_of(
            at_least(ratio, thresholds.divergence_lasting_ratio),
            at_least(regained, thresholds.divergence_lasting_regained),
            at_least(tail - lowest, noise),
        ),
    )
    return all_of(rises, where_true(~is_recovering))


def _lost_all(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> FloatArray:
    start = np.fmin(context.start_train, features.column("train_first"))
    lowest, last = features.column("train_smooth_min"), features.column("train_smooth_last")
    with np.errstate(all="ignore"):
        fall = start - lowest
        share = np.where(context.has_floor, fall / start, np.nan)
        regained = np.where(fall > 0, (last - lowest) / fall, np.nan)
    error = standard_error(features, "train")
    fell = np.where(
        context.has_floor,
        at_least(share, thresholds.divergence_lost_fall),
        at_least(fall, 6.0 * error),
    )
    lasts = where_true(features.column("train_tail_min") > (lowest + last) / 2)
    return all_of(fell, at_least(regained, thresholds.divergence_lost), lasts)


def _above_start(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> FloatArray:
    start = np.fmax(context.start_train, features.column("train_first"))
    last = features.column("train_smooth_last")
    with np.errstate(all="ignore"):
        excess = np.where(context.has_floor, last / start - 1, np.nan)
        in_errors = (last - start) - 6.0 * standard_error(features, "train")
    is_above = np.where(
        context.has_floor,
        at_least(excess, thresholds.divergence_above_start),
        where_true(in_errors > 0),
    )
    lasts = where_true(features.column("train_tail_min") > start)
    return all_of(is_above, lasts)


def _jumped_to_chance(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> FloatArray:
    """Blew up, came back, but never to less than it had known at the start."""
    start = np.fmax(context.start_train, features.column("train_first"))
    with np.errstate(all="ignore"):
        jump = np.where(context.has_floor, features.column("train_max") / start, np.nan)
        level = features.column("train_smooth_last") / context.start_train
    is_far = all_of(
        where_true(~context.is_start_known),
        at_least(jump, thresholds.divergence_jump_far),
        at_least(level, 0.5),
    )
    is_near = all_of(
        at_least(jump, thresholds.divergence_ratio),
        at_least(level, 1 - thresholds.not_learning_fall),
    )
    return any_of(is_near, is_far)


def _far_above_start(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> FloatArray:
    """One last value is enough where it is this far off, on a curve of any length."""
    start = np.fmax(context.start_train, features.column("train_first"))
    with np.errstate(all="ignore"):
        ratio = np.where(context.has_floor, features.column("train_last") / start, np.nan)
    has_moved = where_true(features.column("train_n_finite") >= 2)
    return all_of(has_moved, at_least(ratio, thresholds.divergence_ratio))


def _nonfinite_sentence(words: str, prefix: str, row: CurveRow) -> str:
    epoch = row[f"{prefix}_first_nonfinite_epoch"]
    if np.isnan(row[f"{prefix}_first"]):
        return f"{words} loss was never finite in {row['n_evaluations']:g} evaluations"
    last = row[f"{prefix}_last_epoch"]
    sentence = f"{words} loss was not finite from epoch {epoch_text(epoch)} on"
    if last > epoch:
        sentence = (
            f"{words} loss was not finite after epoch {epoch_text(last)} "
            f"(first at epoch {epoch_text(epoch)})"
        )
    fall = 1 - row[f"{prefix}_min"] / row[f"{prefix}_first"] if row[f"{prefix}_first"] > 0 else 0
    if fall > 0.01:
        sentence += f", after it had fallen {percent(fall)}"
    return sentence
