"""SD904: outputs of the model that are not what the loss takes them for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.records import Severity
from sweepdiag.rules.findings.base import Check, format_value
from sweepdiag.rules.findings.second_softmax import find_second_softmax
from sweepdiag.wording import plural

if TYPE_CHECKING:
    from sweepdiag.records import Finding, StepFacts, SweepFacts
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["OutputMistake", "OutputsNotExpected", "misreads_probabilities", "output_mistake"]

_LAST_LAYER = {
    "probabilities": "softmax",
    "unit": "sigmoid",
    "signed_unit": "tanh",
    "not_negative": "ReLU",
}
_IN_WORDS = {
    "probabilities": "are never negative and sum to 1",
    "unit": "stay within 0 and 1",
    "signed_unit": "stay within -1 and 1",
    "not_negative": "are never negative",
    "log_probabilities": "are logarithms of probabilities",
    "free": "are of either sign, and their exponentials do not sum to 1",
}
_PROBABILITIES = frozenset({"probabilities", "unit"})


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputMistake:
    """What is wrong with outputs, in the words of a finding.

    Attributes:
        title: What is wrong.
        evidence: How it is known.
        action: What to do.
        severity: How bad it is.
        least_loss: What the mean loss cannot fall below because of it; ``None`` if that depends
            on the targets.
    """

    title: str
    evidence: str
    action: str
    severity: Severity
    least_loss: float | None = None


class OutputsNotExpected(Check):
    """Outputs are probabilities where the loss expects logits, or the other way round.

    What it checks: what the outputs of a model keep to (probabilities, [0, 1], not negative, …),
    against what its loss and accuracy take them for.

    Why it matters: cross-entropy takes a softmax of the outputs itself. Of probabilities it
    takes a second one, and raises no error: the loss stops far above 0 (at 1.46 for ten classes),
    gradients are small, and every curve looks like a matter of rate, capacity or budget. The
    negative log likelihood of what are no log-probabilities is no likelihood. And an accuracy
    that counts outputs above 0 counts every probability as a one.

    What it needs: a first step that was looked at before the sweep, and a loss of sweepdiag's own
    or one of the user's that can be told: cross-entropy of logits or of log-probabilities, binary
    cross-entropy of logits or of probabilities. Of curves alone only a second softmax is known,
    over 3 to 20 classes, and with the accuracies of training and validation.

    How it is detected: outputs are looked at with the first weights and with up to 16 others that
    have large noise added: outputs that keep to a range with all of them do so by construction. A
    loss of the user's own is called with outputs whose loss is known: a cross-entropy of logits
    gives ln(classes) for equal ones and does not change when all are moved. In curves alone, a
    network that is sure has the loss ln(e + classes - 1) - 1 plus its share of errors: at least
    three trainings that are right for 95 % or more show that, in training and in validation.

    Known false alarms: outputs that are bounded on purpose, such as cosines without a temperature;
    the floor of the loss is real even so.

    What to do: leave the last softmax, sigmoid, tanh or ReLU out of the model, and take it only
    where probabilities are wanted; for NLLLoss end the model with log_softmax, or use
    CrossEntropyLoss.

    References:
        PyTorch documentation of CrossEntropyLoss, NLLLoss and BCEWithLogitsLoss.
    """

    code = "SD904"
    name = "outputs-not-expected"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether outputs are what the loss takes them for."""
        del thresholds
        step = view.step
        if step is None:
            return self._by_curves(view)
        if step.outputs is None:
            return self.not_applicable("what the loss expects of outputs is not known")
        mistake = None if view.facts is None else output_mistake(view.facts)
        if mistake is None:
            return self.passed("Outputs are what the loss expects", _evidence(step))
        lowest = _lowest_loss(view)
        seen = "" if lowest is None else f"; the lowest one seen is {format_value(lowest)}"
        return self.finding(
            mistake.title,
            mistake.evidence + (seen if mistake.least_loss is not None else ""),
            mistake.action,
            severity=mistake.severity,
            outputs=step.outputs,
            loss_expects=step.loss_expects,
            least_loss=mistake.least_loss,
        )

    def _by_curves(self, view: SweepView) -> Finding:
        found = None if view.metric_mode == "min" else find_second_softmax(view.curves)
        if found is None:
            return self.not_applicable("no first step was looked at before the sweep")
        return self.finding(
            "A second softmax holds the loss up",
            f"over {plural(found.n_evaluations, 'evaluation')} of "
            f"{plural(found.n_trials, 'training')} that are nearly always right, the loss is "
            f"{format_value(found.offset)} plus the share of errors, in training and in "
            f"validation; cross-entropy after a softmax or sigmoid, of {found.n_classes} classes, "
            f"is {format_value(found.floor)} plus that share",
            "Leave the softmax or sigmoid at the end of the model out: the loss has its own.",
            severity=Severity.ERROR,
            least_loss=found.floor,
            n_classes=found.n_classes,
            offset=found.offset,
        )


