"""The stability edge: the highest learning rate below the first one that does not train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.records import Tag, VerdictClass

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from sweepdiag.features.curves import FloatArray
    from sweepdiag.rules.findings.base import SweepView

__all__ = ["Edge", "edge_slope", "find_edges", "pooled_axes", "share_beyond", "sits_on_edge"]

_COMPARED = 0.5
"""Share of the configurations that must have another rate beside their own in their group."""

_MOSTLY_BEYOND = 0.5
"""Share of a group's configurations beyond the edge from which every rate is too high for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """The stability edge of one group of configurations.

    Attributes:
        group: The values of the axes that all of them share.
        edge: Highest rate that is stable and below every one beyond the edge; ``None`` if the
            lowest judged rate is beyond.
        lowest_diverging: Lowest rate beyond; ``None`` if none is.
        highest: Highest judged rate.
        n_rates: Distinct judged rates.
        beyond_share: Share of the configurations that diverge, or do not learn at a high rate.
        trains: Whether one learns at the edge or below.
    """

    group: dict[str, object]
    edge: float | None
    lowest_diverging: float | None
    highest: float
    n_rates: int
    beyond_share: float
    trains: bool

    @property
    def is_everywhere(self) -> bool:
        """Whether the lowest rate is beyond, and not by an accident of a pooled axis."""
        return self.edge is None and self.beyond_share >= _MOSTLY_BEYOND

    def as_numbers(self) -> dict[str, object]:
        """Return the edge as plain numbers."""
        return {**self.group, "edge": self.edge, "lowest_diverging": self.lowest_diverging}


def find_edges(view: SweepView) -> list[Edge]:
    """Return the edge of every combination of the axes that are not pooled.

    Args:
        view: A sweep with an ``lr`` axis.

    Returns:
        One edge per group, in the order of the groups' values.
    """
    edges: list[Edge] = view.once("stability edges", lambda: _find_edges(view))
    return edges


def _find_edges(view: SweepView) -> list[Edge]:
    groups = _groups_of(view)
    codes, n_groups, table = groups.codes, groups.n_groups, view.judged
    rates = table["lr"].to_numpy(dtype=float)
    diverges = _diverges(table)
    is_idle = (table["verdict"] == VerdictClass.NOT_LEARNING.value).to_numpy(dtype=bool)
    # At chance where a lower rate learns: there too the rate is too high.
    learns = ~diverges & ~is_idle
    lowest_learning = _extreme(np.fmin, rates[learns], codes[learns], n_groups)
    is_beyond = diverges | (is_idle & (rates > lowest_learning[codes]))
    lowest = _extreme(np.fmin, rates[is_beyond], codes[is_beyond], n_groups)
    is_stable = rates < lowest[codes]
    edge = _extreme(np.fmax, rates[is_stable], codes[is_stable], n_groups)
    highest = _extreme(np.fmax, rates, codes, n_groups)
    n_learning = np.bincount(codes[is_stable & ~is_idle], minlength=n_groups)
    beyond_share = np.bincount(codes[is_beyond], minlength=n_groups) / np.bincount(codes)
    return [
        Edge(
            group=groups.values(number),
            edge=_finite(edge[number]),
            lowest_diverging=_finite(lowest[number]),
            highest=float(highest[number]),
            n_rates=int(groups.n_rates[number]),
            beyond_share=float(beyond_share[number]),
            trains=bool(n_learning[number]),
        )
        for number in range(n_groups)
    ]


def _extreme(
    which: np.ufunc, values: FloatArray, codes: NDArray[np.int64], n_groups: int
) -> FloatArray:
    """Return the smallest or largest value of each group; infinite where it has none."""
    extreme = np.full(n_groups, np.inf if which is np.fmin else -np.inf)
    which.at(extreme, codes, values)
    return extreme


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Groups:
    """The judged configurations, grouped by the axes beside the learning rate.

    Attributes:
        axes: The axes whose values all configurations of a group share.
        codes: Number of the group of each judged configuration.
        n_rates: Distinct rates of each group.
        firsts: The axes' columns of the first configuration of each group.
    """

    axes: tuple[str, ...]
    codes: NDArray[np.int64]
    n_rates: NDArray[np.int64]
    firsts: pd.DataFrame

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return self.n_rates.size

    def values(self, number: int) -> dict[str, object]:
        """Return the value of each axis in a group."""
        return {name: _plain(self.firsts[name].iloc[number]) for name in self.axes}


def _groups_of(view: SweepView) -> _Groups:
    """Group by the axes that leave most configurations another rate beside their own."""
    groups: _Groups = view.once("groups of rates", lambda: _choose_groups(view))
    return groups


def _choose_groups(view: SweepView) -> _Groups:
    table = view.judged
    chosen = _group(table, ())
    fewest_first = sorted(view.other_axes("lr"), key=lambda name: table[name].nunique())
    for name in fewest_first:
        finer = _group(table, (*chosen.axes, name))
        if (finer.n_rates[finer.codes] > 1).mean() >= _COMPARED:
            chosen = finer
    # In the order of the sweep's axes, by which edges are told.
    return _group(table, tuple(n for n in view.other_axes("lr") if n in chosen.axes))


def _group(table: pd.DataFrame, axes: tuple[str, ...]) -> _Groups:
    codes = np.zeros(len(table), dtype=np.int64)
    if axes:
        groups = table.groupby(list(axes), sort=True, dropna=False)
        codes = np.asarray(groups.ngroup(), dtype=np.int64)
    rates = table["lr"].to_numpy(dtype=float)
    pairs = np.unique(np.column_stack([codes, rates]), axis=0)
    n_rates = np.bincount(pairs[:, 0].astype(np.int64)).astype(np.int64)
    firsts = table.iloc[np.unique(codes, return_index=True)[1]]
    return _Groups(axes=axes, codes=codes, n_rates=n_rates, firsts=firsts)


def pooled_axes(view: SweepView) -> list[str]:
    """Return the axes beside ``lr`` whose values the edges do not tell apart."""
    return [name for name in view.other_axes("lr") if name not in _groups_of(view).axes]


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
    for edge in find_edges(view):
        if all(row[name] == value for name, value in edge.group.items()):
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


def share_beyond(view: SweepView) -> float:
    """Return the share of the judged configurations at or above the lowest rate beyond.

    Args:
        view: A sweep with an ``lr`` axis.

    Returns:
        A share; each configuration is compared within its group.
    """
    edges = [edge.lowest_diverging for edge in find_edges(view)]
    lowest = np.array([np.inf if rate is None else rate for rate in edges])
    rates = view.judged["lr"].to_numpy(dtype=float)
    return float((rates >= lowest[_groups_of(view).codes]).mean())


def _diverges(rows: pd.DataFrame) -> NDArray[np.bool_]:
    is_unstable = rows["tags"].map(lambda tags: Tag.UNSTABLE.value in list(tags)).astype(bool)
    diverges = (rows["verdict"] == VerdictClass.DIVERGING.value) | is_unstable
    return diverges.to_numpy(dtype=bool)


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value
