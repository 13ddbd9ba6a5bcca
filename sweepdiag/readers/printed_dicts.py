"""Dictionaries of Python that are printed line by line, as the Trainer of Hugging Face does."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from sweepdiag.readers.columns import find_columns
from sweepdiag.readers.names import loss_of
from sweepdiag.readers.printed_rows import LEAST_ROWS, PrintedRows, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["dicts_of_lines"]

_DICT = re.compile(r"\{'[^{}]*\}\s*$")
"""At the end of a line, since a bar of progress may stand before it."""
_NO_LITERAL = re.compile(r"(?<=[:,\s])(-?(?:nan|inf))(?=\s*[,}])")
_MAX_LENGTH = 10_000


def dicts_of_lines(lines: Sequence[str]) -> PrintedRows | None:
    """Return the rows that printed dictionaries are: ``{'loss': 0.19, 'epoch': 0.57}``.

    The one that sums a training up (with ``train_runtime``) is left out, and so are evaluations
    after it: of the best model, or of a test.
    """
    found = []
    is_over = False
    for number, line in enumerate(lines, start=1):
        record = _dict_of(line)
        is_summary = "train_runtime" in record
        is_over = is_summary or (is_over and loss_of(list(record), is_train=True) is None)
        if record and not is_over:
            found.append((number, record))
    names = list(dict.fromkeys(name for _, record in found for name in record))
    if len(found) < LEAST_ROWS or not find_columns(names, {}).has_loss:
        return None
    return PrintedRows(
        names=names,
        rows=[[record.get(name) for name in names] for _, record in found],
        lines=[number for number, _ in found],
        note=f"{len(found)} lines with a dictionary of Python",
    )


def _dict_of(line: str) -> dict[str, Any]:
    """Return the numbers and texts of the dictionary at the end of a line; none without one."""
    match = _DICT.search(plain(line)) if "{'" in line and len(line) <= _MAX_LENGTH else None
    if match is None:
        return {}
    try:
        record = ast.literal_eval(_NO_LITERAL.sub(r"'\1'", match[0].strip()))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {}
    cells = record.items() if isinstance(record, dict) else ()
    return {str(name): cell for name, cell in cells if isinstance(cell, int | float | str)}
