"""Rows of all files with their columns known: numbers, runs, and what else varies."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.readers.columns import LOSSES, QUANTITIES
from sweepdiag.readers.names import is_learning_rate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sweepdiag.readers.columns import ColumnMap
    from sweepdiag.readers.problems import ProblemList
    from sweepdiag.readers.raw import RawTable

__all__ = ["Rows", "join_rows", "rows_of", "run_names"]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of one or more files; all arrays have one element per row.

    Attributes:
        files: The files, in the order in which ``file`` counts.
        file: Which file a row is from.
        line: Its line there.
        run: Name of its run.
        epoch: Epochs trained; NaN where there is no such column.
        step: Optimizer steps; NaN where there is no such column.
        values: Losses and metrics by name, only those that occur.
        missing: Where the value of each was not given.
        is_other: Which rows tell of something beside the curve, such as a test after training.
        extras: All other columns that were read.
    """

    files: tuple[str, ...]
    file: NDArray[np.int64]
    line: NDArray[np.int64]
    run: NDArray[np.object_]
    epoch: NDArray[np.float64]
    step: NDArray[np.float64]
    values: Mapping[str, NDArray[np.float64]]
    missing: Mapping[str, NDArray[np.bool_]]
    is_other: NDArray[np.bool_]
    extras: Mapping[str, NDArray[np.object_]]

    def __len__(self) -> int:
        return len(self.run)

    def only(self, kept: NDArray[np.bool_]) -> Rows:
        """Return some of the rows."""
        return Rows(
            files=self.files,
            file=self.file[kept],
            line=self.line[kept],
            run=self.run[kept],
            epoch=self.epoch[kept],
            step=self.step[kept],
            values={name: column[kept] for name, column in self.values.items()},
            missing={name: column[kept] for name, column in self.missing.items()},
            is_other=self.is_other[kept],
            extras={name: column[kept] for name, column in self.extras.items()},
        )


def rows_of(table: RawTable, columns: ColumnMap, problems: ProblemList) -> Rows:
    """Return the rows of one file that say which run and epoch they belong to.

    Text in a column of numbers is listed, and counts as not given; a row without an epoch (or a
    step) is listed and left out.

    Args:
        table: The file's table.
        columns: What its columns hold.
        problems: Told what cannot be read.

    Returns:
        The rows, in the file's order.
    """
    n = len(table)
    epoch, epoch_bad = _axis(table, columns.epoch, problems)
    step, step_bad = _axis(table, columns.step, problems)
    place, place_name = (epoch, columns.epoch) if columns.epoch else (step, columns.step)
    is_placed = np.isfinite(place)
    if columns.epoch and columns.step:
        is_placed |= np.isfinite(step) & np.isnan(epoch)
    run = run_names(table, columns)
    is_named = np.array([name != "" for name in run], dtype=bool)
    values, missing = {}, {}
    for quantity in QUANTITIES:
        names = columns.columns_of(quantity)
        if names:
            values[quantity], missing[quantity] = _quantity(table, names, problems)
    for i in np.flatnonzero(~is_placed).tolist():
        if i not in epoch_bad and i not in step_bad and place_name:
            value = table.columns[place_name][i]
            why = "row left out: expected a finite number"
            problems.add(table.file, table.lines[i], place_name, value, why)
    for i in np.flatnonzero(~is_named & is_placed).tolist():
        why = "row left out: expected the name of a run"
        problems.add(table.file, table.lines[i], " + ".join(columns.run), "", why)
    extras = {
        name: np.asarray(table.columns[name], dtype=object)
        for name in table.columns
        if name not in columns.used() or name in {*columns.run, columns.seed}
    }
    kept = np.flatnonzero(is_placed & is_named)
    return Rows(
        files=(table.file,),
        file=np.zeros(kept.size, dtype=np.int64),
        line=table.lines[kept],
        run=run[kept],
        epoch=epoch[kept] if n else epoch,
        step=step[kept] if n else step,
        values={name: column[kept] for name, column in values.items()},
        missing={name: column[kept] for name, column in missing.items()},
        is_other=np.zeros(kept.size, dtype=bool),
        extras={name: column[kept] for name, column in extras.items()},
    )


def lines_without_loss(rows: Rows) -> NDArray[np.int64]:
    """Return the lines of one file's rows that have neither loss."""
    return rows.line[~_has_loss(rows)]


