"""SD101: the stability edge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweepdiag.records import Severity
from sweepdiag.rules.base import percent
from sweepdiag.rules.findings.base import Check, format_value
from sweepdiag.rules.findings.edges import (
    edge_slope,
    find_edges,
    pooled_axes,
    share_beyond,
    sits_on_edge,
)
from sweepdiag.wording import join

if TYPE_CHECKING:
    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.findings.edges import Edge
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["LearningRateTooHigh"]

_NEARLY_ALL = 0.5
"""Share of the configurations beyond the edge from which the axis lies too high, if its lowest
rate is the best."""


class LearningRateTooHigh(Check):
    """With part of the learning rates the training diverges or learns nothing.

    What it checks: for each batch size and capacity (and each combination of further axes), the
    stability edge: the highest learning rate below the first one that does not train. Axes that
    would leave most configurations alone with their rate, as drawn values do, are pooled.

    Why it matters: the best learning rate is often just below the edge, and the edge moves with
    the batch size: a rate that is safe for a large batch may be far too high for a small one.

    What it needs: an ``lr`` axis with at least two values and enough evaluations; for the slope,
    two batch sizes.

    How it is detected: configurations that train, against those where at least one seed diverges,
    or that learn nothing although a lower rate does. With two or more batch sizes, a straight line
    through log edge against log batch, each capacity with its own height. A slope near 1 is the
    linear scaling rule, near 0.5 the square-root rule, near 0 says that the batch size does not
    matter.

    It is a finding where at least two rates were tried with a setting, the lowest of them is
    beyond the edge and so is half of its configurations; or where half of all configurations are
    and the lowest rate of the axis is the best.

    Known false alarms: none as a tip: a sweep that is wide enough finds the edge. The edge is
    known only up to the spacing of the rates.

    What to do: stay a factor of two below the edge of the batch size that you train with, unless
    the best configuration sits on the edge: then refine the rates just below it. Where everything
    diverges, look for a bug, or lower the whole axis.

    References:
        Goyal et al., "Accurate, Large Minibatch SGD", 2017; Godbole et al., "Deep Learning Tuning
        Playbook", 2023.
    """

    code = "SD101"
    name = "learning-rate-too-high"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return where the stability edge is and how it moves with the batch size."""
        if view.axis("lr") is None:
            return self.not_applicable("there is no lr axis with at least two values")
        if view.judged.empty:
            return self.not_applicable("no trial was judged")
        reason = view.lack_of_evaluations(thresholds.min_evaluations)
        if reason:
            return self.not_applicable(reason)
        edges = find_edges(view)
        if not any(edge.lowest_diverging is not None for edge in edges):
            highest = format_value(max(edge.highest for edge in edges))
            return self.passed(
                "No learning rate is too high",
                f"nothing diverged up to lr {highest}, so the stability edge was not reached",
                n_groups=len(edges),
            )
        slope = edge_slope(edges)
        numbers: dict[str, Any] = {"edges": [edge.as_numbers() for edge in edges], "slope": slope}
        telling = [edge for edge in edges if edge.n_rates > 1]
        everywhere = [edge for edge in telling if edge.is_everywhere]
        if telling and len(everywhere) == len(telling):
            lowest = format_value(min(edge.lowest_diverging or edge.highest for edge in edges))
            return self.finding(
                "Every learning rate diverges",
                f"the lowest learning rate, {lowest}, already diverges for every other setting",
                "Lower the whole lr axis by a factor of 100; if that diverges, look for a bug.",
                severity=Severity.ERROR,
                **numbers,
            )
        pooled = "".join(f" and {name}" for name in pooled_axes(view))
        evidence = f"highest learning rate that trains with every seed{pooled}: {_describe(edges)}"
        evidence += _slope_sentence(slope, thresholds)
        if everywhere:
            return self.finding(
                "For part of the sweep every learning rate is too high",
                evidence,
                "Extend the lr axis downwards for these settings.",
                **numbers,
            )
        beyond = share_beyond(view)
        if beyond >= _NEARLY_ALL and _is_lowest_best(view):
            return self.finding(
                "Nearly all learning rates are too high",
                f"{evidence}; {percent(beyond)} of the configurations do not train, and the "
                "lowest rate is the best",
                "Extend the lr axis downwards.",
                beyond_share=beyond,
                **numbers,
            )
        title = "The highest learning rates do not train"
        if any(_is_open(edge) for edge in edges):
            title += " with some settings"
        return self.tip(title, evidence, _advice(view), **numbers)


def _is_lowest_best(view: SweepView) -> bool:
    ranked = view.ranked()
    lowest = view.judged["lr"].astype(float).min()
    return bool(len(ranked)) and float(ranked["lr"].iloc[0]) == float(lowest)


def _advice(view: SweepView) -> str:
    ranked = view.ranked()
    if len(ranked) and sits_on_edge(view, ranked.iloc[0]):
        return "The best configuration sits on the edge: refine the learning rates just below it."
    names = [name.replace("_", " ") for name in _differing(find_edges(view))]
    whose = f" of the {join(names)} that you train" if names else ""
    return f"Stay a factor of two below the edge{whose}."


def _describe(edges: list[Edge]) -> str:
    """Name the edges by batch size or else by the first axis; ranges where further ones differ."""
    names = _differing(edges)
    name = "batch_size" if "batch_size" in names else next(iter(names), "")
    noun = "batch" if name == "batch_size" else name
    groups: dict[object, list[Edge]] = {}
    for edge in edges:
        groups.setdefault(edge.group.get(name), []).append(edge)
    spans = {value: _span(members) for value, members in groups.items()}
    if len(set(spans.values())) == 1:
        (span,) = set(spans.values())
        return f"{span} at every {noun}" if name else span
    return ", ".join(f"{span} at {noun} {value}" for value, span in spans.items())


def _span(edges: list[Edge]) -> str:
    rates = sorted({edge.edge for edge in edges if edge.edge is not None and edge.trains})
    span = "no rate" if not rates else format_value(rates[0])
    if len(rates) > 1:
        span += f" to {format_value(rates[-1])}"
    return f"{span} or more" if any(_is_open(edge) for edge in edges) else span


def _is_open(edge: Edge) -> bool:
    """Return whether every rate trains, so that the edge lies somewhere above."""
    return edge.trains and edge.lowest_diverging is None


def _differing(edges: list[Edge]) -> list[str]:
    """Return the axes of whose values there are several edges."""
    return [name for name in edges[0].group if len({edge.group[name] for edge in edges}) > 1]


def _slope_sentence(slope: float | None, thresholds: Thresholds) -> str:
    if slope is None:
        return ""
    if abs(slope) < thresholds.edge_slope_low:
        return f"; it hardly moves with the batch size (slope {slope:.2f} in log-log)"
    return f"; it moves with the batch size to the power of {slope:.2f}"
