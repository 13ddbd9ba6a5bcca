"""The heatmap of the best validation loss (or metric) that each configuration reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.plotting._grid import Grid, best_cell, describe, make_grid, region_cells
from sweepdiag.plotting._legend import LegendEntry
from sweepdiag.plotting._losses import LossScale, loss_unit
from sweepdiag.plotting._marks import mark_best, mark_failed, outline_cells, outline_width_in
from sweepdiag.plotting._sheet import label_panel, make_sheet
from sweepdiag.plotting._style import (
    EMPTY_COLOUR,
    INK,
    LABEL_PT,
    MAX_VECTOR_CELLS,
    TICK_PT,
    sheet_style,
)
from sweepdiag.plotting._text import safe_text, text_width_in, tick_labels
from sweepdiag.plotting.palette import text_colour
from sweepdiag.plotting.view import as_class
from sweepdiag.records import VerdictClass
from sweepdiag.wording import format_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from sweepdiag.plotting._sheet import PanelSheet
    from sweepdiag.plotting.view import ReportData

__all__ = ["LossHeatmapInfo", "loss_heatmap_draw", "loss_heatmap_info"]

# Least distance between the ends of the colours, relative to the values.
_LEAST_SPAN = 0.05
_LOG_SPAN = 10.0
_NUMBER_PTS = (7.5, 6.8, 6.2)
_BAR_ROOM_IN = 1.0
_VOID_COLOUR = "#E4E4E4"
_VOID_HATCH = "//////"


@dataclass(frozen=True, kw_only=True)
class LossHeatmapInfo:
    """What the heatmap of losses shows.

    Arrays have the shape ``(n_panels, n_rows, n_columns)``, from low to high values.

    Attributes:
        title: Name of the sweep.
        notes: What the reader must know beside the title.
        grid: Places on the axes.
        values: Median over seeds of the best monitored value, and over the configurations of a
            cell; NaN where nothing was judged.
        is_diverging: Cells without a configuration that did not diverge.
        is_failed: Cells where no trial could be judged because trials failed.
        is_pending: Cells whose trials have not been judged yet.
        is_region: Cells inside the recommended region.
        best: Panel, row and column of the best configuration.
        monitor: The monitored quantity in words.
        is_larger_better: Whether a larger value is better.
        is_log: Whether colours follow the logarithm of the value.
        limits: Ends of the colours: the lowest and highest value that did not diverge, further
            apart where these hardly differ; NaN if there is none.
    """

    title: str
    notes: tuple[str, ...]
    grid: Grid
    values: NDArray[np.float64]
    is_diverging: NDArray[np.bool_]
    is_failed: NDArray[np.bool_]
    is_pending: NDArray[np.bool_]
    is_region: NDArray[np.bool_]
    best: tuple[int, int, int] | None
    monitor: str
    is_larger_better: bool
    is_log: bool
    limits: tuple[float, float]


def loss_heatmap_info(data: ReportData) -> LossHeatmapInfo:
    """Return what the heatmap of losses shows.

    Where a cell holds diverging and other configurations, its value is the median of the others.
    """
    grid = make_grid(data)
    table = data.configurations
    verdicts = [as_class(value) for value in table["verdict"]]
    is_judged = np.array([verdict is not None for verdict in verdicts], dtype=bool)
    diverges = np.array([verdict is VerdictClass.DIVERGING for verdict in verdicts], dtype=bool)
    is_diverging = grid.fold(diverges) & ~grid.fold(is_judged & ~diverges)
    is_idle = ~grid.fold(is_judged)
    has_failed = grid.fold(table["n_failed"].to_numpy() > 0)
    best = table["best_monitor"].to_numpy(dtype=float, na_value=np.nan)
    values = _cell_medians(grid, np.where(is_judged & ~diverges, best, np.nan))
    values = np.where(is_diverging, _cell_medians(grid, best), values)
    usable = values[np.isfinite(values) & ~is_diverging]
    limits = _limits(usable)
    return LossHeatmapInfo(
        title=safe_text(data.title),
        notes=describe(data, grid, in_bins="a cell shows the median of its configurations"),
        grid=grid,
        values=values,
        is_diverging=is_diverging,
        is_failed=is_idle & has_failed,
        is_pending=is_idle & ~has_failed & grid.fold(np.ones(len(table), dtype=bool)),
        is_region=region_cells(data, grid),
        best=best_cell(data, grid),
        monitor=safe_text(data.monitor_name, limit=40),
        is_larger_better=data.is_larger_better,
        is_log=bool(limits[0] > 0 and limits[1] > _LOG_SPAN * limits[0]),
        limits=limits,
    )


def loss_heatmap_draw(info: LossHeatmapInfo) -> Figure:
    """Return the heatmap of the best monitored value, one panel per value of the third axis."""
    import matplotlib as mpl

    with sheet_style("loss_heatmap"):
        shades = _make_shades(info)
        colours = mpl.colormaps["viridis" if info.is_larger_better else "viridis_r"]
        sheet = make_sheet(
            info.grid,
            title=f"{info.title}: best {info.monitor}",
            notes=info.notes,
            legend=_legend(info),
            right_in=_BAR_ROOM_IN,
        )
        for panel, axes in enumerate(sheet.panels):
            _draw_cells(axes, info, panel, shades, colours)
            label_panel(sheet, info.grid, panel)
            _draw_numbers(axes, info, panel, shades, colours, sheet)
            mark_failed(axes, info.is_failed[panel], sheet)
            outline_cells(axes, info.is_region[panel], sheet)
            if info.best and info.best[0] == panel:
                mark_best(axes, info.best[1], info.best[2], sheet)
        if info.limits[0] < info.limits[1]:
            _draw_bar(sheet, info, shades, colours)
    return sheet.figure


def _limits(usable: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of the colours; differences that mean nothing must not fill their range."""
    if not usable.size:
        return (np.nan, np.nan)
    low, high = float(usable.min()), float(usable.max())
    missing = _LEAST_SPAN * max(abs(low), abs(high)) - (high - low)
    if low == high or missing <= 0:
        return (low, high)
    return (low - missing / 2, high + missing / 2)


