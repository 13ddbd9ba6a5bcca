"""Which part of the data the path of a file says that its losses are of."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sweepdiag.readers.columns import LOSSES, METRICS, QUANTITIES
from sweepdiag.readers.names import (
    is_of_losses,
    is_only_loss,
    losses_among,
    part_of,
    part_of_log,
    part_of_losses,
    says_part,
)
from sweepdiag.readers.raw import storable
from sweepdiag.readers.refusals import may_hold_loss
from sweepdiag.readers.tensorboard import is_event_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from sweepdiag.readers.columns import ColumnMap
    from sweepdiag.readers.raw import RawTable

__all__ = ["NOWHERE", "Place", "places_of", "take_place"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What a path says.

    Attributes:
        part: ``train``, ``val`` or ``test``; empty where it says nothing.
        word: The folder, or the file, that says so.
        is_of_losses: Whether it is the file's name, and says too that losses are in it.
        run: Name of the run that it shares with the file of another part; empty where there is
            none.
    """

    part: str = ""
    word: str = ""
    is_of_losses: bool = False
    run: str = ""


_EXPORTED = re.compile(
    r"run-(?P<run>.*?)[-_.]?(?P<part>train|validation|val|eval|test|)-tag-(?P<tag>.+)"
)
"""What TensorBoard calls the table of one tag that is downloaded from it."""

NOWHERE = Place()
"""The place of what has no path, or one that says nothing."""


def places_of(files: Sequence[Path], top: Path) -> list[Place]:
    """Return what the path of each file says: a folder's name (``eval``), or its own.

    A folder's name counts where one beside it is of another part: ``metrics/train/loss.tsv`` and
    ``metrics/eval/loss.tsv``. A file's own counts where it says too that it is of losses:
    ``learn_error.tsv`` and ``test_error.tsv``; or where one beside it is of another part:
    ``train_log.csv`` and ``val_log.csv``, or ``loss.csv`` and ``val_loss.csv``. Such files of one
    place are of one run.

    Args:
        files: The files.
        top: The folder that was asked for, or that of the file that was.
    """
    _has_other_part.cache_clear()
    twins = _twins(files)
    found = [_place(file, top, twins.get(file, "")) for file in files]
    parts: dict[str, set[str]] = {}
    for place in found:
        parts.setdefault(place.run, set()).add(place.part)
    return [
        dataclasses.replace(place, run=place.run if _is_joined(place, parts[place.run]) else "")
        for place in found
    ]


def _is_joined(place: Place, parts: set[str]) -> bool:
    """Return whether a file is one of two of its run: of training, and the best held-out one."""
    held_out = "val" if "val" in parts else "test"
    return {"train", held_out} <= parts and place.part in {"train", held_out}


def _twins(files: Sequence[Path]) -> dict[Path, str]:
    """Return the part of each file whose name says so only beside one of another part."""
    by_folder: dict[Path, list[Path]] = {}
    for file in files:
        if not is_event_file(file):
            by_folder.setdefault(file.parent, []).append(file)
    twins = {}
    for folder in by_folder.values():
        plain = {file: part_of_losses(file.stem) for file in folder}
        parts = {file: plain[file] or part_of_log(file.stem) for file in folder}
        known = set(parts.values()) - {""}
        is_lacking = "train" not in known and bool({"val", "test"} & set(plain.values()))
        for file in folder:
            if not parts[file] and is_lacking and is_only_loss(file.stem):
                twins[file] = "train"
            elif parts[file] and not plain[file] and len(known) > 1:
                twins[file] = parts[file]
    return twins


def _place(file: Path, top: Path, twin: str) -> Place:
    exported = _EXPORTED.fullmatch(file.stem)
    if exported:
        part = part_of_losses(exported["tag"])
        part = part or (part_of(exported["part"]) if is_of_losses(exported["tag"]) else "")
        run = _run_name(file.parent / (exported["run"] or "."), top)
        return (
            Place(part=part, word=storable(file.name), is_of_losses=True, run=run)
            if part
            else NOWHERE
        )
    part = part_of_losses(file.stem) or twin
    if part:
        run = _run_name(file.parent, top)
        says_loss = is_of_losses(file.stem)
        return Place(part=part, word=storable(file.name), is_of_losses=says_loss, run=run)
    # What TensorBoard calls a file says nothing: its folder is the log.
    log = file.parent if is_event_file(file) else file.with_suffix("")
    for folder in file.parents[: len(file.relative_to(top).parts)]:
        part = _part_of_folder(folder.resolve().name)
        if part and _has_other_part(folder.resolve()):
            is_inside = folder != top
            run = _run_name(folder.parent / log.relative_to(folder), top) if is_inside else ""
            return Place(part=part, word=storable(folder.resolve().name), run=run)
    return NOWHERE


def _run_name(place: Path, top: Path) -> str:
    name = storable(place.relative_to(top).as_posix())
    return storable(top.resolve().name) if name == "." else name


def _part_of_folder(name: str) -> str:
    return part_of(name) or part_of_losses(name)


@lru_cache(maxsize=1024)
def _has_other_part(folder: Path) -> bool:
    own = _part_of_folder(folder.name)
    names = [other.name for other in folder.parent.iterdir() if other.is_dir()]
    return any(_part_of_folder(name) not in {"", own} for name in names)


def take_place(
    table: RawTable,
    columns: ColumnMap,
    place: Place,
    *,
    given: Mapping[str, str],
    everything: Callable[[], RawTable],
) -> tuple[RawTable, ColumnMap, list[str]]:
    """Return a table whose only loss, if it does not say so itself, is of what its path says.

    Args:
        table: The table.
        columns: What its columns hold by their names.
        place: What its path says.
        given: What the user says, by role: who names losses or metrics wants them as they are.
        everything: Reads the table with all of its columns.

    Returns:
        The table, what its columns hold, and in words what was decided.
    """
    losses = [role for role in LOSSES if getattr(columns, role)]
    if not place.part or given.keys() & set(QUANTITIES) or len(losses) > 1 or columns.sums:
        return table, columns, []
    own = LOSSES[place.part != "train"]
    notes = []
    if losses:
        name = getattr(columns, losses[0])
        if says_part(name) and losses[0] != own:
            return table, columns, []
        is_open = not says_part(name)
    else:
        name = _only_loss(everything(), columns) if place.is_of_losses else ""
        if not name:
            return table, columns, []
        is_open, table = True, everything()
    if is_open:
        other, what = LOSSES[own == LOSSES[0]], "training" if own == LOSSES[0] else "validation"
        said = f"{place.word!r} says that {name!r} is a loss of {what}"
        notes = [f"{said} (--columns {other}={name} says otherwise)"]
        metrics = [getattr(columns, role) for role in METRICS]
        metrics = [None if metric == name else metric for metric in metrics]
        if place.part != "train" and metrics[0] and not metrics[1] and not says_part(metrics[0]):
            metrics.reverse()
        roles: dict[str, Any] = dict(zip(METRICS, metrics, strict=True))
        columns = dataclasses.replace(columns, **roles | {other: None, own: name})
    if place.run and not columns.run:
        table = dataclasses.replace(table, default_run=place.run)
    return table, columns, notes


def _only_loss(table: RawTable, columns: ColumnMap) -> str:
    """Return the column that holds the losses of a file of losses; '' where several may."""
    axes = {columns.epoch, columns.step, columns.seed, *columns.run}
    able = [name for name in table.names if name not in axes and may_hold_loss(table, name)]
    known = losses_among(able)
    return known[0] if known else able[0] if len(able) == 1 else ""
