"""SD102: rates that are too low for the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweepdiag.records import Tag, VerdictClass
from sweepdiag.rules.base import plural
from sweepdiag.rules.findings.base import Check, format_value, format_values

if TYPE_CHECKING:
    import pandas as pd

    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["LearningRateTooLow"]

_MOSTLY = 0.9


class LearningRateTooLow(Check):
    """The lowest learning rates learn too slowly for the budget.

    What it checks: from the lowest rate upwards, the rates at which most configurations learn
    nothing, or underfit, while some higher rate does better.

    Why it matters: epochs at these rates are spent on curves that never arrive. Where all rates
    are of this kind the best one is not in the sweep.

    What it needs: an ``lr`` axis with at least two values.

    How it is detected: at least 90 % of the judged configurations of a rate are ``not_learning``
    or ``underfit``, of which at least half do not move at all or are still improving.

    Known false alarms: a network too small for the task underfits at every rate; SD201 looks for
    that, and a plateau alone does not count here.

    What to do: drop these rates, or, where all rates are too low, extend the axis upwards. A
    longer budget helps only those that are still improving.

    References:
        Godbole et al., "Deep Learning Tuning Playbook", 2023.
    """

    code = "SD102"
    name = "learning-rate-too-low"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return which of the lowest rates are too low."""
        del thresholds
        if view.axis("lr") is None:
            return self.not_applicable("there is no lr axis with at least two values")
        if view.judged.empty:
            return self.not_applicable("no trial was judged")
        rates = sorted({float(value) for value in view.judged["lr"]})
        slow = []
        for rate in rates:
            if not _is_slow(view.judged[view.judged["lr"] == rate]):
                break
            slow.append(rate)
        if not slow:
            return self.passed(
                "The lowest learning rate is not too low",
                f"at lr {format_value(rates[0])} most configurations learn in time",
            )
        rows = view.judged[view.judged["lr"].isin(slow)]
        counts = rows["verdict"].value_counts().to_dict()
        evidence = f"at lr {format_values(slow)}, " + ", ".join(
            f"{plural(count, 'configuration')} {verdict}" for verdict, count in counts.items()
        )
        rest = view.judged[~view.judged["lr"].isin(slow)]
        if (rest["verdict"] != VerdictClass.DIVERGING.value).any():
            return self.tip(
                "The lowest learning rates are too low",
                evidence,
                f"Start the lr axis above {format_value(slow[-1])}.",
                too_low=slow,
            )
        return self.finding(
            "All learning rates that do not diverge are too low",
            evidence,
            "Add learning rates between the highest of these and the stability edge, or train "
            "longer.",
            too_low=slow,
        )


def _is_slow(rows: pd.DataFrame) -> bool:
    slow = (VerdictClass.NOT_LEARNING.value, VerdictClass.UNDERFIT.value)
    of_class = rows[rows["verdict"].isin(slow)]
    if len(of_class) < _MOSTLY * len(rows):
        return False
    moves = of_class["tags"].map(lambda tags: Tag.STILL_IMPROVING.value in list(tags))
    is_idle = of_class["verdict"] == VerdictClass.NOT_LEARNING.value
    return bool((moves.astype(bool) | is_idle).mean() >= 0.5)
