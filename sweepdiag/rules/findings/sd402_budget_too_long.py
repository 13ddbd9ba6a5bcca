"""SD402: trainings that go on for far too long."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.rules.findings.base import Check
from sweepdiag.rules.findings.sd401_budget_too_short import (
    NEAR_BEST,
    epochs_to_judge,
    good_configurations,
)
from sweepdiag.wording import epoch_text, plural

if TYPE_CHECKING:
    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["BudgetTooLong"]


class BudgetTooLong(Check):
    """The good configurations are as good as they get within the first tenth of the budget.

    What it checks: the epochs by which the good configurations are about as good as they get.

    Why it matters: nine tenths of the compute bring nothing, and with a decaying learning rate the
    schedule was never used where it mattered.

    What it needs: configurations that learn, and enough evaluations.

    How it is detected: good are the configurations within two standard deviations between seeds,
    or 2 %, of the best. In their median they come within 2 % of their best value, or within 0.5 %
    of all that they learn, in the first tenth of the budget. Shares of an accuracy are of what it
    lacks of 1. The epoch of the very best value is not used: noise puts it anywhere on a plateau.

    Known false alarms: losses that overfit at once while the metric improves for long; monitor the
    metric instead.

    What to do: shorten the budget to about twice that epoch, but not below what a verdict needs.
    If the schedule depends on the budget, tune the learning rate again.

    References:
        Godbole et al., "Deep Learning Tuning Playbook", 2023 (best step in the first 10 %).
    """

    code = "SD402"
    name = "budget-too-long"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether fewer epochs would do."""
        good, budget = good_configurations(view, thresholds)
        if good.empty or not budget > 0:
            return self.not_applicable("no configuration learned anything")
        reason = view.lack_of_evaluations(thresholds.min_evaluations)
        if reason:
            return self.not_applicable(reason)
        share = thresholds.tag_improving_share
        epochs = [_epoch_near_best(view, str(name), share) for name in good["config_id"]]
        typical = float(np.median(epochs))
        if max(epochs) == 0:
            return self.not_applicable("training does not make the good configurations better")
        evidence = (
            f"{plural(len(good), 'configuration')} tied for the best: as good as they get by "
            f"epoch {epoch_text(typical)} of {epoch_text(budget)} in their median"
        )
        passed = self.passed("The budget is not too long", evidence, typical_best_epoch=typical)
        if typical > thresholds.budget_early * budget:
            return passed
        # Shorter than that, the next sweep could not be judged.
        n_epochs = max(1, math.ceil(2 * typical), epochs_to_judge(view, thresholds))
        if n_epochs >= budget:
            return passed
        return self.finding(
            "The budget is far too long",
            evidence,
            f"Train for {plural(n_epochs, 'epoch')}{_unless_first(view, typical)}.",
            typical_best_epoch=typical,
            train_epochs=n_epochs,
        )


def _unless_first(view: SweepView, typical: float) -> str:
    """Return what to do as well if nothing earlier was evaluated: the best may lie before."""
    first = float(view.curves.groupby("trial_id", observed=True)["epoch"].min().median())
    if not 1 < typical <= first:
        return ""
    return f", and evaluate more often: the best value is the first, at epoch {epoch_text(first)}"


def _epoch_near_best(view: SweepView, config_id: str, least_share: float) -> float:
    """Return the median over seeds of the first epoch that is about as good as the best."""
    epochs = []
    for epoch, costs in view.monitored_costs(config_id):
        if np.isfinite(costs).any():
            best = float(np.min(costs[np.isfinite(costs)]))
            known = costs[np.isfinite(costs)]
            level = view.share_unit.at(view.cost_sign * best, start=view.cost_sign * known[0])
            near = max(NEAR_BEST * level, least_share * float(known[0] - best))
            epochs.append(float(epoch[costs <= best + near][0]))
    return float(np.median(epochs)) if epochs else float("inf")
