"""Runs of other programs as trials: which belong together, and what they differ in."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import ConfigError
from sweepdiag.pipeline.axis_choice import last_part
from sweepdiag.readers import find_columns
from sweepdiag.records import State
from sweepdiag.space import configuration_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from sweepdiag.pipeline.imported_axes import RunAxes
    from sweepdiag.records import AxisValue

__all__ = ["group_runs", "seed_column", "seeds_of", "trials_of"]

_ALL_SEEDS = "all seeds"
"""The one configuration of runs that differ in nothing else."""


def group_runs(runs: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    """Return the runs of each sweep, by the value of a column.

    Args:
        runs: One row per run.
        column: What says which belong together.

    Returns:
        The runs by name of the sweep, in order of appearance; runs without a value are under
        ``(none)``.

    Raises:
        ConfigError: If the column is not constant within each run.
    """
    if column not in runs.columns:
        message = f"--group-by {column}: the column has several values within one run"
        raise ConfigError(message)
    names = [_text(value) for value in runs[column]]
    return {str(name): part for name, part in runs.groupby(names, sort=False)}


def trials_of(runs: pd.DataFrame, axes: RunAxes, *, seed_column: str | None) -> pd.DataFrame:
    """Return runs as trials: columns of ``trials.parquet``.

    Runs with equal values on all axes are the seeds of one configuration; without axes each run
    is a configuration of its own, unless nothing but their seeds tells runs apart.

    Args:
        runs: One row per run.
        axes: What they differ in.
        seed_column: Where the seed stands, if it does.

    Returns:
        One row per run, all of them finished: their curves are all that is known.
    """
    import pandas as pd

    names = [axis.name for axis in axes.axes]
    ids = list(runs["trial_id"])
    config_ids = [_ALL_SEEDS] * len(ids) if axes.is_one_configuration else ids
    if names:
        rows = zip(*(axes.values[name] for name in names), strict=True)
        known: dict[tuple[AxisValue, ...], str] = {}
        config_ids = [
            known.setdefault(row, configuration_digest(dict(zip(names, row, strict=True))))
            for row in rows
        ]
    table = pd.DataFrame({"trial_id": ids, "config_id": config_ids, **axes.values})
    counted = table.groupby("config_id", sort=False).cumcount()
    table["seed"] = seeds_of(runs, seed_column) or list(counted)
    table["n_parameters"] = pd.array([pd.NA] * len(ids), dtype="Int64")
    table["state"], table["reason"], table["attempt"] = State.FINISHED.value, "", 1
    table["device"], table["seconds"] = "", math.nan
    return table


def seed_column(columns: Sequence[str]) -> str | None:
    """Return the column of seeds, which may lie in another setting; folds count as seeds."""
    by_name = {last_part(name): name for name in reversed(columns)}
    found = find_columns(list(by_name), {}).seed
    return None if found is None else by_name[found]


def seeds_of(runs: pd.DataFrame, column: str | None) -> list[int] | None:
    """Return the seed of each run, or its fold, also ``fold_3``; ``None`` if they are unknown."""
    if column not in runs.columns or runs[column].isna().any():
        return None
    texts = [re.fullmatch(r"[A-Za-z_ -]*(\d+)(?:\.0*)?", str(seed)) for seed in runs[column]]
    found = [int(text[1]) for text in texts if text is not None]
    return found if len(found) == len(texts) else None


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "(none)"
    return f"{value:.12g}" if isinstance(value, float) else str(value)
