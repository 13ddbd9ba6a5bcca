"""Tables that are printed with blanks between their columns, as by skorch, fastai and Chainer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sweepdiag.readers.columns import find_columns
from sweepdiag.readers.printed_rows import LEAST_ROWS, PrintedRows, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["table_of_lines"]

_NAME = re.compile(r"[A-Za-z_][\w/.-]*")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf)", re.IGNORECASE)
_MAX_LENGTH = 2000


def table_of_lines(lines: Sequence[str]) -> PrintedRows | None:
    """Return the rows below a line such as ``epoch  train_loss  valid_loss``.

    The header may come again, and other lines between. A row has a value for each column, or
    stands below the names of those that it has.
    """
    names: list[str] = []
    spans: list[tuple[int, int]] = []
    rows, numbers = [], []
    for number, line in enumerate(lines, start=1):
        text = plain(line).rstrip()
        if len(text) > _MAX_LENGTH:
            continue
        words = text.split()
        if not names and _is_header(words):
            names = words
        if names and words == names:
            spans = [match.span() for match in re.finditer(r"\S+", text)]
        elif names and words:
            row = _row(text, len(names), spans)
            if row and _NUMBER.fullmatch(row[0] or ""):
                rows.append(row)
                numbers.append(number)
    if len(rows) < LEAST_ROWS:
        return None
    note = f"{len(rows)} rows below a line with the names of {len(names)} columns"
    return PrintedRows(names=names, rows=rows, lines=numbers, note=note)


def _is_header(words: list[str]) -> bool:
    """Return whether words are names of columns: an epoch first, and a loss among them."""
    is_open = len(words) > 1 and any("loss" in word.lower() for word in words)
    if not is_open or len(set(words)) < len(words) or not all(map(_NAME.fullmatch, words)):
        return False
    columns = find_columns(words, {})
    return columns.has_loss and words[0] in {columns.epoch, columns.step}


def _row(text: str, width: int, spans: list[tuple[int, int]]) -> list[str | None] | None:
    """Return the cells of a row; ``None`` where some stand below no name, or two below one."""
    words = text.split()
    if len(words) == width:
        return list(words)
    row: list[str | None] = [None] * width
    for match in re.finditer(r"\S+", text):
        first, last = match.span()
        below = [k for k, (begin, end) in enumerate(spans) if first < end and begin < last]
        if len(below) != 1 or row[below[0]] is not None:
            return None
        row[below[0]] = match[0]
    return row
