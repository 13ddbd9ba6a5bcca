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


_LARGEST_SIZE, _SMALLEST_SIZE = 10.0, 0.01
"""Root mean square of inputs of the wrong size. Standardised ones have 1, pixels in [0, 1] 0.3."""

_LARGEST_SPREAD = 30.0
"""Deviation of the widest features over the median one; one-hot features stay below 10."""


class InputsOffScale(Check):
    """Inputs are much larger than 1, or differ in size, so that the first loss is far too high.

    What it checks: the size of the inputs, and the training loss at epoch 0 against the one of
    guessing all classes alike.

    Why it matters: an untrained network should know nothing, and be sure of nothing. A first loss
    that is much higher says that it is sure and wrong: inputs of a large scale make large outputs.
    Stable learning rates then become very small, and training slow.

    What it needs: a look at the samples; or a classification by cross-entropy, the loss of the
    best constant prediction, and losses evaluated before the first update.

    How it is detected: the median over configurations of the loss at epoch 0 is more than twice
    that of a uniform guess. Where the accuracy of the best constant prediction shows that the
    classes are imbalanced, the uniform guess is taken over as many classes as explain it. Inputs
    whose root mean square is above 10 or below 0.01, or whose widest features deviate 30 times as
    much as the median one, are a tip where the first loss is in order, and a finding where it is
    not known.

    Known false alarms: networks that start from trained weights of another task; many classes of
    which few occur; networks that normalise their inputs themselves.

    What to do: scale the inputs to mean 0 and deviation 1; if they are, start the last layer with
    smaller weights.

    References:
        Karpathy, "A Recipe for Training Neural Networks", 2019 (verify loss at init); LeCun et
        al., "Efficient BackProp", 1998.
    """

    code = "SD303"
    name = "inputs-off-scale"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether inputs or the first loss are off scale."""
        del thresholds
        size = _size_sentence(view)
        reason = _why_no_guess(view)
        first = np.empty(0) if reason else _first_losses(view)
        if not first.size:
            return self._by_size(view, size, reason)
        guess, median = _uniform_loss(view.facts), float(np.median(first))
        evidence = (
            f"the first training loss is {format_value(median)} in the median over configurations;"
            f" a guess has {format_value(guess)}"
        ) + (f"; {size}" if size else "")
        action = (
            "Scale the inputs to mean 0 and deviation 1; if they are, start the last layer with "
            "smaller weights."
        )
        if median > _LARGEST_RATIO * guess:
            title = "Inputs or first loss off scale"
            return self.finding(title, evidence, action, first_loss=median, guess=guess)
        if _is_off(view):
            return self.tip("Inputs are off scale", evidence, action, first_loss=median)
        return self.passed("The first loss is that of a guess", evidence, first_loss=median)

    def _by_size(self, view: SweepView, size: str, reason: str) -> Finding:
        if not size or view.judged.empty:
            reason = reason or "no loss was evaluated before the first update"
            return self.not_applicable(reason)
        if not _is_off(view):
            return self.passed("Inputs have a usual size", size)
        action = "Scale the inputs to mean 0 and deviation 1."
        return self.finding("Inputs are off scale", size, action, input_size=view.data.input_size)


def _why_no_guess(view: SweepView) -> str:
    facts = view.facts
    if facts is None or facts.loss not in {"cross_entropy", "binary_cross_entropy"}:
        return "the loss is not known to be a cross-entropy"
    if not facts.baseline_train_loss or not facts.baseline_train_loss > 0:
        return "the loss of the best constant prediction is unknown"
    return ""


def _size_sentence(view: SweepView) -> str:
    data = view.data
    if data.input_size is None:
        return ""
    text = f"the root mean square of the inputs is {format_value(data.input_size)}"
    if data.feature_spread is not None and data.feature_spread > _LARGEST_SPREAD:
        text += f", the widest features deviate {format_value(data.feature_spread)} times as much"
        text += " as the median one"
    return text


def _is_off(view: SweepView) -> bool:
    size, spread = view.data.input_size, view.data.feature_spread
    if size is None or size == 0:
        return False
    return not _SMALLEST_SIZE <= size <= _LARGEST_SIZE or (spread or 1.0) > _LARGEST_SPREAD


def _first_losses(view: SweepView) -> np.ndarray:
    """Return the median over seeds of each configuration's loss before the first update."""
    first = view.curves[view.curves["epoch"] == 0].merge(
        view.trials[["trial_id", "config_id"]], on="trial_id"
    )
    # A loss that is not finite before the first update is as far off as can be.
    losses = first["train_loss"].astype(float).fillna(np.inf)
    return losses.groupby(first["config_id"]).median().to_numpy()


def _uniform_loss(facts: SweepFacts | None) -> float:
    """Return the loss of guessing all classes alike, at least that of the best constant.

    With the frequency p of the most frequent class and the entropy H of all, the others are at
    least ``exp((H - h(p)) / (1 - p))`` classes, where h is the entropy of p against the rest.
    """
    if facts is None:
        return 0.0
    entropy, p = facts.baseline_train_loss or 0.0, facts.baseline_metric
    if facts.metric != "accuracy" or p is None or not 0 < p < 1:
        return entropy
    of_split = -p * np.log(p) - (1 - p) * np.log(1 - p)
    return float(max(entropy, np.log1p(np.exp((entropy - of_split) / (1 - p)))))
