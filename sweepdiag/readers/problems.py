"""What could not be read: a list that names file, line, value and what was expected."""

from __future__ import annotations

from dataclasses import dataclass, field

from sweepdiag.readers.raw import storable

__all__ = ["MAX_LEFT_OUT", "MAX_LISTED", "Problem", "ProblemList"]

MAX_LEFT_OUT = 0.3
"""Share of rows that are left out from which a table is not what it was taken for."""

MAX_LISTED = 100_000
"""Most problems that are kept one by one; further ones are counted."""

_MAX_VALUE = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that could not be read as it stands.

    Attributes:
        file: The file, relative to what was asked for.
        line: Line in it, from 1 (row where the format has no lines, the header not counted);
            0 where it concerns the whole file.
        column: The column; empty where it concerns the whole line.
        value: What stands there.
        expected: What should stand there, or what was done.
    """

    file: str
    line: int
    column: str
    value: str
    expected: str

    def __str__(self) -> str:
        """Return the problem as one line of text."""
        place = f"{self.file}, line {self.line}" if self.line else self.file
        what = f"{self.column} is {self.value!r}, " if self.column else ""
        return f"{place}: {what}{self.expected}"


@dataclass(slots=True)
class ProblemList:
    """Problems in the order in which they were met.

    Attributes:
        listed: The first ``MAX_LISTED``.
        count: How many there are in all.
    """

    listed: list[Problem] = field(default_factory=list)
    count: int = 0

    def add(self, file: str, line: int, column: str, value: object, expected: str) -> None:
        """Take note of a problem."""
        self.count += 1
        if len(self.listed) < MAX_LISTED:
            self.listed.append(
                Problem(
                    file=storable(file),
                    line=int(line),
                    column=storable(column),
                    value=storable(str(value)[:_MAX_VALUE]),
                    expected=storable(expected),
                )
            )
