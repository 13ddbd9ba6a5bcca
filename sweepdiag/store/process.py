"""Processes as files of a run folder name them: host, process id, and when it started."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["is_alive", "is_here", "pid_namespace", "this_process"]


def this_process() -> dict[str, Any]:
    """Return how this process is named."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "started": _start_of(pid), **_place()}


def _place() -> dict[str, str]:
    """Return what tells apart machines, their boots and their containers, where Linux tells."""
    boot = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"boot": boot, "namespace": pid_namespace()}


def pid_namespace() -> str:
    """Return what this process's id belongs to: a container counts its own."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def is_here(holder: Mapping[str, Any]) -> bool:
    """Return whether the holder's process id means something here."""
    here = {"host": socket.gethostname(), **_place()}
    return all(holder.get(name) == value for name, value in here.items())


def is_alive(holder: Mapping[str, Any]) -> bool:
    """Return whether a process of this machine lives; a zombie does not."""
    pid = holder.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, and alive
    # Ids are given again: the one that started at another time is another process.
    return _start_of(pid) == holder.get("started")


def _start_of(pid: int) -> str:
    """Return when a process started, in clock ticks since the boot; empty if it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *rest = text.rpartition(")")[2].split()
    return "" if state in {"Z", "X"} else rest[18]
