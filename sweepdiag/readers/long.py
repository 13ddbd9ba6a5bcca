"""Long tables: a row per value, with the metric's name in one column and its value in another."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from sweepdiag.readers.names import first_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.readers.raw import RawTable

__all__ = ["long_columns", "spread_metrics"]

_KEYS = ("key", "metric", "metric_name", "tag", "variable", "measure", "quantity", "name")
_VALUES = ("value", "metric_value", "scalar", "result", "score", "val")
_MOST = 500
"""Metrics that are spread; further ones are hardly metrics."""


def long_columns(names: Sequence[str]) -> tuple[str, str] | None:
    """Return the columns of metrics' names and of their values; ``None`` if there are none.

    Args:
        names: All columns, none of which is named like a loss.
    """
    key, value = first_of(_KEYS, names), first_of(_VALUES, names)
    return None if key is None or value is None else (key, value)


def spread_metrics(table: RawTable, *, key: str, value: str) -> RawTable:
    """Return the table with a column per metric.

    Args:
        table: The table.
        key: Its column of metrics' names, such as ``train_loss``.
        value: Its column of values.
    """
    called = ["" if cell is None else str(cell).strip() for cell in table.columns[key]]
    metrics = [name for name in dict.fromkeys(called) if name and name not in table.names]
    if len(metrics) > _MOST:
        return table
    pairs = list(zip(called, table.columns[value], strict=True))
    columns: dict[str, list[Any]] = {
        metric: [cell if name == metric else None for name, cell in pairs] for metric in metrics
    }
    kept = {name: column for name, column in table.columns.items() if name not in {key, value}}
    note = f"{key!r} names what {value!r} is: each of {len(metrics)} metrics is a column"
    return dataclasses.replace(
        table, names=(*kept, *columns), columns={**kept, **columns}, notes=(*table.notes, note)
    )
