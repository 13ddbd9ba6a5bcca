"""What Ray changes in the process that starts it, kept in bounds.

Ray sets variables, takes a signal, writes to the terminal and remembers its token. A notebook
outlives many sweeps: none of this may outlive one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["borrowed_process_state", "forget_token", "loopback_only", "silenced"]


@contextlib.contextmanager
def borrowed_process_state(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables while Ray starts, and undo every change that its start makes to this process.

    Ray's processes inherit the environment of this moment and keep it. The caller's own does not
    stay changed, not even while Ray runs: in a notebook it outlives the sweep by days.
    """
    before = dict(os.environ)
    is_main_thread = threading.current_thread() is threading.main_thread()
    # Ray takes SIGTERM for itself, which would cost the command line its orderly stop.
    on_sigterm = signal.getsignal(signal.SIGTERM) if is_main_thread else None
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
        if on_sigterm is not None:
            signal.signal(signal.SIGTERM, on_sigterm)


@contextlib.contextmanager
def loopback_only() -> Iterator[None]:
    """Keep Ray on loopback also where it was imported before the environment said so."""
    from ray._private import ray_constants

    with _replaced(ray_constants, "ENABLE_RAY_CLUSTER", value=False):
        yield


def forget_token() -> None:
    """Make Ray read its settings and its token again.

    It reads both once per process. Without this, the second Ray of a process (the next sweep in a
    notebook, or a Ray of the user's own) is refused by its own servers.
    """
    import ray

    internals: Any = ray._raylet
    with contextlib.suppress(AttributeError):  # a Ray without tokens has neither
        internals.Config.initialize("")
        internals.AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep Ray off the terminal until it is shut down, and its logger as it was after that.

    Deaths of workers reach the terminal by a thread that ``log_to_driver`` does not silence. They
    are told in the events, so that thread's switch, which is private, is turned off.
    """
    from ray._private import worker

    logger = logging.getLogger("ray")
    level = logger.level
    try:
        with _replaced(worker, "_worker_logs_enabled", value=False):
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _replaced(module: Any, name: str, *, value: object) -> Iterator[None]:
    """Replace a private constant of Ray's, if this Ray has it."""
    if not hasattr(module, name):
        yield
        return
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)
