"""Whether a process still writes a run folder, found out without touching the folder.

The writer keeps a lease beside the journal: a file that says who it is, which it touches every few
seconds. That tells any machine. Where there is no such file, the time of the last write is all
there is.
"""

from __future__ import annotations

import datetime as dt
import enum
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweepdiag.store.lease import STALE_AFTER_S, lease_holder
from sweepdiag.store.process import is_alive, is_here, pid_namespace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Driver", "DriverState", "Session", "find_driver", "session_of", "session_record"]


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
        return (self.host, self.namespace) == (socket.gethostname(), pid_namespace())


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
        "namespace": pid_namespace(),
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
    if holder is None:
        is_of_here = session is not None and session.is_of_this_machine
        state = DriverState.GONE if is_of_here else DriverState.UNKNOWN
    else:
        silent = (now or dt.datetime.now(dt.UTC)) - last_heard
        state = _state_of_lease(holder, silent)
    return Driver(state=state, host=host, pid=pid, last_heard=last_heard)


def _lease(journal: Path) -> Path:
    return journal.with_suffix(".lock")


def _modified(path: Path) -> dt.datetime | None:
    try:
        return dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
    except OSError:
        return None


def _read_lease(journal: Path) -> dict[str, Any] | None:
    """Return who holds the lease, empty if nobody does; ``None`` if there is none."""
    try:
        with _lease(journal).open("rb") as file:
            return lease_holder(file.fileno())
    except OSError:
        return None


def _state_of_lease(holder: Mapping[str, Any], silent: dt.timedelta) -> DriverState:
    if not holder or silent.total_seconds() >= STALE_AFTER_S:
        return DriverState.GONE
    return DriverState.GONE if is_here(holder) and not is_alive(holder) else DriverState.ALIVE
