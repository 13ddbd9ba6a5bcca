"""The interactive charts as a Vega-Lite specification, made with Altair.

Names that users chose are only ever values in its data and titles of its axes, never part of an
expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sweepdiag.plotting import CLASS_COLOURS, CLASS_NAMES, CLASSES, line_colour
from sweepdiag.records import Scale

if TYPE_CHECKING:
    import altair as alt

    from sweepdiag.plotting import ClassHeatmapInfo, Slots
    from sweepdiag.records import Axis

__all__ = ["FAILED", "PENDING", "Row", "build_spec"]

FAILED, PENDING = "failed to run", "not judged yet"
"""Names of cells without a class."""

Row: TypeAlias = dict[str, Any]

_EXTRA_COLOURS = {FAILED: "#F4F4F4", PENDING: "#E9E9E9"}
_WIDTH_PX = 740
_MAX_CELL_PX, _MIN_CELL_PX, _MIN_LETTER_PX = 36, 5, 15
_KINDS = ["validation", "training"]
_LONG_LABEL = 7
_LABEL_LIMIT_PX = 240  # a whole label: cut ones may look the same
_INK, _PICKED = "#111111", "#D400D4"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shared:
    """What the charts have in common.

    Attributes:
        classes: The classes that occur, and the names of cells without one.
        pick: The cells that were clicked.
        brush: The box that was dragged.
        monitor: The monitored quantity in words.
    """

    classes: list[str]
    pick: alt.Parameter
    brush: alt.Parameter
    monitor: str


def build_spec(
    info: ClassHeatmapInfo,
    cells: list[Row],
    configurations: list[Row],
    *,
    first: Axis | None,
    monitor: str,
) -> dict[str, Any]:
    """Return the Vega-Lite specification: heatmap, scatter plot and curves, linked.

    Args:
        info: What the heatmap shows.
        cells: One record per cell.
        configurations: One record per configuration, with its curves as arrays.
        first: The axis that goes across.
        monitor: The monitored quantity in words.
    """
    import altair as alt

    shared = _Shared(
        classes=[name for name in _all_names() if any(cell["class"] == name for cell in cells)],
        pick=_pick(info, configurations),
        brush=alt.selection_interval(name="brush", empty=False),
        monitor=monitor,
    )
    below = alt.hconcat(
        _scatter(configurations, first, shared), _curves(configurations, shared), spacing=24
    ).resolve_scale(color="independent", strokeDash="independent")
    chart = (
        alt.vconcat(_heatmap(info, shared), below, spacing=24)
        .resolve_scale(color="independent", strokeDash="independent")
        .configure(font="system-ui, sans-serif", background="white")
        .configure_axis(
            grid=False, labelColor=_INK, labelOverlap=True, titleColor=_INK,
            titleFontWeight="normal",
        )
        .configure_view(stroke=None)
        .configure_title(anchor="start", fontSize=13, fontWeight=600, color=_INK)
    )  # fmt: skip
    # Data go in last: Altair would copy and check them with every step above.
    spec = dict(chart.to_dict())
    return spec | {"datasets": {"cells": cells, "configurations": configurations}}


def _all_names() -> list[str]:
    return [*(CLASS_NAMES[verdict] for verdict in CLASSES), FAILED, PENDING]


def _pick(info: ClassHeatmapInfo, configurations: list[Row]) -> alt.Parameter:
    """Return the selection of cells by clicks; the best configuration's cell is picked first."""
    import altair as alt

    best = np.ravel_multi_index(info.best, info.grid.shape) if info.best else None
    start = configurations[0]["cell"] if best is None else int(best)
    return alt.selection_point(
        name="pick", fields=["cell"], on="click", empty=False, value=[{"cell": start}]
    )


