"""The heatmap of classes: where on the axes training works, and how it fails elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.plotting._grid import Grid, best_cell, describe, make_grid, region_cells
from sweepdiag.plotting._legend import LegendEntry
from sweepdiag.plotting._marks import draw_edges, mark_best, mark_failed, outline_cells
from sweepdiag.plotting._sheet import label_panel, make_sheet
from sweepdiag.plotting._style import EMPTY_COLOUR, MAX_VECTOR_CELLS, sheet_style
from sweepdiag.plotting._text import safe_text
from sweepdiag.plotting.palette import (
    CLASS_COLOURS,
    CLASS_LETTERS,
    CLASS_NAMES,
    text_colour,
)
from sweepdiag.plotting.view import as_class
from sweepdiag.records import VerdictClass

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from sweepdiag.plotting._sheet import PanelSheet
    from sweepdiag.plotting.view import ReportData

__all__ = ["CLASSES", "ClassHeatmapInfo", "class_heatmap_draw", "class_heatmap_info"]

CLASSES = tuple(VerdictClass)
"""The classes from worst to best; ``codes`` of a heatmap index into it."""

_LR = "lr"
_IN_BINS = "a cell shows the majority of its configurations, ties to the worse"
_MIN_SHARE_IN = 0.33


@dataclass(frozen=True, kw_only=True)
class ClassHeatmapInfo:
    """What the heatmap of classes shows.

    Arrays have the shape ``(n_panels, n_rows, n_columns)``, from low to high values.

    Attributes:
        title: Name of the sweep.
        notes: What the reader must know beside the title.
        grid: Places on the axes.
        codes: Class of each cell as its index in `CLASSES`; -1 where nothing was judged.
        n_agree: Seeds with the cell's class; configurations, where a cell holds several.
        n_judged: Seeds, or configurations, that were judged.
        is_failed: Cells where no trial could be judged because trials failed.
        is_pending: Cells whose trials have not been judged yet.
        is_region: Cells inside the recommended region.
        best: Panel, row and column of the best configuration.
        best_text: What "best" means.
        edges: The stability edge of each panel's rows, shape ``(n_panels, n_rows)``: its place
            in columns (2.0 lies between the second and the third); NaN where there is none.
    """

    title: str
    notes: tuple[str, ...]
    grid: Grid
    codes: NDArray[np.int8]
    n_agree: NDArray[np.intp]
    n_judged: NDArray[np.intp]
    is_failed: NDArray[np.bool_]
    is_pending: NDArray[np.bool_]
    is_region: NDArray[np.bool_]
    best: tuple[int, int, int] | None
    best_text: str
    edges: NDArray[np.float64]

    @property
    def classes(self) -> tuple[VerdictClass, ...]:
        """The classes that occur, from worst to best."""
        return tuple(CLASSES[code] for code in np.unique(self.codes) if code >= 0)


def class_heatmap_info(data: ReportData) -> ClassHeatmapInfo:
    """Return what the heatmap of classes shows.

    A cell that holds several configurations (bins of sampled values) shows the majority of their
    classes, ties to the worse.
    """
    grid = make_grid(data)
    table = data.configurations
    verdicts = [as_class(value) for value in table["verdict"]]
    of_class = np.array([[v is c for v in verdicts] for c in CLASSES], dtype=bool)
    counts = np.stack([grid.count(row) for row in of_class])
    n_judged = counts.sum(axis=0)
    # The classes go from worst to best and argmax takes the first: ties go to the worse.
    codes = np.where(n_judged > 0, counts.argmax(axis=0), -1).astype(np.int8)
    n_agree = counts.max(axis=0)
    is_single = grid.count(np.ones(len(table), dtype=bool)) == 1
    n_agree, n_judged = _seeds_of_single(data, grid, is_single, n_agree, n_judged)
    has_failed = grid.fold(table["n_failed"].to_numpy() > 0)
    is_planned = grid.fold(np.ones(len(table), dtype=bool))
    return ClassHeatmapInfo(
        title=safe_text(data.title),
        notes=describe(data, grid, in_bins=_IN_BINS),
        grid=grid,
        codes=codes,
        n_agree=n_agree,
        n_judged=n_judged,
        is_failed=(codes < 0) & has_failed,
        is_pending=(codes < 0) & is_planned & ~has_failed,
        is_region=region_cells(data, grid),
        best=best_cell(data, grid),
        best_text=safe_text(f"best {data.monitor_name}", limit=40),
        edges=_stability_edges(codes, grid),
    )


def class_heatmap_draw(info: ClassHeatmapInfo) -> Figure:
    """Return the heatmap of classes, one panel per value of the third axis."""
    with sheet_style("class_heatmap"):
        sheet = make_sheet(
            info.grid, title=f"{info.title}: classes", notes=info.notes, legend=_legend(info)
        )
        for panel, axes in enumerate(sheet.panels):
            _draw_cells(axes, info, panel)
            _draw_letters(axes, info, panel, sheet)
            label_panel(sheet, info.grid, panel)
            mark_failed(axes, info.is_failed[panel], sheet)
            draw_edges(axes, info.edges[panel], sheet)
            outline_cells(axes, info.is_region[panel], sheet)
            if info.best and info.best[0] == panel:
                mark_best(axes, info.best[1], info.best[2], sheet)
    return sheet.figure


def _seeds_of_single(
    data: ReportData,
    grid: Grid,
    is_single: NDArray[np.bool_],
    n_agree: NDArray[np.intp],
    n_judged: NDArray[np.intp],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Replace counts of configurations by counts of seeds where a cell holds only one."""
    table = data.configurations
    seeds = table["n_judged"].to_numpy(dtype=np.intp)
    shares = table["share"].to_numpy(dtype=float, na_value=np.nan)
    agree = np.rint(np.nan_to_num(shares) * seeds).astype(np.intp)
    shown = grid.cell_of >= 0
    for target, source in ((n_agree, agree), (n_judged, seeds)):
        of_cell = np.zeros(target.size, dtype=np.intp)
        of_cell[grid.cell_of[shown]] = source[shown]
        target[is_single] = of_cell.reshape(target.shape)[is_single]
    return n_agree, n_judged


