"""The runs that a JSON document holds: of each its records, its name and its settings."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from sweepdiag.readers.columns import find_columns
from sweepdiag.readers.names import (
    first_of,
    is_learning_rate,
    is_of_losses,
    losses_among,
    may_be_loss,
    part_of,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sweepdiag.readers.columns import ColumnMap

__all__ = ["JsonRun", "columns_of", "flatten", "runs_of", "settings_of"]

_PREFIX = "config"
"""Where settings stand, as those of files beside a log do: ``config/lr``."""
_SETTINGS = {
    "arg", "args", "arguments", "cfg", "conf", "config", "configs", "configuration", "hparams",
    "hyperparameters", "hyperparams", "meta", "options", "opt", "params", "settings",
}  # fmt: skip
"""Words by which an object says that all in it are settings."""
_RESULTS = {"best", "final", "last", "mean", "std", "elapsed", "status"}
_LABELS = ("label", "title", "tag", "model", "model_name", "method", "optimizer")
"""What names a run where nothing is called its name."""
_HARMLESS = {"history", "histories", "metrics", "set", "data", "log", "logs", "curve", "curves"}
"""Words beside ``train`` that do not make another thing of an object."""
_LONGEST = 200
"""Characters from which a text is no value of a setting."""
_N_DIGITS = 6
"""Digits from which a number was measured rather than set."""
_N_LOOKED_AT = 20
"""Records of a list by which it is known what they hold."""
_N_TOLD = 3
"""Settings that a run is named by at most."""

_COUNTED = re.compile(r"(?P<word>[A-Za-z]*)[ _-]?(?P<number>\d+)")
"""A key such as ``epoch_1``."""

_IsLoss: TypeAlias = "Callable[[str], bool]"
_Node: TypeAlias = "Mapping[str, Any] | list[Mapping[str, Any]]"
"""A part of a document: an object, or a list of nothing but objects."""


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


def runs_of(content: Any) -> list[JsonRun]:
    """Return the runs of a document; none if it has no records.

    An object, or an element of a list, is a run if another one beside it has losses of the same
    names: ``{"lr_0.1": {"loss": […]}, "lr_0.01": {"loss": […]}}``. Those named as parts of the
    data (``train`` and ``val``) are of one run, unless each has losses of both.

    Args:
        content: What the file holds.
    """
    if not isinstance(content, dict) and not _is_of_objects(content):
        return []
    content = _with_records(content)
    names = {name for path in _curves(content) for name in path}
    is_loss = is_of_losses if any(map(is_of_losses, names)) else _is_of_errors
    return list(_walk(content, (), {}, is_loss))


def columns_of(records: Sequence[Mapping[str, Any]]) -> ColumnMap:
    """Return what the first records of a run hold."""
    first = records[:_N_LOOKED_AT]
    names = dict.fromkeys(name for record in first for name, _ in flatten(record))
    return find_columns(list(names), {})


def flatten(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of an object and of those inside it, the latter as ``outer/inner``."""
    items: Iterable[tuple[str, Any]] = record.items()
    for name, value in items:
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def settings_of(node: Mapping[str, Any], runs: Sequence[str] = ()) -> dict[str, Any]:
    """Return the settings of an object, by name: ``config/lr``.

    These are all values of an object that is called so, and its own ones that may be some.

    Args:
        node: The object.
        runs: Names of what is no setting in it.
    """
    found: dict[str, Any] = {}
    for name, value in node.items():
        words = set(words_of(name))
        if name in runs:
            continue
        if isinstance(value, dict) and words & _SETTINGS:
            found |= _settings_in(value if words <= _SETTINGS else {name: value})
        elif _is_scalar(value) and _may_be_setting(name, value):
            found |= {key: v for key, v in _settings_in({name: value}).items() if key not in found}
    return found


