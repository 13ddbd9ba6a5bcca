"""Tables that hold no curves, or not one row per epoch: what is wrong, and how to mend it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.readers.names import losses_among, may_be_loss, says_part, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.readers.columns import ColumnMap
    from sweepdiag.readers.raw import RawTable

__all__ = ["may_hold_loss", "runs_table_key", "unwanted_shape"]

_MANY = 3
_N_SHOWN = 8
_MAX_QUOTED = 100
_WANDB_RUNS = {"Name", "State", "Created", "Runtime"}
"""Columns of the table of runs that Weights & Biases exports."""
_DIGIT = re.compile(r"\d")
_TIDY = "one row per epoch below a header such as epoch,train_loss,val_loss"


def runs_table_key(names: Sequence[str], columns: ColumnMap) -> str | None:
    """Return the run column of a table with one row per run and no curves; ``None`` if it has."""
    if set(names) >= _WANDB_RUNS:
        return "Name"
    has_axis = columns.epoch is not None or columns.step is not None
    return columns.run[0] if len(columns.run) == 1 and not has_axis and len(names) > 1 else None


def unwanted_shape(file: str, names: Sequence[str], columns: ColumnMap) -> str | None:
    """Return what is wrong with a table that is not tidy, and how to mend it.

    Args:
        file: The file.
        names: Its columns.
        columns: What they hold.

    Returns:
        A message; ``None`` where there are an epoch (or step) and a loss.
    """
    if set(names) >= _WANDB_RUNS:
        return (
            f"{file} is a table of runs from Weights & Biases: one row per run, no curves. Export "
            "the data of a chart of losses, or the history of each run"
        )
    axis = columns.epoch or columns.step
    if columns.has_loss and axis:
        return None
    return (
        _without_header(file, names)
        or _wide(file, names)
        or _free_text(file, names, columns)
        or _lacking(file, names, columns)
    )


def _without_header(file: str, names: Sequence[str]) -> str | None:
    """Return what to say of a table that begins with its numbers."""
    numbers = [_number(name) for name in names]
    if None in numbers or numbers in [list(range(k, k + len(names))) for k in (0, 1)]:
        return None
    return (
        f"{file} has no header: its first line holds numbers ({_shown(names)}). Expected {_TIDY}"
    )


def _wide(file: str, names: Sequence[str]) -> str | None:
    """Return what to say of a table with one column per epoch."""
    keys = [name for name in names if _number(name) is None]
    n_numbers = len(names) - len(keys)
    if n_numbers < _MANY or 2 * n_numbers <= len(names):
        return None
    return (
        f"{file} has one column per epoch ({_shown(names)}), expected one row per epoch: melt it "
        f"with pandas: frame.melt(id_vars={keys or ['run']!r}, var_name='epoch', "
        "value_name='val_loss')"
    )


def _free_text(file: str, names: Sequence[str], columns: ColumnMap) -> str | None:
    """Return what to say of output that was printed for people."""
    is_sentence = any(_DIGIT.search(name) and len(words_of(name)) >= _MANY for name in names)
    is_known = columns.has_loss or columns.epoch or columns.step or columns.run
    if is_known or not (is_sentence or (len(names) == 1 and not columns.used())):
        return None
    return (
        f"{file} is no table but text for people: it begins {_shown(names)[:_MAX_QUOTED]!r}. "
        f"Write its numbers into a CSV file: {_TIDY}"
    )


def _lacking(file: str, names: Sequence[str], columns: ColumnMap) -> str:
    """Return what to say of a table without a loss or an epoch."""
    axis = columns.epoch or columns.step
    others = [name for name in names if name not in columns.used()]
    possible = losses_among(others)
    if not columns.has_loss and axis and others and not columns.run:
        shape = (
            "If there is one column per run, melt the table with pandas: "
            f"frame.melt(id_vars={[axis]!r}, var_name='run', value_name='val_loss')"
        )
        start = f"{file} has no column that is named like a loss ({_shown(names)}). If "
        if possible:
            example = _option(possible[0])
            return f"{start}one of {_shown(possible)} is it, say so: --columns {example}"
        example = "train_loss=NAME, or val_loss=NAME if it is of validation"
        return f"{start}one holds it, say so: --columns {example}. {shape}"
    if not names:
        return f"{file} holds no record with a value. Expected {_TIDY}"
    lacking = " and ".join(
        text
        for text, is_there in (("a loss", columns.has_loss), ("an epoch or step", axis))
        if not is_there
    )
    return (
        f"{file} has no column that is named like {lacking}; its columns are {_shown(names)}. "
        "Name them with --columns, such as --columns epoch=NAME,train_loss=NAME,val_loss=NAME"
    )


def _option(name: str) -> str:
    """Return what to give ``--columns`` for a loss: of which data only if its name tells."""
    if says_part(name, "val", "test"):
        return f"val_loss={name}"
    if says_part(name, "train"):
        return f"train_loss={name}"
    return f"train_loss={name}, or val_loss={name} if it is of validation"


def may_hold_loss(table: RawTable, name: str) -> bool:
    """Return whether name and cells of a column allow a loss: numbers that vary, no counter."""
    if name not in table.columns or not may_be_loss(name):
        return False
    values, is_missing, bad = table.numbers(name)
    given = values[~is_missing]
    if bad or not np.isfinite(given).any():
        return False
    rises = np.diff(given) > 0
    return given.size < _MANY or bool((given != given[0]).any() and not rises.all())


def _number(name: str) -> float | None:
    """Return the number that a name is; repeated names have their count in brackets."""
    try:
        return float(re.sub(r" \(\d+\)$", "", name))
    except ValueError:
        return None


def _shown(names: Sequence[str]) -> str:
    more = f", … ({len(names)} in all)" if len(names) > _N_SHOWN else ""
    return ", ".join(names[:_N_SHOWN]) + more
