"""What the runs of a sweep of other programs differ in: its axes, and what are seeds."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.config.axes import RESERVED_COLUMNS
from sweepdiag.config.checks import AXIS_NAME
from sweepdiag.errors import ConfigError, unknown_name
from sweepdiag.pipeline.axis_choice import (
    PREFIX,
    cells_of,
    last_part,
    lengths_of_training,
    reason_against,
    results_among,
    same_as_others,
)
from sweepdiag.readers import words_in_names
from sweepdiag.space import axes_of_configurations
from sweepdiag.wording import join

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from sweepdiag.records import Axis, AxisValue

__all__ = ["RunAxes", "find_axes"]

_ALIASES = {
    "lr": ("learning_rate", "learning_rate_init", "learningrate", "lr_init", "init_lr", "base_lr"),
    "batch_size": ("batchsize", "batch", "bs", "train_batch_size", "per_device_train_batch_size"),
    "capacity": ("width", "hidden_size", "hidden_dim", "hidden_units", "hidden", "n_hidden",
                 "units", "n_units"),
}  # fmt: skip
_RESERVED = RESERVED_COLUMNS | {"group"}
_LONGEST_NAME = 50
"""Characters of an axis's name, which leave room for what tells equal ones apart."""
_LARGEST_COUNT = 2.0**53
"""From here on not every whole number has a float of its own: there are no counts so large."""
_VARIANT, _NAMES = "variant", "words in the names of the runs"
_PLAIN = "plain"
"""The variant of a run whose name has no such words."""
_MOST_VARIANTS = 30
_MOST_REPEATED = 0.2
"""Share of runs that may repeat a seed: a training that was begun anew."""


@dataclass(frozen=True, kw_only=True)
class RunAxes:
    """What the runs of one sweep differ in.

    Attributes:
        axes: The axes.
        columns: The column that each axis was read from.
        values: Per axis name the value of each run.
        left_out: Columns that differ between runs but are no axes, with the reason.
        notes: What else is to be said of them, in words.
        is_one_configuration: Whether the runs are seeds of one configuration.
    """

    axes: tuple[Axis, ...] = ()
    columns: tuple[str, ...] = ()
    values: dict[str, list[AxisValue]] = field(default_factory=dict)
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    is_one_configuration: bool = False


def find_axes(
    runs: pd.DataFrame,
    *,
    asked: Sequence[str] | None,
    not_axes: Sequence[str],
    seeds: Sequence[int] | None = None,
) -> RunAxes:
    """Return the columns that vary between runs.

    Runs with equal values on all axes will be taken for seeds of one configuration. So what else
    tells them apart is an axis as well: words in their names, where no chance has drawn them. If
    too many of them have the same seed there are no axes.

    Args:
        runs: One row per run of one sweep, with the columns that are constant in each run.
        asked: The columns to take, and no others; ``None`` looks for them.
        not_axes: Columns that name runs, seeds or sweeps.
        seeds: Seed of each run, if they are known.

    Returns:
        The axes. Learning rate, batch size and width get the names ``lr``, ``batch_size`` and
        ``capacity``, by which the checks of a sweep know them; all others that of their column, as
        far as a sweep's file may name an axis so.
    """
    if asked is not None:
        chosen = _asked(runs, asked)
        left_out: list[tuple[str, str]] = []
    else:
        chosen, left_out = _chosen(runs, not_axes, seeds)
    values = dict(zip(_axis_names(chosen), (_values(runs[c]) for c in chosen), strict=True))
    variants = _variants(list(runs["trial_id"]), values) if asked is None else None
    if variants is not None and values:
        if len(set(variants)) > _MOST_VARIANTS:
            return _refused(left_out, "the names of runs with equal settings differ in words")
        chosen.append(_NAMES)
        values[_unused(_VARIANT, list(values))] = variants
    found = RunAxes(
        axes=_axes(values), columns=tuple(chosen), values=values, left_out=tuple(left_out)
    )
    if found.axes:
        return _with_notes(found, runs, seeds, is_asked=asked is not None)
    is_one = seeds is not None and len(set(seeds)) == len(runs) > 1 and variants is None
    return replace(found, is_one_configuration=is_one and not _other_texts(left_out))


def _asked(runs: pd.DataFrame, asked: Sequence[str]) -> list[str]:
    """Return the columns that were asked for.

    Raises:
        ConfigError: If one does not exist or has no value in some run.
    """
    for column in asked:
        if column not in runs.columns:
            raise ConfigError(unknown_name("column for --axes", column, runs.columns))
        reason = reason_against(runs[column], column, is_asked=True)
        if reason and reason != "constant":
            message = f"--axes {column}: {reason}"
            raise ConfigError(message)
    return [name for name in asked if runs[name].notna().any()]


