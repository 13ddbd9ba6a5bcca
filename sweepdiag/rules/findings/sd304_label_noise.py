"""SD304: labels that their neighbours contradict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweepdiag.rules.base import percent
from sweepdiag.rules.findings.base import Check

if TYPE_CHECKING:
    from sweepdiag.records import DataFacts, Finding, SweepFacts
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["LabelNoise"]

_LEAST = 0.08
"""Share of wrong labels that is worth a finding; clean data have up to 1 or 2 %."""

_UNIFORM = 0.1
"""How far the accuracy of neighbours may lie below what wrong labels alone would leave. Where
classes overlap it lies farther: labels are then uncertain in some places, and sure in others."""

_SURE = 0.5
"""Share of neighbours that must agree in the quarter where they agree most: where classes overlap
so much that hardly any do, right labels are contradicted as evenly as wrong ones."""

_EVEN = 1.25
"""How much more often than by chance labels may contradict their neighbours alike, to count as
drawn at random."""

_SURER = 0.6
_TOGETHER = 0.87
"""Share of neighbours that must agree, alone and with the share of contradicted labels added, for
evenly contradicted labels to count although classes overlap elsewhere: in places that are sure of
their class, what does not agree are the wrong labels."""

_ABOVE_CHANCE = 0.1
"""How far above the most frequent class neighbours must tell labels, as a share of the rest."""

_REFUTED = 0.05
"""Accuracy beyond that of true labels from which networks know better than neighbours."""


class LabelNoise(Check):
    """A share of the labels is wrong.

    What it checks: how many training labels differ from the class that their nearest neighbours
    agree on, and whether the networks' accuracy fits that share.

    Why it matters: a network first learns what labels have in common, then the wrong ones by
    heart: validation loss turns early at every setting, and no setting mends it.

    What it needs: a classification whose training samples were seen, so no other tools' logs.
    There wrong training labels show only as a training loss above that of validation (SD302), or
    as overfitting at every capacity (SD202).

    How it is detected: over the quarter of the samples whose ten neighbours agree most, the share
    of labels that they contradict is 8 % or more. Overlapping classes contradict each other as
    well, so either it is equally so everywhere: the accuracy of neighbours over all samples lies
    within 10 points of what such a share leaves. Or the contradicted labels are spread over the
    other classes as evenly as random ones, where neighbours are sure. It is refuted where the best
    validation accuracy is higher than true labels alone would allow.

    Known false alarms: inputs whose distances mean little (raw natural images), where networks
    learn no more than neighbours know.

    What to do: look at the samples that neighbours contradict; relabel or drop them. Stop early,
    use a smaller network, label smoothing or a robust loss.

    References:
        Zhang et al., "Understanding Deep Learning Requires Rethinking Generalization", 2017;
        Northcutt, Jiang and Chuang, "Confident Learning", 2021.
    """

    code = "SD304"
    name = "label-noise"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether a share of the labels is wrong."""
        del thresholds
        if view.judged.empty:
            return self.not_applicable("no trial was judged")
        data = view.data
        noise, told, largest = data.label_noise, data.neighbour_accuracy, data.largest_class
        if noise is None or told is None or largest is None:
            return self.not_applicable(_why_unknown(view.facts))
        evidence = (
            f"where neighbours agree most they contradict {percent(noise)} of the training labels;"
            f" over all samples {percent(1 - told)}"
        )
        numbers: dict[str, Any] = {"label_noise": noise, "neighbour_accuracy": told}
        is_chance = told < largest + _ABOVE_CHANCE * (1 - largest)
        if noise < _LEAST or is_chance or not _are_random(data, noise, told):
            return self.passed("Neighbours do not contradict the labels", evidence, **numbers)
        accuracy = _best_accuracy(view)
        if accuracy is not None:
            evidence += f"; the best validation accuracy is {percent(accuracy)}"
            if accuracy > 1 - noise + _REFUTED and not _is_validation_clean(data, noise, told):
                return self.passed("Networks know the labels better", evidence, **numbers)
        return self.finding(
            f"About {percent(noise)} of the labels are wrong",
            evidence,
            "Look at samples that differ from their neighbours, relabel or drop them; stop early "
            "or use a robust loss.",
            **numbers,
        )


def _why_unknown(facts: SweepFacts | None) -> str:
    """Return why nothing is known of the neighbours' labels."""
    if facts is None or facts.data is None:
        return "the samples were not seen, only curves"
    if facts.data.n_classes is None:
        return "the samples have no class each"
    return "the inputs are no numbers between which there are distances"


def _are_random(data: DataFacts, noise: float, told: float) -> bool:
    """Return whether contradicted labels are wrong at random, not those of overlapping classes."""
    sure = data.sure_agreement
    if told >= 1 - noise - _UNIFORM:
        return sure is None or sure >= _SURE
    spread = data.noise_spread
    if sure is None or spread is None:
        return False
    return spread <= _EVEN and sure >= _SURER and sure + noise >= _TOGETHER


def _is_validation_clean(data: DataFacts, noise: float, told: float) -> bool:
    """Return whether training neighbours know validation labels better than their own."""
    known = data.neighbour_val_accuracy
    return known is not None and known >= told + 0.5 * noise


def _best_accuracy(view: SweepView) -> float | None:
    if view.facts is None or view.facts.metric != "accuracy":
        return None
    known = view.judged["best_val_metric"].dropna()
    return float(known.max()) if len(known) else None
