"""Exit codes, and what is printed when a command ends badly.

0 it ran · 1 findings that --fail-on names, or something that doctor found broken ·
2 wrong usage or configuration · 3 a trial failed to execute · 4 internal error ·
5 file or disk error · 75 stopped by a signal, or without a worker left, and resumable · 130 Ctrl-C
"""

from __future__ import annotations

import contextlib
import enum
import os
import signal
import sys
import time
import traceback
from typing import TYPE_CHECKING, NoReturn

from sweepdiag.errors import StoreError, SweepdiagError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["ExitCode", "Stopped", "exit_with", "fail", "reported_errors", "stop_signals_raise"]


_ONE_STOP_S = 2.0
"""Signals that come so soon after each other are one request to stop."""


class ExitCode(enum.IntEnum):
    """What a command's exit code says."""

    OK = 0
    FINDINGS = 1
    USAGE = 2
    FAILED_TRIALS = 3
    INTERNAL = 4
    STORE = 5
    STOPPED = 75
    INTERRUPTED = 130


class Stopped(BaseException):
    """A signal asked the run to stop. Like Ctrl-C no error, so that no handler swallows it."""


def fail(message: str, code: ExitCode) -> NoReturn:
    """Print an error and exit.

    Raises:
        SystemExit: Always.
    """
    sys.stderr.write(f"sweepdiag: {message}\n")
    raise SystemExit(code)


def exit_with(code: ExitCode) -> None:
    """Exit unless everything is in order.

    Raises:
        SystemExit: With any other code than 0.
    """
    if code is not ExitCode.OK:
        raise SystemExit(code)


@contextlib.contextmanager
def reported_errors() -> Iterator[None]:
    """Turn exceptions into a message and an exit code; users' mistakes never show a traceback.

    Raises:
        SystemExit: With the code that fits the exception.
    """
    try:
        yield
    except StoreError as error:
        fail(str(error), ExitCode.STORE)
    except SweepdiagError as error:
        fail(str(error), ExitCode.USAGE)
    except BrokenPipeError:
        # Whoever read our output has gone: not our error, and nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(ExitCode.OK) from None
    except OSError as error:
        fail(str(error), ExitCode.STORE)
    except Exception:  # noqa: BLE001 - the last resort: say that it is our fault
        traceback.print_exc()
        fail("internal error; please report it with the lines above", ExitCode.INTERNAL)


@contextlib.contextmanager
def stop_signals_raise() -> Iterator[None]:
    """Let SIGTERM and SIGUSR2 end the block with ``Stopped``, as Ctrl-C ends it.

    A second signal ends the process at once, unless it comes within seconds of the first: Slurm
    tells a job's shell and its children, and the shell tells them again. Nobody presses Ctrl-C
    twice by accident.
    """
    stopped_at: list[float] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if not stopped_at:
            stopped_at.append(time.monotonic())
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise Stopped(signal.Signals(number).name)
        if number == signal.SIGINT or time.monotonic() - stopped_at[0] > _ONE_STOP_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    names = ("SIGTERM", "SIGUSR2", "SIGINT")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
