"""SD308: validation samples that also train."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.records import Severity
from sweepdiag.rules.base import percent
from sweepdiag.rules.findings.base import Check

if TYPE_CHECKING:
    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["ValidationLeaks"]

_LEAST_SHARE = 0.01
_LEAST_COPIES = 2
_BEYOND_REPEATS = 2.0
"""Share of copies over the share of repeated inputs within training, up to which inputs simply
repeat themselves."""

_MOST = 0.5

_MEMORISED = 0.05
"""Share of the loss of a constant prediction below which a training set is learned by heart."""

_NO_GAP = 1.1
"""Validation over training loss up to which validation looks as if it had been trained on."""

_FEWEST = 3


class ValidationLeaks(Check):
    """Samples of the validation set also occur in the training set.

    What it checks: the share of validation inputs that are equal, bit by bit, to a training input.

    Why it matters: on samples that it was trained on a network looks as good as it has learned
    them by heart. Overfitting becomes invisible, and the largest and longest training wins.

    What it needs: a look at the samples, in memory. Without it, networks that learned their
    training set by heart and a validation loss that follows nevertheless are a tip.

    How it is detected: 1 % or more of the validation inputs, and at least two of them, occur in
    training, and at least twice the share of inputs that occur more than once within training.
    An error from half of the validation set on. For the tip, at least three configurations reach a
    training loss below 5 % of that of a constant prediction, and their validation loss is then
    within 10 % of it in the median.

    Known false alarms: inputs of a few coarse values, where equal inputs are no copies.
    Copies that were changed a little (crops, another compression) are not seen.

    What to do: remove duplicates before splitting; split by what belongs together (person, day,
    document).

    References:
        Kapoor and Narayanan, "Leakage and the Reproducibility Crisis in ML-based Science", 2023;
        Barz and Denzler, "Do We Train on Test Data?", 2020.
    """

    code = "SD308"
    name = "validation-leaks"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether validation samples occur in training."""
        del thresholds
        if view.judged.empty or view.judged["best_val_loss"].isna().all():
            return self.not_applicable("no trial with a validation loss was judged")
        copied, repeated = view.data.copied_share, view.data.repeated_share or 0.0
        if copied is None:
            return self._from_curves(view)
        n = (view.facts.n_validation if view.facts is not None else None) or 0
        evidence = (
            f"{percent(copied)} of {n} validation inputs occur in training bit by bit; within "
            f"training {percent(repeated)} occur more than once"
        )
        numbers = {"copied_share": copied, "repeated_share": repeated}
        is_many = copied >= _LEAST_SHARE and copied * n >= _LEAST_COPIES
        if not is_many or copied < _BEYOND_REPEATS * repeated:
            return self.passed("Validation samples do not occur in training", evidence, **numbers)
        return self.finding(
            "Validation samples occur in training",
            evidence,
            "Remove duplicates before splitting, and split by what belongs together.",
            severity=Severity.ERROR if copied >= _MOST else Severity.WARNING,
            **numbers,
        )

    def _from_curves(self, view: SweepView) -> Finding:
        baseline = None if view.facts is None else view.facts.baseline_train_loss
        usable = view.usable
        if not baseline or usable.empty:
            return self.not_applicable("the samples were not seen")
        learned = usable[usable["best_train_loss"] < _MEMORISED * baseline]
        if len(learned) < _FEWEST:
            return self.not_applicable(
                "the samples were not seen, and no three networks learned theirs by heart"
            )
        ratio = float(np.median(learned["best_val_loss"] / learned["best_train_loss"]))
        evidence = (
            f"{len(learned)} configurations learned their training set by heart; lowest "
            f"validation loss over lowest training loss: {ratio:.3g} in their median"
        )
        if ratio > _NO_GAP:
            return self.passed("Validation stays behind training", evidence, ratio=ratio)
        return self.tip(
            "Validation is as good as training that was learned by heart",
            evidence,
            "Look for validation samples in the training set.",
            ratio=ratio,
        )
