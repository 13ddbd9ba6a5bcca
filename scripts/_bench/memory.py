"""The resident memory of this process, and its highest since it was last asked to forget it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["forget_peak", "peak_mb", "resident_mb"]


def resident_mb() -> float:
    """Return the memory that this process has now, in MB (1e6 bytes)."""
    return _status_mb("VmRSS")


def peak_mb() -> float:
    """Return the most that it had since ``forget_peak``, in MB."""
    return _status_mb("VmHWM")


def forget_peak() -> None:
    """Let the highest begin anew with what there is now."""
    Path("/proc/self/clear_refs").write_text("5")


def _status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return float(line.split()[1]) * 1024 / 1e6
