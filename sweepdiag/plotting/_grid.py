"""Which configuration goes into which cell of which panel; shared by both heatmaps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.plotting._slots import NO_AXIS, Slots, find_slots, make_slots
from sweepdiag.plotting._text import safe_text

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from sweepdiag.plotting.view import ReportData
    from sweepdiag.records import Axis

__all__ = ["MAX_PANELS", "Grid", "best_cell", "describe", "make_grid", "region_cells"]

MAX_PANELS = 12
"""Most panels of one figure."""

_PREFERRED = ("lr", "batch_size", "capacity")
_GRID_FILL = 0.75


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Panels of rows of columns, and where each configuration belongs.

    Arrays of cells have the shape ``(n_panels, n_rows, n_columns)``, rows and columns from low to
    high.

    Attributes:
        columns: Places from left to right.
        rows: Places from bottom to top.
        panels: The panels that are shown.
        cell_of: For each configuration its flat cell index, or -1 if it is not shown.
        notes: What the reader must know: axes held fixed, panels left out, bins.
    """

    columns: Slots
    rows: Slots
    panels: Slots
    cell_of: NDArray[np.intp]
    notes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of panels, rows and columns."""
        return len(self.panels), len(self.rows), len(self.columns)

    @property
    def has_bins(self) -> bool:
        """Whether a cell may hold several configurations."""
        return any(slots.is_binned for slots in (self.columns, self.rows, self.panels))

    def panel_title(self, panel: int) -> str:
        """Return ``capacity = 64``; empty where there is no third axis."""
        if not self.panels.name:
            return ""
        sign = ":" if self.panels.is_binned else " ="
        # Only the name is cut: panels are told apart by what follows it.
        return f"{safe_text(self.panels.name, limit=24)}{sign} {self.panels.labels[panel]}"

    def fold(self, values: NDArray[np.bool_], how: str = "any") -> NDArray[np.bool_]:
        """Return per cell whether any, or at least half, of its configurations are true.

        Args:
            values: One truth value per configuration.
            how: ``any`` or ``half``.

        Returns:
            Truth per cell; false for cells without configurations.
        """
        hits, total = self.count(values), self.count(np.ones_like(values))
        enough = hits > 0 if how == "any" else 2 * hits >= np.maximum(total, 1)
        return enough & (total > 0)

    def count(self, values: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return per cell how many of its configurations are true."""
        shown = values & (self.cell_of >= 0)
        counts = np.bincount(self.cell_of[shown], minlength=math.prod(self.shape))
        return counts.reshape(self.shape)


def make_grid(data: ReportData) -> Grid:
    """Return the grid of a sweep's configurations.

    ``lr`` goes across, ``batch_size`` up and ``capacity`` over the panels; where one of them is
    missing or has a single value, the next axis takes its place.
    """
    table = data.configurations
    ordered = _by_preference(data.axes)
    is_grid = _is_grid(ordered, table)
    slots = [make_slots(axis, table[axis.name], is_grid=is_grid) for axis in ordered]
    columns, rows, panels = (*slots[:3], *[NO_AXIS] * 3)[:3]
    best = _row_of(table, data.best_config_id)
    is_shown, notes = _fix_further(slots[3:], table, best)
    panels, panel_of, panel_notes = _choose_panels(panels, table, best)
    cell_of = np.zeros(len(table), dtype=np.intp)
    for found, size in (
        (panel_of, len(panels)),
        (_place(rows, table), len(rows)),
        (_place(columns, table), len(columns)),
    ):
        is_shown &= found >= 0
        cell_of = cell_of * size + found
    return Grid(
        columns=columns,
        rows=rows,
        panels=panels,
        cell_of=np.where(is_shown, cell_of, -1),
        notes=(*notes, *panel_notes),
    )


