"""SD901: no configuration learned anything that validation confirms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.records import Severity, VerdictClass
from sweepdiag.rules.findings.base import BAD_CLASSES, Check, format_value

if TYPE_CHECKING:
    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["NothingLearned", "only_starts_to_fall"]

_VALIDATION_LEVEL = 0.98
"""Share of the baseline that some validation loss must get below. Untrained networks and networks
that learned noise come within 1 or 2 % of it by chance."""

_TRAINING_LEVEL = 0.9
"""Share of the baseline below which a training loss has clearly learned something."""

_FALLING_STEPS = 0.8
"""Share of steps downwards from which a curve falls steadily; 0.5 is noise."""

_LATE_SHARE = 0.2
"""Share of the whole fall in the last third, from which a curve has only begun: a straight line
has a third, one that reached its plateau nothing."""

_MOST = 0.8
"""Share of the curves at chance that must have only begun."""


class NothingLearned(Check):
    """Every configuration diverges or stays at chance, or validation does.

    What it checks: whether any judged configuration has a class other than ``diverging`` and
    ``not_learning``, and whether any validation loss gets below that of a constant prediction.

    Why it matters: over several orders of magnitude of learning rates something should learn. If
    nothing does, settings are not the cause: labels may be shuffled, the loss may not belong to
    the output, or gradients may not reach the parameters. Where training learns and validation
    never does, the network learns by heart what does not carry over.

    What it needs: at least one judged trial; the baseline losses for the second question.

    How it is detected: by the classes of the configurations. Curves at chance that still fall
    steadily at the end have only begun: then the learning rates are too low. Otherwise the best
    validation loss of every configuration is compared with 98 % of the baseline, where a training
    loss falls below 90 % of it.

    Known false alarms: an lr axis that is too narrow, or far off; tasks so hard that a constant is
    nearly the best prediction.

    What to do: where curves only start to fall, raise the learning rates. Where they are flat, try
    to learn ten samples by heart; check labels, loss and gradients. Where only training learns,
    compare labels and preprocessing of the two sets.

    References:
        Karpathy, "A Recipe for Training Neural Networks", 2019.
    """

    code = "SD901"
    name = "nothing-learned"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether anything was learned, and by validation as well."""
        judged = view.judged
        if judged.empty:
            return self.not_applicable("no trial was judged")
        counts = {name: int((judged["verdict"] == name).sum()) for name in BAD_CLASSES}
        n_bad, n_judged = sum(counts.values()), len(judged)
        evidence = (
            f"of {n_judged} configurations {counts[VerdictClass.DIVERGING.value]} diverge and "
            f"{counts[VerdictClass.NOT_LEARNING.value]} learn nothing"
        )
        if n_bad == n_judged:
            return self._nothing(view, evidence, n_bad)
        validation = _validation_stays_at_chance(view)
        if validation:
            return self.finding(
                "Training learns, validation never beats a constant prediction",
                validation,
                "Check whether labels are shuffled or wrong, and whether both sets have the same "
                "labels and preprocessing; look for an input that gives the label away in "
                "training only.",
                severity=Severity.ERROR,
                n_bad=n_bad,
                n_judged=n_judged,
            )
        reason = view.lack_of_evaluations(thresholds.min_evaluations)
        if reason and not _beats_baseline(view):
            return self.not_applicable(reason)
        return self.passed("Something was learned", evidence, n_bad=n_bad, n_judged=n_judged)

    def _nothing(self, view: SweepView, evidence: str, n_bad: int) -> Finding:
        title = "Nothing was learned anywhere"
        action = (
            "Try to learn ten samples by heart; check labels, loss and gradients; widen the lr "
            "axis."
        )
        if (view.judged["verdict"] == VerdictClass.DIVERGING.value).all():
            title = "Every configuration diverges"
            action = "Lower the learning rates; if that does not help, look for a bug."
        elif only_starts_to_fall(view):
            title = "Every curve only starts to fall"
            evidence += "; the losses still fall steadily at the end, too slowly for the budget"
            action = "Raise the learning rates, by a factor of 100 to begin with."
        return self.finding(
            title, evidence, action, severity=Severity.ERROR, n_bad=n_bad, n_judged=n_bad
        )


def only_starts_to_fall(view: SweepView) -> bool:
    """Return whether nothing diverges and nearly all curves at chance still fall at the end.

    Args:
        view: The sweep.

    Returns:
        False as well where no configuration is at chance.
    """
    classes = view.judged["verdict"]
    if (classes == VerdictClass.DIVERGING.value).any():
        return False
    idle = view.judged[classes == VerdictClass.NOT_LEARNING.value]
    trials = view.trials[view.trials["config_id"].isin(idle["config_id"])]
    curves = view.curves[view.curves["trial_id"].isin(trials["trial_id"])]
    falls = [
        _falls_steadily(losses.to_numpy(dtype=float))
        for _, losses in curves.groupby("trial_id", sort=False)["train_loss"]
    ]
    return bool(falls) and float(np.mean(falls)) >= _MOST


def _falls_steadily(losses: np.ndarray) -> bool:
    losses = losses[np.isfinite(losses)]
    if losses.size < 4:
        return False
    whole = losses[0] - losses[-1]
    late = losses[-1 - losses.size // 3] - losses[-1]
    is_steady = float((np.diff(losses) < 0).mean()) >= _FALLING_STEPS
    return bool(is_steady and whole > 0 and late >= _LATE_SHARE * whole)


def _beats_baseline(view: SweepView) -> bool:
    """Return whether a validation loss is below the known baseline; an unknown one is beaten."""
    baseline = None if view.facts is None else view.facts.baseline_val_loss
    if baseline is None or not baseline > 0:
        return True
    return bool((view.judged["best_val_loss"] < _VALIDATION_LEVEL * baseline).any())


def _validation_stays_at_chance(view: SweepView) -> str:
    """Return the evidence, empty if validation learns too or the baselines are unknown."""
    facts, judged = view.facts, view.judged
    if facts is None or _beats_baseline(view) or judged["best_val_loss"].isna().all():
        return ""
    trained = float(judged["best_train_loss"].min())
    baseline = facts.baseline_train_loss
    if baseline is None or not trained < _TRAINING_LEVEL * baseline:
        return ""
    best = float(judged["best_val_loss"].min())
    return (
        f"training loss falls to {format_value(trained)} (a constant prediction has "
        f"{format_value(baseline)}), the lowest validation loss of any configuration is "
        f"{format_value(best)} (a constant prediction has "
        f"{format_value(facts.baseline_val_loss or 0.0)})"
    )
