"""Which columns of runs are settings: no results, nothing twice, not how long they ran."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.space import TRAINING_LENGTHS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

__all__ = [
    "PREFIX",
    "cells_of",
    "last_part",
    "lengths_of_training",
    "reason_against",
    "results_among",
    "same_as_others",
    "without_settings",
]

PREFIX = re.compile(r"^(?:configs?|hparams?|params?|hyperparameters|args)[/._]", re.IGNORECASE)
"""What programs put before all names of settings."""
_NO_SETTINGS = frozenset({
    "acc", "accuracy", "argmax", "argmin", "auc", "auroc", "best", "ci", "created", "date",
    "device", "dir", "diverged", "duration", "error", "eval", "evaluated", "experiment", "file",
    "final", "gpu", "group", "host", "hostname", "id", "iou", "loss", "mae", "metric", "metrics",
    "name", "nan", "node", "nonfinite", "path", "perplexity", "pid", "ppl", "rebound", "result",
    "rmse", "runtime", "seconds", "state", "status", "test", "time", "timestamp", "train",
    "training", "url", "uuid", "val", "valid", "validation", "walltime",
})  # fmt: skip
"""Words of columns that tell how a run came out or where it ran, not how it was set up."""
_OF_PARTS = frozenset({"loss", "train", "training", "val", "validation"})
_OF_SETTINGS = frozenset({
    "alpha", "batch", "coef", "coeff", "epochs", "fn", "frac", "fraction", "func", "function",
    "gamma", "kind", "lambda", "ratio", "reduction", "size", "split", "steps", "subset", "type",
    "weight", "weights",
})  # fmt: skip
"""Words beside which those of `_OF_PARTS` name a setting: ``train_batch_size``, ``loss_fn``."""
_MOST_CATEGORIES = 30
_FEW_CATEGORIES = 6
"""So many texts may be settings, however few runs there are."""
_SEED = "(seed)"
_GRID_FILL = 0.75
"""Share of a grid's points from which columns are a grid."""
_MOST_LACKING = 0.2
"""Share of runs that may lack settings: they are left out of the sweep."""


def without_settings(
    runs: pd.DataFrame, candidates: Sequence[str]
) -> tuple[pd.Series[bool], list[str]]:
    """Return which runs have no settings, where those are few, and the columns they lack.

    A run that crashed has no row in a table of results. Its settings are unknown, those of the
    others are not.

    Args:
        runs: One row per run.
        candidates: Columns that may be settings.
    """
    others = {name: runs[name].dropna() for name in candidates if name in runs.columns}
    lacking = [
        name
        for name, known in others.items()
        if 0 < len(runs) - len(known) <= _MOST_LACKING * len(runs)
        and not reason_against(known, name, is_asked=False)
    ]
    is_lacking = runs[lacking].isna().sum(axis=1) * 2 >= max(1, len(lacking))
    if is_lacking.mean() > _MOST_LACKING:
        is_lacking &= False
    return is_lacking, lacking


def reason_against(values: pd.Series[Any], name: str, *, is_asked: bool) -> str:
    """Return why a column is no axis; empty if it is one."""
    n_distinct = values.nunique()
    if n_distinct <= 1 and not is_asked and not values.isna().any():
        return "constant"
    is_text = values.dtype.kind not in "biuf"
    if _is_named_otherwise(name, is_text=is_text) and not is_asked and n_distinct:
        return "not named like a setting"
    if values.isna().any():
        n_missing = int(values.isna().sum())
        who = "1 run has" if n_missing == 1 else f"{n_missing} runs have"
        return f"{who} no value" if n_distinct else "constant"
    if values.dtype.kind == "f" and np.isinf(values).any():
        return "it has infinite values"
    if is_asked:
        return ""
    most = min(max(len(values) / 2, _FEW_CATEGORIES), _MOST_CATEGORIES)
    if is_text and n_distinct > most:
        return f"it has {n_distinct} different texts in {len(values)} runs"
    return ""


