"""Whether a process still writes a run folder, found out without touching the folder.

The writer holds a lock on the journal for as long as it lives. Trying to take that lock would
keep a writer out that starts at the same moment, so the kernel's own list of locks is read. It
tells of this machine only; of other machines the time of the last write is all there is.
"""

from __future__ import annotations

import datetime as dt
import enum
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Driver", "DriverState", "Session", "find_driver", "session_of", "session_record"]

_LOCKS = Path("/proc/locks")


class DriverState(enum.StrEnum):
    """Whether a process writes a run folder."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One stretch of training, by one process.

    Attributes:
        started: When it began, ISO 8601.
        host: Name of its machine.
        pid: Its process there.
        namespace: What the process id belongs to: a container counts its own.
    """

    started: str
    host: str = ""
    pid: int = 0
    namespace: str = ""

    @property
    def is_of_this_machine(self) -> bool:
        """Whether its process would be seen from here."""
        return (self.host, self.namespace) == (socket.gethostname(), _namespace())


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """The process that writes a run folder, or wrote it last.

    Attributes:
        state: Whether it lives; unknown where it ran on a machine that cannot be seen from here.
        host: Its machine; empty if it is not known.
        pid: Its process there; ``None`` if it is not known.
        last_write: When the journal was last written; ``None`` if there is none.
    """

    state: DriverState
    host: str
    pid: int | None
    last_write: dt.datetime | None


def session_record(*, started: str) -> dict[str, Any]:
    """Return the record that begins a session of this process.

    Args:
        started: The time, ISO 8601.
    """
    return {
        "kind": "session",
        "started": started,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "namespace": _namespace(),
    }


def session_of(record: Mapping[str, Any]) -> Session:
    """Return the session that a record begins."""
    return Session(
        started=str(record["started"]),
        host=str(record["host"]),
        pid=int(record["pid"]),
        namespace=str(record["namespace"]),
    )


def find_driver(journal: Path, session: Session | None) -> Driver:
    """Return who writes a journal.

    Args:
        journal: The file; it need not be there.
        session: The last session that it tells of; ``None`` if it tells of none.
    """
    try:
        found = journal.stat()
    except OSError:
        return Driver(state=DriverState.GONE, host="", pid=None, last_write=None)
    last_write = dt.datetime.fromtimestamp(found.st_mtime, dt.UTC)
    pid = _lock_holder(found)
    if pid is not None:
        return Driver(
            state=DriverState.ALIVE, host=socket.gethostname(), pid=pid, last_write=last_write
        )
    is_seen = _LOCKS.exists() and session is not None and session.is_of_this_machine
    return Driver(
        state=DriverState.GONE if is_seen else DriverState.UNKNOWN,
        host="" if session is None else session.host,
        pid=None if session is None else session.pid,
        last_write=last_write,
    )


def _lock_holder(file: os.stat_result) -> int | None:
    """Return the process on this machine that has the file locked, if there is one."""
    # A line is such as "1: FLOCK  ADVISORY  WRITE 12550 fe:00:2146423 0 EOF".
    try:
        lines = _LOCKS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    for line in lines:
        fields = line.split()
        if len(fields) > 5 and fields[1] != "->" and fields[5] == place and fields[4].isdigit():
            return int(fields[4])
    return None


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
