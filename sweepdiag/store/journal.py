"""An append-only file of checksummed records, one JSON object per line.

A line is ``{"crc32":"xxxxxxxx",…}``: the checksum covers everything after its own comma. A
process that is killed can only tear the last line; the next opening cuts that tail off and keeps
all before it. A damaged line in the middle is skipped and reported: each line stands on its own.

One process writes, any number read. The writer holds the folder's lease until it closes the file.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from sweepdiag.errors import StoreError
from sweepdiag.store.lease import Lease
from sweepdiag.store.opening import open_for_writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "Damage",
    "Journal",
    "decode_line",
    "describe_damages",
    "encode_line",
    "latest_records",
    "read_journal",
    "stream_journal",
]

_PREFIX = b'{"crc32":"'
_BODY_START = len(_PREFIX) + 8 + 2  # the checksum's digits, its closing quote, the comma
_SYNC_EVERY_S = 1.0
_BLOCK_BYTES = 2**18
# json.dumps would make one for each record.
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """A line that could not be read: where it is and whether it was the torn end of the file."""

    line: int
    offset: int
    is_torn_tail: bool


def encode_line(record: Mapping[str, Any]) -> bytes:
    """Return a record as one line of the journal; its values must be JSON without NaN."""
    body = _ENCODER.encode(record).encode()[1:]
    return b'%s%08x",%s\n' % (_PREFIX, zlib.crc32(body), body)


def decode_line(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line without its newline, or ``None`` if it is damaged."""
    body = line[_BODY_START:]
    if not line.startswith(_PREFIX) or len(body) < 2:
        return None
    if line[len(_PREFIX) : _BODY_START] != b'%08x",' % zlib.crc32(body):
        return None
    try:
        record = json.loads(b"{" + body)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def describe_damages(damages: Sequence[Damage], *, n_torn_bytes: int = 0) -> list[str]:
    """Return what to say of lines that could not be read; nothing if there are none.

    Args:
        damages: The lines.
        n_torn_bytes: Length of a torn tail that has been cut already.
    """
    lines: list[str] = []
    whole = [damage.line for damage in damages if not damage.is_torn_tail]
    if whole:
        told = ", ".join(str(line) for line in whole[:5]) + (", …" if len(whole) > 5 else "")
        noun = "line" if len(whole) == 1 else f"{len(whole)} lines"
        lines.append(f"{noun} {told} cannot be read; what they told is left out")
    if n_torn_bytes:
        lines.append(f"its last line was torn; {n_torn_bytes} bytes are cut")
    elif len(damages) > len(whole):
        lines.append("its last line is torn, or being written")
    return lines


def read_journal(path: Path) -> tuple[list[dict[str, Any]], list[Damage]]:
    """Return every readable record of a journal in order, and what could not be read.

    A ``StoreError`` says that the file cannot be opened.
    """
    records, damages = stream_journal(path)
    return list(records), damages


def stream_journal(path: Path) -> tuple[Iterator[dict[str, Any]], list[Damage]]:
    """Return every readable record of a journal in order, read as they are asked for.

    Args:
        path: The journal; it may be written meanwhile, or end in the middle of a line.

    Returns:
        The records, and what could not be read, complete when all records have been. A
        ``StoreError`` says that the file cannot be opened.
    """
    damages: list[Damage] = []
    return _records(_open(path), damages), damages


def _open(path: Path) -> BinaryIO:
    """Return the open journal.

    Raises:
        StoreError: If it cannot be opened.
    """
    try:
        return path.open("rb")
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise StoreError(msg) from error


def _records(file: BinaryIO, damages: list[Damage]) -> Iterator[dict[str, Any]]:
    number, offset = 1, 0
    with file:
        while lines := file.readlines(_BLOCK_BYTES):
            for line, record in zip(lines, _decode_lines(lines), strict=True):
                if record is None:
                    is_torn = not line.endswith(b"\n")
                    damages.append(Damage(line=number, offset=offset, is_torn_tail=is_torn))
                else:
                    yield record
                number += 1
                offset += len(line)


def _decode_lines(lines: Sequence[bytes]) -> list[dict[str, Any] | None]:
    """Return what ``decode_line`` does of each line, in less time: parsed in one go."""
    bodies = [_body(line) for line in lines]
    text = b",{".join(body for body in bodies if body)
    try:
        found = json.loads(b"[{" + text + b"]") if text else []
    except ValueError:
        found = []
    if len(found) != sum(map(bool, bodies)) or not all(isinstance(r, dict) for r in found):
        # A line is not what it should be although its checksum is right: each on its own, then.
        return [decode_line(line[:-1]) if line.endswith(b"\n") else None for line in lines]
    records = iter(found)
    return [next(records) if body else None for body in bodies]


def _body(line: bytes) -> bytes:
    """Return what the checksum of a line covers; nothing if the line is damaged or torn."""
    body = line[_BODY_START:-1]
    is_whole = line[:_BODY_START] == b'%s%08x",' % (_PREFIX, zlib.crc32(body))
    return body if is_whole and line.endswith(b"\n") else b""


_POINTS = re.compile(rb'"kind":"points","trial":"([^"\\]*)","attempt":(\d+),"points":\[')


def latest_records(path: Path) -> tuple[Iterator[dict[str, Any]], list[Damage]]:
    """Return the records of a journal, but of consecutive points of a training the last only.

    For whoever wants to know how far trainings are, and not their curves: most of a journal are
    points, and only the checksums of those left out are looked at.

    Args:
        path: The journal; it may be written meanwhile, or end in the middle of a line.

    Returns:
        The records, read as they are asked for, and what could not be read, complete when all
        records have been. A ``StoreError`` says that the file cannot be opened.
    """
    damages: list[Damage] = []
    return _latest(_open(path), damages), damages


