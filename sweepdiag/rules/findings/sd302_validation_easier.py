"""SD302: validation that is easier than training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.records import Tag
from sweepdiag.rules.base import percent
from sweepdiag.rules.findings.base import Check, format_value
from sweepdiag.rules.findings.sd307_validation_shifted import early_gap

if TYPE_CHECKING:
    import pandas as pd

    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["ValidationEasier"]

_EVERYWHERE = 0.8
_SOME = 0.1

_EASIER = 0.08
_ERRORS = 4.0
"""How many more validation labels than training labels their training neighbours must tell: as a
share, and in standard errors."""

_NARROW = 0.8
_FEWEST = 30
"""Deviation of validation inputs over that of training inputs up to which they are cleaner, if
there are so many and neighbours know their labels as well."""

_EARLY_SHARE = 0.1
"""How far validation loss must lie below training loss early on, beside four standard errors."""

_NEAR_CHANCE = 0.9
"""Share of the baseline training loss above which a configuration is near chance."""


class ValidationEasier(Check):
    """Validation loss lies below training loss.

    What it checks: the share of configurations whose validation loss is below the training loss
    at nearly all evaluations.

    Why it matters: validation samples that are easier than training samples, or that also occur
    among them, make every result look better than it is. Wrong labels in training only have the
    same effect: training loss then stays on a high plateau.

    What it needs: validation losses. Networks that learn the training set by heart hide it; a
    look at the samples then says more.

    How it is detected: the tag ``validation_easier`` on at least 80 % of the configurations that
    learn (the data) or on at least 10 % (some settings). Configurations whose training loss stays
    above 90 % of that of a constant prediction are left out: near chance either may be lower.
    Or: the ten nearest training samples tell 8 points more of the validation labels than of the
    training labels, and four standard errors more; or as many, while validation inputs vary at
    most 0.8 times as much. Or: when training loss has made half of its
    fall, and nothing is learned by heart yet, validation loss lies 10 % and four standard errors
    below it, in the median over trainings.

    Known false alarms: training loss measured with dropout or augmentation on is higher by itself.
    Trials that sweepdiag trained are measured without dropout, but on training samples as they are
    read: where those are augmented at random and validation samples are not, which is known from
    reading items twice, it is a tip. Other tools' logs often say neither.

    What to do: where training samples alone are augmented, compare with a sweep without that. Else
    look for wrong labels in the training set and for duplicates between the two sets, draw the
    split anew with another seed, and compare how the classes are distributed.

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
        table = table[_is_off_chance(view, table)]
        if table.empty:
            return self.not_applicable("every configuration that learns is still near chance")
        is_easier = table["tags"].map(lambda tags: Tag.VALIDATION_EASIER.value in list(tags))
        share = float(is_easier.astype(bool).mean())
        evidence = (
            f"validation loss is below training loss in {100 * share:.0f} % of the configurations "
            "that learn"
        )
        known = _neighbours_know_better(view) or _easier_from_early_on(view)
        if view.data.only_train_is_random and (known or share >= _SOME):
            return self.tip(
                "Validation loss lies below training loss, as augmentation makes it",
                "reading training samples draws random numbers, reading validation samples does "
                f"not; {evidence}",
                "Augmentation of the training samples alone explains this; to be sure of the "
                "labels and the split, compare with a sweep without it.",
                share=share,
            )
        if known:
            return self.finding(
                "Validation samples are easier than training samples",
                f"{known}; {evidence}",
                "Look for wrong labels in the training set, and at how the validation samples "
                "were chosen or cleaned; draw the split anew.",
                share=share,
            )
        if share >= _EVERYWHERE:
            return self.finding(
                f"Validation loss lies below training loss {_where(share)}",
                f"{evidence}; lowest training loss: "
                f"{format_value(float(table['best_train_loss'].min()))}",
                "Look for wrong labels in the training set (they leave a high plateau of its "
                "loss), for a validation set that is easier, and for validation samples in the "
                "training set; draw the split anew.",
                share=share,
            )
        if share >= _SOME:
            return self.tip(
                "Validation loss lies below training loss for some settings",
                evidence,
                "Compare these settings with the others; where they have nothing in common, a "
                "small validation set is enough to do this.",
                share=share,
            )
        return self.passed("Validation is not easier than training", evidence, share=share)


def _where(share: float) -> str:
    return "everywhere" if share == 1 else "nearly everywhere"


def _neighbours_know_better(view: SweepView) -> str:
    """Return the evidence that validation labels are easier to tell; empty if they are not."""
    data, n = view.data, None if view.facts is None else view.facts.n_validation
    known, own = data.neighbour_val_accuracy, data.neighbour_accuracy
    if known is None or own is None or not n:
        return ""
    error = np.sqrt(max(known * (1 - known), own * (1 - own)) / n)
    text = (
        f"neighbours in training tell {percent(known)} of the validation labels, and "
        f"{percent(own)} of the training labels"
    )
    if known - own >= max(_EASIER, _ERRORS * error):
        return text
    spread = data.validation_spread
    if spread is None or spread > _NARROW or n < _FEWEST or known < own - error:
        return ""
    return (
        f"validation inputs vary {format_value(spread)} times as much as training inputs; {text}"
    )


def _easier_from_early_on(view: SweepView) -> str:
    """Return the evidence from before anything is learned by heart; empty if there is none.

    The losses of samples spread about as far as their mean, so that the mean over n of them is
    known to about one part in the root of n.
    """
    gap, n = early_gap(view), None if view.facts is None else view.facts.n_validation
    if gap is None or not n or -gap < max(_EARLY_SHARE, _ERRORS / np.sqrt(n)):
        return ""
    return (
        "when training loss has made half of its fall, validation loss is "
        f"{format_value(1 + gap)} times it in the median over trainings"
    )


def _is_off_chance(view: SweepView, table: pd.DataFrame) -> pd.Series[bool]:
    """Return which configurations learned enough to compare the two losses."""
    baseline = None if view.facts is None else view.facts.baseline_train_loss
    limit = _NEAR_CHANCE * baseline if baseline is not None and baseline > 0 else float("inf")
    is_off: pd.Series[bool] = table["best_train_loss"] < limit
    return is_off
