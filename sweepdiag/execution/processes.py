"""Finding and ending the processes of one run by a mark in their environment.

Ray ends its own processes, but not what a user's training has started (data loaders, daemons). All
of them inherit the environment, so the run's mark finds them wherever they ended up in the tree.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

__all__ = ["RUN_ID_VARIABLE", "end_processes", "find_processes"]

RUN_ID_VARIABLE = "SWEEPDIAG_RUN_ID"
"""Set in every process that an executor starts, to a value of its own."""

_PROC = Path("/proc")
_POLL_S = 0.05

_DEATH_S = 5.0
"""How long the system may take to remove a killed process; one in uninterruptible sleep stays."""


def find_processes(run_id: str) -> list[int]:
    """Return the ids of the living processes that carry the mark; none where there is no /proc.

    Args:
        run_id: The mark.
    """
    mark = f"{RUN_ID_VARIABLE}={run_id}".encode()
    own = os.getpid()
    pids = (int(entry.name) for entry in _entries() if entry.name.isdigit())
    return sorted(pid for pid in pids if pid != own and _carries(pid, mark))


def end_processes(run_id: str, *, patience_s: float) -> list[int]:
    """Wait for the marked processes to end, then kill those that have not, until they are gone.

    Args:
        run_id: The mark.
        patience_s: How long they may take to end by themselves.

    Returns:
        The ids of the processes that had to be killed.
    """
    deadline = time.monotonic() + patience_s
    while (pids := find_processes(run_id)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    for pid in pids:
        # It may have ended by itself since it was found.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _DEATH_S
    while find_processes(run_id) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return pids


def _entries() -> list[Path]:
    try:
        return list(_PROC.iterdir())
    except OSError:
        return []


def _carries(pid: int, mark: bytes) -> bool:
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:  # gone, a zombie, or somebody else's
        return False
    return mark in environment.split(b"\0")
