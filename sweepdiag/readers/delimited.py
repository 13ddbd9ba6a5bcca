"""CSV and its relatives, as they are found: cut off, mixed, in any encoding."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import operator
import re
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.errors import ReaderError
from sweepdiag.readers.columns import find_columns
from sweepdiag.readers.printed import find_printed, read_printed
from sweepdiag.readers.problems import MAX_LEFT_OUT, ProblemList
from sweepdiag.readers.raw import Chooser, RawTable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["has_curves_by_header", "has_header_of_losses", "has_printed_losses", "read_delimited"]

_DELIMITERS = (",", ";", "\t", "|")
_N_LOOKED_AT = 65_536
_N_PRINTED = 4 * _N_LOOKED_AT
"""Bytes at the beginning and at the end of printed output, before which its program may stand."""
_WORDS_OF_LOGS = (b"loss", b"learn:", b"[0]", b"[1]")
"""What stands in the lines of printed logs; those of boosting count from 0 in brackets."""
_GIVES_NUMBER = re.compile(r"[:=]\s*[-+]?\.?\d")
"""What no name of a column has, but a line printed for people: ``loss: 0.1``."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def has_header_of_losses(path: Path) -> bool:
    """Return whether a text file begins like a table with losses, not like printed output."""
    names = _names_in(path)
    return len(names) > 1 and find_columns(names, {}).has_loss


def has_curves_by_header(path: Path) -> bool:
    """Return whether a text file begins like a table of losses by epoch or step."""
    columns = find_columns(_names_in(path), {})
    return columns.has_loss and bool(columns.epoch or columns.step)


def _names_in(path: Path) -> list[str]:
    """Return the names of the columns of a text file; none where it cannot be read."""
    try:
        with path.open("rb") as stream:
            begin = stream.read(_N_LOOKED_AT)
        text = _decode(begin, path.name, ProblemList())
        names, _, _ = _header(list(io.StringIO(text, newline="")), path.name)
    except (ReaderError, OSError):
        return []
    return names


def has_printed_losses(path: Path) -> bool:
    """Return whether a text file begins, or ends, like a printed log that can be read."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_N_PRINTED)
            n_left = max(path.stat().st_size - _N_PRINTED, 0)
            if n_left and not content.startswith(tuple(mark for mark, _ in _MARKS)):
                stream.seek(-min(n_left, _N_PRINTED), io.SEEK_END)
                content += b"\n" + stream.read()
        lowered = content.lower()
        if not any(word in lowered for word in _WORDS_OF_LOGS) and b"\0" not in content:
            return False
        lines = list(io.StringIO(_decode(content, path.name, ProblemList()), newline=""))
    except (ReaderError, OSError):
        return False
    return find_printed(lines) is not None


def read_delimited(
    path: Path, *, file: str, default_run: str, choose: Chooser, problems: ProblemList
) -> RawTable:
    """Return the chosen columns of a text file, as text.

    The encoding is that of its byte order mark, else UTF-8, else Windows-1252; columns are
    separated by whichever of comma, semicolon, tab and bar stands most often in the header.
    Lines that have not one value per column are listed and left out. Without a loss in the header
    the lines may be printed ones, that name their losses each.

    Args:
        path: The file.
        file: What messages call it.
        default_run: Name of the run where no column names it.
        choose: Which columns to read.
        problems: Told what cannot be read.

    Returns:
        The table.

    Raises:
        ReaderError: If it is no text, or most of its lines are no rows.
    """
    text = _decode(path.read_bytes(), file, problems)
    lines = list(io.StringIO(text, newline=""))
    try:
        header, delimiter, first = _header(lines, file)
    except ReaderError:
        # A program or a message may stand before printed lines, which is no header at all.
        printed = read_printed(lines, file=file, default_run=default_run, choose=choose)
        if printed is None:
            raise
        return printed
    if any(map(_GIVES_NUMBER.search, header)) or not find_columns(header, {}).has_loss:
        printed = read_printed(lines, file=file, default_run=default_run, choose=choose)
        if printed is not None:
            return printed
    wanted = list(choose(header))
    # The first cell twice as well, so that the getter returns tuples for any number of columns.
    cells_of = operator.itemgetter(0, 0, *(header.index(name) for name in wanted))
    kept: list[tuple[str, ...]] = []
    numbers: list[int] = []
    n_before = problems.count
    for number, row in _rows(lines, first, delimiter, header, file, problems):
        kept.append(cells_of(row))
        numbers.append(number)
    _check_share(problems, n_before, n_kept=len(kept), lines=lines, file=file)
    columns = list(zip(*kept, strict=True))[2:] if kept else [()] * len(wanted)
    return RawTable(
        file=file,
        default_run=default_run,
        names=tuple(header),
        columns=dict(zip(wanted, columns, strict=True)),
        lines=np.asarray(numbers, dtype=np.int64),
        has_decimal_comma=delimiter != ",",
    )


def _check_share(
    problems: ProblemList, n_before: int, *, n_kept: int, lines: list[str], file: str
) -> None:
    """Check that most lines were rows of the header's columns.

    Raises:
        ReaderError: If too many were not: the rest would be part of a curve, or of another table.
    """
    listed = problems.listed[n_before:]
    # The last line may be cut off in any file.
    is_cut = not lines[-1].endswith(("\n", "\r")) and any(p.line == len(lines) for p in listed)
    n_left_out = problems.count - n_before - is_cut
    if n_kept and n_left_out > MAX_LEFT_OUT * (n_kept + n_left_out):
        first = f": {listed[0]}" if listed else ""
        message = (
            f"{file} has {n_left_out} of {n_kept + n_left_out} lines that are no rows below its "
            f"header{first}. Where it holds several tables, write each into a file of its own"
        )
        raise ReaderError(message)


def _is_header(line: str) -> bool:
    return bool(line.strip("\r\n\t ,;|")) and not line.startswith("#")


def _decode(content: bytes, file: str, problems: ProblemList) -> str:
    """Return the text of a file.

    Raises:
        ReaderError: If it is no text.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace").removeprefix("\N{BOM}")
    content = content.lstrip(b"\0")  # of a log that was cut to nothing while it was written to
    if b"\0" in content[:4096]:
        message = f"{file} is no text file: there are null bytes in it"
        raise ReaderError(message)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        value = content[error.start : error.start + 8]
        problems.add(file, line, "", value, f"{value!r} is not UTF-8: read as Windows-1252")
        return content.decode("cp1252", errors="replace")


