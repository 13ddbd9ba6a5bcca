"""Who writes into a run folder: one process at a time, known by host, process id and start.

The holder renews its lease every ten seconds by touching the file, which a full disk still allows.
A lease that has not been renewed for a minute is taken over, and one whose process on this machine
is dead at once. A process that slept through its lease finds out before it writes again.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import secrets
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import StoreError
from sweepdiag.store.opening import open_for_writing
from sweepdiag.store.process import is_alive, is_here, this_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["HEARTBEAT_S", "STALE_AFTER_S", "Lease", "lease_holder"]

_log = logging.getLogger(__name__)

HEARTBEAT_S = 10.0
"""How often a lease is renewed."""

STALE_AFTER_S = 60.0
"""How long after its last renewal a lease may be taken over."""

_LONGEST_HOLD_S = 5.0
"""How long the file may be locked by somebody who takes, checks or writes: an append, no more."""

_POLL_S = 0.05
_MAX_BYTES = 4096
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}


class Lease:
    """The right to write into a folder, held from construction to :meth:`release`.

    The file stays when it is released, empty: removing it would let two processes lock two files.

    Attributes:
        is_taken_over: Whether the holder before has not released it, but died or fell silent.
    """

    def __init__(
        self,
        path: Path,
        *,
        heartbeat_s: float = HEARTBEAT_S,
        stale_after_s: float = STALE_AFTER_S,
        on_beat: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the lease.

        A holder on another machine cannot be asked whether it lives: its next renewal is waited
        for, or the end of its lease. A ``StoreError`` says that somebody else holds it, or that
        the file cannot be written.

        Args:
            path: The lease's file.
            heartbeat_s: Time between two renewals.
            stale_after_s: Age at which a lease of somebody else's is taken over.
            on_beat: Called at each renewal, in a thread of its own.
        """
        self._path = path
        self._stale_after_s = stale_after_s
        self._on_beat = on_beat
        self._mark = {**this_process(), "token": secrets.token_hex(8)}
        self.is_taken_over = False
        self._fd = open_for_writing(path)
        try:
            self._take()
        except BaseException:
            os.close(self._fd)
            raise
        self._is_over = threading.Event()
        self._heart = threading.Thread(
            target=self._beat, args=(heartbeat_s,), name="sweepdiag-lease", daemon=True
        )
        self._heart.start()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep everybody else from taking over while the block writes.

        Raises:
            StoreError: If somebody has taken over already.
        """
        with self._locked():
            holder = self._read()
            if holder.get("token") != self._mark["token"]:
                message = (
                    f"{self._path.parent} has been taken over by {_name(holder)}, since this "
                    f"process gave no sign of life for {self._stale_after_s:g} s"
                )
                raise StoreError(message)
            yield

    def release(self) -> None:
        """Let others write; calling it again does nothing."""
        if self._fd < 0:
            return
        self._is_over.set()
        self._heart.join()
        fd, self._fd = self._fd, -1
        try:
            if lease_holder(fd).get("token") == self._mark["token"]:
                os.ftruncate(fd, 0)
        finally:
            os.close(fd)

    def _take(self) -> None:
        """Write this process into the file as soon as nobody else holds it.

        Raises:
            StoreError: If somebody else does, and goes on doing so.
        """
        first_seen: float | None = None
        while True:
            with self._locked():
                holder = self._read()
                renewed_at = os.fstat(self._fd).st_mtime
                why = self._why_free(holder, renewed_at)
                if why is not None:
                    if why:
                        _log.warning("%s: going on in place of %s", self._path.parent, why)
                    self._write()
                    self.is_taken_over = bool(why)
                    return
            first_seen = renewed_at if first_seen is None else first_seen
            if is_here(holder) or renewed_at > first_seen:
                message = (
                    f"{self._path.parent} is being written by another sweepdiag "
                    f"({_name(holder)}); wait for it to end, or choose another --output"
                )
                raise StoreError(message)
            time.sleep(_POLL_S)

    def _why_free(self, holder: dict[str, Any], renewed_at: float) -> str | None:
        """Return in whose place the lease may be taken, empty if nobody's; ``None`` if not."""
        if not holder:
            return ""
        if is_here(holder) and not is_alive(holder):
            return f"{_name(holder)}, which is dead"
        silent_s = self._now() - renewed_at
        if silent_s >= self._stale_after_s:
            return f"{_name(holder)}, which has given no sign of life for {silent_s:.0f} s"
        return None

    def _now(self) -> float:
        """Return the time by the clock that dates the folder's files, which may be a server's."""
        try:
            with tempfile.TemporaryFile(dir=self._path.parent) as file:
                return os.fstat(file.fileno()).st_mtime
        except OSError:
            return time.time()

    def _write(self) -> None:
        data = json.dumps(self._mark).encode()
        try:
            os.ftruncate(self._fd, 0)
            n_written = os.pwrite(self._fd, data, 0)
        except OSError as error:
            msg = f"cannot write {self._path}: {error.strerror}"
            raise StoreError(msg) from error
        if n_written < len(data):
            os.ftruncate(self._fd, 0)
            msg = f"cannot write {self._path}: {os.strerror(errno.ENOSPC)}"
            raise StoreError(msg)

    def _read(self) -> dict[str, Any]:
        return lease_holder(self._fd)

    def _beat(self, heartbeat_s: float) -> None:
        while not self._is_over.wait(heartbeat_s):
            # A server that is away for a while costs a renewal; appending will tell of it.
            with contextlib.suppress(OSError):
                if self._read().get("token") == self._mark["token"]:
                    os.utime(self._fd)
            self._on_beat()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the file for a moment, where its system has locks.

        Raises:
            StoreError: If somebody holds the lock for much longer than a moment.
        """
        try:
            import fcntl
        except ImportError:  # pragma: no cover - sweeps run on Linux; elsewhere nothing is locked
            yield
            return
        deadline = time.monotonic() + _LONGEST_HOLD_S
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    message = (
                        f"{self._path.parent} is being written by another sweepdiag "
                        f"({_name(self._read())}), which does not get on; end it first"
                    )
                    raise StoreError(message) from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    msg = f"cannot lock {self._path}: {error.strerror}"
                    raise StoreError(msg) from error
                break
            time.sleep(_POLL_S / 10)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(self._fd, fcntl.LOCK_UN)


def lease_holder(fd: int) -> dict[str, Any]:
    """Return who holds the lease of an open file; empty if nobody does."""
    data = os.pread(fd, _MAX_BYTES, 0)
    if not data:
        return {}
    try:
        holder = json.loads(data)
    except ValueError:
        holder = None
    # Something that nobody can read is somebody, until it is as old as a lease may be.
    return holder if isinstance(holder, dict) and holder else {"host": "", "pid": 0}


def _name(holder: dict[str, Any]) -> str:
    if not holder.get("pid"):
        return "an unknown process"
    return f"process {holder['pid']} on {holder.get('host')}"
