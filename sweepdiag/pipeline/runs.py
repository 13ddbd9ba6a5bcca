"""Runs of other programs as trials: which belong together, and what they differ in."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.config.axes import RESERVED_COLUMNS
from sweepdiag.config.checks import AXIS_NAME
from sweepdiag.errors import ConfigError, unknown_name
from sweepdiag.readers import find_columns
from sweepdiag.records import State
from sweepdiag.space import axes_of_configurations, configuration_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from sweepdiag.records import Axis, AxisValue

__all__ = ["RunAxes", "find_axes", "group_runs", "seed_column", "trials_of"]

_PREFIX = re.compile(r"^(?:configs?|hparams?|params?|hyperparameters|args)[/._]", re.IGNORECASE)
_ALIASES = {
    "lr": ("learning_rate", "learning_rate_init", "learningrate", "lr_init", "init_lr", "base_lr"),
    "batch_size": ("batchsize", "batch", "bs", "train_batch_size", "per_device_train_batch_size"),
    "capacity": ("width", "hidden_size", "hidden_dim", "hidden_units", "hidden", "n_hidden",
                 "units", "n_units"),
}  # fmt: skip
_NO_SETTINGS = frozenset({
    "acc", "accuracy", "argmax", "argmin", "best", "created", "date", "device", "dir", "diverged",
    "duration", "error", "eval", "experiment", "file", "final", "gpu", "group", "host", "hostname",
    "id", "loss", "metric", "name", "nan", "node", "nonfinite", "path", "pid", "rebound",
    "runtime", "seconds", "state", "status", "test", "time", "timestamp", "train", "training",
    "url", "uuid", "val", "valid", "validation", "walltime",
})  # fmt: skip
"""Words of columns that tell how a run came out or where it ran, not how it was set up."""
_RESERVED = RESERVED_COLUMNS | {"group"}
_MOST_CATEGORIES = 30
_LONGEST_NAME = 50
"""Characters of an axis's name, which leave room for what tells equal ones apart."""


@dataclass(frozen=True, kw_only=True)
class RunAxes:
    """What the runs of one sweep differ in.

    Attributes:
        axes: The axes.
        columns: The column that each axis was read from.
        values: Per axis name the value of each run.
        left_out: Columns that differ between runs but are no axes, with the reason.
    """

    axes: tuple[Axis, ...] = ()
    columns: tuple[str, ...] = ()
    values: dict[str, list[AxisValue]]
    left_out: tuple[tuple[str, str], ...] = ()


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