def _settings_in(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return all values of an object of settings, by name; lists as one text."""
    found: dict[str, Any] = {}
    for name, value in flatten(content):
        text = json.dumps(value, default=str) if isinstance(value, list) else value
        if text is not None and (not isinstance(text, str) or len(text) <= _LONGEST):
            found[f"{_PREFIX}/{name}"] = text
    return found


def _with_records(node: Any, name: str = "") -> Any:
    """Return a document with a list of records for each object whose keys count epochs.

    Args:
        node: A part of it, such as ``{"epoch_1": {"loss": 2}, "epoch_2": {"loss": 1}}``, or such
            with the keys ``1`` and ``2``.
        name: Its own name, which may say that it is of epochs.
    """
    if not isinstance(node, dict):
        return [_with_records(element) for element in node] if _is_of_objects(node) else node
    matches = [_COUNTED.fullmatch(key) for key in node]
    words = {(match["word"] or name).lower().rstrip("s") for match in matches if match}
    if len(node) > 1 and all(matches) and words in ({"epoch"}, {"step"}, {"round"}):
        (word,) = words
        is_epoch = word != "step"
        return [
            {"epoch" if is_epoch else "step": int(match["number"]), **record}
            for match, record in zip(matches, node.values(), strict=True)
            if match and isinstance(record, dict)
        ]
    return {key: _with_records(value, key) for key, value in node.items()}


def _is_of_errors(name: str) -> bool:
    return bool(losses_among([name]))


def _walk(
    node: _Node, path: tuple[str, ...], settings: Mapping[str, Any], is_loss: _IsLoss
) -> Iterator[JsonRun]:
    """Yield the runs of a part of a document.

    Args:
        node: The part.
        path: What tells it from others.
        settings: What is said of all that is in it.
        is_loss: Whether a name is that of a loss.
    """
    inner = _inner(node, is_loss)
    beside = {} if isinstance(node, list) else settings_of(node, [key for key, _ in inner])
    settings = {**settings, **beside}
    if isinstance(node, list) and inner and not _are_records(node):
        labels, more = _told(node), [settings_of(element) for element in node]
        for i, child in inner:
            yield from _walk(child, (*path, labels[i]), {**settings, **more[i]}, is_loss)
        return
    if isinstance(node, dict) and not _has_own_loss(node):
        if len(inner) == 1:
            ((_, child),) = inner
            runs = list(_walk(_with_lists(child, node), path, settings, is_loss))
            if len(runs) > 1 or (isinstance(child, list) and not _are_records(child)):
                yield from runs
                return
        runs_inside = _runs_among(inner, is_loss)
        if runs_inside:
            for key, child in runs_inside:
                yield from _walk(child, (*path, key), settings, is_loss)
            return
    run = _run(node)
    settings = {
        name: value for name, value in settings.items() if not _is_length(name, value, run.records)
    }
    yield dataclasses.replace(run, name="/".join(path), settings=settings)


def _has_own_loss(node: Mapping[str, Any]) -> bool:
    """Return whether a list of losses lies in an object itself."""
    return find_columns([name for name, v in node.items() if _is_series(v)], {}).has_loss


def _inner(node: Any, is_loss: _IsLoss) -> list[tuple[Any, Any]]:
    """Return the objects and lists of objects in a node that have losses, by key or place."""
    children = node.items() if isinstance(node, dict) else enumerate(node)
    return [
        (key, child)
        for key, child in children
        if (isinstance(child, dict) or _is_of_objects(child)) and _kinds(child, is_loss)
    ]


def _curves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield where the lists of values of a node lie, and the values of its lists of records."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _curves(value, (*path, name))
    elif _is_of_objects(node):
        for record in node[:_N_LOOKED_AT]:
            for name, value in flatten(record):
                inside = (*path, *name.split("/"))
                if isinstance(value, list) and len(value) != 1:
                    yield from _curves(value, inside)
                else:
                    yield inside
    elif _is_series(node):
        yield path


def _kinds(node: Any, is_loss: _IsLoss) -> set[str]:
    """Return what the losses of a node are called, from where a name says that they are some."""
    kinds = set()
    for path in _curves(node):
        begin = next((i for i, name in enumerate(path) if is_loss(name)), None)
        if begin is not None:
            kinds.add("/".join(path[begin:]))
    return kinds


def _runs_among(inner: list[tuple[str, Any]], is_loss: _IsLoss) -> list[tuple[str, Any]]:
    """Return the objects that are runs: such as have losses of the same names as another one."""
    kinds = {key: _kinds(child, is_loss) for key, child in inner}
    counts = Counter(kind for found in kinds.values() for kind in found)
    shared = {kind for kind, count in counts.items() if count > 1}
    columns = {key: find_columns(sorted(found), {}) for key, found in kinds.items()}
    if any(map(_is_part, kinds)) and not all(
        c.train_loss and c.val_loss for c in columns.values()
    ):
        return []
    if not shared or all(words_of(key)[:1] in (["epoch"], ["step"]) for key in kinds):
        return []
    return [(key, one) for key, one in inner if kinds[key] & shared or columns[key].has_loss]


def _is_part(key: str) -> bool:
    """Return whether an object is named as a part of the data: ``train``, ``valid_1``."""
    words = [word for word in words_of(key) if not word.isdigit() and word not in _HARMLESS]
    return bool(part_of(" ".join(words)))


def _are_records(rows: list[Mapping[str, Any]]) -> bool:
    """Return whether the objects of a list are records of one run rather than a run each.

    Runs have lists in them. Records may too, as of all losses of an epoch, but these count up.
    """
    lists = [[v for _, v in flatten(row) if isinstance(v, list) and len(v) > 1] for row in rows]
    if not any(lists):
        return True
    columns = find_columns([name for name, value in flatten(rows[0]) if _is_scalar(value)], {})
    axis = columns.epoch or columns.step
    if axis is None:
        return False
    places = [dict(flatten(row)).get(axis) for row in rows]
    lengths = [{len(value) for value in found} for found in lists]
    numbers = [place for place in places if isinstance(place, int | float)]
    is_counted = len(numbers) == len(rows) and numbers == sorted(set(numbers))
    return is_counted and not all(n in own for n, own in zip(places, lengths, strict=True))


def _with_lists(child: Any, node: Mapping[str, Any]) -> Any:
    """Return a list of runs with what equally long lists beside it say of each."""
    if not _is_of_objects(child) or _are_records(child):
        return child
    rows = [dict(row) for row in child]
    for name, cells in node.items():
        if cells is child or not isinstance(cells, list) or len(cells) != len(rows):
            continue
        single = name[:-1] if name.endswith("s") and not is_of_losses(name) else name
        if all(map(_is_scalar, cells)) or _is_of_objects(cells):
            for row, cell in zip(rows, cells, strict=True):
                row.setdefault(single, cell)
    return rows


def _told(rows: list[Mapping[str, Any]]) -> list[str]:
    """Return what to call the elements of a list: by their names, what differs, or a number."""
    names = list(rows[0])
    run = find_columns(names, {}).run
    named = [*run, *(name for name in (first_of([usual], names) for usual in _LABELS) if name)]
    for name in named:
        texts = [str(row.get(name, "")) for row in rows]
        if len(set(texts)) == len(rows) and all(_is_scalar(row.get(name)) for row in rows):
            return texts
    settings = [settings_of(row) for row in rows]
    told: list[list[str]] = [[] for _ in rows]
    for name in settings[0]:
        values = [own.get(name) for own in settings]
        if len(set(values)) > 1 and len(told[0]) < _N_TOLD:
            short = name.rpartition("/")[-1]
            told = [[*t, f"{short}={v}"] for t, v in zip(told, values, strict=True)]
            if len(set(map(tuple, told))) == len(rows):
                return [",".join(texts) for texts in told]
    return [str(number) for number in range(1, len(rows) + 1)]


def _may_be_setting(name: str, value: Any) -> bool:
    """Return whether a value was set: neither a loss, a score or a time, nor measured exactly."""
    is_rate = is_learning_rate(name)
    if is_of_losses(name) or set(words_of(name)) & _RESULTS or not (is_rate or may_be_loss(name)):
        return False
    return is_rate or not isinstance(value, float) or value == float(f"{value:.{_N_DIGITS}g}")


def _is_length(name: str, value: Any, records: Sequence[Any]) -> bool:
    """Return whether a value only counts the records, as epochs do."""
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return is_count and value == len(records) and "epoch" in name.lower()


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _is_series(value: Any) -> bool:
    """Return whether a value is a list of values."""
    return isinstance(value, list) and bool(value) and all(map(_is_scalar, value))


def _is_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _run(node: _Node) -> JsonRun:
    """Return a part of a document as one run, with the losses that are not among its records.

    Summaries and settings may stand beside the lists, and lists in an object of their own. Lists
    with a loss come first, then the longest ones.
    """
    if isinstance(node, list):
        return JsonRun(records=node, settings={})
    lists = {name: value for name, value in flatten(node) if isinstance(value, list) and value}
    tables = [rows for rows in lists.values() if _is_of_objects(rows)]
    columns = {name: cells for name, cells in lists.items() if not _is_of_objects(cells)}
    names = _of_one_length(columns)
    tables.append(_columns({name: columns[name] for name in names}))
    best = max(tables, key=lambda rows: (_has_loss(rows), len(rows)))
    is_of_lists = best is tables[-1]
    others = [
        f"{name} ({len(cells)})"
        for name, cells in columns.items()
        if is_of_losses(name) and len(cells) > 1 and not (is_of_lists and name in names)
    ]
    return JsonRun(
        records=best,
        settings={},
        left_out=tuple(others) if _has_loss(best) else (),
        is_of_lists=is_of_lists,
    )


def _has_loss(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether records have a loss."""
    return columns_of(rows).has_loss


def _of_one_length(lists: Mapping[str, list[Any]]) -> list[str]:
    """Return the lists of the length that those with losses have, else most of them."""
    by_length: dict[int, list[str]] = {}
    for name, cells in lists.items():
        by_length.setdefault(len(cells), []).append(name)
    return max(
        by_length.values(),
        key=lambda names: (sum(map(is_of_losses, names)), len(names)),
        default=[],
    )


def _columns(lists: Mapping[str, list[Any]]) -> list[Mapping[str, Any]]:
    """Return the records that lists of one length make up.

    What all names begin with is left out, unless it says that they are of losses.
    """
    levels = list(zip(*(name.split("/")[:-1] for name in lists), strict=False))
    is_shared = [len(set(level)) == 1 and not is_of_losses(level[0]) for level in levels]
    n_shared = [*is_shared, False].index(False)
    short = ["/".join(name.split("/")[n_shared:]) for name in lists]
    return [dict(zip(short, row, strict=True)) for row in zip(*lists.values(), strict=True)]
