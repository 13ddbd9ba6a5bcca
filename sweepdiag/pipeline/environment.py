"""What a run was made with: versions, machine, code, command."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["describe_environment", "now"]

_PACKAGES = ("torch", "ray", "optuna", "numpy", "pandas", "pyarrow", "seaborn", "altair")


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def describe_environment(*, version: str, devices: str) -> dict[str, Any]:
    """Return what ``environment.json`` holds.

    Args:
        version: Version of sweepdiag.
        devices: What the sweep trains on, in one line.
    """
    return {
        "sweepdiag": version,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "devices": devices,
        # Without paths of this machine: reports are shared.
        "command": [_without_folders(word) for word in sys.argv],
        "git": _git_state(),
        "created": now(),
    }


def _without_folders(word: str) -> str:
    """Return a word of a command with absolute paths cut to their last part."""
    option, is_option, value = word.rpartition("=")
    return f"{option}{is_option}{Path(value).name}" if Path(value).is_absolute() else word


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """Return the model of the CPU, as the kernel names it where it does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({os.cpu_count()} cores)" if names else platform.processor()


def _git_state() -> dict[str, Any] | None:
    """Return commit and cleanliness of the working directory's repository, if it is in one."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "has_changes": bool(_git("status", "--porcelain"))}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
