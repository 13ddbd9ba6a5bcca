"""SD201: networks that cannot fit the task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweepdiag.rules.findings.base import Check, format_value, format_values

if TYPE_CHECKING:
    import pandas as pd

    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["CapacityTooSmall", "best_by_capacity"]


class CapacityTooSmall(Check):
    """Small networks reach neither the training nor the validation loss of larger ones.

    What it checks: for each capacity, the best training and the best validation loss over all
    other axes, against those of the larger capacities.

    Why it matters: a network that is too small underfits at every learning rate; no other setting
    mends that. If larger networks fail as well it is not the capacity but the data or a bug.

    What it needs: a ``capacity`` axis with at least two values, and curves that learned something.

    How it is detected: a larger capacity reaches both losses lower by 10 % or more.

    Known false alarms: learning rates that suit only the larger networks.

    What to do: leave out these capacities. Where the largest is the best by far, try a larger one.

    References:
        Goodfellow et al., "Deep Learning", 2016, section 11.4.
    """

    code = "SD201"
    name = "capacity-too-small"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return which capacities are too small."""
        if view.axis("capacity") is None:
            return self.not_applicable("there is no capacity axis with at least two values")
        best = best_by_capacity(view)
        if len(best) < 2:
            return self.not_applicable("fewer than two capacities learned anything")
        capacities = [float(value) for value in best.index.to_numpy()]
        small = [
            capacity
            for place, capacity in enumerate(capacities)
            if _is_beaten(best, place, 1 - thresholds.sibling_relative)
        ]
        levels = ", ".join(
            f"{format_value(loss)} at {format_value(capacity)}"
            for capacity, loss in zip(capacities, best["val"].to_numpy(), strict=True)
        )
        evidence = f"best validation loss by capacity: {levels}"
        if not small:
            return self.passed("No capacity is too small", evidence, best=best["val"].to_dict())
        numbers: dict[str, Any] = {"too_small": small, "best_val_loss": best["val"].to_dict()}
        if len(small) == len(best) - 1:
            return self.finding(
                "The largest capacity is the best, clearly",
                evidence,
                f"Add capacities above {format_value(capacities[-1])}.",
                **numbers,
            )
        return self.tip(
            f"Capacity {format_values(small)} is too small",
            evidence,
            "Leave out these capacities.",
            **numbers,
        )


def best_by_capacity(view: SweepView) -> pd.DataFrame:
    """Return the lowest training and validation loss that each capacity reaches.

    Args:
        view: A sweep with a ``capacity`` axis.

    Returns:
        Columns ``train`` and ``val``, ascending capacity as index; capacities without a usable
        configuration are left out.
    """
    groups = view.usable.groupby("capacity", sort=True)
    best = groups.agg(train=("best_train_loss", "min"), val=("best_val_loss", "min"))
    return best.dropna()


def _is_beaten(best: pd.DataFrame, place: int, factor: float) -> bool:
    own, larger = best.iloc[place], best.iloc[place + 1 :]
    lower_val = larger["val"] < own["val"] - (1 - factor) * abs(own["val"])
    lower_train = larger["train"] < own["train"] - (1 - factor) * abs(own["train"])
    return bool((lower_val & lower_train).any())
