"""Sheets of heatmap panels, laid out in inches so that nothing touches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.plotting._legend import LegendEntry, draw_legend, legend_height_in
from sweepdiag.plotting._style import GREY, INK, LABEL_PT, NOTE_PT, TICK_PT, TITLE_PT
from sweepdiag.plotting._text import (
    drawn_labels,
    drawn_text,
    safe_text,
    text_width_in,
    wrap_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sweepdiag.plotting._grid import Grid
    from sweepdiag.plotting._slots import Slots

__all__ = ["PanelSheet", "label_panel", "make_sheet"]

_PER_ROW = 4
_MARGIN_IN, _GAP_IN, _LINE_IN = 0.15, 0.25, 0.17
_TITLE_GAP_IN = 0.1
_MIN_LETTER_IN, _MIN_STAR_IN = 0.17, 0.36
_MAX_WIDTH_IN, _MIN_WIDTH_IN, _MAX_PANEL_IN, _MIN_PANEL_IN = 15.0, 7.2, 7.0, 1.5
_CELL_WIDTH_IN, _CELL_HEIGHT_IN = 0.56, 0.42


@dataclass(frozen=True, kw_only=True)
class PanelSheet:
    """A figure with one set of axes per panel.

    Attributes:
        figure: The figure.
        panels: Its panels, in the order of the grid.
        cell_in: Width and height of a cell, in inches.
        n_across: Panels beside each other.
    """

    figure: Figure
    panels: tuple[Axes, ...]
    cell_in: tuple[float, float]
    n_across: int

    @property
    def fits_letters(self) -> bool:
        """Whether a cell is large enough for a letter."""
        return min(self.cell_in) >= _MIN_LETTER_IN

    @property
    def fits_star(self) -> bool:
        """Whether a cell is high enough for a star above its letter."""
        return self.cell_in[0] >= _MIN_LETTER_IN and self.cell_in[1] >= _MIN_STAR_IN


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Sizes in inches: of a panel, of the room around all panels, and of that between them."""

    panel: tuple[float, float]
    n_across: int
    n_down: int
    left: float
    gap_x: float
    top: float
    bottom: float
    gap_y: float
    width: float

    @property
    def height(self) -> float:
        body = self.n_down * self.panel[1] + (self.n_down - 1) * self.gap_y
        return self.top + body + self.bottom


def make_sheet(
    grid: Grid,
    *,
    title: str,
    notes: Sequence[str],
    legend: Sequence[LegendEntry],
    right_in: float = 0.0,
) -> PanelSheet:
    """Return a sheet with its title, its legend and a place for each panel.

    Args:
        grid: What is shown.
        title: The first line.
        notes: Smaller text under it.
        legend: What goes below the panels.
        right_in: Room kept free at the right, for a colour bar.
    """
    from matplotlib.figure import Figure

    title, notes = drawn_text(title), [drawn_text(note) for note in notes]
    legend = [replace(entry, text=drawn_text(entry.text)) for entry in legend]
    layout = _plan_layout(grid, notes=notes, legend=legend, right_in=right_in)
    figure = Figure(figsize=(layout.width, layout.height))
    _write_title(figure, title, notes)
    legend_top = layout.bottom - _axis_room(grid, layout.panel[0])
    draw_legend(figure, legend, left_in=_MARGIN_IN, top_in=legend_top)
    panels = tuple(_place_panel(figure, layout, index) for index in range(grid.shape[0]))
    _, n_rows, n_columns = grid.shape
    return PanelSheet(
        figure=figure,
        panels=panels,
        cell_in=(layout.panel[0] / n_columns, layout.panel[1] / n_rows),
        n_across=layout.n_across,
    )


def label_panel(sheet: PanelSheet, grid: Grid, index: int) -> None:
    """Write the title and the axis labels of a panel whose cells have been drawn."""
    axes = sheet.panels[index]
    axes.set(xlim=(0, grid.shape[2]), ylim=(0, grid.shape[1]))
    axes.set_title(_panel_titles(grid)[index], size=LABEL_PT, loc="left", pad=4, color=INK)
    axes.tick_params(length=2.5, width=0.6, pad=2)
    _label_columns(axes, grid.columns, sheet.cell_in[0])
    _label_rows(axes, grid.rows, sheet.cell_in[1], is_first=index % sheet.n_across == 0)


