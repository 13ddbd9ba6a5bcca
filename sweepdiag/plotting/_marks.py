"""What is drawn on top of the cells of a heatmap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.plotting._style import INK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from sweepdiag.plotting._sheet import PanelSheet

__all__ = [
    "draw_edge",
    "draw_edges",
    "mark_best",
    "mark_failed",
    "outline",
    "outline_cells",
    "outline_width_in",
]


_INSET_IN = 0.045
_OUTLINE_PT = 2.2
_FULL_SIZE_IN = 0.3


def outline_width_in(sheet: PanelSheet) -> float:
    """Return how far the box of :func:`outline_cells` reaches into a cell, in inches."""
    return _scale(sheet) * (_INSET_IN + _OUTLINE_PT / 2 / 72)


def outline_cells(axes: Axes, mask: NDArray[np.bool_], sheet: PanelSheet) -> None:
    """Draw a box around the true cells of a panel, just inside of them.

    Being inside, it leaves the line between two cells to the stability edge.
    """
    from matplotlib.collections import LineCollection

    width, height = sheet.cell_in
    scale = _scale(sheet)
    segments = outline(mask, (scale * _INSET_IN / width, scale * _INSET_IN / height))
    for colour, thickness in (("white", 3.8), (INK, _OUTLINE_PT)):
        axes.add_collection(
            LineCollection(
                segments, colors=colour, linewidths=scale * thickness, capstyle="projecting",
                zorder=4,
            ),
            autolim=False,
        )  # fmt: skip


def mark_best(axes: Axes, row: int, column: int, sheet: PanelSheet) -> None:
    """Draw a star into the cell of the best configuration, beside its letter if there is room."""
    width, height = sheet.cell_in
    x, y = column + 0.5, row + 0.5
    if sheet.fits_star:
        y = row + 1 - 0.125 / height
        x = column + 1 - 0.13 / width if width >= _FULL_SIZE_IN + 0.1 else x
    axes.plot(
        [x], [y], marker="*", markersize=8, color="white", markeredgecolor=INK,
        markeredgewidth=0.9, zorder=6,
    )  # fmt: skip


def mark_failed(axes: Axes, mask: NDArray[np.bool_], sheet: PanelSheet) -> None:
    """Draw a red cross into each true cell."""
    rows, columns = np.nonzero(mask)
    size = float(np.clip(min(sheet.cell_in) * 72 * 0.5, 1.5, 12))
    axes.plot(
        columns + 0.5, rows + 0.5, linestyle="none", marker="x", markersize=size,
        color="#D00000", markeredgewidth=max(size / 5, 0.8), zorder=5,
    )  # fmt: skip


def draw_edge(axes: Axes, points: Sequence[tuple[float, float]], *, scale: float = 1.0) -> None:
    """Draw the stability edge through points, readable on any colour."""
    x, y = zip(*points, strict=True)
    axes.plot(x, y, color="white", linewidth=3.2 * scale, solid_capstyle="butt", zorder=5)
    axes.plot(x, y, color="#7A00C8", linewidth=2.0 * scale, linestyle=(0, (2.2, 1.1)), zorder=5)


def draw_edges(axes: Axes, edges: NDArray[np.float64], sheet: PanelSheet) -> None:
    """Draw a staircase through the rows that have an edge, broken where one has none."""
    points: list[tuple[float, float]] = []
    for row, place in enumerate([*edges, np.nan]):
        if np.isfinite(place):
            points += [(float(place), float(row)), (float(place), row + 1.0)]
        elif points:
            draw_edge(axes, points, scale=_scale(sheet))
            points = []


def _scale(sheet: PanelSheet) -> float:
    """Return how much thinner lines are drawn where cells are small."""
    return float(np.clip(min(sheet.cell_in) / _FULL_SIZE_IN, 0.35, 1.0))


def outline(
    mask: NDArray[np.bool_], inset: tuple[float, float] = (0.0, 0.0)
) -> list[list[tuple[float, float]]]:
    """Return the sides between true and false cells, moved a little into the true ones.

    Args:
        mask: The cells, shape ``(n_rows, n_columns)``.
        inset: How far to move, in columns and in rows.

    Returns:
        Segments from ``(x, y)`` to ``(x, y)``, one for each side of each cell.
    """
    padded = np.pad(mask, 1)
    dx, dy = inset
    segments: list[list[tuple[float, float]]] = []
    for row, column in zip(*np.nonzero(mask), strict=True):
        for side in (-1, 1):
            own, beyond = padded[row + 1], padded[row + 1 + side]
            if not beyond[column + 1]:
                left, right = _ends(column, dx, own, beyond)
                y = float(row + (side > 0) - side * dy)
                segments.append([(left, y), (right, y)])
            own, beyond = padded[:, column + 1], padded[:, column + 1 + side]
            if not beyond[row + 1]:
                lower, upper = _ends(row, dy, own, beyond)
                x = float(column + (side > 0) - side * dx)
                segments.append([(x, lower), (x, upper)])
    return segments


def _ends(
    place: int, inset: float, own: NDArray[np.bool_], beyond: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return where a side starts and ends: shorter at a corner, longer where the box turns in.

    ``own`` are the cells of the row or column, with one before; ``beyond`` those across the side.
    """
    before, after = place, place + 2
    start = 0.0 if own[before] and not beyond[before] else (-inset if own[before] else inset)
    end = 0.0 if own[after] and not beyond[after] else (inset if own[after] else -inset)
    return float(place + start), float(place + 1 + end)
