"""The interactive part of the page: click a cell of the heatmap and see its curves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.plotting import (
    CLASS_COLOURS,
    CLASS_LETTERS,
    CLASS_NAMES,
    CLASSES,
    class_heatmap_info,
    find_slots,
    text_colour,
)
from sweepdiag.plotting.view import as_class
from sweepdiag.records import Scale
from sweepdiag.report.explorer import FAILED, PENDING, Row, build_spec
from sweepdiag.report.summary import describe_configuration

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from sweepdiag.plotting import ClassHeatmapInfo, ReportData
    from sweepdiag.records import Axis, VerdictClass

__all__ = ["MAX_CONFIGURATIONS", "MAX_POINTS", "Explorer", "make_explorer"]

MAX_CONFIGURATIONS = 2000
"""Most configurations whose curves are put into the page."""

MAX_POINTS = 100
"""Most points of a curve in the page."""

_FAILED_LOOKS = {"class": FAILED, "letter": "\N{MULTIPLICATION SIGN}", "ink": "#B00000"}
_PENDING_LOOKS = {"class": PENDING, "letter": "", "ink": "#111111"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Explorer:
    """The interactive charts.

    Attributes:
        spec: The Vega-Lite specification with its data.
        notes: What was left out to keep the page small.
    """

    spec: dict[str, Any]
    notes: tuple[str, ...]


def make_explorer(data: ReportData) -> Explorer | None:
    """Return linked heatmap, scatter plot and curves; ``None`` where nothing was judged."""
    judged = data.configurations["verdict"].notna().to_numpy()
    if not data.axes or not judged.any():
        return None
    info = class_heatmap_info(data)
    chosen = _choose_configurations(data, judged)
    curves, is_thinned = _median_curves(data, chosen)
    rows = _configuration_rows(data, info, chosen, curves)
    cells = _cell_rows(info, {row["cell"] for row in rows})
    notes = []
    if len(chosen) < judged.sum():
        notes.append(
            f"Curves of {len(chosen)} of the {judged.sum()} judged configurations are in this "
            "page: the best, and others drawn at random, up to half of them recommended ones."
        )
    if is_thinned:
        notes.append(f"Curves are thinned to at most {MAX_POINTS} points.")
    return Explorer(
        spec=build_spec(
            info, cells, rows, first=_first_axis(data, info), monitor=data.monitor_name
        ),
        notes=tuple(notes),
    )


def _choose_configurations(data: ReportData, judged: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return rows of configurations: the best, then recommended ones, then any, at random."""
    candidates = np.flatnonzero(judged)
    if candidates.size <= MAX_CONFIGURATIONS:
        return candidates
    shuffled = np.random.default_rng(0).permutation(candidates)
    ids = data.configurations["config_id"].astype(str).to_numpy()[shuffled]
    in_region = np.array([config_id in data.region_ids for config_id in ids])
    # The region may be most of the sweep; half of the room is kept for what is around it.
    rank = np.where(in_region & (np.cumsum(in_region) <= MAX_CONFIGURATIONS // 2), 1, 2)
    rank[ids == data.best_config_id] = 0
    return np.sort(shuffled[np.argsort(rank, kind="stable")][:MAX_CONFIGURATIONS])


def _median_curves(
    data: ReportData, chosen: NDArray[np.intp]
) -> tuple[dict[str, pd.DataFrame], bool]:
    """Return for each configuration the medians over its seeds, and whether points were left out.

    A loss that is not finite counts as the largest, so that a median ends where half of the seeds
    have blown up.
    """
    ids = data.configurations["config_id"].to_numpy()[chosen]
    owners = data.verdicts.set_index("trial_id")["config_id"]
    owners = owners[owners.isin(ids)]
    # Chosen before anything is added: the curves may be most of what a sweep takes in memory.
    is_chosen = data.curves["trial_id"].isin(owners.index)
    curves = data.curves.loc[is_chosen, ["trial_id", "epoch", "val_loss", "train_loss"]]
    curves = curves.assign(config_id=curves["trial_id"].map(owners))
    losses = curves[["val_loss", "train_loss"]].astype(float)
    usable = losses.where(np.isfinite(losses), np.inf)
    medians = usable.groupby([curves["config_id"], curves["epoch"]]).median()
    medians = medians.where(np.isfinite(medians)).reset_index("epoch")
    tables = {}
    is_thinned = False
    for config_id, table in medians.groupby(level=0):
        is_thinned |= len(table) > MAX_POINTS
        kept = np.unique(np.linspace(0, len(table) - 1, MAX_POINTS).round().astype(int))
        tables[str(config_id)] = table.iloc[kept] if len(table) > MAX_POINTS else table
    return tables, is_thinned


def _configuration_rows(
    data: ReportData,
    info: ClassHeatmapInfo,
    chosen: NDArray[np.intp],
    curves: dict[str, pd.DataFrame],
) -> list[Row]:
    """Return one record per configuration, its curves as arrays."""
    rows = []
    table = data.configurations.iloc[chosen]
    for place, across, row in zip(
        chosen, _places_across(data, info, table), table.to_dict("records"), strict=True
    ):
        curve = curves.get(str(row["config_id"]))
        verdict = as_class(row["verdict"])
        if curve is None or verdict is None:
            continue
        rows.append(
            {
                "cell": int(info.grid.cell_of[place]),
                "config": str(row["config_id"]),
                "where": describe_configuration(data, row),
                "across": across,
                "class": CLASS_NAMES[verdict],
                "best": _number(row["best_monitor"]),
                "epoch": _numbers(curve["epoch"]),
                "validation": _numbers(curve["val_loss"]),
                "training": _numbers(curve["train_loss"]),
            }
        )
    return rows


def _places_across(
    data: ReportData, info: ClassHeatmapInfo, table: pd.DataFrame
) -> list[float] | list[str]:
    """Return each configuration's value on the axis that goes across; of names their labels."""
    first = _first_axis(data, info)
    if first is None:
        return ["all"] * len(table)
    if first.scale is not Scale.CATEGORICAL:
        return [float(value) for value in table[first.name]]
    slots = info.grid.columns
    places = find_slots(slots, table[first.name])
    return [slots.labels[place] if place >= 0 else "" for place in places]


def _cell_rows(info: ClassHeatmapInfo, cells_with_curves: set[int]) -> list[Row]:
    """Return one record per cell that holds a configuration."""
    grid = info.grid
    occupied = (info.codes >= 0) | info.is_failed | info.is_pending
    records = []
    bounds = _region_bounds(info.is_region)
    for panel, row, column in zip(*np.nonzero(occupied), strict=True):
        place = panel, row, column
        cell = int(np.ravel_multi_index(place, grid.shape))
        code = int(info.codes[place])
        looks = _looks(CLASSES[code]) if code >= 0 else _FAILED_LOOKS
        if info.is_pending[place]:
            looks = _PENDING_LOOKS
        records.append(
            {
                "cell": cell,
                "panel": grid.panel_title(panel) or " ",
                "row": grid.rows.labels[row],
                "column": grid.columns.labels[column],
                **looks,
                "agree": f"{info.n_agree[place]} of {info.n_judged[place]}",
                "region": "yes" if info.is_region[place] else "no",
                "best": info.best == place,
                **{side: True for side, is_bound in bounds.items() if is_bound[place]},
                "curves": "yes" if cell in cells_with_curves else "no",
            }
        )
    return records


def _region_bounds(is_region: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """Return for each side of a cell whether it bounds the recommended region."""
    padded = np.pad(is_region, ((0, 0), (1, 1), (1, 1)))
    inner = slice(1, -1)
    return {
        "left": is_region & ~padded[:, inner, :-2],
        "right": is_region & ~padded[:, inner, 2:],
        "lower": is_region & ~padded[:, :-2, inner],
        "upper": is_region & ~padded[:, 2:, inner],
    }


def _looks(verdict: VerdictClass) -> dict[str, str]:
    """Return what a cell of a class is drawn with."""
    return {
        "class": CLASS_NAMES[verdict],
        "letter": CLASS_LETTERS[verdict],
        "ink": text_colour(CLASS_COLOURS[verdict]),
    }


def _first_axis(data: ReportData, info: ClassHeatmapInfo) -> Axis | None:
    """Return the axis that goes across, if there is one."""
    return next((axis for axis in data.axes if axis.name == info.grid.columns.name), None)


def _number(value: float) -> float | None:
    """Return a number with four significant digits; ``None`` for one that is not finite."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _numbers(column: pd.Series[Any]) -> list[float | None]:
    return [_number(value) for value in column.to_numpy(dtype=float, na_value=np.nan)]
