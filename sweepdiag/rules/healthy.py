"""Curves with nothing wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.records import VerdictClass
from sweepdiag.rules.base import MarginRule, percent
from sweepdiag.rules.overfit import still_parts
from sweepdiag.wording import epoch_text

if TYPE_CHECKING:
    from sweepdiag.features import FeatureMatrix
    from sweepdiag.rules.base import CurveRow, FloatArray
    from sweepdiag.rules.context import JudgingContext
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["HealthyRule"]


class HealthyRule(MarginRule):
    """Learned, converged, with a gap that does not grow.

    What it checks: that no other class matched. Where training loss still falls, validation loss
    does no more, and a gap of 15 % of what was learned grows, the tag ``gap_growing`` says so:
    overfitting that has cost nothing yet. Since ``inconclusive`` comes before, a healthy
    validation loss ends near its minimum and, where the best constant prediction is known, got
    below it.

    Why it matters: these are the settings worth training with.

    What it needs: everything that the other rules need, since they come first.

    Known false alarms: a short curve whose validation loss would turn later; a fit that looks good
    because the validation set leaks from the training set (the sweep's findings look for that).
    """

    verdict = VerdictClass.HEALTHY
    priority = 70

    def margin(
        self, features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
    ) -> FloatArray:
        """Return 0 everywhere: it matches when nothing before it did."""
        del thresholds, context
        return np.zeros(features.n_curves)

    def evidence(self, row: CurveRow) -> str:
        """Return one sentence with the numbers that put the curve into the class."""
        floor = row.context.floor
        last, lowest = row["val_last"], row["val_min"]
        if last <= lowest:
            place = ", its minimum"
        else:
            share = ""
            if row["has_floor"] and lowest > 0:
                share = f"{percent(last / lowest - 1)} "
            epoch = epoch_text(row["val_min_epoch"])
            place = f", {share}above its minimum of {lowest + floor:.4g} at epoch {epoch}"
        sentence = (
            f"training loss went from {row['train_first'] + floor:.4g} to "
            f"{row['train_last'] + floor:.4g}; validation loss ended at "
            f"{last + floor:.4g}{place}"
        )
        if still_parts(row.features, row.thresholds, row.context).item():
            learned = max(row["start_train"], row["train_first"]) - row["train_smooth_last"]
            sentence += (
                f"; training loss still falls and validation loss does no more: the gap of "
                f"{row['gap_last']:.4g}, {percent(row['gap_last'] / learned)} of what training "
                "learned, grows"
            )
        return sentence
