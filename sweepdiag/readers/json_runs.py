"""The runs that a JSON document holds: of each its records, its name and its settings."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

from sweepdiag.readers.columns import find_columns
from sweepdiag.readers.json_records import (
    N_LOOKED_AT,
    JsonRun,
    Node,
    flatten,
    has_series,
    is_of_objects,
    is_scalar,
    is_series,
    names_part,
    run_of,
    says_nothing,
    with_records,
)
from sweepdiag.readers.names import (
    first_of,
    is_learning_rate,
    is_of_losses,
    losses_among,
    may_be_loss,
    words_of,
)
from sweepdiag.readers.settings import LONGEST, PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["runs_of", "settings_of"]

_SETTINGS = {
    "arg", "args", "arguments", "cfg", "conf", "config", "configs", "configuration", "hparams",
    "hyperparameters", "hyperparams", "meta", "options", "opt", "params", "settings",
}  # fmt: skip
"""Words by which an object says that all in it are settings."""
_RESULTS = {"best", "final", "last", "mean", "std", "elapsed", "status", "epoch", "epochs"}
"""Words of what came out, if they stand outside the settings: there epochs are those trained."""
_LABELS = ("label", "title", "tag", "model", "model_name", "method", "optimizer")
"""What names a run where nothing is called its name."""
_N_DIGITS = 6
"""Digits from which a number was measured rather than set."""
_N_TOLD = 3
"""Settings that a run is named by at most."""

_IsLoss: TypeAlias = "Callable[[str], bool]"


def runs_of(content: Any) -> list[JsonRun]:
    """Return the runs of a document; none if it has no records.

    An object, or an element of a list, is a run if another one beside it has losses of the same
    names: ``{"lr_0.1": {"loss": […]}, "lr_0.01": {"loss": […]}}``. Those named as parts of the
    data (``train`` and ``val``) are of one run, unless each has losses of both.

    Args:
        content: What the file holds.
    """
    if not isinstance(content, dict) and not is_of_objects(content):
        return []
    content = with_records(content)
    names = {name for path in _curves(content) for name in path}
    is_loss = is_of_losses if any(map(is_of_losses, names)) else _is_of_errors
    return list(_walk(content, (), {}, is_loss))


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
        elif is_scalar(value) and _may_be_setting(name, value):
            found |= {key: v for key, v in _settings_in({name: value}).items() if key not in found}
    return found


def _settings_in(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return all values of an object of settings, by name; lists as one text."""
    found: dict[str, Any] = {}
    for name, value in flatten(content):
        text = json.dumps(value, default=str) if isinstance(value, list) else value
        if text is not None and (not isinstance(text, str) or len(text) <= LONGEST):
            found[f"{PREFIX}/{name}"] = text
    return found


def _is_of_errors(name: str) -> bool:
    return bool(losses_among([name]))


def _walk(
    node: Node, path: tuple[str, ...], settings: Mapping[str, Any], is_loss: _IsLoss
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
    yield dataclasses.replace(run_of(node), name="/".join(path), settings=settings)


def _has_own_loss(node: Mapping[str, Any]) -> bool:
    """Return whether a list of losses lies in an object itself."""
    return find_columns([name for name, v in node.items() if is_series(v)], {}).has_loss


def _inner(node: Any, is_loss: _IsLoss) -> list[tuple[Any, Any]]:
    """Return the objects and lists of objects in a node that have losses, by key or place."""
    if isinstance(node, list) and not any(map(has_series, node[:N_LOOKED_AT])):
        return []
    children = node.items() if isinstance(node, dict) else enumerate(node)
    return [
        (key, child)
        for key, child in children
        if (isinstance(child, dict) or is_of_objects(child)) and _kinds(child, is_loss)
    ]


def _curves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield where the lists of values of a node lie, and the values of its lists of records."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _curves(value, (*path, name))
    elif is_of_objects(node):
        for record in node[:N_LOOKED_AT]:
            for name, value in flatten(record):
                inside = (*path, *name.split("/"))
                if isinstance(value, list) and len(value) != 1:
                    yield from _curves(value, inside)
                else:
                    yield inside
    elif is_series(node):
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
    is_whole = all(one.train_loss and one.val_loss for one in columns.values())
    is_counted = all(words_of(key)[:1] in (["epoch"], ["step"]) for key in kinds)
    is_one_run = any(map(names_part, kinds)) and not is_whole
    if not shared or is_one_run or is_counted or all(map(says_nothing, kinds)):
        return []
    return [(key, one) for key, one in inner if kinds[key] & shared or columns[key].has_loss]


def _are_records(rows: list[Mapping[str, Any]]) -> bool:
    """Return whether the objects of a list are records of one run rather than a run each.

    Runs have lists in them. Records may too, as of all losses of an epoch, but these count up.
    """
    lists = [[v for _, v in flatten(row) if isinstance(v, list) and len(v) > 1] for row in rows]
    if not any(lists):
        return True
    columns = find_columns([name for name, value in flatten(rows[0]) if is_scalar(value)], {})
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
    if not is_of_objects(child) or _are_records(child):
        return child
    rows = [dict(row) for row in child]
    for name, cells in node.items():
        if cells is child or not isinstance(cells, list) or len(cells) != len(rows):
            continue
        single = name[:-1] if name.endswith("s") and not is_of_losses(name) else name
        if all(map(is_scalar, cells)) or is_of_objects(cells):
            for row, cell in zip(rows, cells, strict=True):
                row.setdefault(single, cell)
    return rows


def _told(rows: list[Mapping[str, Any]]) -> list[str]:
    """Return what to call the elements of a list: by their names, what differs, or a number."""
    flat = [{k: v for k, v in flatten(row) if is_scalar(v)} for row in rows]
    places: dict[str, str] = {}
    for path in flat[0]:
        places.setdefault(path.rpartition("/")[-1], path)  # a name may lie in another object
    run = find_columns(list(places), {}).run
    usual = (first_of([name], list(places)) for name in _LABELS)
    names = [path for path in places if words_of(path)[-1:] in (["name"], ["id"])]
    for name in (*run, *filter(None, usual), *names):
        texts = [str(row.get(places[name], "")) for row in flat]
        if len(set(texts)) == len(rows):
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
