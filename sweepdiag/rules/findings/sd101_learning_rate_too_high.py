"""SD101: the stability edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.records import Severity, Tag, VerdictClass
from sweepdiag.rules.base import percent
from sweepdiag.rules.findings.base import Check, format_value

if TYPE_CHECKING:
    import pandas as pd

    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["LearningRateTooHigh", "find_edges", "sits_on_edge"]

_NEARLY_ALL = 0.5
"""Share of the configurations beyond the edge from which the axis lies too high, if its lowest
rate is the best."""


class LearningRateTooHigh(Check):
    """With part of the learning rates the training diverges or learns nothing.

    What it checks: for each batch size and capacity (and each combination of further axes), the
    stability edge: the highest learning rate below the first one that does not train.

    Why it matters: the best learning rate is often just below the edge, and the edge moves with
    the batch size: a rate that is safe for a large batch may be far too high for a small one.

    What it needs: an ``lr`` axis with at least two values and enough evaluations; for the slope,
    two batch sizes.

    How it is detected: configurations that train, against those where at least one seed diverges,
    or that learn nothing although a lower rate does. With two or more batch sizes, a straight line
    through log edge against log batch, each capacity with its own height. A slope near 1 is the
    linear scaling rule, near 0.5 the square-root rule, near 0 says that the batch size does not
    matter.

    It is a finding where every rate of some setting is beyond the edge, or where half of the
    configurations are and the lowest rate of the axis is the best.

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
        everywhere = [edge for edge in edges if edge.edge is None]
        if len(everywhere) == len(edges):
            lowest = format_value(min(edge.lowest_diverging or edge.highest for edge in edges))
            return self.finding(
                "Every learning rate diverges",
                f"the lowest learning rate, {lowest}, already diverges for every other setting",
                "Lower the whole lr axis by a factor of 100; if that diverges, look for a bug.",
                severity=Severity.ERROR,
                **numbers,
            )
        evidence = f"highest learning rate that trains with every seed: {_describe(edges)}"
        evidence += _slope_sentence(slope, thresholds)
        if everywhere:
            return self.finding(
                "For part of the sweep every learning rate is too high",
                evidence,
                "Extend the lr axis downwards for these settings.",
                **numbers,
            )
        beyond = _share_beyond(view, edges)
        if beyond >= _NEARLY_ALL and _is_lowest_best(view):
            return self.finding(
                "Nearly all learning rates are too high",
                f"{evidence}; {percent(beyond)} of the configurations do not train, and the "
                "lowest rate is the best",
                "Extend the lr axis downwards.",
                beyond_share=beyond,
                **numbers,
            )
        return self.tip(
            "The highest learning rates do not train", evidence, _advice(view), **numbers
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """The stability edge of one group of configurations that differ in the learning rate only."""

    group: dict[str, object]
    edge: float | None
    lowest_diverging: float | None
    highest: float
    trains: bool

    def as_numbers(self) -> dict[str, object]:
        """Return the edge as plain numbers."""
        return {**self.group, "edge": self.edge, "lowest_diverging": self.lowest_diverging}


def find_edges(view: SweepView) -> list[Edge]:
    """Return the edge of every combination of the other axes.

    Args:
        view: A sweep with an ``lr`` axis.

    Returns:
        Per group the highest rate that is stable and below every one beyond the edge (``None`` if
        the lowest judged rate is beyond) and the lowest rate beyond (``None`` if none is).
    """
    others = view.other_axes("lr")
    table = view.judged
    groups = table.groupby(others, sort=True) if others else [((), table)]
    edges = []
    for key, rows in groups:
        values = key if isinstance(key, tuple) else (key,)
        is_beyond = _is_beyond(rows)
        rates = rows["lr"].astype(float)
        lowest = float(rates[is_beyond].min()) if is_beyond.any() else None
        stable = rates if lowest is None else rates[rates < lowest]
        group = {name: _plain(value) for name, value in zip(others, values, strict=True)}
        edges.append(
            Edge(
                group=group,
                edge=float(stable.max()) if len(stable) else None,
                lowest_diverging=lowest,
                highest=float(rates.max()),
                trains=bool(
                    (
                        rates.isin(stable) & (rows["verdict"] != VerdictClass.NOT_LEARNING.value)
                    ).any()
                ),
            )
        )
    return edges


def sits_on_edge(view: SweepView, row: pd.Series[float]) -> bool:
    """Return whether the next higher rate than a configuration's does not train.

    Args:
        view: The sweep.
        row: A row of its ``configurations``.

    Returns:
        False as well where there is no ``lr`` axis.
    """
    if view.axis("lr") is None:
        return False
    others = view.other_axes("lr")
    for edge in find_edges(view):
        if all(edge.group[name] == row[name] for name in others):
            return edge.lowest_diverging is not None and edge.edge == float(row["lr"])
    return False


def edge_slope(edges: list[Edge]) -> float | None:
    """Return the slope of log edge against log batch size, or ``None`` below two batch sizes.

    Only edges that were seen from both sides count. Each value of the other axes has an intercept
    of its own.

    Args:
        edges: The edges of a sweep.

    Returns:
        The least-squares slope.
    """
    seen = [
        e for e in edges if e.edge and e.lowest_diverging is not None and "batch_size" in e.group
    ]
    heights: dict[tuple[object, ...], list[tuple[float, float]]] = {}
    for edge in seen:
        batch = edge.group["batch_size"]
        if isinstance(batch, int | float) and batch > 0 and edge.lowest_diverging:
            key = tuple(v for name, v in sorted(edge.group.items()) if name != "batch_size")
            # The true edge lies somewhere between the two rates: take the middle.
            middle = 0.5 * (np.log(edge.edge or 1.0) + np.log(edge.lowest_diverging))
            heights.setdefault(key, []).append((float(np.log(batch)), float(middle)))
    x = np.concatenate(
        [np.array([p[0] for p in g]) - np.mean([p[0] for p in g]) for g in heights.values()]
        or [np.empty(0)]
    )
    y = np.concatenate(
        [np.array([p[1] for p in g]) - np.mean([p[1] for p in g]) for g in heights.values()]
        or [np.empty(0)]
    )
    if x.size < 2 or not (x * x).sum() > 0:
        return None
    return float((x * y).sum() / (x * x).sum())


def _share_beyond(view: SweepView, edges: list[Edge]) -> float:
    """Return the share of the judged configurations at or above the lowest rate beyond."""
    others = view.other_axes("lr")
    n_beyond = 0
    for edge in edges:
        rows = view.judged
        for name in others:
            rows = rows[rows[name] == edge.group[name]]
        if edge.lowest_diverging is not None:
            n_beyond += int((rows["lr"].astype(float) >= edge.lowest_diverging).sum())
    return n_beyond / max(1, len(view.judged))


def _is_lowest_best(view: SweepView) -> bool:
    ranked = view.ranked()
    lowest = view.judged["lr"].astype(float).min()
    return bool(len(ranked)) and float(ranked["lr"].iloc[0]) == float(lowest)


def _diverges(rows: pd.DataFrame) -> pd.Series[bool]:
    is_unstable = rows["tags"].map(lambda tags: Tag.UNSTABLE.value in list(tags)).astype(bool)
    diverges: pd.Series[bool] = (rows["verdict"] == VerdictClass.DIVERGING.value) | is_unstable
    return diverges


def _is_beyond(rows: pd.DataFrame) -> pd.Series[bool]:
    """Diverging, or at chance where a lower rate learns: there too the rate is too high."""
    diverges = _diverges(rows)
    is_idle = rows["verdict"] == VerdictClass.NOT_LEARNING.value
    lowest_learning = rows.loc[~diverges & ~is_idle, "lr"].astype(float).min()
    is_beyond: pd.Series[bool] = diverges | (
        is_idle & (rows["lr"].astype(float) > lowest_learning)
    )
    return is_beyond


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


def _advice(view: SweepView) -> str:
    ranked = view.ranked()
    if len(ranked) and sits_on_edge(view, ranked.iloc[0]):
        return "The best configuration sits on the edge: refine the learning rates just below it."
    return "Stay a factor of two below the edge of the batch size and capacity that you train."


def _describe(edges: list[Edge]) -> str:
    """Name the edges by batch size where there is one; ranges where further axes differ."""
    groups: dict[object, list[Edge]] = {}
    for edge in edges:
        groups.setdefault(edge.group.get("batch_size"), []).append(edge)
    parts = []
    for batch, members in groups.items():
        known = sorted({edge.edge for edge in members if edge.edge is not None and edge.trains})
        span = "no rate" if not known else format_value(known[0])
        if len(known) > 1:
            span += f" to {format_value(known[-1])}"
        parts.append(f"{span} at batch {batch}" if batch is not None else span)
    return ", ".join(parts)


def _slope_sentence(slope: float | None, thresholds: Thresholds) -> str:
    if slope is None:
        return ""
    if abs(slope) < thresholds.edge_slope_low:
        return f"; it hardly moves with the batch size (slope {slope:.2f} in log-log)"
    return f"; it moves with the batch size to the power of {slope:.2f}"
