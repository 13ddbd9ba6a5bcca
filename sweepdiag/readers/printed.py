"""Logs printed for people, of the kinds that say plainly what their numbers are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.readers.printed_dicts import dicts_of_lines
from sweepdiag.readers.printed_epochs import counted_lines, epochs_of_lines
from sweepdiag.readers.printed_markdown import markdown_of_lines
from sweepdiag.readers.printed_rounds import rounds_of_lines
from sweepdiag.readers.printed_steps import steps_of_lines
from sweepdiag.readers.printed_tables import table_of_lines
from sweepdiag.readers.raw import Chooser, RawTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sweepdiag.readers.printed_rows import PrintedRows

__all__ = ["find_printed", "read_printed"]

_KINDS = (
    dicts_of_lines,
    table_of_lines,
    markdown_of_lines,
    rounds_of_lines,
    epochs_of_lines,
    steps_of_lines,
    counted_lines,
)
"""From what says the most to what says the least."""


def find_printed(lines: Sequence[str]) -> PrintedRows | None:
    """Return the rows of a printed log; ``None`` if it is of no kind that is known."""
    names_loss = any("loss" in line.lower() for line in lines)
    kinds = _KINDS if names_loss else (rounds_of_lines,)
    return next((found for kind in kinds if (found := kind(lines)) is not None), None)


def read_printed(
    lines: Iterable[str], *, file: str, default_run: str, choose: Chooser
) -> RawTable | None:
    """Return the table of a printed log; ``None`` if it is of no kind that is known.

    Args:
        lines: The lines of the file.
        file: What messages call it.
        default_run: Name of its run.
        choose: Told the names of the columns.
    """
    printed = find_printed(list(lines))
    if printed is None:
        return None
    wanted = set(choose(printed.names))
    cells = dict(zip(printed.names, zip(*printed.rows, strict=True), strict=True))
    return RawTable(
        file=file,
        default_run=default_run,
        names=tuple(printed.names),
        columns={name: column for name, column in cells.items() if name in wanted},
        lines=np.asarray(printed.lines, dtype=np.int64),
        notes=(f"printed lines and no table: {printed.note}",),
    )
