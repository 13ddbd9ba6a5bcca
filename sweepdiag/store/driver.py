"""Whether a process still writes a run folder, found out without touching the folder.

The writer may keep a lease beside the journal: a file that says who it is, which it touches every
few seconds. That tells any machine. Otherwise it holds a lock on the journal for as long as it
lives. Trying to take that lock would keep a writer out that starts at the same moment, so the
kernel's own list of locks is read, which tells of this machine only; of other machines the time of
the last write is then all there is.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Driver", "DriverState", "Session", "find_driver", "session_of", "session_record"]

_LOCKS = Path("/proc/locks")
_STALE_AFTER_S = 60.0
"""Age at which a lease is nobody's any more."""
_MOST_LEASE_BYTES = 4096


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
        last_heard: When it last wrote or renewed its lease; ``None`` if it never did.
    """

    state: DriverState
    host: str
    pid: int | None
    last_heard: dt.datetime | None


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


def find_driver(
    journal: Path, session: Session | None, *, now: dt.datetime | None = None
) -> Driver:
    """Return who writes a journal.

    Args:
        journal: The file; it need not be there.
        session: The last session that it tells of; ``None`` if it tells of none.
        now: The time that the age of a lease is measured from; by default the clock's.
    """
    times = [time for time in map(_modified, (journal, _lease(journal))) if time is not None]
    if not times or not journal.exists():
        return Driver(state=DriverState.GONE, host="", pid=None, last_heard=None)
    last_heard = max(times)
    host, pid = ("", None) if session is None else (session.host, session.pid)
    holder = _read_lease(journal)
    if holder:
        host = str(holder.get("host") or host)
        pid = holder["pid"] if isinstance(holder.get("pid"), int) else pid
    locked_by = _lock_holder(journal.stat())
    if locked_by is not None:
        host, pid, state = socket.gethostname(), locked_by, DriverState.ALIVE
    elif holder is not None:
        silent = (now or dt.datetime.now(dt.UTC)) - last_heard
        state = _state_of_lease(holder, silent)
    else:
        is_seen = _LOCKS.exists() and session is not None and session.is_of_this_machine
        state = DriverState.GONE if is_seen else DriverState.UNKNOWN
    return Driver(state=state, host=host, pid=pid, last_heard=last_heard)


def _lease(journal: Path) -> Path:
    return journal.with_suffix(".lock")


def _modified(path: Path) -> dt.datetime | None:
    try:
        return dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
    except OSError:
        return None


def _read_lease(journal: Path) -> dict[str, Any] | None:
    """Return who holds the lease, empty if nobody does; ``None`` if there are no leases here."""
    try:
        with _lease(journal).open("rb") as file:
            data = file.read(_MOST_LEASE_BYTES)
    except OSError:
        return None
    if not data:
        return {}
    try:
        holder = json.loads(data)
    except ValueError:
        holder = None
    # Something that nobody can read is somebody.
    return holder if isinstance(holder, dict) and holder else {"pid": None}


def _state_of_lease(holder: Mapping[str, Any], silent: dt.timedelta) -> DriverState:
    if not holder or silent.total_seconds() >= _STALE_AFTER_S:
        return DriverState.GONE
    is_here = (holder.get("host"), holder.get("namespace")) == (socket.gethostname(), _namespace())
    if is_here and not _is_running(holder.get("pid")):
        return DriverState.GONE
    return DriverState.ALIVE


def _is_running(pid: object) -> bool:
    """Return whether a process of this machine lives; a zombie does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[:1] not in (["Z"], ["X"])


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
