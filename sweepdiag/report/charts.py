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
    text_colour,
)
from sweepdiag.plotting.view import as_class
from sweepdiag.records import Scale
from sweepdiag.report.explorer import FAILED, PENDING, build_spec
from sweepdiag.report.summary import clean, describe_configuration

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from sweepdiag.plotting import ClassHeatmapInfo, ReportData
    from sweepdiag.records import Axis

__all__ = ["MAX_CONFIGURATIONS", "MAX_POINTS", "Explorer", "make_explorer"]

MAX_CONFIGURATIONS = 2000
"""Most configurations whose curves are put into the page."""

MAX_POINTS = 100
"""Most points of a curve in the page."""

_CROSS = "\N{MULTIPLICATION SIGN}"

# Larger than any loss worth drawing: stands for a loss that is not finite in a median.
_BEYOND = 1e100


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
            "page: the recommended ones and the best, the others drawn at random."
        )
    if is_thinned:
        notes.append(f"Curves are thinned to at most {MAX_POINTS} points.")
    return Explorer(spec=build_spec(info, cells, rows, first=_first_axis(data, info), monitor=data.monitor_name), notes=tuple(notes))


def _choose_configurations(data: ReportData, judged: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return rows of configurations: the recommended, the best, and others at random."""
    candidates = np.flatnonzero(judged)
    if candidates.size <= MAX_CONFIGURATIONS:
        return candidates
    first_ids = data.region_ids | {data.best_config_id}
    ids = data.configurations["config_id"].astype(str).to_numpy()
    is_first = np.array([ids[row] in first_ids for row in candidates])
    order = np.random.default_rng(0).permutation(candidates.size)
    order = order[np.argsort(~is_first[order], kind="stable")]
    return np.sort(candidates[order[:MAX_CONFIGURATIONS]])


def _median_curves(
    data: ReportData, chosen: NDArray[np.intp]
) -> tuple[dict[str, pd.DataFrame], bool]:
    """Return for each configuration the medians over its seeds, and whether points were left out.

    A loss that is not finite counts as the largest, so that a median ends where half of the seeds
    have blown up.
    """
    ids = data.configurations["config_id"].to_numpy()[chosen]
    owners = data.verdicts.set_index("trial_id")["config_id"]
    curves = data.curves.assign(config_id=data.curves["trial_id"].map(owners))
    curves = curves[curves["config_id"].isin(ids)]
    losses = curves[["val_loss", "train_loss"]].astype(float)
    usable = losses.where(np.isfinite(losses), _BEYOND).clip(-_BEYOND, _BEYOND)
    medians = usable.groupby([curves["config_id"], curves["epoch"]]).median()
    medians = medians.where(medians.abs() < _BEYOND**0.5).reset_index("epoch")
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
) -> list[dict[str, Any]]:
    """Return one record per configuration, its curves as arrays."""
    first = _first_axis(data, info)
    rows = []
    for place, row in zip(
        chosen, data.configurations.iloc[chosen].to_dict("records"), strict=True
    ):
        curve = curves.get(str(row["config_id"]))
        verdict = as_class(row["verdict"])
        if curve is None or verdict is None:
            continue
        across = row[first.name] if first else "all"
        is_number = first is not None and first.scale is not Scale.CATEGORICAL
        rows.append(
            {
                "cell": int(info.grid.cell_of[place]),
                "config": str(row["config_id"]),
                "where": describe_configuration(data, row),
                "across": float(across) if is_number else clean(across),
                "class": CLASS_NAMES[verdict],
                "best": _number(row["best_monitor"]),
                "epoch": _numbers(curve["epoch"]),
                "validation": _numbers(curve["val_loss"]),
                "training": _numbers(curve["train_loss"]),
            }
        )
    return rows


def _cell_rows(info: ClassHeatmapInfo, cells_with_curves: set[int]) -> list[dict[str, Any]]:
    """Return one record per cell that holds a configuration."""
    grid = info.grid
    occupied = (info.codes >= 0) | info.is_failed | info.is_pending
    records = []
    for panel, row, column in zip(*np.nonzero(occupied), strict=True):
        place = panel, row, column
        cell = int(np.ravel_multi_index(place, grid.shape))
        code = int(info.codes[place])
        verdict = CLASSES[code] if code >= 0 else None
        name = CLASS_NAMES[verdict] if verdict else FAILED
        if info.is_pending[place]:
            name = PENDING
        records.append(
            {
                "cell": cell,
                "panel": grid.panel_title(panel) or " ",
                "row": grid.rows.labels[row],
                "column": grid.columns.labels[column],
                "class": name,
                "letter": CLASS_LETTERS[verdict] if verdict else (_CROSS if name == FAILED else ""),
                "ink": text_colour(CLASS_COLOURS[verdict]) if verdict else "#B00000",
                "agree": f"{info.n_agree[place]} of {info.n_judged[place]}",
                "region": "yes" if info.is_region[place] else "no",
                "best": info.best == place,
                "curves": "yes" if cell in cells_with_curves else "no",
            }
        )
    return records


def _first_axis(data: ReportData, info: ClassHeatmapInfo) -> Axis | None:
    """Return the axis that goes across, if there is one."""
    return next((axis for axis in data.axes if axis.name == info.grid.columns.name), None)


def _number(value: float) -> float | None:
    """Return a number with four significant digits; ``None`` for one that is not finite."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _numbers(column: pd.Series[Any]) -> list[float | None]:
    return [_number(value) for value in column.to_numpy(dtype=float, na_value=np.nan)]
