"""The most memory that was taken since a moment: by this process, or by PyTorch on a GPU.

On the CPU it is the resident memory of the process, as the system counts it: what the allocator
keeps beside the tensors is part of it, and decides whether a process is killed. Only Linux tells
the highest value since a moment; elsewhere it is not known. Linux counts pages in batches per
core: on two cores the value is right to some 0.2 MB.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Protocol

from sweepdiag.freeing import give_back_memory

__all__ = ["PeakMeter", "give_back", "process_peak_mb", "start_meter"]

_MB = 1e6


class PeakMeter(Protocol):
    """Tells the most memory that was taken since it was started.

    There is one mark of the highest value per process and device: a meter that is started later
    takes it from the one before.
    """

    def grown_bytes(self) -> float:
        """Return the most that was taken on top of what was taken at the start; NaN if unknown."""

    def peak_mb(self) -> float:
        """Return the most that was taken in all, in MB; NaN if unknown."""


def start_meter(device: str) -> PeakMeter:
    """Return a meter of a device's memory, started now.

    What the allocator holds for nobody counts as taken. To learn how much something takes, call
    :func:`give_back` first: taken again it would not show.
    """
    return _DeviceMeter(device) if device.startswith("cuda") else _ProcessMeter()


def give_back(device: str) -> None:
    """Have the allocator return to the system what it holds for nobody.

    Whoever takes the same memory again pays for it: training a small convolutional network of a
    few hundred steps took 9 % longer where it was given back before each training.
    """
    if not device.startswith("cuda"):
        give_back_memory()
        return
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def process_peak_mb(device: str) -> float:
    """Return the most that this process has taken so far, in MB; NaN if unknown.

    Args:
        device: On a GPU it is what PyTorch took there, NaN where the process has not used it.
    """
    if not device.startswith("cuda"):
        return _status_bytes("VmHWM") / _MB
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return math.nan
    return float(torch.cuda.max_memory_reserved(device)) / _MB


class _ProcessMeter:
    """Resident memory of this process."""

    def __init__(self) -> None:
        self._is_restarted = _restart_mark()
        self._start_bytes = _status_bytes("VmRSS")

    def grown_bytes(self) -> float:
        if not self._is_restarted:
            return math.nan  # the mark may be from before
        return max(0.0, _status_bytes("VmHWM") - self._start_bytes)

    def peak_mb(self) -> float:
        return process_peak_mb("cpu")


class _DeviceMeter:
    """Memory of a GPU: tensors', for what trainings need, and PyTorch's, for what they took."""

    def __init__(self, device: str) -> None:
        import torch

        self._device = torch.device(device)
        # Before that there is no mark to begin anew.
        torch.cuda.init()  # type: ignore[no-untyped-call]  # torch has no types here
        torch.cuda.reset_peak_memory_stats(self._device)
        self._start_bytes = torch.cuda.memory_allocated(self._device)

    def grown_bytes(self) -> float:
        import torch

        return float(torch.cuda.max_memory_allocated(self._device) - self._start_bytes)

    def peak_mb(self) -> float:
        return process_peak_mb(str(self._device))


def _status_bytes(name: str) -> float:
    """Return a size from the process's status; NaN where there is none."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return math.nan
    _, found, rest = text.partition(f"\n{name}:")
    return 1024.0 * int(rest.split(maxsplit=1)[0]) if found else math.nan


def _restart_mark() -> bool:
    """Begin anew with the highest resident memory; return whether the system lets us."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True
