"""SD302: validation that is easier than training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweepdiag.records import Tag
from sweepdiag.rules.findings.base import Check

if TYPE_CHECKING:
    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["ValidationEasier"]

_EVERYWHERE = 0.8
_SOME = 0.1


class ValidationEasier(Check):
    """Validation loss lies below training loss.

    What it checks: the share of configurations whose validation loss is below the training loss
    at nearly all evaluations.

    Why it matters: validation samples that are easier than training samples, or that also occur
    among them, make every result look better than it is.

    What it needs: validation losses.

    How it is detected: the tag ``validation_easier`` on at least 80 % of the configurations that
    learn (the data) or on at least 10 % (some settings).

    Known false alarms: training loss measured with dropout or augmentation on is higher by itself.
    Trials that sweepdiag trained are measured without; other tools' logs often are not.

    What to do: look for duplicates between the two sets, draw the split anew with another seed,
    and compare how the classes are distributed.

    References:
        Kapoor and Narayanan, "Leakage and the Reproducibility Crisis in ML-based Science", 2023.
    """

    code = "SD302"
    name = "validation-easier"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether validation is easier everywhere or for some settings."""
        del thresholds
        table = view.usable[view.usable["best_val_loss"].notna()]
        if table.empty:
            return self.not_applicable("no curve with a validation loss learned anything")
        is_easier = table["tags"].map(lambda tags: Tag.VALIDATION_EASIER.value in list(tags))
        share = float(is_easier.astype(bool).mean())
        evidence = (
            f"validation loss is below training loss in {100 * share:.0f} % of the configurations "
            "that learn"
        )
        if share >= _EVERYWHERE:
            return self.finding(
                "The validation set is easier than the training set",
                evidence,
                "Look for validation samples in the training set, and draw the split anew.",
                share=share,
            )
        if share >= _SOME:
            return self.tip(
                "Validation is easier for some settings",
                evidence,
                "Compare these settings: regularisation that acts in training only does this.",
                share=share,
            )
        return self.passed("Validation is not easier than training", evidence, share=share)
