"""Plans that this machine has measured, in a folder of the user's: small files of JSON.

A cache never breaks a run: what cannot be read counts as not there, and what cannot be written is
said once, at the level of ``--verbose``. Files are written beside their place and moved there, so
that processes may read and write at the same time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

__all__ = ["CACHE_VARIABLE", "PlanCache", "cache_folder"]

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "SWEEPDIAG_CACHE_DIR"
"""The folder; empty or ``off``: nothing is remembered from run to run."""
_MOST_FILES = 1024
_LEFT_FILES = 768
_MOST_BYTES = 2**16
_OLDEST_S = 30 * 86400.0
"""Speeds are measured anew once a month: drivers and systems change, and a measurement may err."""


def cache_folder() -> Path | None:
    """Return the folder for what may be remembered from run to run; ``None`` if nothing may."""
    given = os.environ.get(CACHE_VARIABLE)
    if given is not None:
        is_off = given.strip().lower() in {"", "off"}
        return None if is_off else Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    if Path(base).is_absolute():
        return Path(base) / "sweepdiag"
    try:
        return Path.home() / ".cache" / "sweepdiag"
    except RuntimeError:  # a user without a home
        return None


class PlanCache:
    """Mappings of plain values by key."""

    def __init__(self, folder: Path | None) -> None:
        """Take the folder; nothing is made before something is stored.

        Args:
            folder: ``None``: nothing is found, and nothing is stored.
        """
        self._folder = None if folder is None else folder / "plans"
        self._has_complained = False

    @property
    def is_on(self) -> bool:
        """Whether anything is remembered."""
        return self._folder is not None

    def load(self, key: str) -> dict[str, Any] | None:
        """Return what is stored under a key; ``None`` if nothing, or nothing that can be used."""
        if self._folder is None:
            return None
        path = self._path(self._folder, key)
        try:
            with path.open("rb") as file:
                found = json.loads(file.read(_MOST_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            self._complain("read", path, error)
            return None
        is_usable = (
            isinstance(found, dict)
            and found.get("key") == key
            and isinstance(found.get("value"), dict)
            and isinstance(found.get("created_s"), int | float)
            and abs(time.time() - found["created_s"]) < _OLDEST_S
        )
        if not is_usable:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # what is used stays longest
        value: dict[str, Any] = found["value"]
        return value

    def store(self, key: str, value: dict[str, Any]) -> None:
        """Remember a mapping under a key, in place of what was there."""
        if self._folder is None:
            return
        entry = {"key": key, "created_s": time.time(), "value": value}
        path = self._path(self._folder, key)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".tmp")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(entry, file)
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            self._forget_oldest(self._folder)
        except (OSError, ValueError) as error:
            self._complain("write", path, error)

    def _path(self, folder: Path, key: str) -> Path:
        return folder / f"{key}.json"

    def _forget_oldest(self, folder: Path) -> None:
        """Remove what was used longest ago, and what writers that were killed have left behind."""
        found: list[tuple[float, str]] = []
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):  # another process may have removed it
                found.append((entry.stat().st_mtime, entry.path))
        if len(found) <= _MOST_FILES:
            return
        for _, path in sorted(found)[: len(found) - _LEFT_FILES]:
            Path(path).unlink(missing_ok=True)

    def _complain(self, doing: str, path: Path, error: Exception) -> None:
        if not self._has_complained:
            self._has_complained = True
            logger.info("cannot %s the remembered plan %s: %s", doing, path, error)
