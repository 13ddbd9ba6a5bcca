"""SD305: labels that have nothing to do with the inputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sweepdiag.records import Severity
from sweepdiag.rules.base import percent
from sweepdiag.rules.findings.base import Check, format_value

if TYPE_CHECKING:
    from sweepdiag.records import DataFacts, Finding, SweepFacts
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["LabelsUnrelated"]

_AT_CHANCE = 0.98
"""Share of the loss of a constant prediction that validation never gets below. Untrained networks
and networks that learned noise come within 1 or 2 % of it by chance."""

_NEAR_CHANCE = 0.93
"""The same where neighbours in the data are at chance as well."""

_HALFWAY = 0.6
"""The same where training labels are at chance for neighbours and validation labels are not."""

_MEMORISED = 0.9
"""Share of the same below which training has clearly learned something."""

_TELLING = 0.05
"""Accuracy above that of the most frequent class from which neighbours tell the labels."""

_CLEARLY = 0.2
_OTHERWISE, _ERRORS = 0.2, 4.0
"""Difference of the targets' spread, as a share and in standard errors, that is not chance."""

_IMBALANCED = 0.8
"""Share of the largest class from which chance and knowledge cannot be told by accuracy."""


class LabelsUnrelated(Check):
    """Labels look dealt out at random: what is learned in training never carries over.

    What it checks: whether any validation loss gets below that of a constant prediction, and
    whether neighbours in the data tell the labels.

    Why it matters: rows of inputs and labels that slipped against each other, or labels shuffled
    alone, train without an error. Networks then learn them by heart or not at all, and no setting
    helps.

    What it needs: the losses of the best constant prediction. With a look at the samples it says
    more: neighbours at chance, too, in training or in both sets.

    How it is detected: training loss falls below 90 % of that of a constant prediction and no
    validation loss below 98 % of its own. Or: neighbours tell labels no better than the most
    frequent class (within 5 points), and no validation loss falls below 93 %, or below 60 % where
    neighbours within validation tell its labels by 20 points. Where training neighbours tell the
    training labels, labels are not the cause. Where the targets of a regression vary by a fifth
    and four standard errors more or less in validation than in training, it is a tip: a constant
    then does better there than it should, or worse.

    Known false alarms: tasks like parity, where neighbours have different labels; tasks so hard
    that a constant is nearly the best prediction.

    What to do: show ten samples with their labels; check every place where inputs and labels are
    shuffled, filtered or joined.

    References:
        Zhang et al., "Understanding Deep Learning Requires Rethinking Generalization", 2017.
    """

    code = "SD305"
    name = "labels-unrelated"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether labels have to do with inputs."""
        facts, data, judged = view.facts, view.data, view.judged
        if judged.empty or facts is None or judged["best_val_loss"].isna().all():
            return self.not_applicable("no trial with a validation loss was judged")
        if not facts.baseline_val_loss or not facts.baseline_train_loss:
            return self.not_applicable("the loss of the best constant prediction is unknown")
        if data.largest_class is not None and data.largest_class >= _IMBALANCED:
            return self.not_applicable("one class has nearly all samples, so that chance is high")
        level = float(judged["best_val_loss"].min()) / facts.baseline_val_loss
        trained = float(judged["best_train_loss"].min()) / facts.baseline_train_loss
        evidence = (
            f"the lowest validation loss is {format_value(level)} times that of a constant "
            f"prediction, the lowest training loss {format_value(trained)} times"
        )
        numbers = {"val_level": level, "train_level": trained}
        if view.lack_of_evaluations(thresholds.min_evaluations) and level >= _AT_CHANCE:
            return self.not_applicable("trainings have too few evaluations to have learned")
        tells = _neighbours_tell(data)
        is_memorised = trained < _MEMORISED and level >= _AT_CHANCE
        if tells is None and not is_memorised:
            return self.passed("Validation learns", evidence, **numbers)
        is_slipped = tells is False and level >= _HALFWAY and _validation_tells(data)
        if tells or not (is_memorised or is_slipped or level >= _NEAR_CHANCE):
            return self.passed("Labels have to do with the inputs", evidence, **numbers)
        if _targets_vary_otherwise(facts):
            return self.tip(
                "Validation targets vary otherwise than training targets",
                f"{evidence}; a constant prediction has "
                f"{format_value(facts.baseline_val_loss)} there and "
                f"{format_value(facts.baseline_train_loss)} in training",
                "Compare how the sets were split: such a constant says little about whether "
                "labels belong to inputs.",
                **numbers,
            )
        return self.finding(
            "Labels have nothing to do with the inputs",
            evidence + _neighbours_sentence(data),
            "Show ten samples with their labels; check where inputs and labels are shuffled, "
            "filtered or joined.",
            severity=Severity.ERROR,
            **numbers,
        )


def _targets_vary_otherwise(facts: SweepFacts) -> bool:
    """Return whether the spread of regression targets differs between the sets beyond chance.

    Squared deviations spread about as far as their mean, which is known to one part in the root
    of n.
    """
    if facts.task != "regression" or not facts.baseline_train_loss or not facts.n_validation:
        return False
    difference = abs((facts.baseline_val_loss or 0.0) / facts.baseline_train_loss - 1.0)
    return difference >= max(_OTHERWISE, _ERRORS / math.sqrt(facts.n_validation))


def _neighbours_tell(data: DataFacts) -> bool | None:
    """Return whether the labels of training neighbours say something; ``None`` if unknown."""
    if data.neighbour_accuracy is None or data.largest_class is None:
        return None
    return data.neighbour_accuracy > data.largest_class + _TELLING


def _neighbours_sentence(data: DataFacts) -> str:
    if data.neighbour_accuracy is None or data.largest_class is None:
        return ""
    text = (
        f"; neighbours tell {percent(data.neighbour_accuracy)} of the training labels, the most "
        f"frequent class is {percent(data.largest_class)}"
    )
    if _validation_tells(data):
        own = percent(data.validation_neighbour_accuracy or 0.0)
        text += f"; within validation they tell {own}: its labels are in order"
    return text


def _validation_tells(data: DataFacts) -> bool:
    """Return whether neighbours within validation clearly tell its labels."""
    own, largest = data.validation_neighbour_accuracy, data.largest_class
    return own is not None and largest is not None and own > largest + _CLEARLY
