"""What the cells of a table tell where the names of its columns leave something open."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.readers.axes import (
    UNNAMED,
    count_over_rounds,
    count_rows,
    counts_up,
    lacks_axis,
    restarting_axis,
)
from sweepdiag.readers.columns import DATA_COUNTS, LOSSES, METRICS
from sweepdiag.readers.names import first_of, losses_among, metrics_of, says_part
from sweepdiag.readers.naming import hints_among, name_blocks, name_runs
from sweepdiag.readers.numbers import is_given
from sweepdiag.readers.parts import part_column, spread_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sweepdiag.readers.columns import ColumnMap
    from sweepdiag.readers.raw import RawTable

__all__ = ["open_columns", "settle"]

_N_SHOWN = 8
_CURVE = 3
"""Rows from which an epoch that is the same in all of them counts nothing."""


def open_columns(names: Sequence[str], columns: ColumnMap, given: Mapping[str, str]) -> set[str]:
    """Return the columns to read although nothing is known of them by their names.

    Args:
        names: All columns of a table.
        columns: What they hold by their names.
        given: What the user says, by role.
    """
    hints = set() if columns.run or "run" in given else set(hints_among(names))
    part = part_column(names, columns, given)
    index = names[0] if lacks_axis(columns) and names[0] in UNNAMED else None
    others = {name for name in _other_metrics(names, columns, _unsure_metrics(columns)) if name}
    return hints | others | {name for name in (part, index) if name is not None}


def settle(
    table: RawTable,
    columns: ColumnMap,
    given: Mapping[str, str],
    everything: Callable[[], RawTable],
) -> tuple[RawTable, ColumnMap, list[str]]:
    """Return a table and what its columns hold, with what was open decided by its cells.

    Args:
        table: The table; read with the columns that ``open_columns`` named.
        columns: What its columns hold by their names.
        given: What the user says, by role. It is never decided otherwise.
        everything: Reads the table with all of its columns.

    Returns:
        The table, with columns of its own for what is derived from others; what the columns hold;
        and in words what was decided.
    """
    columns = _without_idle_count(table, columns, given)
    columns = _without_text(table, columns, given)
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
    if "epoch" not in given:
        table, columns, said = count_over_rounds(table, columns, everything)
        notes += said
        columns, said = _without_idle_epoch(table, columns, everything)
        notes += said
    if not columns.run and "run" not in given:
        if lacks_axis(columns) and key is None:
            table, columns, said = restarting_axis(table, columns, everything)
            notes += said
        if lacks_axis(columns):
            columns, said = name_blocks(table, columns)
        else:
            table, columns, said = name_runs(table, columns, everything)
        notes += said
    if lacks_axis(columns):
        table, columns, said = count_rows(table, columns, part=key)
        notes += said
    return table, columns, notes


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


def _without_idle_epoch(
    table: RawTable, columns: ColumnMap, everything: Callable[[], RawTable]
) -> tuple[ColumnMap, list[str]]:
    """Return no epoch where it is the same in all rows of numbers, as if fit is called anew."""
    epoch = columns.epoch
    if epoch is None or columns.run or columns.step or len(table) < _CURVE:
        return columns, []
    values = table.numbers(epoch)[0]
    if not np.isfinite(values).all() or (values != values[0]).any():
        return columns, []
    whole = everything()
    if any(whole.numbers(name)[2] for name in whole.names):  # texts may tell runs apart
        return columns, []
    return dataclasses.replace(columns, epoch=None), [f"{epoch!r} stands still and is left out"]


def _without_idle_count(
    table: RawTable, columns: ColumnMap, given: Mapping[str, str]
) -> ColumnMap:
    """Return no step where the count of data stands still: it is how much there is."""
    step = columns.step
    if step is None or "step" in given or not first_of(DATA_COUNTS, [step]):
        return columns
    is_counting = counts_up(table, columns, step)
    return columns if is_counting else dataclasses.replace(columns, step=None)


def _unsure_metrics(columns: ColumnMap) -> list[str]:
    """Return the metrics that may be settings by their names, as ``precision`` may."""
    names = (columns.train_metric, columns.val_metric)
    return [name for name in names if name and not says_part(name)]


def _other_metrics(
    names: Sequence[str], columns: ColumnMap, without: Sequence[str]
) -> tuple[str | None, str | None]:
    """Return the metrics of training and validation if some columns are none."""
    if not without:
        return columns.train_metric, columns.val_metric
    metrics = {columns.train_metric, columns.val_metric}
    taken = columns.used() - metrics
    others = [name for name in names if name not in taken and name not in without]
    return metrics_of(others, has_val_loss=columns.val_loss is not None)


def _without_text(table: RawTable, columns: ColumnMap, given: Mapping[str, str]) -> ColumnMap:
    """Return metrics that have a number: a column without one is a setting."""
    texts = [name for name in _unsure_metrics(columns) if not _has_number(table, name)]
    if not texts or given.keys() & set(METRICS):
        return columns
    found = _other_metrics(table.names, columns, texts)
    train, val = (name if name in table.columns else None for name in found)
    return dataclasses.replace(columns, train_metric=train, val_metric=val)


def _has_number(table: RawTable, name: str) -> bool:
    """Return whether a column has a number, or no cell at all."""
    values, is_missing, bad = table.numbers(name)
    return len(bad) + int(is_missing.sum()) < values.size or not bad
