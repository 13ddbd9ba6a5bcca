"""Along which column a run's losses lie, where none is named like an epoch or a step."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.readers.columns import ROUND_NAMES
from sweepdiag.readers.names import (
    first_of,
    is_learning_rate,
    losses_among,
    may_be_loss,
    metric_mode,
)
from sweepdiag.readers.naming import hints_among
from sweepdiag.readers.rows import run_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sweepdiag.readers.columns import ColumnMap
    from sweepdiag.readers.raw import RawTable

__all__ = [
    "ROW_ORDER",
    "UNNAMED",
    "count_over_rounds",
    "count_rows",
    "counts_up",
    "lacks_axis",
    "restarting_axis",
]

ROW_ORDER = "the order of the rows"
"""Name of the column that stands for epochs where a table has none."""

UNNAMED = frozenset({"column 1", "Unnamed: 0", "__index_level_0__", "index", ""})
"""What the first column is called where pandas has written its index."""

_SAME_SHARE = 0.9
"""Share of rounds that have to begin the epochs anew."""
_CURVE = 3
"""Rows per run, in the mean, below which a table without epochs holds results."""


def lacks_axis(columns: ColumnMap) -> bool:
    """Return whether there are losses, but no epoch and no step."""
    return columns.has_loss and columns.epoch is None and columns.step is None


def counts_up(table: RawTable, columns: ColumnMap, name: str) -> bool:
    """Return whether most values of a column differ from those before them in their run."""
    order = np.argsort(run_names(table, columns).astype(str), kind="stable")
    values = table.numbers(name)[0][order]
    given = values[~np.isnan(values)]
    return given.size < 2 or bool((given[1:] != given[:-1]).mean() >= 0.5)


def restarting_axis(
    table: RawTable, columns: ColumnMap, everything: Callable[[], RawTable]
) -> tuple[RawTable, ColumnMap, list[str]]:
    """Take a column for the epoch that rises and begins anew, over and over, at the same number.

    Without it the rows of several runs would be counted as those of one.

    Args:
        table: The table.
        columns: What its columns hold: no epoch and no step.
        everything: Reads the table with all of its columns.

    Returns:
        The table, what its columns hold, and in words what was decided.
    """
    whole = everything()
    for name in whole.names:
        is_open = name not in columns.used() and metric_mode(name) is None
        if not is_open or is_learning_rate(name) or losses_among([name]) or not may_be_loss(name):
            continue
        n_begun = _n_begun(whole, name)
        if n_begun > 1 and len(whole) == len(table):
            note = (
                f"no column is named like an epoch or step, but {name!r} rises and begins anew "
                f"{n_begun} times: it is taken for the epoch (--columns epoch=NAME says otherwise)"
            )
            if name not in table.columns:
                table = dataclasses.replace(
                    table, columns={**table.columns, name: whole.columns[name]}
                )
            return table, dataclasses.replace(columns, epoch=name), [note]
    return table, columns, []


def count_over_rounds(
    table: RawTable, columns: ColumnMap, everything: Callable[[], RawTable]
) -> tuple[RawTable, ColumnMap, list[str]]:
    """Count epochs on that begin anew in each round, as those of a client do.

    Where there is one number alone the round is the epoch.

    Args:
        table: The table.
        columns: What its columns hold.
        everything: Reads the table with all of its columns.

    Returns:
        The table, what its columns hold, and in words what was decided.
    """
    epoch, names = columns.epoch, [name for name in table.names if name != columns.epoch]
    name = first_of(ROUND_NAMES, names)
    if epoch is None or name is None or name in columns.used() or not len(table):
        return table, columns, []
    whole = everything()
    if len(whole) != len(table):
        return table, columns, []
    rounds, epochs = whole.numbers(name)[0], table.numbers(epoch)[0]
    if not np.isfinite(epochs).all() or not np.isfinite(rounds).all():
        return table, columns, []
    is_again = epochs[1:] <= epochs[:-1]
    is_next = rounds[1:] > rounds[:-1]
    if not is_next.any() or (is_next & is_again).sum() < _SAME_SHARE * is_next.sum():
        return table, columns, []
    if np.min(epochs) == np.max(epochs):
        note = f"{epoch!r} stands still: {name!r} is taken for the epoch"
        table = dataclasses.replace(table, columns={**whole.columns, **table.columns})
        return (
            table,
            dataclasses.replace(columns, epoch=name),
            [f"{note} (--columns epoch=NAME says otherwise)"],
        )
    n_in_round = np.max(epochs) - np.min(epochs) + 1
    counted = f"{epoch} over {name}"
    note = f"{epoch!r} begins anew in each {name!r}: it is counted on over them"
    cells = epochs + n_in_round * (rounds - np.min(rounds))
    return (
        table.with_columns({counted: cells}),
        dataclasses.replace(columns, epoch=counted),
        [f"{note} (--columns epoch=NAME says otherwise)"],
    )


def _n_begun(table: RawTable, name: str) -> int:
    """Return how often a column begins to rise from the same number; 0 if it does otherwise."""
    values, is_missing, bad = table.numbers(name)
    if bad or is_missing.any() or not np.isfinite(values).all() or values.size < 2 * _CURVE:
        return 0
    starts = np.flatnonzero(np.r_[True, values[1:] <= values[:-1]])
    is_alike = (values[starts] == values[0]).all()
    lengths = np.diff(np.r_[starts, values.size])
    return starts.size if is_alike and lengths.min() >= _CURVE else 0


def count_rows(
    table: RawTable, columns: ColumnMap, *, part: str | None
) -> tuple[RawTable, ColumnMap, list[str]]:
    """Take the order of the rows of each run, and part, for the epoch, where there are several.

    Args:
        table: The table.
        columns: What its columns hold: no epoch and no step.
        part: The column that says which part of the data a row is of; ``None`` without.

    Returns:
        The table, what its columns hold, and in words what was decided.
    """
    counted = columns.run if part is None else (*columns.run, part)
    order = _places_in_run(run_names(table, dataclasses.replace(columns, run=counted)))
    if not len(table) or order.max() < 2 or (not columns.run and _is_of_results(table)):
        return table, columns, []
    first = table.names[0]
    if first in UNNAMED and first in table.columns and _counts(table, first, order):
        note = f"the first column, {first!r}, numbers the rows: it is taken for the epoch"
        return table, dataclasses.replace(columns, epoch=first), [note]
    note = (
        "no column is named like an epoch or step: the order of the rows counts as the epoch, "
        "from 1 (--columns epoch=NAME says otherwise)"
    )
    return (
        table.with_columns({ROW_ORDER: order}),
        dataclasses.replace(columns, epoch=ROW_ORDER),
        [note],
    )


def _is_of_results(table: RawTable) -> bool:
    """Return whether a column that may tell runs apart leaves each too few rows for a curve."""
    hints = [name for name in hints_among(table.names) if name in table.columns]
    counts = [len(set(map(str, table.columns[name]))) for name in hints]
    return any(n > 1 and len(table) < _CURVE * n for n in counts)


def _places_in_run(runs: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return how many rows of its run a row is, from 1."""
    counts: dict[Any, int] = {}
    places = np.empty(len(runs))
    for i, run in enumerate(runs):
        places[i] = counts[run] = counts.get(run, 0) + 1
    return places


def _counts(table: RawTable, name: str, order: NDArray[np.float64]) -> bool:
    """Return whether a column counts the rows of each run up from the same number."""
    values, _, bad = table.numbers(name)
    return not bad and bool((values - order == values[0] - order[0]).all())
