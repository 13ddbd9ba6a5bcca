"""What the lines of a printed log say, and how they name their losses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sweepdiag.readers.names import loss_of, says_part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["LEAST_ROWS", "PrintedRows", "losses_in", "plain", "role_of"]

LEAST_ROWS = 3
"""Rows from which printed lines are a log."""
_ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\x08")
_LOSS = re.compile(
    r"(?<![a-z])(?P<name>(?:[a-z]+[ _]){0,6}loss)(?:\s+is\b|\s*[:=])?\s*"
    r"(?P<value>[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf))"
    r"(?![\w-])",
    re.IGNORECASE,
)
"""A loss with the words before it: of ``best val loss`` none is to be taken for ``val loss``. They
are counted, since a search over all words of a long line takes time by its square."""
_PART = re.compile(
    r"\b(?:train(?:ing)?|val(?:id(?:ation)?)?|eval(?:uation)?|dev|test)\b", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class PrintedRows:
    """The rows that the lines of a log make up.

    Attributes:
        names: The columns.
        rows: A cell per column, as text or number; ``None`` where there is none.
        lines: Line of each row, from 1.
        note: How they were read, in words.
    """

    names: Sequence[str]
    rows: Sequence[Sequence[Any]]
    lines: Sequence[int]
    note: str


def plain(line: str) -> str:
    """Return a line without colours."""
    return _ESCAPE.sub("", line)


def losses_in(text: str) -> Iterator[tuple[str, str]]:
    """Yield each loss of a line, with its name: in ``Test set: average loss`` all of that."""
    end = 0
    for match in _LOSS.finditer(text):
        name, before = match["name"], text[end : match.start()]
        end = match.end()
        if "best" in before.lower():  # what was lowest so far, as where weights are saved
            continue
        parts = [] if _says_part(name) else _PART.findall(before)
        yield " ".join([*parts[-1:], name]), match["value"]


@lru_cache(maxsize=1000)
def _says_part(name: str) -> bool:
    return says_part(name)


@lru_cache(maxsize=1000)
def role_of(name: str) -> str:
    """Return ``train`` or ``val``, whichever loss a name says; else ''."""
    if loss_of([name], is_train=True):
        return "train"
    return "val" if loss_of([name], is_train=False) else ""
