"""SD303: inputs, or a first loss, of the wrong size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.rules.findings.base import Check, format_value

if TYPE_CHECKING:
    from sweepdiag.records import Finding, SweepFacts
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["InputsOffScale"]

_LARGEST_RATIO = 2.0
"""First loss over that of a uniform guess. Untrained networks on scaled inputs stay below 1.2."""


class InputsOffScale(Check):
    """Before the first update the loss is far above that of a guess.

    What it checks: the training loss at epoch 0 against the one of guessing all classes alike.

    Why it matters: an untrained network should know nothing, and be sure of nothing. A first loss
    that is much higher says that it is sure and wrong: inputs of a large scale make large outputs.
    Stable learning rates then become very small, and training slow.

    What it needs: a classification by cross-entropy, the loss of the best constant prediction, and
    losses evaluated before the first update.

    How it is detected: the median over configurations of the loss at epoch 0 is more than twice
    that of a uniform guess. Where the accuracy of the best constant prediction shows that the
    classes are imbalanced, the uniform guess is taken over as many classes as explain it.

    Known false alarms: networks that start from trained weights of another task; many classes of
    which few occur.

    What to do: scale the inputs to mean 0 and deviation 1; if they are, start the last layer with
    smaller weights.

    References:
        Karpathy, "A Recipe for Training Neural Networks", 2019 (verify loss at init).
    """

    code = "SD303"
    name = "inputs-off-scale"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether the first loss is far above that of a guess."""
        del thresholds
        facts = view.facts
        if facts is None or facts.loss not in {"cross_entropy", "binary_cross_entropy"}:
            return self.not_applicable("the loss is not known to be a cross-entropy")
        if not facts.baseline_train_loss or not facts.baseline_train_loss > 0:
            return self.not_applicable("the loss of the best constant prediction is unknown")
        first = _first_losses(view)
        if not first.size:
            return self.not_applicable("no loss was evaluated before the first update")
        guess, median = _uniform_loss(facts), float(np.median(first))
        evidence = (
            f"the first training loss is {format_value(median)} in the median over configurations;"
            f" a guess has {format_value(guess)}"
        )
        if median <= _LARGEST_RATIO * guess:
            return self.passed("The first loss is that of a guess", evidence, first_loss=median)
        return self.finding(
            "Inputs or first loss off scale",
            evidence,
            "Scale the inputs to mean 0 and deviation 1; if they are, start the last layer with "
            "smaller weights.",
            first_loss=median,
            guess=guess,
        )


def _first_losses(view: SweepView) -> np.ndarray:
    """Return the median over seeds of each configuration's loss before the first update."""
    first = view.curves[view.curves["epoch"] == 0].merge(
        view.trials[["trial_id", "config_id"]], on="trial_id"
    )
    # A loss that is not finite before the first update is as far off as can be.
    losses = first["train_loss"].astype(float).fillna(np.inf)
    return losses.groupby(first["config_id"]).median().to_numpy()


def _uniform_loss(facts: SweepFacts) -> float:
    """Return the loss of guessing all classes alike, at least that of the best constant.

    With the frequency p of the most frequent class and the entropy H of all, the others are at
    least ``exp((H - h(p)) / (1 - p))`` classes, where h is the entropy of p against the rest.
    """
    entropy, p = facts.baseline_train_loss or 0.0, facts.baseline_metric
    if facts.metric != "accuracy" or p is None or not 0 < p < 1:
        return entropy
    of_split = -p * np.log(p) - (1 - p) * np.log(1 - p)
    return float(max(entropy, np.log1p(np.exp((entropy - of_split) / (1 - p)))))
