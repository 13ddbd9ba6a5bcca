"""SD203: units that are zero for every sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.records import Severity, VerdictClass
from sweepdiag.rules.base import percent
from sweepdiag.rules.findings.base import Check

if TYPE_CHECKING:
    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["DeadActivations"]

_MANY = 0.5
"""Share of dead units before the first update from which a network is crippled. Networks as they
are usually initialised have a few percent."""

_NEARLY_ALL = 0.9

_SOME = 0.25
"""Share of the configurations that must lose half of their units while training for a tip."""

_AT_BASELINE = 0.01
"""Distance from the loss of the best constant prediction, relative to it, that is none."""

_TELLING = 0.2
"""How far neighbours must tell classes better than the most frequent class does."""


class DeadActivations(Check):
    """Most units are zero whatever the input, so that no gradient passes through them.

    What it checks: the share of dead units before the first update and at the end.

    Why it matters: a unit that is zero for all samples has no gradient, and stays so. A network
    of dead units can only predict a constant, at every learning rate.

    What it needs: ``--record gradients`` and ReLU-like modules. Without them only the whole can be
    inferred: every curve ends at the loss of the best constant prediction, none diverges, and
    neighbours in the data tell the classes.

    How it is detected: in the median over configurations half or more of the units are dead before
    the first update (an error from 90 % on). Dying later, in a quarter of the configurations that
    do not diverge, is a tip: high learning rates do that.

    Known false alarms: networks that are sparse on purpose, such as those with a unit per rare
    token.

    What to do: look at the biases and the scale of the initial weights, at the scale of the inputs
    and at layers that subtract; use leaky units or a normalisation before them.

    References:
        He et al., "Delving Deep into Rectifiers", 2015; Lu et al., "Dying ReLU and
        Initialization", 2019.
    """

    code = "SD203"
    name = "dead-activations"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether units are dead from the start, or die."""
        del thresholds
        if view.judged.empty:
            return self.not_applicable("no trial was judged")
        first, last = _dead_shares(view)
        if not first.size:
            return self._infer(view)
        start, end = float(np.median(first)), float(np.median(last))
        dying = float(np.mean((last >= _MANY) & (first < _MANY)))
        evidence = (
            f"of the units {percent(start)} are zero for every training sample before the first "
            f"update and {percent(end)} at the end, in the median over configurations"
        )
        numbers = {"dead_at_start": start, "dead_at_end": end, "dying_share": dying}
        if start >= _MANY:
            return self.finding(
                "Units are dead from the start",
                evidence,
                "Look at the initial biases and weights and at the scale of the inputs; try leaky "
                "units.",
                severity=Severity.ERROR if start >= _NEARLY_ALL else Severity.WARNING,
                **numbers,
            )
        if dying >= _SOME:
            return self.tip(
                "Units die while training",
                f"{evidence}; half or more are lost in {percent(dying)} of the configurations",
                "Lower the highest learning rates, or try leaky units.",
                **numbers,
            )
        return self.passed("Units are alive", evidence, **numbers)

    def _infer(self, view: SweepView) -> Finding:
        """Return what can be said where dead units were not counted."""
        facts, data, judged = view.facts, view.data, view.judged
        reason = "the share of dead units was not recorded (--record gradients)"
        is_idle = judged["verdict"] == VerdictClass.NOT_LEARNING.value
        baseline = None if facts is None else facts.baseline_train_loss
        told, largest = data.neighbour_accuracy, data.largest_class
        if not is_idle.all() or not baseline or told is None or largest is None:
            return self.not_applicable(reason)
        distance = (judged["best_train_loss"] / baseline - 1).abs()
        if told < largest + _TELLING or float((distance <= _AT_BASELINE).mean()) < 1:
            return self.not_applicable(reason)
        return self.finding(
            "Networks can only predict a constant",
            f"every curve ends within {percent(_AT_BASELINE)} of the loss of the best constant "
            f"prediction and none diverges, although neighbours in the data tell "
            f"{percent(told)} of the labels; dead units were not counted",
            "Check that gradients reach the parameters (nothing detached or frozen); look at "
            "initial biases and weights; count dead units with --record gradients.",
            neighbour_accuracy=told,
        )


def _dead_shares(view: SweepView) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of dead units at the first and last evaluation of each configuration.

    Diverging configurations are left out of both where others are known: they kill units.
    """
    if "dead_fraction" not in view.curves:
        return np.empty(0), np.empty(0)
    known = view.curves[view.curves["dead_fraction"].notna()]
    trials = view.trials[["trial_id", "config_id"]]
    diverging = view.judged["verdict"] == VerdictClass.DIVERGING.value
    if not diverging.all():
        trials = trials[~trials["config_id"].isin(view.judged.loc[diverging, "config_id"])]
    ends = known.groupby("trial_id", sort=False)["dead_fraction"].agg(["first", "last"])
    table = trials.merge(ends, left_on="trial_id", right_index=True)
    medians = table.groupby("config_id")[["first", "last"]].median()
    return medians["first"].to_numpy(dtype=float), medians["last"].to_numpy(dtype=float)
