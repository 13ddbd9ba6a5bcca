"""Exports of Weights & Biases charts: one column per run, named ``run - metric``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.readers.raw import RawTable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["chart_columns", "melt_chart"]

_SERIES = re.compile(r"(?P<run>.+) - (?P<metric>.+?)(?P<band>__(?:MIN|MAX))?", re.DOTALL)


def chart_columns(names: Sequence[str]) -> list[str]:
    """Return the first column and those of runs, if these are the columns of a chart; else none.

    Args:
        names: All columns.
    """
    series = [match for match in map(_SERIES.fullmatch, names[1:]) if match]
    if not series or len(series) < len(names) - 1:
        return []
    return [names[0], *(match.group(0) for match in series if not match["band"])]


def melt_chart(table: RawTable) -> RawTable:
    """Return a chart's table with one row per run and step.

    Args:
        table: The columns that ``chart_columns`` named.

    Returns:
        Columns ``run``, the chart's first column, and one per metric.
    """
    axis, *series = table.columns
    matches = {name: _SERIES.fullmatch(name) for name in series}
    pairs = [(name, match) for name, match in matches.items() if match and not match["band"]]
    metrics = list(dict.fromkeys(match["metric"] for _, match in pairs))
    columns: dict[str, list[Any]] = {"run": [], axis: [], **{metric: [] for metric in metrics}}
    lines: list[int] = []
    for name, match in pairs:
        cells = table.columns[name]
        used = [i for i, cell in enumerate(cells) if cell not in ("", None)]
        columns["run"] += [match["run"]] * len(used)
        columns[axis] += [table.columns[axis][i] for i in used]
        for metric in metrics:
            is_own = metric == match["metric"]
            columns[metric] += [cells[i] if is_own else None for i in used]
        lines += [int(table.lines[i]) for i in used]
    return RawTable(
        file=table.file,
        default_run=table.default_run,
        names=tuple(columns),
        columns=columns,
        lines=np.asarray(lines, dtype=np.int64),
        has_decimal_comma=table.has_decimal_comma,
    )
