"""A legend below the panels, whose swatches can hold a letter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweepdiag.plotting._marks import draw_edge
from sweepdiag.plotting._style import INK, NOTE_PT
from sweepdiag.plotting._text import text_width_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LegendEntry", "draw_legend", "legend_height_in"]

_LINE_IN = 0.24
_TEXT_IN = 0.27
_GAP_IN = 0.25


@dataclass(frozen=True, kw_only=True)
class LegendEntry:
    """A swatch and its meaning; ``kind``: ``patch``, ``box``, ``edge``, ``best`` or ``cross``."""

    text: str
    kind: str = "patch"
    colour: str = "#FFFFFF"
    letter: str = ""
    letter_colour: str = INK
    hatch: str = ""


def legend_height_in(entries: Sequence[LegendEntry], width_in: float) -> float:
    """Return how high the legend is when it may be that wide."""
    return _LINE_IN * (1 + max((line for _, line in _flow(entries, width_in)), default=-1))


def draw_legend(
    figure: Figure, entries: Sequence[LegendEntry], *, left_in: float, top_in: float
) -> None:
    """Draw swatches with their meanings, in as many lines as needed.

    Args:
        figure: The figure.
        entries: What to explain.
        left_in: Margin at the left and the right.
        top_in: Distance of the legend's upper end from the figure's lower end.
    """
    width, height = figure.get_size_inches()
    overlay = figure.add_axes((0, 0, 1, 1), zorder=10)
    overlay.set(xlim=(0, width), ylim=(0, height))
    overlay.axis("off")
    for entry, (x, line) in zip(entries, _flow(entries, width - 2 * left_in), strict=True):
        left, middle = left_in + x, top_in - (line + 0.5) * _LINE_IN
        _draw_swatch(overlay, entry, left, middle)
        overlay.text(left + _TEXT_IN, middle, entry.text, size=NOTE_PT, va="center", color=INK)


def _flow(entries: Sequence[LegendEntry], width_in: float) -> list[tuple[float, int]]:
    """Return for each entry its distance from the left and its line."""
    places: list[tuple[float, int]] = []
    x, line = 0.0, 0
    for entry in entries:
        needed = _TEXT_IN + text_width_in(entry.text, NOTE_PT) + _GAP_IN
        if x > 0 and x + needed > width_in:
            x, line = 0.0, line + 1
        places.append((x, line))
        x += needed
    return places


def _draw_swatch(axes: Axes, entry: LegendEntry, x: float, y: float) -> None:
    from matplotlib.patches import Rectangle

    size = 0.19
    middle = x + size / 2
    if entry.kind == "edge":
        draw_edge(axes, [(middle, y - size / 2), (middle, y + size / 2)])
        return
    if entry.kind in {"best", "cross"}:
        style: dict[str, Any] = (
            {"marker": "*", "markersize": 9, "color": "white", "markeredgecolor": INK}
            if entry.kind == "best"
            else {"marker": "x", "markersize": 8, "color": "#D00000", "markeredgewidth": 1.8}
        )
        axes.plot([middle], [y], **style)
        return
    is_box = entry.kind == "box"
    patch = Rectangle(
        (x, y - size / 2), size, size, facecolor=entry.colour, hatch=entry.hatch or None,
        edgecolor=INK if is_box else "#999999", linewidth=2.4 if is_box else 0.6,
    )  # fmt: skip
    axes.add_patch(patch)
    axes.text(
        middle, y, entry.letter, size=NOTE_PT, weight="bold", ha="center",
        va="center_baseline", color=entry.letter_colour,
    )  # fmt: skip
