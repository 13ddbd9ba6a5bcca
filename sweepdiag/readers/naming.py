"""Which columns name the runs of a table, where none does by its own name."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.readers.columns import LOSSES, ColumnMap, is_counter
from sweepdiag.readers.names import first_of, is_learning_rate, losses_among
from sweepdiag.readers.numbers import is_given
from sweepdiag.readers.rows import run_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from sweepdiag.readers.raw import RawTable

    IntArray = NDArray[np.int64]
    FloatArray = NDArray[np.float64]

__all__ = ["hints_among", "name_blocks", "name_runs"]

_RUN_HINTS = (
    "folder", "dir", "directory", "run_dir", "log_dir", "logdir", "output_dir", "save_dir", "path",
    "file", "filename", "checkpoint", "model", "model_name", "method", "algorithm", "variant",
    "setting", "condition", "config", "fold", "seed", "dataset", "task",
    "client", "client_id",
)  # fmt: skip
"""Columns that tell runs apart where epochs repeat without them; else they are settings."""
_REPEATED_SHARE = 0.05
"""Share of losses given again at their epoch from which they are of several runs."""
_CURVE = 3
"""Rows per run, in the mean, below which a column names no runs."""
_START_SHARE = 0.1
"""Share of all epochs within which a run begins."""
_AT_START = 0.9
"""Share of runs that have to begin there: a phase of a training, or a rate, does not."""
_N_LOOKED_AT = 3000
"""Rows that are looked at first, since most columns differ in every one."""
_SPARE = 10
"""Changes within these that are allowed beyond those of runs."""
_MOST_COLUMNS = 5
"""Columns that together may name a run."""


def hints_among(names: Sequence[str]) -> list[str]:
    """Return the columns whose names say that they may tell runs apart."""
    found = (first_of([hint], names) for hint in _RUN_HINTS)
    return list(dict.fromkeys(name for name in found if name is not None))


def name_runs(
    table: RawTable, columns: ColumnMap, everything: Callable[[], RawTable]
) -> tuple[RawTable, ColumnMap, list[str]]:
    """Take columns for the name of the run if losses repeat at their epochs without them.

    One that is named like a setting of runs is preferred. Any other, or several together, have to
    be constant from where the epochs go back to their start until they do so again.

    Args:
        table: The table.
        columns: What its columns hold; none is known to name runs.
        everything: Reads the table with all of its columns.

    Returns:
        The table, what its columns hold, and in words what was decided.
    """
    losses = [name for role in LOSSES for name in columns.columns_of(role)]
    axes = [name for name in (columns.epoch, columns.step) if name]
    if not losses or not axes:
        return table, columns, []
    used = np.flatnonzero(is_given(table.columns[losses[0]]))
    places = [table.numbers(name)[0][used] for name in axes]
    place = _coded(places)
    n_before = _n_repeated(place) if np.isfinite(places[0]).any() else 0
    if n_before <= _REPEATED_SHARE * used.size:
        return table, columns, []
    found, n_left = _best_hint(table, columns, used, place)
    if n_left > _REPEATED_SHARE * used.size:
        table = _with_settings(table, everything())
        several, n_together = _together(table, columns, used, places, place)
        if n_together < n_left:
            found, n_left = several, n_together
    if not found or n_left > n_before / 2:
        return table, columns, []
    names = " + ".join(map(repr, found))
    tell, name = ("tells", "it names") if len(found) == 1 else ("tell", "they name")
    note = f"epochs repeat, and {names} {tell} their rows apart: {name} the run"
    told = [f"{note} (--columns run=NAME says otherwise)"]
    return table, dataclasses.replace(columns, run=tuple(found)), told


def name_blocks(table: RawTable, columns: ColumnMap) -> tuple[ColumnMap, list[str]]:
    """Take a column for the name of the run if its values are blocks of rows without epochs.

    Args:
        table: The table.
        columns: What its columns hold; no epoch, step or run is known.

    Returns:
        What its columns hold, and in words what was decided.
    """
    for name in hints_among(table.names):
        if name not in table.columns or name in columns.used() - {columns.seed}:
            continue
        codes = _codes_of(table, name)
        if codes is None:
            continue
        sizes = np.bincount(codes)
        is_in_blocks = _n_changes(codes) == sizes.size - 1
        if sizes.size > 1 and is_in_blocks and sizes.min() >= _CURVE:
            note = f"{name!r} is constant in blocks of rows: it names the run"
            told = [f"{note} (--columns run=NAME says otherwise)"]
            return dataclasses.replace(columns, run=(name,)), told
    return columns, []


def _best_hint(
    table: RawTable, columns: ColumnMap, used: IntArray, place: IntArray
) -> tuple[list[str], int]:
    """Return the column, of those named like settings of runs, that leaves the fewest repeats."""
    left = {}
    for name in hints_among(table.names):
        if name in table.columns:
            cells = run_names(table, dataclasses.replace(columns, run=(name,)))[used]
            left[name] = _n_repeated(place, np.unique(cells, return_inverse=True)[1])
    if not left:
        return [], place.size
    best = min(left, key=lambda name: left[name])
    return [best], left[best]


def _together(
    table: RawTable,
    columns: ColumnMap,
    used: IntArray,
    places: Sequence[FloatArray],
    place: IntArray,
) -> tuple[list[str], int]:
    """Return the fewest columns that together leave the fewest repeats, and how many these are.

    They change where epochs go back, and only there: also where two trainings write at once.
    """
    is_back = places[0][1:] < places[0][:-1]
    for other in places[1:]:
        is_back &= ~(other[1:] > other[:-1])
    most_changes = 2 * int(is_back.sum())  # there and back again, where two write in turns
    first, most_at_first = used[:_N_LOOKED_AT], 2 * int(is_back[:_N_LOOKED_AT].sum()) + _SPARE
    able = {}
    for name in table.names:
        if not _may_tell_apart(table, columns, name):
            continue
        cells = [table.columns[name][i] for i in first.tolist()]
        n_changes = sum(after != before for before, after in itertools.pairwise(cells))
        codes = _codes_of(table, name) if n_changes <= most_at_first else None
        if codes is not None and codes[used].max() * _CURVE < used.size:
            able[name] = codes[used]
    group, n_left = np.zeros(used.size, dtype=np.int64), _n_repeated(place)
    names: list[str] = []
    while n_left and len(names) < _MOST_COLUMNS:
        best = None
        for name, codes in able.items():
            joined = _coded([group, codes])
            n_then = _n_repeated(place, joined)
            is_better = n_then < (n_left if best is None else best[1])
            if is_better and _are_runs(joined, places[0], most_changes):
                best = (name, n_then, joined)
        if best is None:
            break
        names.append(best[0])
        n_left, group = best[1], best[2]
    return names, n_left


def _may_tell_apart(table: RawTable, columns: ColumnMap, name: str) -> bool:
    """Return whether nothing speaks against a column: it counts nothing, and is no result."""
    is_free = name in table.columns and name not in columns.used() - {columns.seed}
    if not is_free or is_counter(name) or losses_among([name]):
        return False
    if not is_learning_rate(name):
        return True
    # Means of a constant rate differ in their last digits.
    rates = table.numbers(name)[0]
    return len(np.unique([f"{rate:.4g}" for rate in rates])) == len(np.unique(rates))


def _are_runs(group: IntArray, place: FloatArray, most_changes: int) -> bool:
    """Return whether rows of one group each may be those of a run."""
    n_groups = int(group.max()) + 1
    if n_groups * _CURVE > group.size or _n_changes(group) > most_changes:
        return False
    first = np.full(n_groups, np.inf)
    np.minimum.at(first, group, np.where(np.isfinite(place), place, np.inf))
    low, high = np.nanmin(place), np.nanmax(place)
    return bool((first <= low + _START_SHARE * (high - low)).mean() >= _AT_START)


def _with_settings(table: RawTable, everything: RawTable) -> RawTable:
    """Return the table with the columns that were not read so far."""
    if len(everything) != len(table):
        return table
    columns = {n: cells for n, cells in everything.columns.items() if n not in table.columns}
    return dataclasses.replace(table, columns={**table.columns, **columns})


def _codes_of(table: RawTable, name: str) -> IntArray | None:
    """Return the value of each row as a number from 0; ``None`` where one is empty."""
    cells = run_names(table, ColumnMap(run=(name,)))
    known: dict[str, int] = {}
    codes = np.asarray([known.setdefault(cell, len(known)) for cell in cells], dtype=np.int64)
    return None if "" in known or not codes.size else codes


def _coded(columns: Sequence[FloatArray | IntArray]) -> IntArray:
    """Return the distinct rows of columns as numbers from 0."""
    code = np.zeros(columns[0].size, dtype=np.int64)
    for column in columns:
        own = np.unique(np.nan_to_num(column, nan=-1.0), return_inverse=True)[1]
        code = np.unique(code * (own.max(initial=0) + 1) + own, return_inverse=True)[1]
    return code


def _n_repeated(*columns: IntArray) -> int:
    """Return how many rows repeat another one."""
    code = _coded(columns)
    return int(code.size - code.max(initial=-1) - 1)


def _n_changes(codes: IntArray) -> int:
    return int((codes[1:] != codes[:-1]).sum())