def region_cells(data: ReportData, grid: Grid) -> NDArray[np.bool_]:
    """Return the cells whose configurations (half of them, in bins) are recommended."""
    ids = data.region_ids
    inside = [str(config_id) in ids for config_id in data.configurations["config_id"]]
    return grid.fold(np.asarray(inside, dtype=bool), "half")


def best_cell(data: ReportData, grid: Grid) -> tuple[int, int, int] | None:
    """Return panel, row and column of the best configuration, if it is shown."""
    row = _row_of(data.configurations, data.best_config_id)
    if row is None or grid.cell_of[row] < 0:
        return None
    panel, y, x = np.unravel_index(grid.cell_of[row], grid.shape)
    return int(panel), int(y), int(x)


def describe(data: ReportData, grid: Grid, *, in_bins: str) -> tuple[str, ...]:
    """Return what the reader must know beside the title: at most one line of text.

    Args:
        data: The sweep.
        grid: Its grid.
        in_bins: What a cell shows that holds several configurations.
    """
    notes = list(grid.notes)
    if data.interrupted:
        notes.append(f"interrupted: {data.n_done} of {len(data.trials)} trials done")
    if grid.has_bins:
        notes.append(in_bins)
    return ("; ".join(notes),) if notes else ()


def _by_preference(axes: tuple[Axis, ...]) -> list[Axis]:
    """Return the axes that vary, best known first, then those with a single value."""
    rank = {name: index for index, name in enumerate(_PREFERRED)}
    return sorted(axes, key=lambda axis: (len(axis.values) < 2, rank.get(axis.name, len(rank))))


def _is_grid(axes: list[Axis], table: pd.DataFrame) -> bool:
    """Tell a full grid from sampled values, by how many of the combinations were planned."""
    sizes = [max(table[axis.name].nunique(), 1) for axis in axes]
    return len(table) >= _GRID_FILL * math.prod(sizes)


def _row_of(table: pd.DataFrame, config_id: str | None) -> int | None:
    found = np.flatnonzero(table["config_id"].astype(str).to_numpy() == config_id)
    return int(found[0]) if found.size else None


def _place(slots: Slots, table: pd.DataFrame) -> NDArray[np.intp]:
    if not slots.name:
        return np.zeros(len(table), dtype=np.intp)
    return find_slots(slots, table[slots.name])


def _fix_further(
    further: list[Slots], table: pd.DataFrame, best: int | None
) -> tuple[NDArray[np.bool_], list[str]]:
    """Return which configurations remain when further axes are held, and what to say of it."""
    is_shown = np.ones(len(table), dtype=bool)
    notes = []
    for slots in further:
        name = safe_text(slots.name, limit=40)
        if slots.is_binned:
            notes.append(f"over all values of {name}")
            continue
        places = find_slots(slots, table[slots.name])
        held = places[best] if best is not None else len(slots) // 2
        is_shown &= places == held
        others = f" (the best configuration's, of {len(slots)} values)" if len(slots) > 1 else ""
        notes.append(f"{name} = {slots.labels[held]}{others}")
    return is_shown, notes


def _choose_panels(
    panels: Slots, table: pd.DataFrame, best: int | None
) -> tuple[Slots, NDArray[np.intp], list[str]]:
    """Return at most `MAX_PANELS` panels, evenly spread, the best configuration's among them."""
    places = _place(panels, table)
    if len(panels) <= MAX_PANELS:
        return panels, places, []
    chosen = np.linspace(0, len(panels) - 1, MAX_PANELS).round().astype(np.intp)
    if best is not None:
        chosen[np.abs(chosen - places[best]).argmin()] = places[best]
    shown = Slots(
        name=panels.name,
        labels=tuple(panels.labels[index] for index in chosen),
        values=tuple(panels.values[index] for index in chosen),
    )
    name = safe_text(panels.name, limit=40)
    note = f"{MAX_PANELS} of the {len(panels)} values of {name}, evenly spread"
    return shown, find_slots(shown, table[panels.name]), [note]
