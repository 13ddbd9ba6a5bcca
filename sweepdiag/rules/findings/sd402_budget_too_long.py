"""SD402: trainings that go on for far too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweepdiag.rules.findings.base import Check, format_value
from sweepdiag.rules.findings.sd401_budget_too_short import good_configurations

if TYPE_CHECKING:
    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["BudgetTooLong"]


class BudgetTooLong(Check):
    """All good configurations are best within the first tenth of the budget.

    What it checks: the best epochs of the good configurations.

    Why it matters: nine tenths of the compute bring nothing, and with a decaying learning rate the
    schedule was never used where it mattered.

    What it needs: configurations that learn.

    How it is detected: the best quarter of the configurations all have their best epoch in the
    first tenth of the budget.

    Known false alarms: losses that overfit at once while the metric improves for long; monitor the
    metric instead.

    What to do: shorten the budget to about twice the latest of these epochs. If the schedule
    depends on the budget, tune the learning rate again.

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
        latest = float(good["best_epoch"].max())
        evidence = (
            f"the {len(good)} best configurations have their best epoch at {format_value(latest)} "
            f"of {format_value(budget)} at the latest"
        )
        if latest > thresholds.budget_early * budget:
            return self.passed("The budget is not too long", evidence, latest_best_epoch=latest)
        return self.finding(
            "The budget is far too long",
            evidence,
            f"{format_value(max(1.0, round(2 * latest)))} epochs are enough.",
            latest_best_epoch=latest,
        )