def _cell_medians(grid: Grid, values: NDArray[np.float64]) -> NDArray[np.float64]:
    import pandas as pd

    shown = (grid.cell_of >= 0) & np.isfinite(values)
    medians = pd.Series(values[shown]).groupby(grid.cell_of[shown]).median()
    cells = np.full(grid.shape, np.nan)
    cells.flat[medians.index.to_numpy(dtype=np.intp)] = medians.to_numpy()
    return cells


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shades:
    """Where losses lie in the range of colours, between two places of a scale."""

    scale: LossScale
    low: float
    high: float

    def share(self, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return 0 for losses at the lower end of the colours, 1 for those at the upper end."""
        return (self.scale.place(losses) - self.low) / (self.high - self.low)


def _make_shades(info: LossHeatmapInfo) -> _Shades:
    limits = info.limits if np.isfinite(info.limits[0]) else (0.0, 1.0)
    scale = LossScale(is_log=info.is_log, unit=loss_unit(limits))
    low, high = (float(place) for place in scale.place(limits))
    if low == high:
        room = abs(low) * 0.05 or 0.05
        low, high = low - room, high + room
    return _Shades(scale=scale, low=low, high=high)


def _legend(info: LossHeatmapInfo) -> list[LegendEntry]:
    entries = []
    if info.is_diverging.any():
        entries.append(LegendEntry(text="diverging", colour=_VOID_COLOUR, hatch=_VOID_HATCH))
    if info.is_pending.any():
        entries.append(LegendEntry(text="not judged yet", colour=EMPTY_COLOUR))
    if info.is_failed.any():
        entries.append(LegendEntry(text="failed to run", kind="cross"))
    if info.is_region.any():
        entries.append(LegendEntry(text="recommended region", kind="box"))
    if info.best:
        entries.append(LegendEntry(text=f"best {info.monitor}", kind="best"))
    return entries


def _draw_cells(
    axes: Axes, info: LossHeatmapInfo, panel: int, shades: _Shades, colours: Colormap
) -> None:
    import seaborn as sns
    from matplotlib.colors import ListedColormap

    values, is_diverging = info.values[panel], info.is_diverging[panel]
    is_large = values.size > MAX_VECTOR_CELLS
    sns.heatmap(
        shades.share(values), ax=axes, mask=is_diverging | ~np.isfinite(values), cmap=colours,
        vmin=0.0, vmax=1.0,
        cbar=False, xticklabels=False, yticklabels=False, linecolor="white",
        linewidths=0 if is_large else 0.8, rasterized=is_large,
    )  # fmt: skip
    is_idle = info.is_pending[panel] | info.is_failed[panel]
    axes.pcolormesh(
        np.where(is_idle, 0.0, np.nan), cmap=ListedColormap([EMPTY_COLOUR]), edgecolors="white",
        linewidth=0 if is_large else 0.8, rasterized=is_large, zorder=0.5,
    )  # fmt: skip
    _draw_void(axes, is_diverging, is_large=is_large)


def _draw_void(axes: Axes, is_void: NDArray[np.bool_], *, is_large: bool) -> None:
    """Fill cells in grey; hatched, unless there are too many to see it."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Rectangle

    if is_large:
        grey = ListedColormap([_VOID_COLOUR])
        axes.pcolormesh(np.where(is_void, 0.0, np.nan), cmap=grey, rasterized=True)
        return
    for row, column in zip(*np.nonzero(is_void), strict=True):
        axes.add_patch(
            Rectangle(
                (column, row), 1, 1, facecolor=_VOID_COLOUR, hatch=_VOID_HATCH,
                edgecolor="#A0A0A0", linewidth=0,
            )
        )  # fmt: skip


def _draw_numbers(
    axes: Axes,
    info: LossHeatmapInfo,
    panel: int,
    shades: _Shades,
    colours: Colormap,
    sheet: PanelSheet,
) -> None:
    from matplotlib.colors import to_hex

    if not sheet.fits_letters:
        return
    style = _number_style(info, sheet)
    if style is None:
        return
    digits, size = style
    shown = np.isfinite(info.values) & ~info.is_diverging
    for row, column in zip(*np.nonzero(shown[panel]), strict=True):
        is_best = info.best == (panel, row, column)
        if is_best and not sheet.fits_star:
            continue  # the star takes the number's place
        value = float(info.values[panel, row, column])
        share = float(shades.share(info.values[panel, row, column]))
        axes.text(
            column + 0.5, row + (0.36 if is_best else 0.5), format_value(value, digits=digits),
            size=size, ha="center", va="center_baseline",
            color=text_colour(to_hex(colours(share))),
        )  # fmt: skip


def _number_style(info: LossHeatmapInfo, sheet: PanelSheet) -> tuple[int, float] | None:
    """Return the significant digits and the size at which every number fits, if there are any.

    Where the region's outline runs around a cell there is less room.
    """
    shown = np.isfinite(info.values) & ~info.is_diverging
    room_in = sheet.cell_in[0] - 0.06
    framed = {float(value) for value in info.values[shown & info.is_region]}
    free = {float(value) for value in info.values[shown]} - framed
    for size in _NUMBER_PTS:
        for digits in (3, 2):
            if _fit(free, digits, size, room_in) and _fit(
                framed, digits, size, sheet.cell_in[0] - 2 * outline_width_in(sheet)
            ):
                return digits, size
    return None


def _fit(values: set[float], digits: int, size: float, width_in: float) -> bool:
    texts = {format_value(value, digits=digits) for value in values}
    return all(text_width_in(text, size) <= width_in for text in texts)


def _draw_bar(
    sheet: PanelSheet, info: LossHeatmapInfo, shades: _Shades, colours: Colormap
) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    last = sheet.panels[min(sheet.n_across, len(sheet.panels)) - 1].get_position()
    width, height = sheet.figure.get_size_inches()
    tall = max(last.height, 1.0 / height)
    place = (last.x1 + 0.15 / width, last.y1 - tall, 0.13 / width, tall)
    bar_axes = sheet.figure.add_axes(place)
    bar = sheet.figure.colorbar(ScalarMappable(Normalize(0.0, 1.0), colours), cax=bar_axes)
    bar.outline.set_visible(False)
    places, labels = shades.scale.ticks(shades.low, shades.high, n=4)
    if len(places) < 2:
        places, labels = [shades.low, shades.high], tick_labels(info.limits)
    bar_axes.minorticks_off()
    shares = (np.asarray(places) - shades.low) / (shades.high - shades.low)
    bar.set_ticks(shares.tolist(), labels=labels)
    bar_axes.tick_params(length=2.5, width=0.6, labelsize=TICK_PT)
    better = "larger is better" if info.is_larger_better else "smaller is better"
    bar.set_label(better, size=LABEL_PT, color=INK)
