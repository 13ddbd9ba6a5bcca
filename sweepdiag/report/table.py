"""The table of configurations of the page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sweepdiag.plotting import CLASS_COLOURS, CLASS_LETTERS, CLASS_NAMES, text_colour
from sweepdiag.plotting.view import as_class
from sweepdiag.records import VerdictClass
from sweepdiag.wording import clean, epoch_text, format_value, percent, plural

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from sweepdiag.plotting import ReportData
    from sweepdiag.records import StopEpoch

__all__ = ["MAX_ROWS", "configuration_table"]

MAX_ROWS = 500
"""Most configurations in the page; ``configurations.parquet`` has all of them."""

_RANKS = {verdict: rank for rank, verdict in enumerate(VerdictClass)}


def configuration_table(data: ReportData) -> dict[str, Any] | None:
    """Return heads and rows of the table, the best configurations first.

    Args:
        data: The sweep.

    Returns:
        What the template needs; ``None`` where there are no configurations.
    """
    table = data.configurations
    if not len(table):
        return None
    shown = _best_first(data, table).head(MAX_ROWS)
    stops = {stop.config_id: stop for stop in data.recommendation.stop_epochs}
    note = "Click a column's head to sort. The best are first"
    if len(shown) < len(table):
        note += f"; {len(shown)} of {len(table)} are shown, configurations.parquet has all"
    return {
        "title": "Configurations" if data.axes else "Curves",
        "note": f"{note}.",
        "heads": _heads(data),
        "rows": [_row(data, row, stops) for row in shown.to_dict("records")],
    }


def _best_first(data: ReportData, table: pd.DataFrame) -> pd.DataFrame:
    """Sort by the monitored value, diverging and unjudged configurations last."""
    verdicts = [as_class(value) for value in table["verdict"]]
    group = [2 if v is None else int(v is VerdictClass.DIVERGING) for v in verdicts]
    values = table["best_monitor"].astype(float) * (-1 if data.is_larger_better else 1)
    order = table.assign(_group=group, _value=values).sort_values(
        ["_group", "_value"], kind="stable"
    )
    return table.loc[order.index]


def _heads(data: ReportData) -> list[dict[str, Any]]:
    names = [axis.name for axis in data.axes] if data.axes else ["curve"]
    numbers = ["confidence", f"best {data.monitor_name}", "last val. loss", "best epoch"]
    if data.axes:  # a curve alone is its only seed
        numbers[:2] = ["seeds", *numbers[:2], "worst seed"]
    numbers += ["stop at", "saves"]
    heads = [{"name": "class", "is_number": False}]
    return heads + [{"name": name, "is_number": True} for name in (*names, *numbers)]


def _row(data: ReportData, row: dict[Any, Any], stops: dict[str, StopEpoch]) -> list[Any]:
    names = [axis.name for axis in data.axes] if data.axes else ["config_id"]
    stop = stops.get(str(row["config_id"]))
    columns = ["best_monitor", *(["worst_monitor"] if data.axes else []), "last_val_loss"]
    return [
        _class_cell(row, is_recommended=str(row["config_id"]) in data.region_ids),
        *(_value(row[name]) for name in names),
        *([_seeds(row)] if data.axes else []),
        _number(row["confidence"], write=percent),
        *(_number(row[name]) for name in columns),
        _number(row["best_epoch"], write=epoch_text),
        _number(stop.epoch if stop else math.nan, write=epoch_text),
        _number(stop.saved_fraction if stop else math.nan, write=percent),
    ]


def _cell(text: str, *, value: object = None, kind: str = "", badge: Any = None) -> dict[str, Any]:
    """Return what a cell shows and the value it is sorted by."""
    value = text if value is None else value
    return {"text": text, "value": value, "kind": kind, "badge": badge, "note": ""}


def _class_cell(row: dict[Any, Any], *, is_recommended: bool) -> dict[str, Any]:
    verdict = as_class(row["verdict"])
    if verdict is None:
        return _cell("failed" if row["n_failed"] else "not judged", value="", kind="class")
    colour = CLASS_COLOURS[verdict]
    badge = {"letter": CLASS_LETTERS[verdict], "colour": colour, "ink": text_colour(colour)}
    text = CLASS_NAMES[verdict] + (" (recommended)" if is_recommended else "")
    cell = _cell(text, value=_RANKS[verdict], kind="class", badge=badge)
    parts = [_tags(row["tags"]), clean(row["evidence"] or "")]
    return {**cell, "note": ". ".join(part for part in parts if part)}


def _seeds(row: dict[Any, Any]) -> dict[str, Any]:
    """Return how many seeds agree on the class, and how many failed."""
    judged, failed = int(row["n_judged"]), int(row["n_failed"])
    agree = round(row["share"] * judged) if judged else 0
    text = f"{agree} of {judged}" if judged else "none"
    return _cell(text + (f", {plural(failed, 'failure')}" if failed else ""), kind="number")


def _tags(tags: object) -> str:
    """Return the tags in words; a configuration that was not judged may have no list of them."""
    names = tags if hasattr(tags, "__iter__") else []
    return ", ".join(str(tag).replace("_", " ") for tag in names)


def _value(value: object) -> dict[str, Any]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    text = format_value(value) if is_number else clean(value)
    return _cell(text, value=value, kind="number")


def _number(
    value: float | None, *, write: Callable[[float], str] = format_value
) -> dict[str, Any]:
    if value is None or not math.isfinite(value):
        return _cell("", kind="number")
    return _cell(write(value), value=value, kind="number")
