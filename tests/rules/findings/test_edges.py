"""The stability edge where values are drawn, and in sweeps of thousands of configurations."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from sweepdiag.records import Finding, FindingState
from sweepdiag.rules import SweepView, check_sweep
from sweepdiag.rules.findings.edges import find_edges
from sweepdiag.testing.simulated import simulate_sweep
from tests.rules.tables import axis, judged_view, view_of

CAPACITIES = axis("capacity", 16, 64)


def run(code: str, view: SweepView) -> Finding:
    return next(finding for finding in check_sweep(view) if finding.code == code)


def drawn(n: int, **edge: float) -> tuple[list[dict[str, Any]], list[Any]]:
    """Return drawn rates and weight decays: every configuration has values of its own."""
    rng = np.random.default_rng(0)
    rates, decays = 10 ** rng.uniform(-4, 0, n), 10 ** rng.uniform(-6, -2, n)
    rows = [
        {
            "lr": float(lr),
            "weight_decay": float(decay),
            "capacity": capacity,
            "verdict": "diverging" if lr > edge[f"c{capacity}"] else "healthy",
        }
        for lr, decay, capacity in zip(rates, decays, [16, 64] * (n // 2), strict=True)
    ]
    return rows, [
        axis("lr", *sorted(map(float, rates))),
        axis("weight_decay", *sorted(map(float, decays))),
        CAPACITIES,
    ]


def test_drawn_values_of_another_axis_are_pooled() -> None:
    rows, axes = drawn(60, c16=0.5, c64=0.05)
    finding = run("SD101", view_of(rows, *axes))
    assert finding.state is FindingState.TIP
    assert finding.title == "The highest learning rates do not train"
    assert finding.evidence.startswith(
        "highest learning rate that trains with every seed and weight_decay: "
    )
    for edge, limit in zip(finding.numbers["edges"], (0.5, 0.05), strict=True):
        rates = [r["lr"] for r in rows if r["capacity"] == edge["capacity"]]
        assert edge["edge"] == max(rate for rate in rates if rate <= limit)
        assert edge["lowest_diverging"] == min(rate for rate in rates if rate > limit)


def test_a_setting_at_which_all_drawn_rates_fail_is_a_finding() -> None:
    rows, axes = drawn(60, c16=0.5, c64=0.0)
    finding = run("SD101", view_of(rows, *axes))
    assert finding.title == "For part of the sweep every learning rate is too high"
    nothing, axes = drawn(60, c16=0.0, c64=0.0)
    assert run("SD101", view_of(nothing, *axes)).title == "Every learning rate diverges"


def test_a_low_rate_that_fails_by_another_axis_is_not_every_rate() -> None:
    rows, axes = drawn(60, c16=0.5, c64=0.5)
    min(rows, key=lambda row: row["lr"])["verdict"] = "diverging"
    assert run("SD101", view_of(rows, *axes)).state is FindingState.TIP


def test_edges_are_those_of_each_group_taken_by_itself() -> None:
    view = judged_view(simulate_sweep(epochs=20))
    others = view.other_axes("lr")
    edges = {tuple(edge.group.values()): edge for edge in find_edges(view)}
    groups = view.judged.groupby(others)
    assert set(edges) == set(groups.groups)
    for key, rows in groups:
        unstable = rows["tags"].map(lambda tags: "unstable" in tags)
        fails = (rows["verdict"] == "diverging") | unstable
        idle = rows["verdict"] == "not_learning"
        beyond = fails | (idle & (rows["lr"] > rows["lr"][~fails & ~idle].min()))
        lowest = rows["lr"][beyond].min()
        stable = rows["lr"] if np.isnan(lowest) else rows["lr"][rows["lr"] < lowest]
        edge = edges[key]
        assert edge.lowest_diverging == (None if np.isnan(lowest) else lowest)
        assert edge.edge == (stable.max() if len(stable) else None)
        assert edge.highest == rows["lr"].max()


def test_thousands_of_drawn_configurations_take_a_moment() -> None:
    rows, axes = drawn(2000, c16=0.5, c64=0.05)
    view = view_of(rows, *axes, epochs=5)
    start = time.process_time()
    findings = {finding.code: finding for finding in check_sweep(view)}
    assert time.process_time() - start < 3
    assert findings["SD101"].state is FindingState.TIP
    assert max(len(finding.evidence) for finding in findings.values()) < 500