def _heatmap(info: ClassHeatmapInfo, shared: _Shared) -> alt.FacetChart:
    import altair as alt

    n_panels, n_rows, n_columns = info.grid.shape
    per_row, width = _panels_per_row(n_panels, n_columns)
    height = int(np.clip(420 // n_rows, _MIN_CELL_PX, 30))
    titles = [info.grid.panel_title(index) or " " for index in range(n_panels)]
    header = alt.Header(labelAnchor="start", labelFontSize=12)
    layers = _heatmap_layers(_cell_base(info), shared, width=width, height=height)
    return (
        alt.layer(*layers)
        .properties(width=n_columns * width, height=n_rows * height)
        .facet(
            data=alt.NamedData(name="cells"),
            facet=alt.Facet("panel:N", sort=titles, title=None, header=header),
            columns=per_row,
            spacing=14,
            title="Click a cell to see its curves (shift-click adds more)",
        )
    )


def _cell_base(info: ClassHeatmapInfo) -> alt.Chart:
    """Return the places of the cells, and what the mouse shows over them."""
    import altair as alt

    grid = info.grid
    across, up = grid.columns.name or None, grid.rows.name or None
    right = alt.Scale(domain=list(grid.columns.labels), paddingInner=0.04)
    upwards = alt.Scale(domain=list(reversed(grid.rows.labels)), paddingInner=0.04)
    # Every layer carries the tooltip, because the marks on top take the mouse.
    return alt.Chart().encode(
        x=alt.X(
            "column:O",
            sort=None,
            title=across,
            axis=_cell_axis(grid.columns, may_turn=True),
            scale=right,
        ),
        y=alt.Y("row:O", sort=None, title=up, axis=_cell_axis(grid.rows), scale=upwards),
        tooltip=[
            *([alt.Tooltip("panel:N", title="panel")] if grid.panels.name else []),
            *([alt.Tooltip("column:N", title=across)] if across else []),
            *([alt.Tooltip("row:N", title=up)] if up else []),
            alt.Tooltip("class:N"),
            alt.Tooltip("agree:N", title="configurations" if grid.has_bins else "seeds"),
            alt.Tooltip("region:N", title="recommended"),
            alt.Tooltip("curves:N", title="curves in this page"),
        ],
    )


def _heatmap_layers(
    base: alt.Chart, shared: _Shared, *, width: int, height: int
) -> list[alt.Chart]:
    """Return squares, letters, the region's outline, the star, and the picked cells."""
    import altair as alt

    legend = alt.Legend(title=None, orient="top", symbolType="square")
    squares = base.mark_rect(cursor="pointer").encode(
        color=alt.Color("class:N", scale=_colours(shared), legend=legend)
    )
    letters = base.mark_text(cursor="pointer", fontWeight="bold", fontSize=12).encode(
        text="letter:N", color=alt.Color("ink:N", scale=None)
    )
    star = base.transform_filter("datum.best").mark_text(
        text="★", dx=width / 2 - 7, dy=7 - height / 2, color="white", stroke=_INK,
        strokeWidth=0.6, fontSize=13,
    )  # fmt: skip
    picked = base.transform_filter(shared.pick).mark_rect(
        filled=False, stroke=_PICKED, strokeWidth=3
    )
    has_room = min(width, height) >= _MIN_LETTER_PX
    middle = [letters] if has_room else []
    return [squares.add_params(shared.pick), *middle, *_region_sides(base), star, picked]


def _region_sides(base: alt.Chart) -> list[alt.Chart]:
    """Return the lines around the recommended region: the sides of its cells that bound it."""
    import altair as alt

    ends = {"left": (0, 0), "right": (1, 0), "upper": (0, 0), "lower": (0, 1)}
    lines = []
    for side, (column, row) in ends.items():
        is_upright = side in {"left", "right"}
        line = base.transform_filter(f"datum.{side}").mark_rule(stroke=_INK, strokeWidth=2)
        lines.append(
            line.encode(
                x=base.encoding.x.copy().bandPosition(column),
                y=base.encoding.y.copy().bandPosition(row),
                **(
                    {"y2": alt.Y2("row", bandPosition=1)}
                    if is_upright
                    else {"x2": alt.X2("column", bandPosition=1)}
                ),
            )
        )
    return lines


def _panels_per_row(n_panels: int, n_columns: int) -> tuple[int, int]:
    """Return how many panels stand beside each other and how wide a cell is, in pixels.

    Fewer panels, if cells would become too narrow for a letter.
    """
    for per_row in range(min(n_panels, 4), 0, -1):
        room = (_WIDTH_PX - 55 - 14 * (per_row - 1)) // per_row
        cell_px = min(room // n_columns, _MAX_CELL_PX)
        if cell_px >= _MIN_LETTER_PX:
            return per_row, cell_px
    return 1, max(_WIDTH_PX // n_columns, _MIN_CELL_PX)


def _cell_axis(slots: Slots, *, may_turn: bool = False) -> alt.Axis | None:
    """Return the axis of cells, its labels upright where they are too long for a cell."""
    import altair as alt

    if not slots.name:
        return None
    is_upright = may_turn and max(len(label) for label in slots.labels) > _LONG_LABEL
    angle = -90 if is_upright else 0
    return alt.Axis(
        labelAngle=angle,
        labelLimit=_LABEL_LIMIT_PX,
        labelOverlap=not is_upright,
        ticks=False,
        domain=False,
    )


def _scatter(configurations: list[Row], first: Axis | None, shared: _Shared) -> alt.Chart:
    import altair as alt

    is_number = first is not None and first.scale is not Scale.CATEGORICAL
    places = [row["across"] for row in configurations] if is_number else []
    is_log = first is not None and first.scale is Scale.LOG
    heights = [row["best"] for row in configurations if row["best"] is not None]
    best = f"best {shared.monitor}"
    is_chosen = alt.when(shared.pick | shared.brush)
    chart = alt.Chart(alt.NamedData(name="configurations")).mark_circle(size=45, opacity=0.9)
    plot: alt.Chart = (
        chart.encode(
            x=alt.X(
                "across",
                type="quantitative" if is_number else "nominal",
                title=first.name if first else None,
                scale=_scale(places, is_log=is_log) if is_number else alt.Undefined,
            ),
            y=alt.Y("best:Q", title=best, scale=_scale(heights, is_log=_spans(heights))),
            color=alt.Color("class:N", scale=_colours(shared, for_lines=True), legend=None),
            stroke=is_chosen.then(alt.value(_PICKED)).otherwise(alt.value("white")),
            strokeWidth=is_chosen.then(alt.value(2)).otherwise(alt.value(0.5)),
            tooltip=[
                alt.Tooltip("where:N", title="configuration"),
                alt.Tooltip("class:N"),
                alt.Tooltip("best:Q", title=best, format=".4~g"),
            ],
        )
        .add_params(shared.brush)
        .properties(width=270, height=270, title="Drag a box to see the curves inside")
    )
    return plot


def _curves(configurations: list[Row], shared: _Shared) -> alt.Chart:
    import altair as alt

    losses = [loss for row in configurations for kind in _KINDS for loss in row[kind]]
    is_log = _spans([loss for loss in losses if loss is not None])
    dashes = alt.Scale(domain=_KINDS, range=[[1, 0], [5, 3]])
    chart = (
        alt.Chart(alt.NamedData(name="configurations"))
        .transform_filter(shared.pick | shared.brush)
        .transform_flatten(["epoch", *_KINDS])
        .transform_fold(list(_KINDS), as_=["kind", "loss"])
        .mark_line(strokeWidth=1.8, clip=True)
    )
    plot: alt.Chart = chart.encode(
        x=alt.X("epoch:Q"),
        y=alt.Y("loss:Q", title="loss (median over seeds)", scale=_scale([], is_log=is_log)),
        color=alt.Color("class:N", scale=_colours(shared, for_lines=True), legend=None),
        strokeDash=alt.StrokeDash(
            "kind:N", scale=dashes, legend=alt.Legend(title=None, orient="bottom")
        ),
        detail=["config:N", "kind:N"],
        tooltip=[
            alt.Tooltip("where:N", title="configuration"),
            alt.Tooltip("class:N"),
            alt.Tooltip("kind:N", title="loss of"),
            alt.Tooltip("epoch:Q"),
            alt.Tooltip("loss:Q", format=".4~g"),
        ],
    ).properties(width=330, height=270, title="Curves of what you picked")

    return plot


def _colours(shared: _Shared, *, for_lines: bool = False) -> alt.Scale:
    import altair as alt

    own = {
        CLASS_NAMES[verdict]: line_colour(verdict) if for_lines else CLASS_COLOURS[verdict]
        for verdict in CLASSES
    }
    colours = own | _EXTRA_COLOURS
    return alt.Scale(domain=shared.classes, range=[colours[name] for name in shared.classes])


def _scale(values: list[float], *, is_log: bool) -> alt.Scale:
    import altair as alt

    if is_log and all(value > 0 for value in values):
        return alt.Scale(type="log", nice=False, padding=8)
    return alt.Scale(zero=False, padding=8)


def _spans(values: list[float]) -> bool:
    """Whether values are positive and differ so much that a logarithmic axis shows more."""
    return bool(values) and min(values) > 0 and max(values) > 10 * min(values)
