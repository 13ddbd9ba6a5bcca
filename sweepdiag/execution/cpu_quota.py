"""How much processor time a container grants, which no affinity mask tells."""

from __future__ import annotations

import math
from pathlib import Path

__all__ = ["cpu_quota"]

_GROUPS = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")


def cpu_quota() -> float:
    """Return how many cores' worth of time this process gets; infinite where nothing limits it.

    The least that its control groups and those around them grant, of both versions.
    """
    try:
        lines = _GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.inf
    limits = [math.inf]
    # In a container the paths are those of the host, and the root is the container's own.
    for line in ["0::/", "0:cpu:/", *lines]:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _ROOT / "cpu" if controllers else _ROOT
        folder = root / path.strip("/")
        read = _quota_1 if controllers else _quota_2
        limits += [
            read(place) for place in (folder, *folder.parents) if root in (place, *place.parents)
        ]
    return min(limits)


def _quota_2(folder: Path) -> float:
    """Read ``cpu.max``: quota and period in microseconds, or ``max`` and the period."""
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _quota_1(folder: Path) -> float:
    return _ratio(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float:
    # No limit is the word max, or -1.
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return math.inf
    return int(quota) / int(period)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
