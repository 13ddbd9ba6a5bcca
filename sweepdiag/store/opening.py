"""Opening files of a run folder for writing."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from sweepdiag.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["open_for_writing"]

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)


def open_for_writing(path: Path) -> int:
    """Return the descriptor of a file that is created if it is not there, and kept if it is.

    Raises:
        StoreError: If it cannot be written, or is a symbolic link, which may lead elsewhere.
    """
    try:
        return os.open(path, _FLAGS, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            msg = f"{path} is a symbolic link: nothing is written through it"
        else:
            msg = f"cannot write {path}: {error.strerror}"
        raise StoreError(msg) from error
