"""What else is true of a curve, beside its class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.records import Tag, VerdictClass
from sweepdiag.rules.base import standard_error
from sweepdiag.rules.diverging import validation_blew_up
from sweepdiag.rules.inconclusive import unstable_validation
from sweepdiag.rules.overfit import still_parts
from sweepdiag.rules.u_shaped import has_sustained_rise, is_second_descent
from sweepdiag.rules.underfit import metric_has_stopped, oscillates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.features import FeatureMatrix
    from sweepdiag.rules.base import BoolArray, FloatArray
    from sweepdiag.rules.context import JudgingContext
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["find_tags"]


def find_tags(
    features: FeatureMatrix,
    thresholds: Thresholds,
    context: JudgingContext,
    classes: Sequence[VerdictClass],
) -> list[tuple[Tag, ...]]:
    """Return the tags of each curve.

    ``edge``, ``stopped_early`` and ``unstable`` are not among them: they are no property of one
    curve but of the axes, of the execution and of the seeds.

    Args:
        features: Features of the curves.
        thresholds: The limits.
        context: What the curves are judged against.
        classes: The class of each curve before confidence is looked at.

    Returns:
        Per curve its tags, in the order of ``Tag``.
    """
    is_diverging = np.asarray([c is VerdictClass.DIVERGING for c in classes], dtype=bool)
    is_idle = np.asarray([c is VerdictClass.NOT_LEARNING for c in classes], dtype=bool)
    is_open = np.asarray([c is VerdictClass.INCONCLUSIVE for c in classes], dtype=bool)
    with np.errstate(all="ignore"):
        masks = _masks(
            features, thresholds, context, is_diverging, is_diverging | is_idle, is_open
        )
    order = [tag for tag in Tag if tag in masks]
    table = np.stack([masks[tag] for tag in order], axis=1)
    return [tuple(tag for tag, is_set in zip(order, row, strict=True) if is_set) for row in table]


def _masks(
    features: FeatureMatrix,
    thresholds: Thresholds,
    context: JudgingContext,
    is_diverging: BoolArray,
    is_out: BoolArray,
    is_open: BoolArray,
) -> dict[Tag, BoolArray]:
    column = features.column
    has_enough = column("train_n_finite") >= thresholds.min_evaluations
    n_nonfinite = column("train_n_nonfinite") + column("val_n_nonfinite")
    is_improving = _is_improving(features, thresholds, context) & has_enough & ~is_out
    is_flat = _is_flat(features, thresholds, "train") & _is_flat(features, thresholds, "val")
    has_recovered = (column("train_spikes_recovered") > 0) | (n_nonfinite > 0)
    return {
        Tag.OSCILLATING: has_enough & oscillates(features, thresholds) & ~is_out,
        Tag.NOISY_VALIDATION: (
            _is_noisy_validation(features, thresholds, context)
            | (is_open & _ends_unstable(features, thresholds, context))
        )
        & has_enough
        & ~is_out,
        Tag.STILL_IMPROVING: is_improving,
        Tag.PLATEAUED: is_flat & has_enough & ~is_improving & ~is_out,
        Tag.VALIDATION_EASIER: has_enough
        & ~is_out
        & _is_validation_easier(features, thresholds, context),
        Tag.SPIKE_RECOVERED: has_recovered & ~is_out & has_enough,
        Tag.BLEW_UP: is_diverging & _blew_up(features, thresholds, context),
        Tag.NON_FINITE: (n_nonfinite > 0) | (is_diverging & (column("train_n_finite") == 0)),
        Tag.METRIC_DISAGREES: _metric_disagrees(features, thresholds, context) & ~is_out,
        Tag.GAP_GROWING: still_parts(features, thresholds, context) & has_enough & ~is_out,
    }


def _is_improving(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> BoolArray:
    """Validation decides where there is one; its level must be that of its minimum."""
    prefixes = np.where(features.column("val_n_finite") > 0, "val", "train")
    masks = {}
    for prefix in ("train", "val"):
        change = features.column(f"{prefix}_late_change")
        is_steep = -features.column(f"{prefix}_late_slope") >= thresholds.tag_improving_slope
        masks[prefix] = (
            # Without a floor a level says nothing: what was learned is all there is to compare.
            (is_steep | ~context.has_floor)
            & (-change >= thresholds.improving_t * features.column(f"{prefix}_late_change_se"))
            & (-change >= thresholds.tag_improving_share * _fall(features, prefix))
            & (features.column(f"{prefix}_rise_range") <= thresholds.improving_share)
        )
    train = masks["train"] & ~metric_has_stopped(features, context)
    result: BoolArray = np.where(prefixes == "val", masks["val"], train)
    return result


def _fall(features: FeatureMatrix, prefix: str) -> FloatArray:
    fall: FloatArray = features.column(f"{prefix}_first") - features.column(f"{prefix}_smooth_min")
    return fall


def _is_flat(features: FeatureMatrix, thresholds: Thresholds, prefix: str) -> BoolArray:
    count = features.column(f"{prefix}_n_finite")
    needed = np.fmax(3.0, thresholds.plateau_share * count)
    is_flat: BoolArray = (features.column(f"{prefix}_plateau") >= needed) | (count == 0)
    return is_flat


def _is_noisy_validation(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> BoolArray:
    level = np.where(context.has_floor, features.column("val_noise_level"), np.inf)
    is_noisy: BoolArray = (
        (features.column("val_noise_range") >= thresholds.noisy_validation_range)
        & (level >= thresholds.noisy_validation_level)
        & (features.column("val_sign_changes") >= thresholds.noisy_validation_sign_changes)
        & (features.column("val_n_finite") >= thresholds.noisy_validation_evaluations)
    )
    return is_noisy


def _ends_unstable(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> BoolArray:
    """Far above its minimum at the end, by spikes: neither a lasting rise nor a way back down."""
    last, lowest = features.column("val_smooth_last"), features.column("val_smooth_min")
    is_unstable: BoolArray = (
        (unstable_validation(features, thresholds, context) >= 0)
        & (last - features.column("val_tail_min") >= 0.5 * (last - lowest))
        & (features.column("val_n_finite") >= thresholds.noisy_validation_evaluations)
        & ~is_second_descent(features, thresholds)
    )
    return is_unstable


def _is_validation_easier(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> BoolArray:
    """Lower nearly everywhere, and at the end by more than noise and a trifle."""
    lead = -features.column("gap_last")
    noise = np.hypot(standard_error(features, "train"), standard_error(features, "val"))
    level = np.where(
        context.has_floor,
        np.abs(features.column("train_smooth_last")),
        features.column("train_max") - features.column("train_min"),
    )
    is_easier: BoolArray = (
        (features.column("val_below_train") >= thresholds.validation_easier_share)
        & (lead > 0)
        & (lead >= thresholds.validation_easier_gap * level)
        & (lead >= 3.0 * noise)
    )
    return is_easier


def _blew_up(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> BoolArray:
    """A jump far above the start, or the loss of what was learned, before ending finite."""
    start = np.fmax(context.start_train, features.column("train_first"))
    had_learned = (
        features.column("train_smooth_min") <= (1 - thresholds.divergence_lost_fall) * start
    )
    had_jumped = features.column("train_max") >= thresholds.divergence_ratio * start
    val_jumped = validation_blew_up(features, thresholds, context) >= 0
    blew_up: BoolArray = (features.column("train_ends_finite") == 1) & (
        np.where(context.has_floor, had_jumped, False) | had_learned | val_jumped
    )
    return blew_up


def _metric_disagrees(
    features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
) -> BoolArray:
    sign = context.metric_sign
    at_best, last = features.column("metric_at_val_min"), features.column("metric_last")
    gained = sign * (at_best - features.column("metric_first"))
    later = sign * (last - at_best)
    disagrees: BoolArray = (
        has_sustained_rise(features, thresholds, context)
        & (later > 0)
        & (later >= thresholds.metric_disagrees_gain * gained)
    )
    return disagrees
