"""Tables with one column of losses, and another that says which part of the data each is of."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.readers.columns import LOSSES, METRICS, QUANTITIES
from sweepdiag.readers.names import first_of, part_of, says_part
from sweepdiag.readers.numbers import is_given

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sweepdiag.readers.columns import ColumnMap
    from sweepdiag.readers.raw import RawTable

__all__ = ["part_column", "spread_parts"]

_PART_NAMES = (
    "split", "phase", "mode", "stage", "subset", "set", "partition", "part", "data_split",
    "dataset",
)  # fmt: skip


def part_column(names: Sequence[str], columns: ColumnMap, given: Mapping[str, str]) -> str | None:
    """Return the column that may say which part of the data a row's losses are of.

    Args:
        names: All columns.
        columns: What they hold by their names.
        given: What the user says, by role: who names losses or metrics wants them as they are.
    """
    if given.keys() & set(QUANTITIES) or not _shared(columns):
        return None
    return first_of(_PART_NAMES, [name for name in names if name not in columns.used()])


def spread_parts(
    table: RawTable, columns: ColumnMap, key: str
) -> tuple[RawTable, ColumnMap, list[str]]:
    """Return a table with losses and metrics of each part of the data in columns of their own.

    Args:
        table: The table.
        columns: What its columns hold.
        key: The column that may name the parts.

    Returns:
        The table, what its columns hold, and in words what was done: nothing unless the column
        tells training from validation.
    """
    cells = np.asarray([_text(cell) for cell in table.columns[key]], dtype=object)
    parts = {word: part_of(word) for word in dict.fromkeys(cells) if word}
    by_part: dict[str, str] = {}
    for word, part in parts.items():
        by_part.setdefault(part, word)
    train, held_out = by_part.get("train"), by_part.get("val", by_part.get("test"))
    if train is None or held_out is None or "" in by_part:
        return table, columns, []
    roles: dict[str, Any] = {}
    derived: dict[str, Any] = {}
    for pair, name in _shared(columns):
        for role, word in zip(pair, (train, held_out), strict=True):
            label = f"{name} where {key}={word}"
            only = _only(table.columns[name], cells == word)
            roles[role] = None if only is None else label
            derived |= {} if only is None else {label: only}
    others = [word for word in parts if word not in {train, held_out}]
    note = (
        f"{key!r} says which part of the data a row is of: {train!r} is training, {held_out!r} "
        "validation" + (f"; not used: {', '.join(others)}" if others else "")
    )
    notes = [f"{note} (--columns train_loss=NAME,val_loss=NAME says otherwise)"]
    if columns.epoch and columns.step:
        steps = _steps_of_training(table, columns, cells == held_out)
        if steps is not None:
            roles["step"] = f"{columns.step} of training"
            derived[roles["step"]] = steps
            notes.append(f"{columns.step!r} of {held_out!r} counts within it: training's is taken")
    return table.with_columns(derived), dataclasses.replace(columns, **roles), notes


def _shared(columns: ColumnMap) -> list[tuple[tuple[str, str], str]]:
    """Return columns of losses and of metrics that may hold those of all parts, and for what."""
    found = []
    for pair in (LOSSES, METRICS):
        names = [getattr(columns, role) for role in pair if getattr(columns, role)]
        if len(names) == 1 and not says_part(names[0]):
            found.append((pair, names[0]))
    return found


def _text(cell: Any) -> str:
    return "" if cell is None or cell != cell else str(cell).strip()  # NaN is not itself


def _only(
    cells: Sequence[Any] | NDArray[np.float64], is_own: NDArray[np.bool_]
) -> Sequence[Any] | NDArray[np.float64] | None:
    """Return a column with the cells of some rows alone; ``None`` if these are all empty."""
    if isinstance(cells, np.ndarray):
        own = np.where(is_own, cells, np.nan)
        return own if np.isfinite(own).any() else None
    kept = [cell if is_kept else None for cell, is_kept in zip(cells, is_own, strict=True)]
    return kept if is_given(kept).any() else None


def _steps_of_training(
    table: RawTable, columns: ColumnMap, is_held_out: NDArray[np.bool_]
) -> NDArray[np.float64] | None:
    """Return steps with those of the row before for validation, if that counts its own batches."""
    steps, _, _ = table.numbers(str(columns.step))
    epochs, _, _ = table.numbers(str(columns.epoch))
    if len(set(steps[is_held_out])) >= len(set(epochs[is_held_out])):
        return None
    places = np.maximum.accumulate(np.where(is_held_out, -1, np.arange(len(table))))
    return np.where(places < 0, np.nan, steps[places])
