"""Where a private Ray keeps its files: a folder for one process, removed by the next if need be.

A process that is killed cannot remove its folder, with the token inside. So each folder names the
process that holds it, and whoever makes the next one removes those whose holder is dead.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path

from sweepdiag.errors import LaunchError
from sweepdiag.store.process import is_alive, is_here, this_process

__all__ = ["make_directory", "ray_directory"]

_MAX_LENGTH = 45
"""Ray puts Unix sockets below its directory; their paths are limited to 107 bytes."""

_PREFIX = "sweepdiag-"
_HOLDER = "holder.json"


def make_directory() -> Path:
    """Return a new directory for this user only, short enough for the sockets below it.

    What killed processes of this user have left beside it is removed.

    Raises:
        LaunchError: If there is no place for one.
    """
    tried: list[str] = []
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp")):
        if len(f"{parent}/{_PREFIX}12345678/ray") > _MAX_LENGTH:
            tried.append(f"{parent} is too long a path")
            continue
        _remove_abandoned(Path(parent))
        try:
            directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            (directory / _HOLDER).write_text(json.dumps(this_process()))
        except OSError as error:
            tried.append(f"{parent}: {error.strerror}")
        else:
            return directory
    message = (
        f"no place for Ray's temporary files ({'; '.join(tried)}); set TMPDIR to a short path"
    )
    raise LaunchError(message)


def ray_directory() -> Path:
    """Return where a private Ray would have its temporary files.

    A :class:`~sweepdiag.errors.LaunchError` says that there is no place short enough.
    """
    directory = make_directory()
    shutil.rmtree(directory, ignore_errors=True)
    return directory


def _remove_abandoned(parent: Path) -> None:
    """Remove this user's directories whose holder was a process of this machine and is dead."""
    with contextlib.suppress(OSError):
        for directory in parent.glob(f"{_PREFIX}*"):
            if _is_own(directory) and _is_abandoned(directory):
                shutil.rmtree(directory, ignore_errors=True)


def _is_own(directory: Path) -> bool:
    """Return whether a path is a directory, and no link to one, of this user."""
    try:
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _is_abandoned(directory: Path) -> bool:
    try:
        holder = json.loads((directory / _HOLDER).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(holder, dict) and is_here(holder) and not is_alive(holder)
