"""The records of one run in a JSON document: a list of them, or lists of values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from sweepdiag.readers.columns import LOSSES, find_columns
from sweepdiag.readers.names import is_of_losses, part_of, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sweepdiag.readers.columns import ColumnMap

__all__ = [
    "N_LOOKED_AT",
    "JsonRun",
    "Node",
    "columns_of",
    "flatten",
    "has_series",
    "is_of_objects",
    "is_scalar",
    "is_series",
    "names_part",
    "run_of",
    "says_nothing",
    "with_records",
]

Node: TypeAlias = "Mapping[str, Any] | list[Mapping[str, Any]]"
"""A part of a document: an object, or a list of nothing but objects."""
N_LOOKED_AT = 20
"""Records of a list by which it is known what they hold."""
_HARMLESS = {
    "all", "curve", "curves", "data", "histories", "history", "log", "logs", "metrics", "raw",
    "results", "set",
}  # fmt: skip
"""Words beside ``train`` that do not make another thing of an object."""
_COUNTED = re.compile(r"(?P<word>[A-Za-z]*)[ _-]?(?P<number>\d+)")
"""A key such as ``epoch_1``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonRun:
    """One run of a document.

    Attributes:
        records: Its records, one per epoch or step.
        name: What tells it from the others; empty where it is the only one.
        settings: What is said of it beside its records, by name: ``config/lr``.
        left_out: Losses of other lengths, which cannot be put beside these.
        is_of_lists: Whether the records are those that lists of values make up.
    """

    records: Sequence[Mapping[str, Any]]
    name: str = ""
    settings: Mapping[str, Any]
    left_out: tuple[str, ...] = ()
    is_of_lists: bool = False


def columns_of(records: Sequence[Mapping[str, Any]]) -> ColumnMap:
    """Return what the first and the last records of a run hold."""
    ends = [*records[:N_LOOKED_AT], *records[-N_LOOKED_AT:]]
    names = dict.fromkeys(name for record in ends for name, _ in flatten(record))
    return find_columns(list(names), {})