def of_other_things(rows: Rows, everything: RawTable) -> Rows:
    """Return the rows of one file, marked where they tell of something beside the curve.

    Such rows have a number in a column that is empty wherever there is a loss: of a test after
    training, of a validation by a measure of its own, of the run as a whole. Or they lack the
    learning rate that comes with each loss: no training makes that one NaN.

    Args:
        rows: The rows.
        everything: The same file with all of its columns.
    """
    beside = np.isin(everything.lines, rows.line[_has_loss(rows)])
    is_other = np.zeros(len(everything), dtype=bool)
    for name in everything.columns:
        is_given = ~everything.numbers(name)[1]
        if not (is_given & beside).any():
            is_other |= is_given
        elif is_learning_rate(name) and is_given[beside].all():
            is_other |= ~is_given
    marked = np.isin(rows.line, everything.lines[is_other])
    return dataclasses.replace(rows, is_other=marked)


def _has_loss(rows: Rows) -> NDArray[np.bool_]:
    lacks = [rows.missing[name] for name in LOSSES if name in rows.missing]
    has_loss: NDArray[np.bool_] = ~np.all(lacks, axis=0)
    return has_loss


def _axis(
    table: RawTable, name: str | None, problems: ProblemList
) -> tuple[NDArray[np.float64], set[int]]:
    if name is None:
        return np.full(len(table), np.nan), set()
    values, _, bad = table.numbers(name)
    for i in bad:
        value = table.columns[name][i]
        problems.add(
            table.file, table.lines[i], name, value, "row left out: expected a finite number"
        )
    return values, set(bad)


def _quantity(
    table: RawTable, names: Sequence[str], problems: ProblemList
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the sum of columns (mostly of one), and where any of them gives no value."""
    total, is_missing = np.zeros(len(table)), np.zeros(len(table), dtype=bool)
    for name in names:
        values, missing, bad = table.numbers(name)
        missing[bad] = True
        total, is_missing = total + values, is_missing | missing
        for i in bad:
            value = table.columns[name][i]
            problems.add(table.file, table.lines[i], name, value, "expected a number")
    return total, is_missing


def run_names(table: RawTable, columns: ColumnMap) -> NDArray[np.object_]:
    """Return the name of each row's run; empty where its cell is."""
    if not columns.run:
        return np.full(len(table), table.default_run, dtype=object)
    parts = [_as_text(table.columns[name]) for name in columns.run]
    if len(parts) == 1:
        return np.asarray(parts[0], dtype=object)
    names = [
        ", ".join(f"{name}={part}" for name, part in zip(columns.run, row, strict=True))
        for row in zip(*parts, strict=True)
    ]
    return np.asarray(names, dtype=object)


def _as_text(column: Sequence[Any] | NDArray[np.float64]) -> list[str]:
    """Return identifiers as text: whole numbers that travelled as floats without their ``.0``."""
    known: dict[Any, str] = {}
    for value in column:
        if value not in known:
            is_whole = isinstance(value, float) and value.is_integer()
            is_none = value is None or value != value  # NaN is not itself
            known[value] = "" if is_none else str(int(value) if is_whole else value).strip()
    return [known[value] for value in column]


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Return the rows of several files as one table; what a file lacks is missing.

    Args:
        parts: One or more tables of rows.

    Returns:
        All rows, file after file.
    """
    if len(parts) == 1:
        return parts[0]
    offsets = np.cumsum([0, *(len(part.files) for part in parts)])
    quantities = [name for name in QUANTITIES if any(name in part.values for part in parts)]
    extras = list(dict.fromkeys(name for part in parts for name in part.extras))

    def values(part: Rows, name: str) -> NDArray[np.float64]:
        return part.values.get(name, np.full(len(part), np.nan))

    def missing(part: Rows, name: str) -> NDArray[np.bool_]:
        return part.missing.get(name, np.ones(len(part), dtype=bool))

    def extra(part: Rows, name: str) -> NDArray[np.object_]:
        return part.extras.get(name, np.full(len(part), None, dtype=object))

    return Rows(
        files=tuple(file for part in parts for file in part.files),
        file=np.concatenate([p.file + o for p, o in zip(parts, offsets[:-1], strict=True)]),
        line=np.concatenate([part.line for part in parts]),
        run=np.concatenate([part.run for part in parts]),
        epoch=np.concatenate([part.epoch for part in parts]),
        step=np.concatenate([part.step for part in parts]),
        values={name: np.concatenate([values(p, name) for p in parts]) for name in quantities},
        missing={name: np.concatenate([missing(p, name) for p in parts]) for name in quantities},
        is_other=np.concatenate([part.is_other for part in parts]),
        extras={name: np.concatenate([extra(p, name) for p in parts]) for name in extras},
    )
