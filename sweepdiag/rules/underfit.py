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
    averaged,
    percent,
    standard_error,
    where_true,
)
from sweepdiag.rules.diverging import ends_where_it_started
from sweepdiag.wording import epoch_text

if TYPE_CHECKING:
    from sweepdiag.features import FeatureMatrix
    from sweepdiag.rules.base import BoolArray, CurveRow, FloatArray
    from sweepdiag.rules.context import JudgingContext
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["UnderfitRule", "late_fall", "metric_has_stopped", "oscillates"]


class UnderfitRule(MarginRule):
    """Something was learned, and there is more to learn.

    What it checks: both losses are still falling at the end: over the last third by 5 % of their
    level and 2 % of all that was learned (or a quarter of their level and 0.5 %), or by 12 % of
    all that was learned, each by three standard errors (validation by two, if by 12 %; without
    validation losses a metric must not have been best before the last third); or, in a sweep,
    another configuration reaches both a lower training and a lower validation loss, by a tenth and
    beyond the noise between seeds; or, for a curve alone, it stays close to where it started (but
    not where a validation metric gained by a third, since a loss may have a high floor). A
    training that has lost what it had learned at the end is not called, nor one whose validation
    loss ends as no number.

    Why it matters: the remedy is the opposite of that for overfitting. The tags say which:
    ``still_improving`` more epochs or a higher learning rate, ``plateaued`` more capacity or
    another learning rate, ``oscillating`` a lower learning rate or a larger batch.

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
            any_of(
                late_fall(features, thresholds, context, "val"),
                _follows(features, thresholds, context),
            ),
            _is_near_minimum(features, thresholds),
        )
        metric = where_true(~metric_has_stopped(features, context))
        is_improving = all_of(
            late_fall(features, thresholds, context, "train"), np.where(has_val, val, metric)
        )
        has_better = where_true(np.isfinite(context.reference_val))
        alternatives = [is_improving, has_better]
        if context.kind == "alone":
            alternatives.append(_stays_high(features, thresholds, context))
        is_out = ends_where_it_started(features, thresholds, context)
        is_out |= features.column("val_ends_finite") == 0
        return all_of(has_enough, any_of(*alternatives), where_true(~is_out))

    def evidence(self, row: CurveRow) -> str:
        """Return one sentence with the numbers that put the curve into the class."""
        if row.reference_id is not None:
            if not oscillates(row.features, row.thresholds).item():
                return _compared(row)
            level = row["train_smooth_last"] + row.context.floor
            sentence = f"training loss oscillates around {level:.4g}{averaged(row, 'train')}"
            return f"{sentence}; {_compared(row)}"
        has_val = row["val_n_finite"] >= row.thresholds.min_evaluations
        words, prefix = ("validation", "val") if has_val else ("training", "train")
        change = row[f"{prefix}_late_change"]
        is_high = _stays_high(row.features, row.thresholds, row.context).item() >= 0
        if change < 0 and (not is_high or -change > 0.01 * abs(row[f"{prefix}_smooth_last"])):
            return f"{words} loss was still falling{_fall_in_words(row, prefix)}"
        start, floor = row["start_train"], row.context.floor
        whose = "the best constant prediction has" if row["is_start_known"] else "it started from"
        return (
            f"training loss ended at {row['train_last'] + floor:.4g}, which is "
            f"{percent(row['train_last'] / start)} of the {start + floor:.4g} {whose}"
        )


def oscillates(features: FeatureMatrix, thresholds: Thresholds) -> BoolArray:
    """Return where training loss goes up and down instead of settling."""
    is_restless: BoolArray = (
        features.column("train_noise_range") >= thresholds.oscillation_range
    ) & (features.column("train_sign_changes") >= thresholds.oscillation_sign_changes)
    return is_restless


def _compared(row: CurveRow) -> str:
    """Both sides smoothed, since that is what was compared."""
    floor = row.context.floor
    return (
        f"training loss reached {row['train_smooth_min'] + floor:.4g} and validation loss "
        f"{row['val_smooth_min'] + floor:.4g}{averaged(row, 'val', 'lowest means of')}; "
        f"configuration {row.reference_id} reaches {row['reference_train'] + floor:.4g} and "
        f"{row['reference_val'] + floor:.4g}"
    )


def _fall_in_words(row: CurveRow, prefix: str) -> str:
    """Quote both ends of the last third, or the fitted line where noise hides the fall."""
    floor = row.context.floor
    first, last = row[f"{prefix}_late_first"], row[f"{prefix}_last"]
    begin, end = row[f"{prefix}_late_first_epoch"], row[f"{prefix}_last_epoch"]
    if last < first:
        return (
            f": from {first + floor:.4g} at epoch {epoch_text(begin)} to "
            f"{last + floor:.4g} at epoch {epoch_text(end)}"
        )
    change = -row[f"{prefix}_late_change"]
    return (
        f": a line through epochs {epoch_text(begin)} to {epoch_text(end)} falls by {change:.3g}"
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
    start = _start(features, context, prefix)
    with np.errstate(all="ignore"):
        share = fall / (start - features.column(f"{prefix}_smooth_last"))
        in_errors = fall / features.column(f"{prefix}_late_change_se")
    level = np.where(
        context.has_floor,
        at_least(-features.column(f"{prefix}_late_slope"), thresholds.improving_slope),
        1.0,
    )
    is_large = any_of(
        all_of(level, at_least(share, thresholds.improving_share)),
        all_of(
            at_least(-features.column(f"{prefix}_late_slope"), thresholds.improving_slope_large),
            at_least(share, thresholds.tag_improving_share),
            where_true(context.has_floor),
        ),
        at_least(share, thresholds.improving_share_large),
    )
    return all_of(is_large, at_least(in_errors, thresholds.improving_t))


def _follows(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> FloatArray:
    """Return the margin of a validation loss that falls by much, though among spikes."""
    fall = -features.column("val_late_change")
    with np.errstate(all="ignore"):
        share = fall / (_start(features, context, "val") - features.column("val_smooth_last"))
        in_errors = fall / features.column("val_late_change_se")
    return all_of(
        at_least(share, thresholds.improving_share_large),
        at_least(in_errors, thresholds.improving_t_following),
    )


def _start(features: FeatureMatrix, context: JudgingContext, prefix: str) -> FloatArray:
    """Return the level from which a loss has fallen.

    A first validation loss far above training's says how the network was evaluated before its
    statistics had settled, not what it has learned since: it counts up to where training began, in
    the proportion in which the two end.
    """
    start: FloatArray = np.fmax(
        getattr(context, f"start_{prefix}"), features.column(f"{prefix}_first")
    )
    if prefix == "train":
        return start
    train = np.fmax(context.start_train, features.column("train_first"))
    with np.errstate(all="ignore"):
        ratio = features.column("val_smooth_last") / features.column("train_smooth_last")
    highest = np.where(context.has_floor, train * np.fmax(ratio, 1.0), np.inf)
    return np.fmin(start, highest)


def _is_near_minimum(features: FeatureMatrix, thresholds: Thresholds) -> FloatArray:
    """Return the margin of a validation loss that ends at its minimum, noise apart."""
    rise = features.column("val_smooth_last") - features.column("val_smooth_min")
    return any_of(
        all_of(
            at_most(features.column("val_rise_range"), thresholds.improving_share),
            at_most(rise, -thresholds.improving_regained * features.column("val_late_change")),
        ),
        at_most(rise, 2.0 * standard_error(features, "val")),
        # Spikes at the end lift the mean, not the lowest of the last values.
        where_true(features.column("val_tail_min") <= features.column("val_smooth_min")),
    )


def _stays_high(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> FloatArray:
    limit = np.where(
        context.is_start_known, thresholds.plateau_level, thresholds.plateau_level_unknown
    )
    with np.errstate(all="ignore"):
        level = features.column("train_smooth_last") / context.start_train
    has_learned = ~context.is_start_known & _metric_has_gained(features, thresholds, context)
    return all_of(where_true(context.has_floor & ~has_learned), at_least(level, limit))


def metric_has_stopped(features: FeatureMatrix, context: JudgingContext) -> BoolArray:
    """Return where the validation metric was best before the last third."""
    best = "metric_max_epoch" if context.metric_sign > 0 else "metric_min_epoch"
    first, last = features.column("first_epoch"), features.column("last_epoch")
    with np.errstate(all="ignore"):
        position = (features.column(best) - first) / (last - first)
    has_stopped: BoolArray = np.isfinite(context.metric_sign) & (position < 2 / 3)
    return has_stopped


def _metric_has_gained(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> BoolArray:
    """Return where the validation metric says that much was learned, whatever floor a loss has."""
    first = features.column("metric_first")
    with np.errstate(all="ignore"):
        up = features.column("metric_max") / first - 1
        down = 1 - features.column("metric_min") / first
    gain = up if context.metric_sign > 0 else down
    has_gained: BoolArray = np.isfinite(context.metric_sign) & (gain >= thresholds.plateau_gain)
    return has_gained
