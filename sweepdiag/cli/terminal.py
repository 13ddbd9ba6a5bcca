"""What commands write to the terminal with."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["print_text", "stage_line", "terminal_width"]


def terminal_width() -> int:
    """Return how wide the summary may be: the terminal, but no wider than reads well."""
    return max(60, min(shutil.get_terminal_size((88, 24)).columns, 88))


def print_text(text: str) -> None:
    """Write to standard output, with a line end."""
    sys.stdout.write(text + "\n")


def stage_line(*, quiet: bool) -> Callable[[str], None]:
    """Return what writes a line per step, for people who wait."""

    def say(name: str) -> None:
        if not quiet and sys.stderr.isatty():
            sys.stderr.write(f"{name}\n")

    return say
