"""Tables of Markdown among other text, as of model cards by Hugging Face's Trainer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sweepdiag.readers.columns import find_columns
from sweepdiag.readers.printed_rows import LEAST_ROWS, PrintedRows

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["markdown_of_lines"]

_RULE = re.compile(r"\|?(?:\s*:?-+:?\s*\|)+(?:\s*:?-+:?\s*)?")
_NOT_LOGGED = {"", "no log"}
"""What stands in a model card where no training loss was logged yet."""


def markdown_of_lines(lines: Sequence[str]) -> PrintedRows | None:
    """Return the rows of the first table with a loss and an epoch or step, if it is no short one.

    ``| Training Loss | Epoch | Validation Loss |`` is such a header; a line of dashes follows.
    """
    for start in range(len(lines) - 1):
        if "|" in lines[start] and _RULE.fullmatch(lines[start + 1].strip()):
            names = _cells(lines[start])
            columns = find_columns(names, {})
            if columns.has_loss and (columns.epoch or columns.step):
                found = _rows_below(lines, start, names)
                if found is not None:
                    return found
    return None


def _rows_below(lines: Sequence[str], start: int, names: Sequence[str]) -> PrintedRows | None:
    rows, numbers = [], []
    for at in range(start + 2, len(lines)):
        cells = _cells(lines[at])
        if "|" not in lines[at] or len(cells) != len(names):
            break
        rows.append([None if cell.lower() in _NOT_LOGGED else cell for cell in cells])
        numbers.append(at + 1)
    if len(rows) < LEAST_ROWS or len(set(names)) < len(names):
        return None
    note = f"{len(rows)} rows of a table of Markdown; all other lines are left out"
    return PrintedRows(names=names, rows=rows, lines=numbers, note=note)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
