"""A table as a file holds it, before it is known what its columns mean."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sweepdiag.readers.numbers import Numbers

__all__ = ["Chooser", "RawTable", "is_file", "storable"]

Chooser: TypeAlias = "Callable[[Sequence[str]], Sequence[str]]"
"""Told the names of all columns, returns those that are to be read."""


def is_file(path: Path) -> bool:
    """Return whether there is a file, as far as one is allowed to know."""
    try:
        return path.is_file()
    except OSError:  # in a folder that may be listed but not entered
        return False


def storable(text: str) -> str:
    """Return a text as UTF-8 can hold it: names may have halves of characters."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """The columns of one file.

    Attributes:
        file: Its name, as messages give it.
        default_run: Name of the run where no column names it.
        names: All columns, also those that were not read.
        columns: What was read: numbers as ``parse_numbers`` returns them, all else as objects.
        lines: Line of each row in the file, from 1.
        notes: What was done to read it, in words.
    """

    file: str
    default_run: str
    names: tuple[str, ...]
    columns: Mapping[str, Sequence[Any] | NDArray[np.float64]]
    lines: NDArray[np.int64]
    has_decimal_comma: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.lines)

    def with_columns(self, columns: Mapping[str, Sequence[Any] | NDArray[np.float64]]) -> RawTable:
        """Return the table with further columns, each with a cell per row."""
        return dataclasses.replace(
            self, names=(*self.names, *columns), columns={**self.columns, **columns}
        )

    def only(self, kept: Container[str | None]) -> RawTable:
        """Return the table with some of its columns."""
        columns = {name: cells for name, cells in self.columns.items() if name in kept}
        return dataclasses.replace(self, columns=columns)

    def numbers(self, name: str) -> Numbers:
        """Return a column as numbers; see ``parse_numbers``."""
        from sweepdiag.readers.numbers import parse_numbers

        column = self.columns[name]
        if isinstance(column, np.ndarray):
            return column, np.isnan(column), []
        return parse_numbers(column, has_decimal_comma=self.has_decimal_comma)
