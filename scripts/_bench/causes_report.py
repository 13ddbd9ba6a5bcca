"""What came of the planted causes: shares with Wilson intervals and the confusion matrix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from _bench.causes_table import EXPECTED, HELD_OUT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from _bench.results import Results

Outcome = dict[str, Any]
_NOTHING, _FAILED = "none", "error"


def rank(outcome: Outcome) -> str:
    """Return whether a planted cause was named ``first``, ``among`` others, or ``missed``."""
    expected = EXPECTED[outcome["cause"]]
    named = [code in expected for code in outcome["codes"]]
    if not any(named):
        return "missed"
    return "first" if named[0] else "among"


def wilson(n_hits: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share."""
    if n == 0:
        return 0.0, 1.0
    z = 1.959964
    share, extra = n_hits / n, z * z / n
    middle = (share + extra / 2) / (1 + extra)
    half = z / (1 + extra) * math.sqrt(share * (1 - share) / n + extra / (4 * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def add_figures(results: Results, outcomes: Sequence[Outcome]) -> None:
    """Add the figures of the tuned data sets, and apart from them those of the held-out one."""
    for title, part in (
        ("data sets that were tuned on", [o for o in outcomes if o["data"] != HELD_OUT]),
        (f"held out: {HELD_OUT}", [o for o in outcomes if o["data"] == HELD_OUT]),
    ):
        if part:
            _add_part(results, title, part)
    seconds = [outcome["seconds"] for outcome in outcomes if "seconds" in outcome]
    results.add("all", "sweeps", len(outcomes), "sweeps")
    results.add("all", "sweeps that raised", len(outcomes) - len(seconds), "sweeps")
    trained = [outcome["training_s"] for outcome in outcomes if "training_s" in outcome]
    results.add("all", "time of all trainings", sum(trained), "s")
    results.add("all", "time of this run", sum(seconds), "s")


def _add_part(results: Results, title: str, outcomes: Sequence[Outcome]) -> None:
    planted = [outcome for outcome in outcomes if outcome["cause"] in EXPECTED]
    healthy = [outcome for outcome in outcomes if outcome["cause"] not in EXPECTED]
    ranks = [rank(outcome) for outcome in planted]
    _add_share(results, title, "cause named first", ranks.count("first"), len(ranks))
    n_named = len(ranks) - ranks.count("missed")
    _add_share(results, title, "cause named at all", n_named, len(ranks))
    n_false = sum(bool(outcome["codes"]) for outcome in healthy)
    _add_share(results, title, "healthy with a finding", n_false, len(healthy))
    for cause in EXPECTED:
        of_cause = [rank(outcome) for outcome in planted if outcome["cause"] == cause]
        if of_cause:
            for kind in ("first", "among", "missed"):
                unit = f"of {len(of_cause)}"
                results.add(f"{title}: {cause}", f"named {kind}", of_cause.count(kind), unit)


def _add_share(results: Results, row: str, column: str, n_hits: int, n: int) -> None:
    if not n:
        results.skip(row, column, "no such sweep was run")
        return
    low, high = wilson(n_hits, n)
    unit = f"% of {n}, 95 % interval {100 * low:.1f} to {100 * high:.1f}"
    results.add(row, column, 100 * n_hits / n, unit)


def missed_text(outcomes: Sequence[Outcome]) -> str:
    """Return every sweep whose cause was not named first, and every healthy one with findings."""
    lines = ["", "Not named first, or raised without a cause:"]
    for outcome in outcomes:
        if "error" in outcome:
            lines += [f"  {outcome['name']}: raised", *outcome["error"].splitlines()]
        is_wrong = (
            rank(outcome) != "first" if outcome["cause"] in EXPECTED else bool(outcome["codes"])
        )
        if is_wrong and "error" not in outcome:
            lines.append(f"  {outcome['name']:<48} {' '.join(outcome['codes']) or '-'}")
    return "\n".join(lines)


def confusion(outcomes: Sequence[Outcome]) -> tuple[list[str], list[str], list[list[int]]]:
    """Return the rows (causes), the columns (first findings) and how often they met."""
    rows = [*EXPECTED, "healthy"]
    rows = [row for row in rows if any(outcome["cause"] == row for outcome in outcomes)]
    firsts = [_first(outcome) for outcome in outcomes]
    columns = sorted({code for codes in EXPECTED.values() for code in codes} | set(firsts))
    counts = [
        [
            sum(
                first == column and outcome["cause"] == row
                for first, outcome in zip(firsts, outcomes, strict=True)
            )
            for column in columns
        ]
        for row in rows
    ]
    return rows, columns, counts


def _first(outcome: Outcome) -> str:
    if "error" in outcome:
        return _FAILED
    return str(outcome["codes"][0]) if outcome["codes"] else _NOTHING


def confusion_text(outcomes: Sequence[Outcome]) -> str:
    """Return the confusion matrix, causes down and first findings across."""
    rows, columns, counts = confusion(outcomes)
    width = max(len(row) for row in rows)
    head = " " * (width + 1) + "".join(f"{column.removeprefix('SD'):>6}" for column in columns)
    lines = ["", "First finding (SD…) by planted cause", head]
    for row, numbers in zip(rows, counts, strict=True):
        cells = "".join(f"{number or '.':>6}" for number in numbers)
        lines.append(f"{row:<{width}} {cells}")
    return "\n".join([*lines, ""])


def draw_confusion(outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw the confusion matrix; expected findings have a frame."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np
    from matplotlib.patches import Rectangle

    rows, columns, counts = confusion(outcomes)
    shares = np.array(counts) / np.maximum(1, np.array(counts).sum(axis=1, keepdims=True))
    figure, axes = plt.subplots(figsize=(0.52 * len(columns) + 2.6, 0.36 * len(rows) + 1.5))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            if counts[i][j]:
                colour = "white" if shares[i, j] > 0.6 else "black"
                axes.text(j, i, str(counts[i][j]), ha="center", va="center", color=colour)
            if column in EXPECTED.get(row, {_NOTHING}):
                frame = Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, ec="darkorange", lw=2)
                axes.add_patch(frame)
    axes.set_xticks(range(len(columns)), columns, rotation=90)
    axes.set_yticks(range(len(rows)), [row.replace("_", " ") for row in rows])
    axes.set_xlabel("first finding")
    axes.set_ylabel("planted cause")
    axes.set_title(f"{len(outcomes)} sweeps; the expected finding is framed", fontsize=10)
    axes.tick_params(length=0)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