def _header(lines: list[str], file: str) -> tuple[list[str], str, int]:
    """Return distinct names of all columns, what separates them, and the line after them.

    Raises:
        ReaderError: If there is no line, or the first cannot be split.
    """
    start = next((i for i, line in enumerate(lines) if _is_header(line)), None)
    if start is None:
        message = f"{file} is empty: there is no line with the names of the columns"
        raise ReaderError(message)
    delimiter = max(_DELIMITERS, key=lines[start].count)
    reader = csv.reader(itertools.islice(lines, start, None), delimiter=delimiter)
    try:
        cells = [cell.strip() for cell in next(reader)]
    except csv.Error as error:
        message = f"{file}, line {start + 1}: the names of the columns cannot be read: {error}"
        raise ReaderError(message) from error
    seen: dict[str, int] = {}
    names = []
    for place, cell in enumerate(cells, start=1):
        name = cell or f"column {place}"
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names, delimiter, start + reader.line_num


def _rows(
    lines: list[str],
    start: int,
    delimiter: str,
    header: list[str],
    file: str,
    problems: ProblemList,
) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of each whole row.

    A quote that is never closed would swallow the lines after it. So where a row spans lines, and
    the next one would do by itself, its first line alone is left out and reading begins anew.
    """
    width = len(header)
    while start < len(lines):
        reader = csv.reader(itertools.islice(lines, start, None), delimiter=delimiter)
        before, begun = 0, start
        try:
            for row in reader:
                line, before = begun + before + 1, reader.line_num
                if begun + before > line and _is_whole(lines[line], delimiter, width):
                    problems.add(
                        file, line, "", lines[line - 1].strip(),
                        "line left out: a quote in it is not closed",
                    )  # fmt: skip
                    start = line
                    break
                is_padded = len(row) > width and not any(row[width:])
                if row == header or not any(row):
                    continue
                if len(row) == width or is_padded:
                    yield line, row
                else:
                    _add_ragged(problems, file, line, lines, width, len(row))
            else:
                return
        except csv.Error as error:
            line = begun + before + 1
            problems.add(file, line, "", lines[line - 1].strip(), f"line left out: {error}")
            start = line


def _is_whole(line: str, delimiter: str, width: int) -> bool:
    """Return whether a line is a row by itself."""
    try:
        return any(len(row) == width for row in csv.reader([line], delimiter=delimiter))
    except csv.Error:
        return False


def _add_ragged(
    problems: ProblemList, file: str, line: int, lines: list[str], width: int, found: int
) -> None:
    text = lines[line - 1]
    is_cut = line == len(lines) and not text.endswith(("\n", "\r"))
    why = "the file is cut off here" if is_cut else "line left out"
    problems.add(
        file, line, "", text.strip(), f"{why}: {found} values, expected {width} as in the header"
    )
