"""SD502: differences that are no larger than those between seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweepdiag.features.seed_spread import LARGEST_FACTOR
from sweepdiag.rules.findings.base import Check, format_value

if TYPE_CHECKING:
    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["WithinSeedNoise"]


class WithinSeedNoise(Check):
    """Several configurations are as good as the best one, seeds considered.

    What it checks: how many configurations lie within the noise between seeds of the best.

    Why it matters: the first of several that are tied is not a winner but the luckiest. Any of
    them may be taken: the cheapest, or the one in the middle.

    What it needs: at least two judged seeds per configuration.

    How it is detected: configurations within two standard deviations between seeds (typical of the
    sweep) of the best median. Where one seed's loss is typically more than three times another's,
    they may be no seeds: something that was not logged differs.

    Known false alarms: with two seeds the deviation itself is known to a factor of two only.

    What to do: choose by cost among the tied ones, or add seeds to those few.

    References:
        Bouthillier et al., "Accounting for Variance in Machine Learning Benchmarks", 2021.
    """

    code = "SD502"
    name = "within-seed-noise"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return how many configurations tie with the best."""
        ranked = view.ranked()
        if len(ranked) < 2:
            return self.not_applicable("fewer than two configurations learned anything")
        deviation = view.seed_deviation()
        if deviation is None:
            return self.not_applicable("each configuration was trained with one seed")
        n_tied = len(view.tied(thresholds.seed_noise))
        factor = view.seed_factor()
        # Far from equal, a deviation in the loss's unit says nothing next to the losses.
        is_wide = factor is not None and factor > LARGEST_FACTOR
        spread = f"a factor of {factor:.2g}" if is_wide else format_value(deviation)
        evidence = (
            f"seeds differ by {spread} in {view.monitor}; {n_tied} of "
            f"{len(ranked)} configurations lie within twice that of the best "
            f"({format_value(float(ranked['best_monitor'].iloc[0]))})"
        )
        numbers = {"seed_deviation": deviation, "n_tied": n_tied}
        if is_wide:
            return self.tip(
                "Runs of equal settings differ widely",
                evidence,
                "Look for what else differs between them, such as data or versions of the code: "
                "more seeds do not help then.",
                **numbers,
            )
        if n_tied == 1:
            return self.passed("The best configuration stands out", evidence, **numbers)
        return self.tip(
            f"{n_tied} configurations are tied",
            evidence,
            "Choose among them by cost, or repeat them with more seeds.",
            **numbers,
        )
