"""A run folder: its files, and how they are written so that none is ever half there."""

from __future__ import annotations

import json
import os
import secrets
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import StoreError
from sweepdiag.freeing import no_search_for_cycles
from sweepdiag.records import plain
from sweepdiag.store.driver import Driver, find_driver
from sweepdiag.store.history import History
from sweepdiag.store.journal import Damage, Journal, latest_records, read_journal, stream_journal

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

__all__ = ["RunFolder"]

_SWEEP = "sweep.yaml"
_JOURNAL = "journal.jsonl"
_TABLES = ("plan", "curves", "trials", "verdicts", "configurations", "features", "stopping")
_FIGURES = {".png", ".svg"}
_OTHER_FILES = (
    "environment.json",
    "findings.json",
    "recommendation.json",
    "next_sweep.yaml",
    "report.html",
)


class RunFolder:
    """One sweep's folder.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        """Name a folder; nothing is read or written yet."""
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether a sweep has been started here."""
        return (self.path / _SWEEP).is_file()

    @property
    def is_free(self) -> bool:
        """Whether nothing is here that a new sweep would disturb.

        Raises:
            StoreError: If the folder cannot be listed.
        """
        try:
            return not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir()))
        except OSError as error:
            msg = f"cannot read {self.path}: {error.strerror}"
            raise StoreError(msg) from error

    @property
    def is_writable(self) -> bool:
        """Whether files can be created in the folder, as far as permissions and mounts tell."""
        by_effective_user = os.access in os.supports_effective_ids
        return os.access(self.path, os.W_OK | os.X_OK, effective_ids=by_effective_user)

    @property
    def figures(self) -> Path:
        """The folder of the figures."""
        return self.path / "figures"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @property
    def has_current_report(self) -> bool:
        """Whether the report, written last of all derived files, is newer than what it tells."""
        try:
            told = [self.path / name for name in (_SWEEP, _JOURNAL)]
            return self.report.stat().st_mtime_ns >= max(p.stat().st_mtime_ns for p in told)
        except OSError:
            return False

    @property
    def has_journal(self) -> bool:
        """Whether there is a journal, which a folder has that is or was to be a sweep's."""
        return (self.path / _JOURNAL).is_file()

    def create(self, *, sweep_yaml: str) -> None:
        """Create the folder with its configuration."""
        self.create_empty()
        self.write_text(_SWEEP, sweep_yaml)

    def create_empty(self) -> None:
        """Create the folder, for what is derived from another one.

        Raises:
            StoreError: If it cannot be created.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"cannot create {self.path}: {error.strerror}"
            raise StoreError(msg) from error

    def clear(self) -> None:
        """Remove the files of a sweep but its journal, and nothing that sweepdiag did not write.

        The journal stays, for whoever calls this holds its lock: it is emptied instead. So does
        ``sweep.yaml``, which is replaced: without it this would be no run folder for a moment.

        Raises:
            StoreError: If one of them cannot be removed.
        """
        names = [*_OTHER_FILES, *(f"{table}.parquet" for table in _TABLES)]
        try:
            for name in names:
                (self.path / name).unlink(missing_ok=True)
            if self.figures.is_dir() and not self.figures.is_symlink():
                for path in self.figures.iterdir():
                    if path.suffix in _FIGURES:
                        path.unlink()
                if not any(self.figures.iterdir()):
                    self.figures.rmdir()
        except OSError as error:
            msg = f"cannot clear {self.path}: {error.strerror}"
            raise StoreError(msg) from error

    def read_sweep(self) -> str:
        """Return the text of ``sweep.yaml``.

        Raises:
            StoreError: If this is not a run folder, or the file cannot be read.
        """
        if not self.exists:
            msg = f"{self.path} is not a run folder: it has no {_SWEEP}"
            raise StoreError(msg)
        try:
            return (self.path / _SWEEP).read_text(encoding="utf-8")
        except OSError as error:
            msg = f"cannot read {self.path / _SWEEP}: {error.strerror}"
            raise StoreError(msg) from error
        except UnicodeDecodeError as error:
            msg = f"cannot read {self.path / _SWEEP}: it is not UTF-8 text"
            raise StoreError(msg) from error

    def read_records(self) -> tuple[list[dict[str, Any]], list[Damage]]:
        """Return the journal's readable records, and which of its lines could not be read."""
        journal = self.path / _JOURNAL
        return read_journal(journal) if journal.exists() else ([], [])

    def read_history(self) -> tuple[History, list[Damage]]:
        """Return what the journal tells, and which of its lines could not be read."""
        journal = self.path / _JOURNAL
        if not journal.exists():
            return History(), []
        records, damages = stream_journal(journal)
        with no_search_for_cycles():
            return History(records), damages

    def read_progress(self) -> tuple[History, list[Damage]]:
        """Return what the journal tells without its curves: of each only points near its end.

        For whoever wants to know how far the sweep is, in a fraction of the time.
        """
        journal = self.path / _JOURNAL
        if not journal.exists():
            return History(), []
        records, damages = latest_records(journal)
        return History(records), damages

    def find_driver(self, history: History, *, now: dt.datetime | None = None) -> Driver:
        """Return the process that writes this folder, or wrote it last; nothing is touched.

        Args:
            history: What the journal tells.
            now: The time, by default the clock's.
        """
        session = history.sessions[-1] if history.sessions else None
        return find_driver(self.path / _JOURNAL, session, now=now)

    def open_journal(self) -> Journal:
        """Open the journal for appending.

        Raises:
            StoreError: If it is a link, which may lead out of the folder.
        """
        if (self.path / _JOURNAL).is_symlink():
            message = f"{self.path / _JOURNAL} is a symbolic link: nothing is written through it"
            raise StoreError(message)
        return Journal(self.path / _JOURNAL)

    def check_subfolder(self, path: Path) -> None:
        """Refuse a folder in this one that is a link, which may lead out of it.

        Raises:
            StoreError: If it is.
        """
        if path.is_symlink():
            message = f"{path} is a symbolic link: nothing is written through it"
            raise StoreError(message)

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write ``<name>.parquet`` in one step."""
        with self._replacing(f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False)

    def read_table(self, name: str) -> pd.DataFrame:
        """Return ``<name>.parquet``.

        Raises:
            StoreError: If it is not there or cannot be read.
        """
        import pandas as pd

        path = self.path / f"{name}.parquet"
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            msg = f"cannot read {path}: {error}"
            raise StoreError(msg) from error

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file in one step; records become objects, NaN the string ``NaN``."""
        self.write_text(name, json.dumps(plain(content), indent=2, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a text file in one step."""
        with self._replacing(name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _replacing(self, name: str) -> _Replacing:
        return _Replacing(self.path / name)

    def __iter__(self) -> Iterator[Path]:
        return iter(sorted(p for p in self.path.rglob("*") if p.is_file()))


class _Replacing:
    """Write a temporary neighbour, flush it, then rename: readers never see half a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path

    def __enter__(self) -> Path:
        name = f".{self._path.name}.{secrets.token_hex(4)}"
        self._temporary = self._path.with_name(name)
        try:
            # Readable for whom the umask says: a new file that nobody can have put a link in for.
            os.close(os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except OSError as error:
            msg = f"cannot write {self._path}: {error.strerror}"
            raise StoreError(msg) from error
        return self._temporary

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is None:
            self._publish()
            return
        self._temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            message = f"cannot write {self._path}: {error.strerror or error}"
            raise StoreError(message) from error

    def _publish(self) -> None:
        try:
            with self._temporary.open("rb") as file:
                os.fsync(file.fileno())
            self._temporary.replace(self._path)
        except OSError as error:
            self._temporary.unlink(missing_ok=True)
            msg = f"cannot write {self._path}: {error.strerror}"
            raise StoreError(msg) from error
