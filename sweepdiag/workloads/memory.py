"""How much memory the samples of a sweep may take."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["device_room_bytes", "host_room_bytes"]

_HOST_SHARE = 0.5
"""Of the free memory of the host, over all processes that may train here: one per core."""
_DEVICE_SHARE = 0.5
"""Of the free memory of a GPU; the rest is for models, their gradients and activations."""
_GB = 1e9


def host_room_bytes(memory_gb: float | None) -> float:
    """Return how many bytes of samples one process may hold.

    Args:
        memory_gb: The limit; ``None``: half of the memory that is free, shared by as many
            processes as there are cores.
    """
    if memory_gb is not None:
        return memory_gb * _GB
    affinity = getattr(os, "sched_getaffinity", None)
    n_cores = len(affinity(0)) if affinity else (os.cpu_count() or 1)
    return _HOST_SHARE * _free_host_bytes() / n_cores


def device_room_bytes(device: str, memory_gb: float | None) -> float:
    """Return how many bytes of samples may be moved to a device.

    Args:
        device: Such as ``cuda:0``; there is no limit on what is no memory of its own.
        memory_gb: The limit; ``None``: half of the device's memory that is free.
    """
    import torch

    if not device.startswith("cuda"):
        return math.inf
    if memory_gb is not None:
        return memory_gb * _GB
    free, _ = torch.cuda.mem_get_info(torch.device(device))
    return _DEVICE_SHARE * free


def _free_host_bytes() -> float:
    """Return the memory that this process can still get; infinite where no system says so."""
    return min(_free_of_machine(), _free_of_container())


def _free_of_machine() -> float:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.inf
    known = dict(line.split(":", 1) for line in lines)
    return 1024.0 * int(known["MemAvailable"].split()[0]) if "MemAvailable" in known else math.inf


def _free_of_container() -> float:
    """Return what the limit of a control group leaves."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="utf-8").strip()
        used = (folder / "memory.current").read_text(encoding="utf-8").strip()
    except OSError:
        return math.inf
    return max(0.0, float(limit) - float(used)) if limit.isdigit() else math.inf
