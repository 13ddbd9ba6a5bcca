"""SD201: networks that cannot fit the task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweepdiag.records import Tag, VerdictClass
from sweepdiag.rules.findings.base import Check, format_value, format_values

if TYPE_CHECKING:
    import pandas as pd

    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["CapacityTooSmall", "best_by_capacity"]

_OVERFITS = (VerdictClass.U_SHAPED.value, VerdictClass.OVERFIT.value)
_MOSTLY = 0.5

_FITTED = 0.05
"""Share of the loss of a constant prediction below which a training set is fitted."""


class CapacityTooSmall(Check):
    """Small networks reach neither the training nor the validation loss of larger ones.

    What it checks: for each capacity, the best training loss and the best monitored value over all
    other axes, against those of the larger capacities.

    Why it matters: a network that is too small underfits at every learning rate; no other setting
    mends that. If larger networks fail as well it is not the capacity but the data or a bug.

    What it needs: a ``capacity`` axis with at least two values, enough evaluations, and curves
    that learned something.

    How it is detected: a larger capacity reaches a training loss lower by 10 % or more, and a
    monitored value that is better by more than two standard deviations between seeds (and, for a
    loss, by 10 % or more). With one seed per configuration only the shares count. A capacity at
    which nothing is learned, while larger ones learn, is too small as well. It is a finding where
    the largest beats all others, unless the smallest fits the training set (5 % of the loss of a
    constant prediction), the largest overfits at most settings, or the best of all smaller ones
    are still improving: then more capacity is better or faster, and its lack no fault.

    Known false alarms: learning rates that suit only the larger networks.

    What to do: leave out these capacities. Where the largest beats all others, try a larger one.

    References:
        Goodfellow et al., "Deep Learning", 2016, section 11.4.
    """

    code = "SD201"
    name = "capacity-too-small"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return which capacities are too small."""
        if view.axis("capacity") is None:
            return self.not_applicable("there is no capacity axis with at least two values")
        reason = view.lack_of_evaluations(thresholds.min_evaluations)
        if reason:
            return self.not_applicable(reason)
        best = best_by_capacity(view)
        idle = _idle_below(view, best)
        if len(best) + len(idle) < 2:
            return self.not_applicable("fewer than two capacities learned anything")
        capacities = [float(value) for value in best.index.to_numpy()]
        small = idle + [
            capacity
            for place, capacity in enumerate(capacities)
            if _is_beaten(view, best, place, thresholds)
        ]
        levels = ", ".join(
            f"{format_value(loss)} at {format_value(capacity)}"
            for capacity, loss in zip(capacities, best["monitor"].to_numpy(), strict=True)
        )
        evidence = f"best {view.monitor} by capacity: {levels}"
        if idle:
            evidence += f"; at {format_values(idle)} nothing is learned"
        if not small:
            return self.passed(
                "No capacity is too small", evidence, best=best["monitor"].to_dict()
            )
        numbers: dict[str, Any] = {"too_small": small, "best": best["monitor"].to_dict()}
        if len(small) == len(best) + len(idle) - 1:
            why = _why_no_fault(view, best, small)
            if why:
                return self.tip(
                    "The largest capacity is the best",
                    f"{evidence}; {why}",
                    f"Add capacities above {format_value(capacities[-1])} if time allows.",
                    **numbers,
                )
            return self.finding(
                "The largest capacity is the best",
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
    """Return the lowest training loss and the best monitored value that each capacity reaches.

    Args:
        view: A sweep with a ``capacity`` axis.

    Returns:
        Columns ``train`` and ``monitor``, ascending capacity as index; capacities without a usable
        configuration are left out.
    """
    groups = view.usable.groupby("capacity", sort=True)
    which = "min" if view.cost_sign > 0 else "max"
    best = groups.agg(train=("best_train_loss", "min"), monitor=("best_monitor", which))
    return best.dropna()


def _why_no_fault(view: SweepView, best: pd.DataFrame, small: list[float]) -> str:
    """Return why it says nothing against the small capacities that the largest is the best."""
    baseline = None if view.facts is None else view.facts.baseline_train_loss
    if baseline and float(best["train"].iloc[0]) < _FITTED * baseline:
        return "smaller ones fit the training set as well"
    ranked = view.ranked()
    largest = ranked[ranked["capacity"].astype(float) == float(best.index.to_numpy()[-1])]
    if largest["verdict"].isin(_OVERFITS).mean() > _MOSTLY:
        return "the largest overfits at most settings"
    ranked = ranked[ranked["capacity"].astype(float).isin(small)]
    leaders = ranked.drop_duplicates("capacity")
    moves = leaders["tags"].map(lambda tags: Tag.STILL_IMPROVING.value in list(tags))
    if len(leaders) and moves.astype(bool).all():
        return "smaller ones are still improving"
    return ""


def _idle_below(view: SweepView, best: pd.DataFrame) -> list[float]:
    """Return the capacities below all that learn at which every judged configuration fails."""
    if best.empty:
        return []
    judged = sorted({float(value) for value in view.judged["capacity"]})
    return [capacity for capacity in judged if capacity < float(best.index.to_numpy()[0])]


def _is_beaten(view: SweepView, best: pd.DataFrame, place: int, thresholds: Thresholds) -> bool:
    """Return whether a larger capacity is better in training and beyond noise in validation."""
    own = best.iloc[place]
    share = thresholds.sibling_relative if view.monitor == "val_loss" else 0.0
    for _, larger in best.iloc[place + 1 :].iterrows():
        noise = view.seed_margin(float(larger["monitor"]), thresholds.seed_noise) or 0.0
        gain = view.cost_sign * (own["monitor"] - larger["monitor"])
        least = thresholds.sibling_relative * view.loss_unit.at(float(own["train"]))
        trains_better = own["train"] - larger["train"] > least
        if trains_better and gain > max(noise, share * view.share_unit.at(float(own["monitor"]))):
            return True
    return False