def _latest(file: BinaryIO, damages: list[Damage]) -> Iterator[dict[str, Any]]:
    held: dict[bytes, tuple[int, bytes]] = {}  # per trial and attempt: points, their last line
    offset = 0
    with file:
        for number, line in enumerate(file, start=1):
            is_complete = line.endswith(b"\n")
            body = line[_BODY_START:-1] if is_complete else b""
            found = _POINTS.match(body)
            if found and line[:_BODY_START] == b'%s%08x",' % (_PREFIX, zlib.crc32(body)):
                n_points = held.get(found[0], (0, b""))[0] + body.count(b"[") - 1
                held[found[0]] = (n_points, body)
            else:
                record = decode_line(line[:-1]) if is_complete else None
                if record is None:
                    damages.append(
                        Damage(line=number, offset=offset, is_torn_tail=not is_complete)
                    )
                else:
                    if "trial" in record and (start := _points_start(record)) in held:
                        n_points, body = held.pop(start)
                        yield _last_point(start, body)
                        # The end may tell how many points there were: those left out are here.
                        if n_points >= record.get("n_points", math.inf):
                            record.pop("n_points")
                    yield record
            offset += len(line)
    for start, (_, body) in held.items():
        yield _last_point(start, body)


def _points_start(record: Mapping[str, Any]) -> bytes:
    """Return how the lines with points of a record's trial and attempt begin."""
    start = {"kind": "points", "trial": record["trial"], "attempt": record.get("attempt", 0)}
    return json.dumps(start, separators=(",", ":")).encode()[1:-1] + b',"points":['


def _last_point(start: bytes, body: bytes) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(b"{" + start + body[body.rindex(b"[") :])
    return record


class Journal:
    """The writer of a journal. Not thread-safe: it belongs to the driver's loop.

    Opening cuts a torn tail. Each ``append`` is one write; the file is flushed to disk once a
    second while records come, ten seconds after the last at most, and when it is closed. That is
    what a power failure loses; a killed process loses nothing that it had appended.

    Attributes:
        n_torn_bytes: Length of the torn tail that was cut.
    """

    def __init__(self, path: Path, *, sync_every_s: float = _SYNC_EVERY_S) -> None:
        """Open a journal for appending, creating it if there is none.

        A ``StoreError`` says that the file cannot be written, or that another process writes it.

        Args:
            path: The file.
            sync_every_s: Shortest time between two flushes to disk.
        """
        self._path = path
        self._sync_every_s = sync_every_s
        self._last_sync = time.monotonic()
        self._is_dirty = False
        self._late_failure: StoreError | None = None
        self._fd = -1
        self.n_torn_bytes = 0
        self._lease = Lease(path.with_suffix(".lock"), on_beat=self._flush_late)
        try:
            self._open()
        except BaseException:
            self._lease.release()
            raise

    def _open(self) -> None:
        path = self._path
        self._fd = open_for_writing(path)
        try:
            self._cut_torn_tail()
        except BaseException:
            os.close(self._fd)
            raise

    @property
    def is_taken_over(self) -> bool:
        """Whether the writer before has not closed it, but died or fell silent."""
        return self._lease.is_taken_over

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Append records in one write.

        Raises:
            StoreError: If they cannot be written, as on a full disk, or somebody else writes here
                by now. A half-written line is cut at the next opening.
        """
        data = b"".join(encode_line(record) for record in records)
        self._raise_late_failure()
        try:
            with self._lease.held():
                view = memoryview(data)
                while view:
                    view = view[os.write(self._fd, view) :]
            self._is_dirty = True
            if time.monotonic() - self._last_sync >= self._sync_every_s:
                self.sync()
        except OSError as error:
            raise StoreError(self._failure(error)) from error

    def sync(self) -> None:
        """Flush everything appended so far to the disk.

        Raises:
            StoreError: If the disk does not take it.
        """
        self._is_dirty = False
        try:
            getattr(os, "fdatasync", os.fsync)(self._fd)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a device has nothing to flush
                raise StoreError(self._failure(error)) from error
        self._last_sync = time.monotonic()

    def _flush_late(self) -> None:
        """Flush what came too soon after the last flush, where nothing has come since."""
        if self._is_dirty:
            try:
                self.sync()
            except StoreError as error:  # a disk tells once; this thread has nobody to tell
                self._late_failure = error

    def _raise_late_failure(self) -> None:
        failure, self._late_failure = self._late_failure, None
        if failure is not None:
            raise failure

    def truncate(self) -> None:
        """Forget every record."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)

    def close(self) -> None:
        """Flush and close; calling it again does nothing.

        Raises:
            StoreError: If the last records cannot be flushed.
        """
        if self._fd < 0:
            return
        try:
            self._raise_late_failure()
            os.fsync(self._fd)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise StoreError(self._failure(error)) from error
        finally:
            self._lease.release()  # its thread flushes too
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _failure(self, error: OSError) -> str:
        return f"cannot write {self._path}: {error.strerror}"

    def _cut_torn_tail(self) -> None:
        size = os.fstat(self._fd).st_size
        end = _last_newline(self._fd, size)
        if end < size:
            self.n_torn_bytes = size - end
            os.ftruncate(self._fd, end)
        os.lseek(self._fd, 0, os.SEEK_END)


def _last_newline(fd: int, size: int, *, block: int = 1 << 16) -> int:
    """Return the offset just behind the last newline, 0 if there is none."""
    position = size
    while position > 0:
        start = max(0, position - block)
        os.lseek(fd, start, os.SEEK_SET)
        data = os.read(fd, position - start)
        found = data.rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0