def _chosen(
    runs: pd.DataFrame, not_axes: Sequence[str], seeds: Sequence[int] | None
) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the columns that are axes, and those that are none and why."""
    candidates = [name for name in runs.columns if name not in {"trial_id", *not_axes}]
    reasons = {name: reason_against(runs[name], name, is_asked=False) for name in candidates}
    left_out = [(n, why) for n, why in reasons.items() if why and why != "constant"]
    chosen = [name for name in candidates if not reasons[name]]

    def drop(why: Mapping[str, str]) -> None:
        left_out.extend((name, why[name]) for name in chosen if name in why)
        chosen[:] = [name for name in chosen if name not in why]

    usual = [c for c, n in zip(chosen, _axis_names(chosen), strict=True) if n in _ALIASES]
    results = results_among(runs, chosen, usual=usual, seeds=seeds)
    drop(dict.fromkeys(results, "nearly every run has its own, and others tell runs apart"))
    same = same_as_others(runs, chosen, usual=usual)
    drop({name: f"it goes with {other}" for name, other in same.items()})
    drop(dict.fromkeys(lengths_of_training(runs, chosen), "how long a run was to be trained"))
    return chosen, left_out


def _variants(
    names: Sequence[str], values: Mapping[str, Sequence[AxisValue]]
) -> list[AxisValue] | None:
    """Return the words in names that tell runs apart which nothing else does; ``None`` without."""
    words = words_in_names(names)
    telling: set[str] = set()
    for cell in cells_of(values, len(names)):
        shared = set(words[cell[0]]).intersection(*(words[run] for run in cell))
        telling.update(word for run in cell for word in words[run] if word not in shared)
    if not telling:
        return None
    common = set(words[0]).intersection(*words)
    return [
        " ".join(w for w in own if w in telling)
        or " ".join(w for w in own if w not in common)
        or _PLAIN
        for own in words
    ]


def _with_notes(
    found: RunAxes, runs: pd.DataFrame, seeds: Sequence[int] | None, *, is_asked: bool
) -> RunAxes:
    """Return axes with what speaks against taking runs with equal values for seeds.

    Without axes if a good part of the runs repeats a seed, and nobody has said what the axes are.
    """
    cells = [cell for cell in cells_of(found.values, len(runs)) if len(cell) > 1]
    repeats = _repeats(cells, seeds) if seeds is not None else []
    notes = []
    if repeats:
        first, again = repeats[0]
        what = (
            f"runs with equal {join(found.values)} have the same seed "
            f"({runs['trial_id'].iloc[first]} and {runs['trial_id'].iloc[again]})"
        )
        if len(repeats) > _MOST_REPEATED * len(runs) and not is_asked:
            return _refused(found.left_out, f"{what}, so they differ in something else")
        notes.append(f"{what}: they count as repeats")
    telling = [
        name
        for name in _other_texts(found.left_out)
        if any(runs[name].iloc[cell].nunique() > 1 for cell in cells)
    ]
    if telling:
        notes.append(f"runs that count as seeds of one configuration differ in {join(telling)}")
    return replace(found, notes=tuple(notes))


def _repeats(cells: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[tuple[int, int]]:
    """Return the runs of a cell whose seed an earlier one of it has, each behind that one."""
    found = []
    for cell in cells:
        firsts: dict[int, int] = {}
        found += [
            (first, run) for run in cell if (first := firsts.setdefault(seeds[run], run)) != run
        ]
    return found


def _other_texts(left_out: Sequence[tuple[str, str]]) -> list[str]:
    """Return columns that may be settings, though they are no axes."""
    return [name for name, why in left_out if "different texts" in why or "no value" in why]


def _refused(left_out: Sequence[tuple[str, str]], why: str) -> RunAxes:
    text = f"each run is a configuration of its own: {why}"
    return RunAxes(left_out=tuple(left_out), notes=(text,))


def _axes(values: Mapping[str, Sequence[AxisValue]]) -> tuple[Axis, ...]:
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return axes_of_configurations(list(values), rows) if values else ()


def _axis_names(columns: Sequence[str]) -> list[str]:
    plain = [PREFIX.sub("", column) for column in columns]
    whole, last = ([_folded(name) for name in names] for names in (plain, map(last_part, plain)))
    for name, others in _ALIASES.items():
        # A setting of this name comes before others, and one inside others (optimizer/lr) last.
        same = [i for i, fold in enumerate(whole) if fold == name][:1]
        same = same or [i for i, fold in enumerate(whole) if fold in others]
        same = same or [i for i, fold in enumerate(last) if fold in {name, *others}]
        if len(same) == 1:
            plain[same[0]] = name
    names: list[str] = []
    for name in plain:
        names.append(_unused(_legal_name(name), names))
    return names


def _unused(name: str, taken: Sequence[str]) -> str:
    unique, number = name, 1
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    return unique


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


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
        if (numbers % 1 == 0).all() and (np.abs(numbers) < _LARGEST_COUNT).all():
            return [int(number) for number in numbers]
        return [float(f"{number:.12g}") for number in numbers]
    return [str(value) for value in column]
