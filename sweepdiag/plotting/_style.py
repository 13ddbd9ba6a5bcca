"""The common look of the figures."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "EMPTY_COLOUR",
    "GREY",
    "INK",
    "LABEL_PT",
    "MAX_VECTOR_CELLS",
    "NOTE_PT",
    "TICK_PT",
    "TITLE_PT",
    "sheet_style",
]

INK = "#111111"
GREY = "#555555"
EMPTY_COLOUR = "#F4F4F4"
"""Cells that wait for their trainings."""

MAX_VECTOR_CELLS = 2500
"""Panels with more cells are drawn as an image, also in SVG files."""

TICK_PT, NOTE_PT, LABEL_PT, TITLE_PT = 8.0, 8.0, 9.0, 11.0


@contextlib.contextmanager
def sheet_style(salt: str) -> Iterator[None]:
    """Draw in the project's style, and leave the user's ``rcParams`` as they were.

    Dollar signs in names mean themselves, and the same data give the same SVG.
    """
    import matplotlib.style

    own = {
        "axes.edgecolor": GREY,
        "axes.linewidth": 0.6,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "font.family": "DejaVu Sans",
        "font.size": TICK_PT,
        "hatch.linewidth": 0.6,
        "svg.fonttype": "path",
        "svg.hashsalt": salt,
        "text.parse_math": False,
        "xtick.color": GREY,
        "xtick.labelcolor": INK,
        "ytick.color": GREY,
        "ytick.labelcolor": INK,
    }
    with matplotlib.style.context(["default", own]):
        yield
