"""What is shown while a sweep trains: a live panel on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from typing import TYPE_CHECKING, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sweepdiag.pipeline import Progress

__all__ = ["Watch", "describe_duration", "log_to_stderr", "make_watch"]

_LINE_EVERY_S = 5.0
_REDRAWS_PER_S = 4


class Watch(Protocol):
    """A ``SweepObserver`` that remembers where the sweep is kept."""

    path: Path | None
    last: Progress | None

    def started(self, path: Path, lines: Sequence[str], progress: Progress) -> None:
        """Training is about to begin."""

    def progressed(self, progress: Progress) -> None:
        """Something has happened."""

    def stage(self, name: str) -> None:
        """A step of the diagnosis begins."""

    def shown(self) -> contextlib.AbstractContextManager[None]:
        """Show while the block runs."""


def make_watch(*, quiet: bool) -> Watch:
    """Return what suits the output: nothing, a live panel, or plain lines."""
    console = _Console(stderr=True, highlight=False)
    if quiet:
        return _Quiet()
    return _Panel(console) if console.is_terminal else _Lines(console)


def log_to_stderr(level: int) -> None:
    """Print what our own modules log; above the live panel while one is shown."""
    handler = _StandardError()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger = logging.getLogger("sweepdiag")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


class _StandardError(logging.Handler):
    """Writes to what is standard error now: the live panel puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # whoever read our messages may have gone
            sys.stderr.write(self.format(record) + "\n")


class _Console(Console):
    """Falls silent where Rich would end the process: when whoever read its output has gone."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class _Quiet:
    """Remembers, and shows nothing."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.last: Progress | None = None

    def started(self, path: Path, lines: Sequence[str], progress: Progress) -> None:
        del lines
        self.path, self.last = path, progress

    def progressed(self, progress: Progress) -> None:
        self.last = progress

    def stage(self, name: str) -> None:
        """Show nothing."""

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        yield


class _Lines(_Quiet):
    """A line now and then, for logs."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._last_line = 0.0

    def started(self, path: Path, lines: Sequence[str], progress: Progress) -> None:
        super().started(path, lines, progress)
        for line in (*lines, f"{progress.n_trials} trials into {path}"):
            self._print(line)

    def progressed(self, progress: Progress) -> None:
        super().progressed(progress)
        is_end = progress.n_done == progress.n_trials
        if is_end or time.monotonic() - self._last_line >= _LINE_EVERY_S:
            self._last_line = time.monotonic()
            parts = [f"{100 * progress.fraction:3.0f} %", *_figures(progress), _classes(progress)]
            self._print("  ".join(part for part in parts if part))

    def stage(self, name: str) -> None:
        self._print(f"{name} …")

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False)


class _Panel(_Quiet):
    """One panel that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._stage = ""
        self._live = Live(
            console=console, get_renderable=self._draw, refresh_per_second=_REDRAWS_PER_S
        )

    def started(self, path: Path, lines: Sequence[str], progress: Progress) -> None:
        super().started(path, lines, progress)
        for line in lines:
            self._live.console.print(Text(line, style="dim"))

    def stage(self, name: str) -> None:
        self._stage = name

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        with self._live:
            yield

    def _draw(self) -> Group | Text:
        if self.last is None:
            return Text("preparing …", style="dim")
        if self._stage:
            return Text(f"{self._stage} …", style="dim")
        row = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=1.0, completed=self.last.fraction, width=30)
        row.add_row(bar, f"{100 * self.last.fraction:.0f} %", *_figures(self.last))
        return Group(row, Text(_classes(self.last), style="dim"))


def _figures(progress: Progress) -> list[str]:
    figures = [f"{progress.n_done}/{progress.n_trials} trials"]
    if progress.trials_per_s > 0:
        figures.append(f"{progress.trials_per_s:.3g} trials/s")
    if progress.remaining_s is not None and progress.n_done < progress.n_trials:
        figures.append(f"{describe_duration(progress.remaining_s)} left")
    if progress.n_failed:
        figures.append(f"{progress.n_failed} failed")
    return figures


def _classes(progress: Progress) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {count}" for name, count in sorted(progress.classes.items())
    )


def describe_duration(seconds: float) -> str:
    """Return a time such as ``1 h 05 min`` or ``12 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
