"""How much memory the samples and the trainings of a sweep may take."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["device_room_bytes", "host_room_bytes", "pack_room_bytes"]

_HOST_SHARE = 0.5
"""Of the free memory of the host, over all processes that may train here: one per core."""
_DEVICE_SHARE = 0.5
"""Of the free memory of a GPU; the rest is for models, their gradients and activations."""
_DEVICE_PACK_SHARE = 0.8
"""Of what samples leave free on a GPU; the rest is for gaps between tensors and for libraries."""
_GB = 1e9

_MEMINFO = Path("/proc/meminfo")
_CGROUPS = Path("/proc/self/cgroup")
_CGROUP_ROOT = Path("/sys/fs/cgroup")


def host_room_bytes(memory_gb: float | None) -> float:
    """Return how many bytes of samples one process may hold.

    Args:
        memory_gb: The limit; ``None``: half of the memory that is free, shared by as many
            processes as there are cores.
    """
    if memory_gb is not None:
        return memory_gb * _GB
    return _HOST_SHARE * free_host_bytes() / _n_cores()


def device_room_bytes(device: str, memory_gb: float | None) -> float:
    """Return how many bytes of samples may be moved to a device.

    Args:
        device: Such as ``cuda:0``; there is no limit on what is no memory of its own.
        memory_gb: The limit; ``None``: half of the device's memory that is free.
    """
    if not device.startswith("cuda"):
        return math.inf
    if memory_gb is not None:
        return memory_gb * _GB
    return _DEVICE_SHARE * _free_device_bytes(device)


def pack_room_bytes(
    device: str, memory_gb: float | None = None, *, n_workers: int | None = None
) -> float:
    """Return how many bytes trainings may take at a time in one process, beside their samples.

    Args:
        device: Where they run.
        memory_gb: The limit; ``None``: four fifths of what is free on the GPU, or this process's
            part of half of what is free on the host. What others take later is theirs.
        n_workers: Processes that train on this host; ``None``: one per core.
    """
    if memory_gb is not None:
        return memory_gb * _GB
    if device.startswith("cuda"):
        return _DEVICE_PACK_SHARE * _free_device_bytes(device)
    return _HOST_SHARE * free_host_bytes() / (n_workers or _n_cores())


def _n_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)


def _free_device_bytes(device: str) -> float:
    """Return the memory of a GPU that PyTorch can still get, what it keeps for later included."""
    import torch

    free, _ = torch.cuda.mem_get_info(torch.device(device))
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return float(free + kept)


def free_host_bytes() -> float:
    """Return the memory that this process can still get; infinite where no system says so."""
    return min(_free_of_machine(), _free_of_containers(), _free_of_process())


def _free_of_machine() -> float:
    known = _numbers(_MEMINFO)
    return 1024.0 * known["MemAvailable"] if "MemAvailable" in known else math.inf


def _free_of_process() -> float:
    """Return what a limit of the process's address space leaves (``ulimit -v``)."""
    try:
        import resource
    except ImportError:  # there is none on Windows
        return math.inf
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return math.inf
    used = 1024.0 * _numbers(Path("/proc/self/status")).get("VmSize", 0)
    return max(0.0, limit - used)


def _free_of_containers() -> float:
    """Return what the limits of this process's control groups leave, each of which holds."""
    return min((_left(*names) for names in _control_groups()), default=math.inf)


def _control_groups() -> Iterator[tuple[Path, str, str, str]]:
    """Yield folders with a limit of memory, and their files for limit, use and what is in use.

    Those of this process and those around them, of both versions. In a container the system tells
    paths of the host that are not there, and the root is the container's own.
    """
    try:
        lines = _CGROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in ["0::/", "0:memory:/", *lines]:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            root, names = _CGROUP_ROOT, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = _CGROUP_ROOT / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = root / path.strip("/")
        yield (folder, *names)
        yield from ((around, *names) for around in folder.parents if root in around.parents)


def _left(folder: Path, limit_name: str, used_name: str, cached_name: str) -> float:
    """Return what a control group's limit leaves; files that are only cached make way."""
    try:
        limit = (folder / limit_name).read_text(encoding="utf-8").strip()
        used = (folder / used_name).read_text(encoding="utf-8").strip()
    except OSError:
        return math.inf
    if not limit.isdigit():
        return math.inf
    cached = _numbers(folder / "memory.stat").get(cached_name, 0)
    return max(0.0, float(limit) - float(used) + cached)


def _numbers(file: Path) -> dict[str, int]:
    """Return the whole numbers of a file of names and values; none if it cannot be read."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.replace(":", " ", 1).split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) > 1 and pair[1].isdigit()}
