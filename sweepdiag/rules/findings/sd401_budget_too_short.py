"""SD401: trainings that end too early."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweepdiag.records import Tag
from sweepdiag.rules.findings.base import Check, format_value

if TYPE_CHECKING:
    import pandas as pd

    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["BudgetTooShort", "good_configurations"]


class BudgetTooShort(Check):
    """The good configurations are still improving when the budget ends.

    What it checks: the best epochs of the good configurations, and whether these still improve.

    Why it matters: what is compared is then speed, not quality; a longer training may rank the
    configurations differently.

    What it needs: configurations that learn.

    How it is detected: of the best quarter of the configurations, at least half have their best
    epoch in the last quarter of the budget and are still improving.

    Known false alarms: a decaying learning rate puts the best epoch at the end by design; such
    curves flatten and are then not tagged ``still_improving``.

    What to do: train longer; the region found now is a good place to start.

    References:
        Godbole et al., "Deep Learning Tuning Playbook", 2023 (best step in the last 25 %).
    """

    code = "SD401"
    name = "budget-too-short"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether more epochs would help."""
        good, budget = good_configurations(view, thresholds)
        if good.empty:
            return self.not_applicable("no configuration learned anything")
        is_late = good["best_epoch"] >= thresholds.budget_late * budget
        improves = good["tags"].map(lambda tags: Tag.STILL_IMPROVING.value in list(tags))
        count = int((is_late & improves.astype(bool)).sum())
        evidence = (
            f"of the {len(good)} best configurations {count} are still improving and have their "
            f"best epoch in the last quarter of {format_value(budget)} epochs"
        )
        if 2 * count < len(good):
            return self.passed("The budget is long enough", evidence, n_late=count)
        return self.finding(
            "The budget is too short",
            evidence,
            f"Train for {format_value(2 * budget)} epochs.",
            n_late=count,
            n_good=len(good),
        )


def good_configurations(view: SweepView, thresholds: Thresholds) -> tuple[pd.DataFrame, float]:
    """Return the best configurations and the last epoch that any curve reached.

    Args:
        view: The sweep.
        thresholds: ``good_share`` says how many count as good (at least one).

    Returns:
        Rows of ``configurations``, best first, and the budget in epochs.
    """
    ranked = view.ranked()
    n_good = max(1, round(thresholds.good_share * len(ranked)))
    budget = float(view.curves["epoch"].max()) if len(view.curves) else 0.0
    return ranked.head(n_good), budget
