"""SD501: a best value at the end of an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweepdiag.records import Scale
from sweepdiag.rules.findings.base import Check, format_value
from sweepdiag.rules.findings.edges import sits_on_edge
from sweepdiag.space import axis_limits
from sweepdiag.wording import join

if TYPE_CHECKING:
    import pandas as pd

    from sweepdiag.records import Axis, Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["BestAtEdge"]

_MIN_VALUES = 3

_MORE_IS_BETTER = {"capacity": "highest"}
"""Ends at which the best value is expected: more only costs time."""


class BestAtEdge(Check):
    """The best configuration sits at the end of an axis.

    What it checks: for each ordered axis with at least three values, whether every configuration
    that ties with the best has the lowest, or every one the highest, value of the axis.

    Why it matters: a better value may lie outside of what was tried.

    What it needs: an ordered axis with at least three values.

    How it is detected: configurations within two standard deviations between seeds of the best
    count as tied with it. For the learning rate the stability edge is looked at as well: a best
    rate that is the highest one that trains sits on that edge, and the axis is wide
    enough. The highest capacity is a tip: more of it is usually better, and only costs time. An
    end beyond which there is nothing is none: 0 where no value is negative, such as a weight
    decay, 1 for counts, and a batch of the whole training set.

    Known false alarms: further quantities where more is always better.

    What to do: extend the axis beyond that end. On the stability edge, refine the rates just below
    it instead.

    References:
        Godbole et al., "Deep Learning Tuning Playbook", 2023 (bad search space boundaries).
    """

    code = "SD501"
    name = "best-at-edge"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return the axes at whose end the best value sits."""
        axes = [axis for axis in view.axes if _is_ordered(view, axis)]
        if not axes:
            return self.not_applicable("there is no ordered axis with at least three values")
        ranked = view.ranked()
        if ranked.empty:
            return self.not_applicable("no configuration learned anything")
        tied = view.tied(thresholds.seed_noise)
        n_train = None if view.facts is None else view.facts.n_train
        ends = {axis.name: _end(axis, tied, n_train) for axis in axes}
        best = ", ".join(f"{a.name} {format_value(float(ranked[a.name].iloc[0]))}" for a in axes)
        numbers: dict[str, Any] = {
            "edges": {name: end for name, end in ends.items() if end},
            "n_tied": len(tied),
        }
        on_edge = [f"{name} ({end})" for name, end in ends.items() if end]
        stability = sits_on_edge(view, ranked.iloc[0])
        if not on_edge:
            title = "The best value is inside every axis"
            if not stability:
                return self.passed(title, f"best: {best}", **numbers)
            return self.tip(
                "The best learning rate sits on the stability edge",
                f"best: {best}; the next higher rate does not train",
                "Refine the learning rates just below the edge.",
                **numbers,
            )
        extend = f"Extend {'this axis' if len(on_edge) == 1 else 'these axes'} beyond that end"
        if all(end == _MORE_IS_BETTER.get(name) for name, end in numbers["edges"].items()):
            return self.tip(
                f"The best value is at the end of {join(on_edge)}",
                f"best: {best}",
                f"{extend} if time allows.",
                **numbers,
            )
        return self.finding(
            f"The best value is at the end of {join(on_edge)}",
            f"best: {best}" + ("; the next higher rate does not train" if stability else ""),
            f"{extend}.",
            **numbers,
        )


def _is_ordered(view: SweepView, axis: Axis) -> bool:
    is_ordered = axis.scale is not Scale.CATEGORICAL and view.axis(axis.name) is not None
    return is_ordered and len(axis.values) >= _MIN_VALUES


def _end(axis: Axis, tied: pd.DataFrame, n_train: int | None) -> str:
    """Return ``lowest`` or ``highest`` if all tied configurations are at that end.

    An end beyond which there is nothing, such as a weight decay of 0, is none.
    """
    numbers = [float(value) for value in axis.values]
    limits = axis_limits(axis.name, numbers, n_train)
    values = tied[axis.name].astype(float)
    for end, number, limit in (
        ("lowest", min(numbers), limits.low),
        ("highest", max(numbers), limits.high),
    ):
        if (values == number).all():
            return "" if number == limit else end
    return ""
