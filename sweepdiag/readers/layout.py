"""What the cells of a table tell where the names of its columns leave something open."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.readers.columns import LOSSES
from sweepdiag.readers.names import first_of, losses_among, says_part
from sweepdiag.readers.numbers import is_given
from sweepdiag.readers.parts import part_column, spread_parts
from sweepdiag.readers.rows import run_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sweepdiag.readers.columns import ColumnMap
    from sweepdiag.readers.raw import RawTable

__all__ = ["ROW_ORDER", "open_columns", "settle"]

ROW_ORDER = "the order of the rows"
"""Name of the column that stands for epochs where a table has none."""

_UNNAMED = frozenset({"column 1", "Unnamed: 0", "__index_level_0__", "index", ""})
"""What the first column is called where pandas has written its index."""

_RUN_HINTS = (
    "folder", "dir", "directory", "run_dir", "log_dir", "logdir", "output_dir", "save_dir", "path",
    "file", "filename", "checkpoint", "model", "model_name", "method", "algorithm", "variant",
    "setting", "condition", "config", "fold", "seed", "dataset", "task",
)  # fmt: skip
"""Columns that tell runs apart where epochs repeat without them; else they are settings."""
_N_SHOWN = 8
_CURVE = 3
"""Rows per run, in the mean, below which a table without epochs holds results."""
_REPEATED_SHARE = 0.05
"""Share of losses given again at their epoch from which they are of several runs."""


def open_columns(names: Sequence[str], columns: ColumnMap, given: Mapping[str, str]) -> set[str]:
    """Return the columns to read although nothing is known of them by their names.

    Args:
        names: All columns of a table.
        columns: What they hold by their names.
        given: What the user says, by role.
    """
    hints = set() if columns.run or "run" in given else set(_hints(names))
    part = part_column(names, columns, given)
    index = names[0] if _lacks_axis(columns) and names[0] in _UNNAMED else None
    return hints | {name for name in (part, index) if name is not None}


def settle(
    table: RawTable, columns: ColumnMap, given: Mapping[str, str]
) -> tuple[RawTable, ColumnMap, list[str]]:
    """Return a table and what its columns hold, with what was open decided by its cells.

    Args:
        table: The table; read with the columns that ``open_columns`` named.
        columns: What its columns hold by their names.
        given: What the user says, by role. It is never decided otherwise.

    Returns:
        The table, with columns of its own for what is derived from others; what the columns hold;
        and in words what was decided.
    """
    notes = []
    if columns.sums and not given.keys() & set(LOSSES):
        notes.append(_sum_note(columns))
    key = part_column(table.names, columns, given)
    if key is not None:
        table, columns, said = spread_parts(table, columns, key)
        key = key if said else None
        notes += said
    if columns.val_metric and "val_metric" not in given and not says_part(columns.val_metric):
        columns, said = _settle_metric(table, columns, columns.val_metric)
        notes += said
    if columns.train_loss and not columns.val_loss and "val_loss" not in given:
        notes += _possible_validation(table.names)
    if not columns.run and "run" not in given:
        columns, said = _name_runs(table, columns)
        notes += said
    if _lacks_axis(columns):
        table, columns, said = _count_rows(table, columns, part=key)
        notes += said
    return table, columns, notes


def _hints(names: Sequence[str]) -> list[str]:
    found = (first_of([hint], names) for hint in _RUN_HINTS)
    return list(dict.fromkeys(name for name in found if name is not None))


def _name_runs(table: RawTable, columns: ColumnMap) -> tuple[ColumnMap, list[str]]:
    """Take a column for the name of the run if losses repeat at their epochs without it."""
    hints = [name for name in _hints(table.names) if name in table.columns]
    losses = [name for role in LOSSES for name in columns.columns_of(role)]
    if not hints or not losses or not (columns.epoch or columns.step):
        return columns, []
    used = np.flatnonzero(is_given(table.columns[losses[0]]))
    places = [table.numbers(name)[0][used] for name in (columns.epoch, columns.step) if name]
    n_before = _n_repeated(places)
    if n_before <= _REPEATED_SHARE * used.size:
        return columns, []
    left = {}
    for name in hints:
        cells = run_names(table, dataclasses.replace(columns, run=(name,)))[used]
        left[name] = _n_repeated([*places, np.unique(cells, return_inverse=True)[1]])
    best = min(left, key=lambda name: left[name])
    if left[best] > n_before / 2:
        return columns, []
    note = f"epochs repeat, and {best!r} tells their rows apart: it names the run"
    return dataclasses.replace(columns, run=(best,)), [
        f"{note} (--columns run=NAME says otherwise)"
    ]


def _n_repeated(columns: Sequence[NDArray[Any]]) -> int:
    """Return how many rows repeat another one."""
    table = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)
    return len(table) - len(np.unique(np.nan_to_num(table, nan=-1.0), axis=0))


def _lacks_axis(columns: ColumnMap) -> bool:
    return columns.has_loss and columns.epoch is None and columns.step is None


def _sum_note(columns: ColumnMap) -> str:
    return (
        "no column is named like a whole loss: both losses are sums of the parts that are logged "
        f"for training and validation ({columns.val_loss})"
    )


def _possible_validation(names: Sequence[str]) -> list[str]:
    """Return what to say where validation losses may stand under other names."""
    losses = losses_among(names)
    possible = [
        *(name for name in losses if says_part(name, "val")),
        *(name for name in losses if not says_part(name, "val") and says_part(name, "test")),
    ]
    if not possible:
        return []
    first, others = possible[0], possible[1:_N_SHOWN]
    more = f" (or {', '.join(others)})" if others else ""
    return [
        f"no validation loss was found: if {first!r}{more} is it, say --columns val_loss={first}"
    ]


def _settle_metric(
    table: RawTable, columns: ColumnMap, metric: str
) -> tuple[ColumnMap, list[str]]:
    """Return whose metric it is that does not say so: of the rows that give it."""
    is_validated = np.ones(len(table), dtype=bool)
    for name in columns.columns_of("val_loss"):
        is_validated &= is_given(table.columns[name])
    if (is_given(table.columns[metric]) & ~is_validated).any():
        train = columns.train_metric or metric
        return dataclasses.replace(columns, train_metric=train, val_metric=None), []
    note = (
        f"{metric!r} names no part of the data and comes only with validation losses: it is taken "
        f"for the validation's (--columns train_metric={metric} says otherwise)"
    )
    return columns, [note]


def _count_rows(
    table: RawTable, columns: ColumnMap, *, part: str | None
) -> tuple[RawTable, ColumnMap, list[str]]:
    """Take the order of the rows of each run, and part, for the epoch, where there are several."""
    counted = columns.run if part is None else (*columns.run, part)
    order = _places_in_run(run_names(table, dataclasses.replace(columns, run=counted)))
    if not len(table) or order.max() < 2 or (not columns.run and _is_of_results(table)):
        return table, columns, []
    first = table.names[0]
    if first in _UNNAMED and first in table.columns and _counts(table, first, order):
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
    hints = [name for name in _hints(table.names) if name in table.columns]
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
