"""SD202: networks that learn the training set by heart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweepdiag.records import VerdictClass
from sweepdiag.rules.findings.base import Check, format_value
from sweepdiag.rules.findings.sd201_capacity_too_small import best_by_capacity

if TYPE_CHECKING:
    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["CapacityTooLarge"]

_OVERFITS = (VerdictClass.U_SHAPED.value, VerdictClass.OVERFIT.value)
_LARGER_SHARE = 0.25


class CapacityTooLarge(Check):
    """Overfitting becomes more frequent as networks get larger.

    What it checks: per capacity, the share of usable configurations whose verdict is ``u_shaped``
    or ``overfit``.

    Why it matters: where overfitting grows with capacity, less capacity, regularisation or an
    earlier stop cure it. Where it is as frequent at every capacity, there is too little data or
    the validation set comes from elsewhere.

    What it needs: a ``capacity`` axis with at least two values and validation losses.

    How it is detected: that share at the largest capacity is at least 25 percentage points above
    the share at the smallest. It is a finding if the largest capacity is also no better at its
    best epoch than a smaller one, a tip otherwise.

    Known false alarms: small networks that underfit cannot overfit; the comparison is then between
    two faults.

    What to do: stop at the turning epoch, or prefer the smallest capacity that reaches the same
    loss. Overfitting is looked for in all trials, not only the best: choosing the best one hides
    it.

    References:
        Godbole et al., "Deep Learning Tuning Playbook", 2023.
    """

    code = "SD202"
    name = "capacity-too-large"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether overfitting grows with the capacity."""
        if view.axis("capacity") is None:
            return self.not_applicable("there is no capacity axis with at least two values")
        table = view.usable
        is_overfit = table["verdict"].isin(_OVERFITS).astype(float)
        shares = is_overfit.groupby(table["capacity"].astype(float)).mean().sort_index()
        if len(shares) < 2:
            return self.not_applicable("fewer than two capacities learned anything")
        listed = ", ".join(
            f"{100 * share:.0f} % at {format_value(capacity)}"
            for capacity, share in zip(shares.index.to_numpy(), shares.to_numpy(), strict=True)
        )
        evidence = f"configurations that overfit, by capacity: {listed}"
        numbers: dict[str, Any] = {"overfit_share": shares.to_dict()}
        if shares.iloc[-1] - shares.iloc[0] < _LARGER_SHARE:
            if shares.iloc[0] >= 0.5:
                return self.tip(
                    "Overfitting at every capacity",
                    evidence,
                    "More data or regularisation: capacity is not the cause.",
                    **numbers,
                )
            return self.passed("Overfitting does not grow with capacity", evidence, **numbers)
        best = best_by_capacity(view)["val"]
        losses = best.to_numpy()
        tolerance = thresholds.u_shape_rise * abs(losses[-1])
        if len(losses) > 1 and losses[:-1].min() <= losses[-1] + tolerance:
            smaller = float(best.index.to_numpy()[losses[:-1].argmin()])
            return self.finding(
                "The largest capacity overfits and brings nothing",
                f"{evidence}; a smaller one reaches the same validation loss",
                f"Prefer capacity {format_value(smaller)}.",
                **numbers,
            )
        return self.tip(
            "Larger networks overfit",
            f"{evidence}; at its best epoch the largest is still the best",
            "Stop at the turning epoch, or add regularisation.",
            **numbers,
        )