def _is_named_otherwise(name: str, *, is_text: bool) -> bool:
    """Return whether a column is named like a result or a place; a loss in words is a choice."""
    words = set(re.findall(r"[a-z]+", PREFIX.sub("", name).lower()))
    found = words & _NO_SETTINGS
    if words & _OF_SETTINGS:
        found -= _OF_PARTS
    return bool(found - {"loss"} if is_text else found)


def same_as_others(
    runs: pd.DataFrame, columns: Sequence[str], *, usual: Sequence[str]
) -> dict[str, str]:
    """Return columns that only say in other words what another one says, with that one.

    The number of parameters follows from the width: an axis of each would cross pairs that cannot
    be. Of columns with a value of one for each value of the other the first usual one is kept, or
    the first. Where no two runs share a value, numbers have to rise or fall together.

    Args:
        runs: One row per run.
        columns: Columns that may be axes.
        usual: Those among them with names that the checks of a sweep know.
    """
    ordered = sorted(columns, key=lambda name: name not in usual)
    n_values = {name: runs[name].nunique() for name in columns}
    kept: list[str] = []
    same: dict[str, str] = {}
    for name in ordered:
        alike = (other for other in kept if n_values[other] == n_values[name])
        twin = next((other for other in alike if _is_one_to_one(runs[other], runs[name])), None)
        if twin is None:
            kept.append(name)
        else:
            same[name] = twin
    return same


def results_among(
    runs: pd.DataFrame,
    columns: Sequence[str],
    *,
    usual: Sequence[str],
    seeds: Sequence[int] | None,
) -> list[str]:
    """Return columns that are rather results: numbers, of which hardly any two runs share one.

    Only where the other columns, whose values come again and again, are a grid that tells all runs
    apart (with their seeds). Settings may be drawn for each run, but then so are the others.

    Args:
        runs: One row per run.
        columns: Columns that may be axes.
        usual: Those among them with names that the checks of a sweep know: settings they are.
        seeds: Seed of each run, if they are known.
    """
    table = runs[list(columns)].assign(**({} if seeds is None else {_SEED: seeds}))
    repeated = [str(name) for name in table if 2 * table[name].nunique() <= len(table)]
    names = [name for name in repeated if name != _SEED]
    others = table[names].drop(columns=list(same_as_others(runs, names, usual=usual)))
    if others.empty or table[repeated].duplicated().any():
        return []
    if len(others.drop_duplicates()) < _GRID_FILL * math.prod(others.nunique()):
        return []
    return [
        name
        for name in columns
        if name not in {*repeated, *usual} and runs[name].dtype.kind in "iuf"
    ]


def lengths_of_training(runs: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Return columns of how long runs were to be trained, where others tell the runs apart."""
    lengths = [name for name in columns if last_part(name).lower() in TRAINING_LENGTHS]
    others = [name for name in columns if name not in lengths]
    if not others:
        return []
    n_cells = runs[others].drop_duplicates().shape[0]
    return [n for n in lengths if runs[[*others, n]].drop_duplicates().shape[0] == n_cells]


def cells_of(values: Mapping[str, Sequence[Any]], n_runs: int) -> list[list[int]]:
    """Return the numbers of the runs that share all values."""
    cells: dict[tuple[Any, ...], list[int]] = {}
    rows = zip(*values.values(), strict=True) if values else iter([()] * n_runs)
    for number, row in enumerate(rows):
        cells.setdefault(tuple(row), []).append(number)
    return list(cells.values())


def last_part(name: str) -> str:
    """Return the name of a setting without those that it lies in."""
    return re.split(r"[/.]", name)[-1]


def _is_one_to_one(one: pd.Series[Any], other: pd.Series[Any]) -> bool:
    import pandas as pd

    pairs = pd.DataFrame({"one": one.to_numpy(), "other": other.to_numpy()}).drop_duplicates()
    if not pairs["one"].is_unique or not pairs["other"].is_unique:
        return False
    if len(one) - len(pairs) >= 2 or not all(s.dtype.kind in "biuf" for s in (one, other)):
        return True
    ordered = pairs.sort_values("one")["other"]
    return bool(ordered.is_monotonic_increasing or ordered.is_monotonic_decreasing)