def flatten(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of an object and of those inside it, the latter as ``outer/inner``."""
    items: Iterable[tuple[str, Any]] = record.items()
    for name, value in items:
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def is_scalar(value: Any) -> bool:
    """Return whether a value is a single one."""
    return value is None or isinstance(value, str | int | float)


def is_series(value: Any) -> bool:
    """Return whether a value is a list of values, as far as its ends tell."""
    return isinstance(value, list) and bool(value) and is_scalar(value[0]) and is_scalar(value[-1])


def has_series(record: Mapping[str, Any]) -> bool:
    """Return whether lists of several values lie in an object, or in one inside it."""
    return any(isinstance(value, list) and len(value) > 1 for _, value in flatten(record))


def is_of_objects(value: Any) -> bool:
    """Return whether a value is a list of nothing but objects."""
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def names_part(key: str) -> bool:
    """Return whether an object is named as a part of the data: ``train``, ``valid_1``."""
    words = [word for word in words_of(key) if not word.isdigit() and word not in _HARMLESS]
    return bool(part_of(" ".join(words)))


def says_nothing(key: str) -> bool:
    """Return whether an object is named so that it may be of any run: ``history``, ``metrics``."""
    words = set(words_of(key))
    return bool(words) and words <= _HARMLESS


def with_records(node: Any, name: str = "") -> Any:
    """Return a document with a list of records for each object whose keys count epochs.

    Args:
        node: A part of it, such as ``{"epoch_1": {"loss": 2}, "epoch_2": {"loss": 1}}``, or such
            with the keys ``1`` and ``2``.
        name: Its own name, which may say that it is of epochs.
    """
    if is_of_objects(node):
        first = node[:N_LOOKED_AT]
        is_deep = any(has_series(one) or with_records(one) != one for one in first)
        inner = [with_records(one) for one in node] if is_deep else node
        return [{"epochs": one} if isinstance(one, list) else one for one in inner]
    if not isinstance(node, dict):
        return node
    matches = [_COUNTED.fullmatch(key) for key in node]
    words = {(match["word"] or name).lower().rstrip("s") for match in matches if match}
    is_counted = len(node) > 1 and all(matches) and words in ({"epoch"}, {"step"}, {"round"})
    if is_counted and not has_series(node):
        (word,) = words
        is_epoch = word != "step"
        return [
            {"epoch" if is_epoch else "step": int(match["number"]), **record}
            for match, record in zip(matches, node.values(), strict=True)
            if match and isinstance(record, dict)
        ]
    return {key: with_records(value, key) for key, value in node.items()}


def run_of(node: Node) -> JsonRun:
    """Return a part of a document as one run, with the losses that are not among its records.

    Summaries and settings may stand beside the lists, and lists in an object of their own. Lists
    with both losses come first, then those with one, then the longest ones.
    """
    if isinstance(node, list):
        return JsonRun(records=node, settings={})
    lists = {name: value for name, value in flatten(node) if isinstance(value, list) and value}
    tables = list(_joined({name: rows for name, rows in lists.items() if is_of_objects(rows)}))
    columns = {name: cells for name, cells in lists.items() if not is_of_objects(cells)}
    names = _of_one_length(columns)
    groups = [names, *_of_one_object(columns)]
    of_lists = [_columns({name: columns[name] for name in group}) for group in groups]
    tables += of_lists
    best = max(tables, key=lambda rows: (_n_losses(rows), len(rows)))
    used = next(
        (group for group, rows in zip(groups, of_lists, strict=True) if rows is best), None
    )
    others = [
        f"{name} ({len(cells)})"
        for name, cells in columns.items()
        if is_of_losses(name) and len(cells) > 1 and name not in (used or ())
    ]
    return JsonRun(
        records=best,
        settings={},
        left_out=tuple(others) if _n_losses(best) else (),
        is_of_lists=used is not None,
    )


def _joined(
    tables: Mapping[str, list[Mapping[str, Any]]],
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Yield tables, those of parts of the data as one: ``train`` and ``val`` with epochs each."""
    parts = []
    for path, rows in tables.items():
        name, columns = path.rpartition("/")[-1], columns_of(rows)
        axes = {columns.epoch, columns.step}
        if names_part(name) and columns.has_loss and axes != {None}:
            parts.append(
                [{k if k in axes else f"{name}/{k}": v for k, v in row.items()} for row in rows]
            )
        yield rows
    if len(parts) > 1:
        yield [row for rows in parts for row in rows]


def _n_losses(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return how many of the losses of training and of validation records have."""
    columns = columns_of(rows)
    return sum(getattr(columns, role) is not None for role in LOSSES)


def _of_one_length(lists: Mapping[str, list[Any]]) -> list[str]:
    """Return the lists of the length that those with losses have, else most of them.

    Lists of one value are no curves, but what came out last.
    """
    by_length: dict[int, list[str]] = {}
    for name, cells in lists.items():
        by_length.setdefault(len(cells), []).append(name)
    _, names = max(
        by_length.items(),
        key=lambda one: (one[0] > 1, sum(map(is_of_losses, one[1])), len(one[1])),
        default=(0, []),
    )
    return names


def _of_one_object(lists: Mapping[str, list[Any]]) -> Iterator[list[str]]:
    """Yield, of the objects that have a loss of their own, the lists as long as that."""
    by_object: dict[str, list[str]] = {}
    for name in lists:
        by_object.setdefault(name.rpartition("/")[0], []).append(name)
    if len(by_object) > 1:
        for names in by_object.values():
            own = _of_one_length({name: lists[name] for name in names})
            if any(is_of_losses(name) and is_series(lists[name]) for name in own):
                yield own


def _columns(lists: Mapping[str, list[Any]]) -> list[Mapping[str, Any]]:
    """Return the records that lists of one length make up.

    What all names begin with is left out, unless it says that they are of losses.
    """
    levels = list(zip(*(name.split("/")[:-1] for name in lists), strict=False))
    is_shared = [len(set(level)) == 1 and not is_of_losses(level[0]) for level in levels]
    n_shared = [*is_shared, False].index(False)
    short = ["/".join(name.split("/")[n_shared:]) for name in lists]
    return [dict(zip(short, row, strict=True)) for row in zip(*lists.values(), strict=True)]