def find_axes(
    runs: pd.DataFrame, *, asked: Sequence[str] | None, not_axes: Sequence[str]
) -> RunAxes:
    """Return the columns that vary between runs.

    Args:
        runs: One row per run of one sweep, with the columns that are constant in each run.
        asked: The columns to take, and no others; ``None`` looks for them.
        not_axes: Columns that name runs, seeds or sweeps.

    Returns:
        The axes. Learning rate, batch size and width get the names ``lr``, ``batch_size`` and
        ``capacity``, by which the checks of a sweep know them; all others that of their column, as
        far as a sweep's file may name an axis so.

    Raises:
        ConfigError: If a column that was asked for does not exist or has no value in some run.
    """
    if asked is None:
        candidates = [name for name in runs.columns if name not in {"trial_id", *not_axes}]
    else:
        candidates = list(asked)
    chosen: list[str] = []
    left_out: list[tuple[str, str]] = []
    for column in candidates:
        if column not in runs.columns:
            raise ConfigError(unknown_name("column for --axes", column, runs.columns))
        reason = _why_not(runs[column], column, is_asked=asked is not None)
        if reason == "constant":
            continue
        if reason and asked is not None:
            message = f"--axes {column}: {reason}"
            raise ConfigError(message)
        if reason:
            left_out.append((column, reason))
        else:
            chosen.append(column)
    names = _axis_names(chosen)
    values = {name: _values(runs[column]) for name, column in zip(names, chosen, strict=True)}
    rows = [dict(zip(names, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return RunAxes(
        axes=axes_of_configurations(names, rows) if names else (),
        columns=tuple(chosen),
        values=values,
        left_out=tuple(left_out),
    )


def trials_of(runs: pd.DataFrame, axes: RunAxes, *, seed_column: str | None) -> pd.DataFrame:
    """Return runs as trials: columns of ``trials.parquet``.

    Runs with equal values on all axes are the seeds of one configuration; without axes each run
    is a configuration of its own.

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
    if names:
        rows = zip(*(axes.values[name] for name in names), strict=True)
        known: dict[tuple[AxisValue, ...], str] = {}
        config_ids = [
            known.setdefault(row, configuration_digest(dict(zip(names, row, strict=True))))
            for row in rows
        ]
    else:
        config_ids = ids
    table = pd.DataFrame({"trial_id": ids, "config_id": config_ids, **axes.values})
    table["seed"] = _seeds(runs, table, seed_column)
    table["n_parameters"] = pd.array([pd.NA] * len(ids), dtype="Int64")
    table["state"], table["reason"], table["attempt"] = State.FINISHED.value, "", 1
    table["device"], table["seconds"] = "", math.nan
    return table


def seed_column(columns: Sequence[str]) -> str | None:
    """Return the column of seeds, which may lie in another setting; folds count as seeds."""
    by_name = {_last(name): name for name in reversed(columns)}
    found = find_columns(list(by_name), {}).seed
    return None if found is None else by_name[found]


def _seeds(runs: pd.DataFrame, table: pd.DataFrame, column: str | None) -> list[int]:
    if column in runs.columns:
        seeds = runs[column]
        if seeds.dtype.kind in "iuf" and seeds.notna().all() and (seeds % 1 == 0).all():
            return [int(seed) for seed in seeds]
    return list(table.groupby("config_id", sort=False).cumcount())


def _why_not(values: pd.Series[Any], name: str, *, is_asked: bool) -> str:
    """Return why a column is no axis; empty if it is one."""
    n_distinct = values.nunique()
    if values.isna().any():
        n_missing = int(values.isna().sum())
        return "constant" if n_distinct == 0 else f"{n_missing} runs have no value"
    if n_distinct <= 1 and not is_asked:
        return "constant"
    if values.dtype.kind == "f" and np.isinf(values).any():
        return "it has infinite values"
    if is_asked:
        return ""
    words = set(re.findall(r"[a-z]+", _PREFIX.sub("", name).lower()))
    if words & _NO_SETTINGS:
        return "not named like a setting"
    is_text = values.dtype.kind not in "biuf"
    if is_text and (n_distinct > _MOST_CATEGORIES or 2 * n_distinct > max(len(values), 4)):
        return f"it has {n_distinct} different texts in {len(values)} runs"
    return ""


def _axis_names(columns: Sequence[str]) -> list[str]:
    plain = [_PREFIX.sub("", column) for column in columns]
    whole, last = ([_folded(name) for name in names] for names in (plain, map(_last, plain)))
    for name, others in _ALIASES.items():
        # A setting of this name comes before others, and one inside others (optimizer/lr) last.
        same = [i for i, fold in enumerate(whole) if fold == name][:1]
        same = same or [i for i, fold in enumerate(whole) if fold in others]
        same = same or [i for i, fold in enumerate(last) if fold in {name, *others}]
        if len(same) == 1:
            plain[same[0]] = name
    names: list[str] = []
    for name in plain:
        legal = _legal_name(name)
        unique, number = legal, 1
        while unique in names:
            number += 1
            unique = f"{legal}_{number}"
        names.append(unique)
    return names


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _last(name: str) -> str:
    """Return the name of a setting without those that it lies in."""
    return re.split(r"[/.]", name)[-1]


def _legal_name(column: str) -> str:
    """Return a name that a sweep's file may give an axis, as near to the column's as possible."""
    without_accents = unicodedata.normalize("NFKD", column).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9]+", "_", without_accents).strip("_")[:_LONGEST_NAME]
    is_legal = re.fullmatch(AXIS_NAME, name) is not None and name not in _RESERVED
    return name if is_legal else f"param_{name}".rstrip("_")


def _values(column: pd.Series[Any]) -> list[AxisValue]:
    """Return axis values: whole numbers as such, where all are whole."""
    if column.dtype.kind in "iuf":
        numbers = column.to_numpy(dtype=float)
        if np.isfinite(numbers).all() and (numbers % 1 == 0).all():
            return [int(number) for number in numbers]
        return [float(f"{number:.12g}") for number in numbers]
    return [str(value) for value in column]


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "(none)"
    return f"{value:.12g}" if isinstance(value, float) else str(value)
