"""The interactive charts as a Vega-Lite specification, made with Altair.

Names that users chose are only ever values in its data and titles of its axes, never part of an
expression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sweepdiag.plotting import CLASS_COLOURS, CLASS_NAMES, CLASSES, line_colour
from sweepdiag.records import Scale

if TYPE_CHECKING:
    import altair as alt

    from sweepdiag.plotting import ClassHeatmapInfo
    from sweepdiag.records import Axis

__all__ = ["FAILED", "PENDING", "build_spec"]

FAILED, PENDING = "failed to run", "not judged yet"
"""Names of cells without a class."""

_EXTRA_COLOURS = {FAILED: "#F4F4F4", PENDING: "#E9E9E9"}
_WIDTH_PX = 740
_MAX_CELL_PX, _MIN_CELL_PX, _MIN_LETTER_PX = 36, 5, 15
_INK, _PICKED = "#111111", "#D400D4"


def _build_spec(
    data: ReportData,
    info: ClassHeatmapInfo,
    cells: list[dict[str, Any]],
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    import altair as alt

    start = int(np.ravel_multi_index(info.best, info.grid.shape)) if info.best else rows[0]["cell"]
    pick = alt.selection_point(
        name="pick", fields=["cell"], on="click", empty=False, value=[{"cell": start}]
    )
    brush = alt.selection_interval(name="brush", empty=False)
    names = [name for name in _class_names() if any(cell["class"] == name for cell in cells)]
    heatmap = _heatmap(info, cells, names, pick)
    apart = {"color": "independent", "strokeDash": "independent"}
    scatter = _scatter(data, info, rows, names, pick, brush)
    curves = _curves(rows, names, pick, brush)
    below = alt.hconcat(scatter, curves, spacing=24).resolve_scale(**apart)
    chart = (
        alt.vconcat(heatmap, below, spacing=24)
        .resolve_scale(**apart)
        .configure(font="system-ui, sans-serif", background="white")
        .configure_axis(
            grid=False,
            labelColor=_INK,
            labelOverlap=True,
            titleColor=_INK,
            titleFontWeight="normal",
        )
        .configure_view(stroke=None)
        .configure_title(anchor="start", fontSize=13, fontWeight=600, color=_INK)
    )
    return dict(chart.to_dict())


def _class_names() -> list[str]:
    return [*(CLASS_NAMES[verdict] for verdict in CLASSES), FAILED, PENDING]


def _colour_scale(names: list[str], *, for_lines: bool = False) -> alt.Scale:
    import altair as alt

    own = {
        CLASS_NAMES[verdict]: line_colour(verdict) if for_lines else CLASS_COLOURS[verdict]
        for verdict in CLASSES
    }
    return alt.Scale(domain=names, range=[(own | _EXTRA_COLOURS)[name] for name in names])


def _heatmap(
    info: ClassHeatmapInfo, cells: list[dict[str, Any]], names: list[str], pick: alt.Parameter
) -> alt.FacetChart:
    import altair as alt

    grid = info.grid
    n_panels, n_rows, n_columns = grid.shape
    per_row, cell_px = _panels_per_row(n_panels, n_columns)
    height_px = int(np.clip(420 // n_rows, _MIN_CELL_PX, 30))
    x = alt.X(
        "column:O", sort=None, title=grid.columns.name or None, axis=_axis(grid.columns.name)
    )
    y = alt.Y("row:O", sort=None, title=grid.rows.name or None, axis=_axis(grid.rows.name))
    x.scale = alt.Scale(domain=list(grid.columns.labels), paddingInner=0.04)
    y.scale = alt.Scale(domain=list(reversed(grid.rows.labels)), paddingInner=0.04)
    tooltip = [
        alt.Tooltip("panel:N", title="panel"),
        alt.Tooltip("column:N", title=grid.columns.name or "column"),
        alt.Tooltip("row:N", title=grid.rows.name or "row"),
        alt.Tooltip("class:N"),
        alt.Tooltip("agree:N", title="agree"),
        alt.Tooltip("region:N", title="recommended"),
        alt.Tooltip("curves:N", title="curves in this page"),
    ]
    # Marks above the squares take the mouse too, so that all of them carry the tooltip.
    base = alt.Chart().encode(x=x, y=y, tooltip=tooltip)
    legend = alt.Legend(title=None, orient="top", symbolType="square")
    squares = base.mark_rect(cursor="pointer").encode(
        color=alt.Color("class:N", scale=_colour_scale(names), legend=legend)
    )
    layers = [squares.add_params(pick)]
    if min(cell_px, height_px) >= _MIN_LETTER_PX:
        letters = base.mark_text(cursor="pointer", fontWeight="bold", fontSize=12)
        layers.append(letters.encode(text="letter:N", color=alt.Color("ink:N", scale=None)))
    region = base.transform_filter("datum.region == 'yes'")
    layers.append(region.mark_rect(filled=False, stroke=_INK, strokeWidth=2))
    star = base.transform_filter("datum.best")
    layers.append(
        star.mark_text(
            text="★", dx=cell_px / 2 - 7, dy=7 - height_px / 2, color="white", stroke=_INK,
            strokeWidth=0.6, fontSize=13,
        )
    )  # fmt: skip
    picked = base.transform_filter(pick)
    layers.append(picked.mark_rect(filled=False, stroke="#D400D4", strokeWidth=3))
    layered = alt.layer(*layers).properties(width=n_columns * cell_px, height=n_rows * height_px)
    titles = [grid.panel_title(index) or " " for index in range(grid.shape[0])]
    return layered.facet(
        data=alt.Data(values=cells),
        facet=alt.Facet(
            "panel:N",
            sort=titles,
            title=None,
            header=alt.Header(labelAnchor="start", labelFontSize=12),
        ),
        columns=per_row,
        spacing=14,
        title="Click a cell to see its curves (shift-click adds more)",
    )


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


def _axis(name: str) -> alt.Axis | None:
    import altair as alt

    return alt.Axis(labelAngle=0, labelOverlap=True, ticks=False, domain=False) if name else None


def _scatter(
    data: ReportData,
    info: ClassHeatmapInfo,
    rows: list[dict[str, Any]],
    names: list[str],
    pick: alt.Parameter,
    brush: alt.Parameter,
) -> alt.Chart:
    import altair as alt

    name = info.grid.columns.name
    axis = next((axis for axis in data.axes if axis.name == name), None)
    is_number = axis is not None and axis.scale is not Scale.CATEGORICAL
    is_log = is_number and axis is not None and axis.scale is Scale.LOG
    scale = _scale_of([row["across"] for row in rows] if is_number else [], is_log=is_log)
    x = alt.X("across", type="quantitative" if is_number else "nominal", title=name)
    if is_number:
        x.scale = scale
    heights = [row["best"] for row in rows if row["best"] is not None]
    spans = bool(heights) and min(heights) > 0 and max(heights) > 10 * min(heights)
    is_chosen = alt.when(pick | brush)
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_circle(size=45, opacity=0.9)
        .encode(
            x=x,
            y=alt.Y(
                "best:Q", title=f"best {data.monitor_name}", scale=_scale_of(heights, is_log=spans)
            ),
            color=alt.Color("class:N", scale=_colour_scale(names, for_lines=True), legend=None),
            stroke=is_chosen.then(alt.value("#D400D4")).otherwise(alt.value("white")),
            strokeWidth=is_chosen.then(alt.value(2)).otherwise(alt.value(0.5)),
            tooltip=[
                alt.Tooltip("where:N", title="configuration"),
                alt.Tooltip("class:N"),
                alt.Tooltip("best:Q", title=f"best {data.monitor_name}", format=".4~g"),
            ],
        )
        .add_params(brush)
        .properties(width=270, height=270, title="Drag a box to see the curves inside")
    )


def _curves(
    rows: list[dict[str, Any]], names: list[str], pick: alt.Parameter, brush: alt.Parameter
) -> alt.Chart:
    import altair as alt

    losses = [
        v
        for row in rows
        for kind in ("validation", "training")
        for v in row[kind]
        if v is not None
    ]
    is_log = bool(losses) and min(losses) > 0
    kinds = ["validation", "training"]
    return (
        alt.Chart(alt.Data(values=rows))
        .transform_filter(pick | brush)
        .transform_flatten(["epoch", *kinds])
        .transform_fold(kinds, as_=["kind", "loss"])
        .mark_line(strokeWidth=1.8, clip=True)
        .encode(
            x=alt.X("epoch:Q", title="epoch"),
            y=alt.Y(
                "loss:Q", title="loss (median over seeds)", scale=_scale_of([], is_log=is_log)
            ),
            color=alt.Color("class:N", scale=_colour_scale(names, for_lines=True), legend=None),
            strokeDash=alt.StrokeDash(
                "kind:N",
                scale=alt.Scale(domain=kinds, range=[[1, 0], [5, 3]]),
                legend=alt.Legend(title=None, orient="top"),
            ),
            detail=["config:N", "kind:N"],
            tooltip=[
                alt.Tooltip("where:N", title="configuration"),
                alt.Tooltip("class:N"),
                alt.Tooltip("kind:N", title="loss of"),
                alt.Tooltip("epoch:Q"),
                alt.Tooltip("loss:Q", format=".4~g"),
            ],
        )
        .properties(width=330, height=270, title="Curves of what you picked")
    )


def _scale_of(values: list[float], *, is_log: bool) -> alt.Scale:
    import altair as alt

    if is_log and all(value > 0 for value in values):
        return alt.Scale(type="log", nice=False, padding=8)
    return alt.Scale(zero=False, padding=8)


