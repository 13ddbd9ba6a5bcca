"""Tables with a run per row, and a whole curve in each cell: ``"[0.9, 0.5, 0.4]"``."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.readers.columns import LOSSES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from sweepdiag.readers.columns import ColumnMap
    from sweepdiag.readers.raw import RawTable

__all__ = ["spread_lists"]

_EPOCH, _ROW = "place in the cell", "row"
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity"}
_WORD = re.compile(r"\b(?:nan|inf)\b")


def spread_lists(
    table: RawTable, columns: ColumnMap, everything: Callable[[], RawTable]
) -> tuple[RawTable, ColumnMap]:
    """Return a table with a row per epoch where each cell with losses holds those of a whole run.

    Runs are named by the column that names them, else by the first one without lists if it has
    another cell in every row, else by their number.

    Args:
        table: The table.
        columns: What its columns hold.
        everything: Reads the table with all of its columns.
    """
    losses = [name for role in LOSSES for name in columns.columns_of(role)]
    if columns.epoch or columns.step or not losses or not len(table):
        return table, columns
    if not all(_lists_of(table.columns[name]) for name in losses):
        return table, columns
    whole = everything()
    lists = {name: found for name in whole.names if (found := _lists_of(whole.columns[name]))}
    lengths = [len(cell) for cell in lists[losses[0]]]
    lists = {n: cells for n, cells in lists.items() if [len(cell) for cell in cells] == lengths}
    if not all(name in lists for name in losses):
        return table, columns
    others = [name for name in whole.names if name not in lists]
    named = [*columns.run, *others[:1]]
    run = next((name for name in named if _is_telling(whole.columns[name])), _ROW)
    cells = {name: whole.columns[name] for name in others} | (
        {_ROW: [str(number) for number in range(1, len(whole) + 1)]} if run == _ROW else {}
    )
    spread: dict[str, Any] = {
        name: [cell for cell, n in zip(column, lengths, strict=True) for _ in range(n)]
        for name, column in cells.items()
    }
    spread[_EPOCH] = np.concatenate([np.arange(1.0, n + 1) for n in lengths])
    # As text, since a NaN that was written is a loss that was no number.
    spread |= {
        name: [str(value) for numbers in values for value in numbers.tolist()]
        for name, values in lists.items()
    }
    note = (
        f"each cell with losses holds those of a whole run: {len(lengths)} runs, named by {run!r}"
    )
    return (
        dataclasses.replace(
            whole,
            names=tuple(spread),
            columns=spread,
            lines=np.repeat(whole.lines, lengths),
            notes=(*whole.notes, note),
        ),
        dataclasses.replace(columns, run=(run,), epoch=_EPOCH),
    )


def _lists_of(cells: Sequence[Any] | NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the numbers of each cell; none if a cell is no list of several numbers."""
    found = []
    for cell in cells:
        if not isinstance(cell, str) or not cell.startswith("["):
            return []
        try:
            values = json.loads(_WORD.sub(lambda match: _NOT_FINITE[match[0]], cell))
            numbers = np.asarray(values, dtype=np.float64)
        except (ValueError, TypeError, OverflowError, RecursionError):
            return []
        if numbers.ndim != 1 or numbers.size < 2:
            return []
        found.append(numbers)
    return found


def _is_telling(cells: Sequence[Any] | NDArray[np.float64]) -> bool:
    """Return whether a column has another cell in every row."""
    texts = [str(cell).strip() for cell in cells]
    return "" not in texts and len(set(texts)) == len(texts)