def output_mistake(facts: SweepFacts) -> OutputMistake | None:
    """Return what is wrong with the outputs of a workload; ``None`` if nothing is known to be.

    Args:
        facts: What is known of the task, its first step among it.
    """
    step = facts.step
    if step is None or step.outputs is None:
        return None
    if step.loss_expects == "logits":
        return _not_logits(step, facts.task)
    if step.loss_expects == "log_probabilities" and step.outputs != "log_probabilities":
        return OutputMistake(
            title="The loss expects log-probabilities and gets none",
            evidence=f"{_evidence(step)}; the loss takes minus the output of the right class",
            action="End the model with log_softmax, or use CrossEntropyLoss with logits.",
            severity=Severity.ERROR,
        )
    if misreads_probabilities(step):
        return OutputMistake(
            title="Accuracy takes probabilities for logits",
            evidence=f"{_evidence(step)}; accuracy counts each output above 0 as a one",
            action="Return logits and use binary_cross_entropy (BCEWithLogitsLoss), or give a "
            "metric of your own: metric=function, metric_mode='max'.",
            severity=Severity.WARNING,
        )
    return None


def misreads_probabilities(step: StepFacts | None) -> bool:
    """Return whether the metric takes outputs for logits that the loss does not.

    Args:
        step: What the first step told, if one was taken.
    """
    return (
        step is not None
        and step.metric_expects == "logits"
        and step.loss_expects != "logits"
        and step.outputs in _PROBABILITIES
    )


def _not_logits(step: StepFacts, task: str) -> OutputMistake | None:
    layer = _LAST_LAYER.get(step.outputs or "")
    if layer is None:
        return None
    least, bound = _least_loss(step, task)
    is_certain_harm = step.outputs in _PROBABILITIES
    title = "Outputs are probabilities" if is_certain_harm else "Outputs are bounded"
    action = f"Leave the {layer} at the end of the model out: the loss has a softmax or sigmoid "
    action += "of its own."
    if step.outputs == "signed_unit":
        action += " Multiply outputs that are normalised by a temperature."
    return OutputMistake(
        title=f"{title} where the loss expects logits",
        evidence=f"{_evidence(step)}; {bound}",
        action=action,
        severity=Severity.ERROR if is_certain_harm else Severity.WARNING,
        least_loss=least,
    )


def _least_loss(step: StepFacts, task: str) -> tuple[float | None, str]:
    """Return what the mean loss cannot fall below, and that in words.

    The loss of a sample is least where the right class has the highest output that there can be,
    and all others the lowest.
    """
    if step.outputs == "not_negative":
        if task == "binary":
            return None, f"so the loss of a target 0 cannot fall below {format_value(math.log(2))}"
        return None, "an output that is 0 gets no gradient, and no class can be ruled out"
    distance = 2 if step.outputs == "signed_unit" else 1
    if task == "binary":
        of_zero = math.log(2) if distance == 1 else math.log1p(math.exp(-1))
        return None, f"so the loss of a target 0 cannot fall below {format_value(of_zero)}"
    least = math.log1p((step.n_outputs - 1) * math.exp(-distance))
    return least, f"so the loss cannot fall below {format_value(least)}"


def _evidence(step: StepFacts) -> str:
    what = "output" if step.n_outputs == 1 else f"{step.n_outputs} outputs"
    words = _IN_WORDS[step.outputs or "free"]
    if step.n_outputs == 1:
        words = words.replace("are ", "is ").replace("stay ", "stays ").replace("sum ", "sums ")
    if step.outputs == "free":
        words = words.partition(",")[0] if step.loss_expects != "log_probabilities" else words
    return f"the {what} of a sample {words}, with first and other weights"


def _lowest_loss(view: SweepView) -> float | None:
    losses = view.curves["train_loss"].to_numpy(dtype=float)
    losses = losses[np.isfinite(losses)]
    return float(losses.min()) if losses.size else None
