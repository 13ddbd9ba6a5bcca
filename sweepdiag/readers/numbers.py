"""Numbers as programs write them into text files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Numbers", "is_given", "is_missing_text", "parse_numbers"]

_MISSING = frozenset({"", "na", "n/a", "#n/a", "null", "none", "<null>", "<na>", "-", "--"})
_EMPTY_CELLS = frozenset(
    {None, " ", *(form(text) for text in _MISSING for form in (str, str.upper, str.title))}
)
"""Cells without a value as they are mostly written: to look through columns at speed."""
_INFINITE = re.compile(r"([+-]?)(?:1\.#inf0*|∞|infinity|inf)", re.IGNORECASE)
_NAN = re.compile(r"[+-]?(?:nan(?:\(\w*\))?|1\.#(?:ind|qnan|snan)0*)", re.IGNORECASE)
_TENSOR = re.compile(
    r"(?:torch\.|tf\.)?tensor\(\s*\[?\s*([^\s,\]()]+)\s*\]?\s*(?:,.*)?\)", re.IGNORECASE
)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")

Numbers = tuple[NDArray[np.float64], NDArray[np.bool_], list[int]]
"""Values, where none is given, and the places of what is no number (NaN, and not missing)."""


def is_missing_text(text: str) -> bool:
    """Return whether a cell says that it is empty."""
    return text.strip().lower() in _MISSING


def is_given(cells: Sequence[Any] | NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which cells of a column hold something."""
    if isinstance(cells, np.ndarray):
        return ~np.isnan(cells)
    empty = _EMPTY_CELLS.intersection(cells)
    if not empty:
        return np.ones(len(cells), dtype=bool)
    return np.fromiter((cell not in empty for cell in cells), bool, len(cells))


def parse_numbers(cells: Sequence[Any], *, has_decimal_comma: bool = False) -> Numbers:
    """Return the numbers of text cells.

    ``nan``, ``inf`` and the spellings of C libraries (``1.#QNAN``, ``-1.#IND``, ``1.#INF``) are
    numbers that are not finite. ``NA``, ``null``, ``None`` and blanks are cells without a value.
    ``tensor(0.5, device='cuda:0')`` is a half.

    Args:
        cells: One column.
        has_decimal_comma: Whether ``0,5`` is a half, as where semicolons separate columns.

    Returns:
        Values, where there is none, and the places of text that is no number.
    """
    try:
        values = np.array(
            [np.nan if cell is None or cell == "" else float(cell) for cell in cells],
            dtype=np.float64,
        )
        bad: list[int] = []
    except (TypeError, ValueError, OverflowError):  # also of whole numbers with 400 digits
        values, bad = _parse_one_by_one(cells, has_decimal_comma=has_decimal_comma)
    missing = np.zeros(len(values), dtype=bool)
    for place in np.flatnonzero(np.isnan(values)):
        cell = cells[int(place)]
        missing[place] = cell is None or is_missing_text(str(cell))
    return values, missing, bad


def _parse_one_by_one(
    cells: Sequence[Any], *, has_decimal_comma: bool
) -> tuple[NDArray[np.float64], list[int]]:
    values, bad = np.full(len(cells), np.nan), []
    for place, cell in enumerate(cells):
        text = "" if cell is None else str(cell).strip()
        tensor = _TENSOR.fullmatch(text)
        text = tensor[1] if tensor else text
        try:
            values[place] = float(text)
        except ValueError:
            infinite = _INFINITE.fullmatch(text)
            if infinite:
                values[place] = -np.inf if infinite[1] == "-" else np.inf
            elif has_decimal_comma and _DECIMAL_COMMA.fullmatch(text):
                values[place] = float(text.replace(",", "."))
            elif not (is_missing_text(text) or _NAN.fullmatch(text)):
                bad.append(place)
    return values, bad