def _stability_edges(codes: NDArray[np.int8], grid: Grid) -> NDArray[np.float64]:
    edges = np.full(codes.shape[:2], np.nan)
    if grid.columns.name != _LR:
        return edges
    for place in np.ndindex(codes.shape[:2]):
        edges[place] = _edge_of_row(codes[place])
    return edges


def _edge_of_row(codes: NDArray[np.int8]) -> float:
    """Return where a row stops to train; NaN unless it holds both kinds.

    Beyond the edge a training diverges, or learns nothing although a lower rate does. The edge is
    midway between the highest stable and the lowest column beyond. Where these are the wrong way
    round, the place that puts the fewest columns on the wrong side, the lower of equals.
    """
    diverges = codes == CLASSES.index(VerdictClass.DIVERGING)
    is_idle = codes == CLASSES.index(VerdictClass.NOT_LEARNING)
    learns_below = np.maximum.accumulate((codes >= 0) & ~diverges & ~is_idle)
    beyond = diverges | (is_idle & learns_below)
    stable = (codes >= 0) & ~beyond
    if not (beyond.any() and stable.any()):
        return float("nan")
    highest, lowest = int(np.flatnonzero(stable)[-1]), int(np.flatnonzero(beyond)[0])
    if highest < lowest:
        return (highest + 1 + lowest) / 2
    places = range(1, codes.size)
    wrong = [int(beyond[:k].sum() + stable[k:].sum()) for k in places]
    return float(places[int(np.argmin(wrong))])


def _legend(info: ClassHeatmapInfo) -> list[LegendEntry]:
    entries = [
        LegendEntry(
            text=CLASS_NAMES[verdict],
            colour=CLASS_COLOURS[verdict],
            letter=CLASS_LETTERS[verdict],
            letter_colour=text_colour(CLASS_COLOURS[verdict]),
        )
        for verdict in info.classes
    ]
    if (info.codes >= 0).any() and (info.n_agree < info.n_judged).any():
        who = "seeds or configurations" if info.grid.has_bins else "seeds"
        entries.append(LegendEntry(text=f"share of {who} that agree", letter="½"))
    if info.is_pending.any():
        entries.append(LegendEntry(text="not judged yet", colour=EMPTY_COLOUR))
    if info.is_failed.any():
        entries.append(LegendEntry(text="failed to run", kind="cross"))
    if info.is_region.any():
        entries.append(LegendEntry(text="recommended region", kind="box"))
    if info.best:
        entries.append(LegendEntry(text=info.best_text, kind="best"))
    if np.isfinite(info.edges).any():
        entries.append(LegendEntry(text="stability edge", kind="edge"))
    return entries


def _draw_cells(axes: Axes, info: ClassHeatmapInfo, panel: int) -> None:
    import seaborn as sns
    from matplotlib.colors import ListedColormap

    colours = [EMPTY_COLOUR, *(CLASS_COLOURS[verdict] for verdict in CLASSES)]
    codes = info.codes[panel].astype(float)
    is_empty = (codes < 0) & ~info.is_pending[panel] & ~info.is_failed[panel]
    is_large = codes.size > MAX_VECTOR_CELLS
    sns.heatmap(
        codes, ax=axes, mask=is_empty, cmap=ListedColormap(colours), vmin=-1.5, vmax=6.5,
        cbar=False, xticklabels=False, yticklabels=False, linecolor="white",
        linewidths=0 if is_large else 0.8, rasterized=is_large,
    )  # fmt: skip


def _draw_letters(axes: Axes, info: ClassHeatmapInfo, panel: int, sheet: PanelSheet) -> None:
    if not sheet.fits_letters:
        return
    has_room = min(sheet.cell_in) >= _MIN_SHARE_IN
    for row, column in zip(*np.nonzero(info.codes[panel] >= 0), strict=True):
        if info.best == (panel, row, column) and not sheet.fits_star:
            continue  # the star takes the letter's place
        verdict = CLASSES[info.codes[panel, row, column]]
        colour = text_colour(CLASS_COLOURS[verdict])
        agree, judged = info.n_agree[panel, row, column], info.n_judged[panel, row, column]
        is_split = has_room and agree < judged
        axes.text(
            column + 0.5, row + (0.66 if is_split else 0.5), CLASS_LETTERS[verdict], size=9,
            weight="bold", ha="center", va="center_baseline", color=colour,
        )  # fmt: skip
        if is_split:
            axes.text(
                column + 0.5, row + 0.29, f"{agree}/{judged}", size=6.5, ha="center",
                va="center_baseline", color=colour,
            )  # fmt: skip
