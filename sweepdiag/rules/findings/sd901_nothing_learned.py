"""SD901: no configuration learned anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweepdiag.records import Severity, VerdictClass
from sweepdiag.rules.findings.base import BAD_CLASSES, Check

if TYPE_CHECKING:
    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["NothingLearned"]


class NothingLearned(Check):
    """Every configuration diverges or stays at chance.

    What it checks: whether any judged configuration has a class other than ``diverging`` and
    ``not_learning``.

    Why it matters: over several orders of magnitude of learning rates something should learn. If
    nothing does, settings are not the cause: labels may be shuffled, the loss may not belong to
    the output, or gradients may not reach the parameters.

    What it needs: at least one judged trial.

    How it is detected: by the classes of the configurations.

    Known false alarms: an lr axis that is too narrow, or far off.

    What to do: try to learn ten samples by heart; check labels, loss and gradients; then widen the
    lr axis.

    References:
        Karpathy, "A Recipe for Training Neural Networks", 2019.
    """

    code = "SD901"
    name = "nothing-learned"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether anything was learned."""
        del thresholds
        judged = view.judged
        if judged.empty:
            return self.not_applicable("no trial was judged")
        counts = {name: int((judged["verdict"] == name).sum()) for name in BAD_CLASSES}
        n_bad, n_judged = sum(counts.values()), len(judged)
        evidence = (
            f"of {n_judged} configurations {counts[VerdictClass.DIVERGING.value]} diverge and "
            f"{counts[VerdictClass.NOT_LEARNING.value]} learn nothing"
        )
        if n_bad < n_judged:
            return self.passed("Something was learned", evidence, n_bad=n_bad, n_judged=n_judged)
        return self.finding(
            "Nothing was learned anywhere",
            evidence,
            "Try to learn ten samples by heart; check labels, loss and gradients; widen the lr "
            "axis.",
            severity=Severity.ERROR,
            n_bad=n_bad,
            n_judged=n_judged,
        )
