"""SD309: one class that has nearly all samples, and networks that always predict it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweepdiag.rules.base import percent
from sweepdiag.rules.findings.base import Check

if TYPE_CHECKING:
    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["ClassImbalance"]

_LARGE = 0.8
"""Share of a class from which accuracy says little."""

_GAIN = 0.2
"""Share of the other samples that must be told by the best configuration for it to be of use."""


class ClassImbalance(Check):
    """Accuracy is high, and no better than that of always predicting the most frequent class.

    What it checks: the best accuracy against the share of the most frequent class.

    Why it matters: with 95 % of the samples in one class, 95 % accuracy is what a constant
    reaches. Loss and accuracy look good, and nothing of use was learned.

    What it needs: a classification with accuracy as its metric, and the accuracy of the best
    constant prediction.

    How it is detected: the most frequent class has 80 % of the samples or more, and the best
    accuracy of any configuration tells less than a fifth of what a constant gets wrong. Imbalance
    that networks cope with is a tip.

    Known false alarms: none known.

    What to do: sample or weight the classes evenly, and watch a metric that counts classes alike
    (balanced accuracy, area under the precision-recall curve).

    References:
        He and Garcia, "Learning from Imbalanced Data", 2009; Johnson and Khoshgoftaar, "Survey on
        Deep Learning with Class Imbalance", 2019.
    """

    code = "SD309"
    name = "class-imbalance"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether networks do no better than the most frequent class."""
        del thresholds
        facts = view.facts
        if facts is None or facts.metric != "accuracy" or facts.baseline_metric is None:
            return self.not_applicable("the accuracy of a constant prediction is unknown")
        known = view.judged["best_val_metric"].dropna()
        if known.empty:
            return self.not_applicable("no trial with an accuracy was judged")
        constant, best = facts.baseline_metric, float(known.max())
        largest = view.data.largest_class or constant
        evidence = (
            f"the most frequent class has {percent(largest)} of the training samples; predicting "
            f"it always is right for {percent(constant)} of validation, the best configuration "
            f"for {percent(best)}"
        )
        numbers: dict[str, Any] = {
            "largest_class": largest,
            "constant_accuracy": constant,
            "best_accuracy": best,
        }
        if largest < _LARGE or constant < _LARGE:
            return self.passed("No class has nearly all samples", evidence, **numbers)
        if best >= constant + _GAIN * (1 - constant):
            return self.tip(
                "Classes are imbalanced",
                evidence,
                "Watch a metric that counts classes alike, such as balanced accuracy.",
                **numbers,
            )
        return self.finding(
            "No network is better than always predicting the most frequent class",
            evidence,
            "Sample or weight classes evenly, and watch balanced accuracy instead of accuracy.",
            **numbers,
        )
