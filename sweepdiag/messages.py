"""Texts for tables, terminals and reports: foreign errors made fit for them, and sizes."""

from __future__ import annotations

import itertools
import math
import re
import sysconfig
import traceback
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MAX_MESSAGE_BYTES",
    "clean_message",
    "describe_bytes",
    "describe_error",
    "describe_peak_memory",
    "describe_traceback",
    "headline",
    "is_users_file",
    "monitor_name",
    "place_of_error",
]

MAX_MESSAGE_BYTES = 2048
"""Longest message kept of one failure, in UTF-8."""

_ESCAPE_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])"
)
_NAMES_VALIDATION = re.compile(r"val(?!ue)", re.IGNORECASE)
_CUT_MARK = " [...] "
_TRACEBACK = "Traceback (most recent call last)"
_ERROR_LINE = re.compile(r"[A-Za-z_][\w.]*(: .*| \([^()]+:\d+\))?")
"""An exception as it stands below its traceback: its type alone, with a message or a place."""
_LIBRARIES = frozenset({"site-packages", "dist-packages"})
_NOT_THE_USERS = (Path(__file__).parent, Path(sysconfig.get_path("stdlib")))


def clean_message(text: str, *, max_bytes: int = MAX_MESSAGE_BYTES) -> str:
    """Return a text without control characters, in at most ``max_bytes`` bytes.

    Messages of user code are shown on terminals and in reports; colour codes, bells and characters
    that turn the direction of writing have no place there. Line breaks and tabs stay. What is too
    long loses its middle, since a traceback says most at both of its ends.

    Args:
        text: Any text, such as the message of an exception.
        max_bytes: Limit in bytes of UTF-8, at least 16.

    Returns:
        The cleaned text, without white space at its ends.
    """
    text = _ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n"))
    text = "".join(char for char in text if char in "\n\t" or not _is_control(char)).strip()
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return text
    room = max_bytes - len(_CUT_MARK)
    # Cutting bytes may split a character; what is left of it is dropped.
    head = encoded[: room // 2].decode(errors="ignore")
    tail = encoded[-(room - room // 2) :].decode(errors="ignore")
    return f"{head}{_CUT_MARK}{tail}"


def headline(reason: str) -> str:
    """Return the line of a stored reason that names what went wrong.

    That is the first line. Of a traceback it is the error, which stands without indentation right
    below the calls, and whose message may have further lines; if there is none, the last line.

    Args:
        reason: What ``describe_error`` or ``describe_traceback`` gave, or words of our own.
    """
    lines = clean_message(reason).split("\n")
    if not lines[0].startswith(_TRACEBACK):
        return lines[0]
    errors = [
        line
        for above, line in itertools.pairwise(lines)
        if above[:1].isspace() and _ERROR_LINE.fullmatch(line)
    ]
    return (errors or lines)[-1]


def describe_error(error: BaseException, *, with_place: bool = False) -> str:
    """Return an exception's type and message, cleaned.

    Args:
        error: The exception.
        with_place: Whether to add where it comes from: the line of the user's code, or where there
            is none, of whatever code has raised it.

    Returns:
        Such as ``ValueError: capacity must be positive (my_workload.py:31)``.
    """
    message = clean_message(str(error))
    name = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__) if with_place else []
    place = place_of_error(error) if with_place else ""
    if frames and not place:
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
    place = f" ({place})" if place else ""
    return clean_message(f"{name}: {message}{place}" if message else f"{name}{place}")


def describe_traceback(error: BaseException) -> str:
    """Return an exception with its traceback, cleaned; the beginning of its message is kept.

    The line that names the error ends with the line of the user's code that it comes from.
    """
    ending = "".join(traceback.format_exception_only(error))
    calls = "".join(traceback.format_exception(error)).removesuffix(ending)
    first, *rest = clean_message(ending, max_bytes=MAX_MESSAGE_BYTES // 2).split("\n")
    first = first.removeprefix("sweepdiag.errors.")
    place = "" if isinstance(error, SyntaxError) else place_of_error(error)
    message = "\n".join([f"{first} ({clean_message(place)})" if place else first, *rest])
    room = MAX_MESSAGE_BYTES - len(message.encode()) - 1
    return f"{clean_message(calls, max_bytes=room)}\n{message}".strip()


def place_of_error(error: BaseException) -> str:
    """Return where in the user's own code an error comes from, as ``file.py:31``.

    That is the innermost call outside of sweepdiag, Python's library and installed packages, which
    is the line that the user can change; empty if there is none.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if is_users_file(frame.filename)]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""


def is_users_file(filename: str) -> bool:
    """Return whether a file of code is the user's: no package's, no library's and none of ours."""
    path = Path(filename)
    is_foreign = filename.startswith("<") or _LIBRARIES & set(path.parts)
    return not is_foreign and not any(path.is_relative_to(folder) for folder in _NOT_THE_USERS)


def describe_bytes(n_bytes: float) -> str:
    """Return a size in units of 1000, such as ``840 kB`` or ``1.2 GB``; ``-`` if it is NaN."""
    if math.isnan(n_bytes):
        return "-"
    size = float(n_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.{1 if size < 9.95 and unit != 'B' else 0}f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def describe_peak_memory(peaks: Iterable[tuple[str, float]]) -> str:
    """Return the most memory that a worker took, on the CPU and on a GPU.

    Args:
        peaks: Per trial its device and the peak in MB; NaN where it is not known.

    Returns:
        Such as ``1.2 GB per worker`` or ``3.4 GB per GPU``; empty if nothing is known.
    """
    highest: dict[str, float] = {}
    for device, peak_mb in peaks:
        if math.isfinite(peak_mb):
            place = "GPU" if device.startswith("cuda") else "worker"
            highest[place] = max(peak_mb, highest.get(place, 0.0))
    return ", ".join(f"{describe_bytes(1e6 * mb)} per {place}" for place, mb in highest.items())


def _is_control(char: str) -> bool:
    """Return whether a character steers terminals or text direction, or is no character."""
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def monitor_name(monitor: str, metric: str | None) -> str:
    """Return what texts call the monitored value, such as ``validation accuracy``.

    Args:
        monitor: ``val_loss`` or ``val_metric``.
        metric: The metric's own name, if it is known; it may say already what it is measured on.
    """
    if monitor == "val_loss":
        return "validation loss"
    if metric is not None and _NAMES_VALIDATION.match(metric):
        return metric
    return f"validation {metric or 'metric'}"
