"""Curves that do not say enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweepdiag.records import VerdictClass
from sweepdiag.rules.base import MarginRule, any_of, at_least, percent, plural

if TYPE_CHECKING:
    from sweepdiag.features import FeatureMatrix
    from sweepdiag.rules.base import CurveRow, FloatArray
    from sweepdiag.rules.context import JudgingContext
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["InconclusiveRule"]


class InconclusiveRule(MarginRule):
    """Too few evaluations, no validation loss, or evidence on both sides.

    What it checks: fewer than 5 finite training or validation losses; or a training loss that has
    lost a fifth of its fall again without diverging, or that scatters by a fifth of its range. A
    verdict that too few resampled curves agree with becomes inconclusive as well, with that
    verdict as runner-up.

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
        del context
        enough = thresholds.min_evaluations - 0.5
        return any_of(
            -at_least(features.column("train_n_finite"), enough),
            -at_least(features.column("val_n_finite"), enough),
            at_least(features.column("train_rise_range"), thresholds.instability_regained),
            at_least(features.column("train_noise_range"), thresholds.instability_noise),
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
        fewest = min(row["train_n_finite"], row["val_n_finite"])
        if fewest < needed:
            n_known = plural(fewest, "evaluation")
            return f"only {n_known} with finite losses; at least {needed:g} are needed"
        if row["train_rise_range"] < row.thresholds.instability_regained:
            return (
                f"training loss scatters by {percent(row['train_noise_range'])} of its range from "
                "one evaluation to the next"
            )
        return (
            f"training loss lost {percent(row['train_rise_range'])} of its fall again between "
            f"epoch {row['train_smooth_min_epoch']:g} and {row['last_epoch']:g}"
        )