def _plan_layout(
    grid: Grid, *, notes: Sequence[str], legend: Sequence[LegendEntry], right_in: float
) -> _Layout:
    n_panels, n_rows, _ = grid.shape
    left = 0.55 + max(text_width_in(label, TICK_PT) for label in _tick_texts(grid.rows))
    gap_x = _GAP_IN + (0.2 if grid.columns.is_binned else 0.0)
    n_across, panel_width = _panels_across(grid, left + right_in + 2 * _MARGIN_IN, gap_x)
    n_down = -(-n_panels // n_across)
    around = left + right_in + 2 * _MARGIN_IN + (n_across - 1) * gap_x
    highest = 5.2 if n_down == 1 else 3.4
    lowest = max(0.5, text_width_in(_row_name(grid.rows), LABEL_PT))
    panel_height = min(max(n_rows * _CELL_HEIGHT_IN, lowest), highest)
    width = max(around + n_across * panel_width, _MIN_WIDTH_IN)
    title_room = 0.27 if grid.panels.name else 0.1
    axis_room = _axis_room(grid, panel_width)
    n_lines = len(_note_lines(notes, width))
    return _Layout(
        panel=(panel_width, panel_height),
        n_across=n_across,
        n_down=n_down,
        left=left,
        gap_x=gap_x,
        top=0.42 + n_lines * _LINE_IN + title_room,
        bottom=axis_room + legend_height_in(legend, width - 2 * _MARGIN_IN) + 0.1,
        gap_y=title_room + axis_room + 0.05,
        width=width,
    )


def _panels_across(grid: Grid, sides_in: float, gap_in: float) -> tuple[int, float]:
    """Return how many panels stand side by side, and how wide each is: titles must not touch."""
    n_panels, _, n_columns = grid.shape
    widest = max(text_width_in(title, LABEL_PT) for title in _panel_titles(grid))
    least = max(_MIN_PANEL_IN, widest + _TITLE_GAP_IN - gap_in)
    for n_across in range(min(n_panels, _PER_ROW), 0, -1):
        around = sides_in + (n_across - 1) * gap_in
        room = min((_MAX_WIDTH_IN - around) / n_across, _MAX_PANEL_IN)
        if room >= least or n_across == 1:
            break
    return n_across, min(max(n_columns * _CELL_WIDTH_IN, least), room)


def _panel_titles(grid: Grid) -> tuple[str, ...]:
    return drawn_labels([grid.panel_title(panel) for panel in range(grid.shape[0])])


def _write_title(figure: Figure, title: str, notes: Sequence[str]) -> None:
    width, height = figure.get_size_inches()
    x = _MARGIN_IN / width
    figure.text(x, 1 - 0.12 / height, title, size=TITLE_PT, weight="bold", va="top", color=INK)
    for index, line in enumerate(_note_lines(notes, width)):
        y = 1 - (0.36 + index * _LINE_IN) / height
        figure.text(x, y, line, size=NOTE_PT, va="top", color=GREY)


def _note_lines(notes: Sequence[str], width_in: float) -> list[str]:
    room = width_in - 2 * _MARGIN_IN
    return [line for note in notes for line in wrap_text(note, room, NOTE_PT)]


def _place_panel(figure: Figure, layout: _Layout, index: int) -> Axes:
    down, across = divmod(index, layout.n_across)
    width, height = layout.panel
    left = layout.left + across * (width + layout.gap_x)
    below = layout.height - layout.top - height - down * (height + layout.gap_y)
    return figure.add_axes(
        (
            left / layout.width,
            below / layout.height,
            width / layout.width,
            height / layout.height,
        )
    )


def _label_columns(axes: Axes, slots: Slots, cell_in: float) -> None:
    if not slots.name:
        axes.set_xticks([])
        return
    texts = _tick_texts(slots)
    step, is_upright = _tick_plan(texts, cell_in)
    axes.set_xticks(
        _tick_places(slots)[::step], labels=texts[::step], rotation=90 if is_upright else 0
    )
    name = drawn_text(safe_text(slots.name, limit=30))
    axes.set_xlabel(name, size=LABEL_PT, labelpad=2, color=INK)


def _label_rows(axes: Axes, slots: Slots, cell_in: float, *, is_first: bool) -> None:
    if not slots.name:
        axes.set_yticks([])
        return
    step = max(1, int(np.ceil(0.15 / cell_in)))
    texts = _tick_texts(slots)[::step]
    labels = texts if is_first else [""] * len(texts)
    axes.set_yticks(_tick_places(slots)[::step], labels=labels, rotation=0)
    if is_first:
        axes.set_ylabel(_row_name(slots), size=LABEL_PT, labelpad=2, color=INK)


def _row_name(slots: Slots) -> str:
    return drawn_text(safe_text(slots.name, limit=18))


def _tick_texts(slots: Slots) -> tuple[str, ...]:
    """Return the labels of the values, or of the edges between bins."""
    return drawn_labels(slots.edge_labels if slots.is_binned else slots.labels)


def _tick_places(slots: Slots) -> np.ndarray:
    """Return the middle of each cell, or the lines between bins."""
    return np.arange(len(_tick_texts(slots))) + (0.0 if slots.is_binned else 0.5)


def _tick_plan(texts: Sequence[str], cell_in: float) -> tuple[int, bool]:
    """Return which labels to show (every n-th) and whether to turn them, so that none touch."""
    widest = max(text_width_in(text, TICK_PT) for text in texts) + 0.08
    step = max(1, int(np.ceil(widest / cell_in)))
    if step == 1 or widest < 0.5 or len(texts) > 24:
        return step, False
    return max(1, int(np.ceil(0.16 / cell_in))), True


def _axis_room(grid: Grid, panel_in: float) -> float:
    """Return the height of a panel's tick labels and axis label."""
    if not grid.columns.name:
        return 0.1
    texts = _tick_texts(grid.columns)
    _, is_upright = _tick_plan(texts, panel_in / grid.shape[2])
    tick = max(text_width_in(text, TICK_PT) for text in texts) if is_upright else 0.13
    return tick + 0.36
