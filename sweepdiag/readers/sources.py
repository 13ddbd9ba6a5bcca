"""Which files hold curves, and what the run of each is called where no column says so."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import ReaderError
from sweepdiag.readers.delimited import (
    has_curves_by_header,
    has_header_of_losses,
    has_printed_losses,
    read_delimited,
)
from sweepdiag.readers.json_logs import (
    has_records_of_losses,
    holds_curves,
    is_json_lines,
    read_json,
    read_json_files,
    read_json_lines,
)
from sweepdiag.readers.mlflow import read_metric_files, run_folder
from sweepdiag.readers.places import NOWHERE, Place, places_of
from sweepdiag.readers.raw import is_file, storable
from sweepdiag.readers.settings import settings_beside
from sweepdiag.readers.structured import read_parquet
from sweepdiag.readers.tensorboard import is_event_file, read_event_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sweepdiag.readers.problems import ProblemList
    from sweepdiag.readers.raw import Chooser, RawTable

__all__ = ["MARKER", "Source", "find_sources"]

MARKER = "diagnosis.json"
"""File that marks a folder as written by ``sweepdiag diagnose``: its tables are no logs."""

_TEXT = {".csv", ".tsv", ".txt", ".log"}
_FREE_TEXT = {".txt", ".log"}
_PARQUET = {".parquet", ".pq"}
_LINES = {".jsonl", ".ndjson"}
_SUFFIXES = (".csv", ".tsv", ".parquet", ".pq", ".jsonl", ".ndjson", ".json")
# Names that libraries give every run's file, so that the folder names the run.
_COMMON = {"metrics", "progress", "result", "trainer_state", "log", "logs", "history", "training"}
_COMMON |= {"results", "training_log", "curves", "train", "output"}
_TRAINER = "trainer_state.json"
_JSON_LOGS = {_TRAINER, "result.json", "history.json", "training_history.json"}
_CATBOOST = {"learn_error.tsv", "test_error.tsv", "catboost_training.json"}
_METRICS = "metrics.json"
"""Curves where it is the only log (Detectron2), else mostly the last values of one."""
_EPOCH = re.compile(r"metrics_epoch_(\d+)\.json")
"""What AllenNLP calls the file that it writes after each epoch."""
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_PROJECTOR = {"metadata.tsv", "tensors.tsv"}
"""What TensorBoard's projector writes into the folder of a run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One file to read.

    Attributes:
        path: Where it is.
        file: What messages call it: relative to the folder asked for.
        default_run: Name of its run where no column names runs.
        top: The folder that was asked for, or that of the file that was.
        place: What its path says of its losses.
        parts: The files that make it up where these are several: one per epoch, all event files
            of a folder, or one per metric.
    """

    path: Path
    file: str
    default_run: str
    top: Path
    place: Place = NOWHERE
    parts: tuple[Path, ...] = ()

    def settings(self) -> Mapping[str, Any]:
        """Return what the files beside the log say of its run, by name."""
        return settings_beside(run_folder(self.path) or self.path.parent, self.top)

    def read(self, choose: Chooser, problems: ProblemList) -> RawTable:
        """Return the chosen columns of the file.

        Raises:
            ReaderError: If it cannot be read.
        """
        try:
            return self._read(choose, problems)
        except RecursionError as error:
            message = f"{self.file} cannot be read: objects lie in each other too deeply"
            raise ReaderError(message) from error

    def _read(self, choose: Chooser, problems: ProblemList) -> RawTable:
        name, suffix = self.path.name.lower(), self.path.suffix.lower()
        file, run = self.file, self.default_run
        if run_folder(self.path) is not None:
            return read_metric_files(
                self.parts or (self.path,),
                file=file,
                default_run=run,
                choose=choose,
                problems=problems,
            )
        if is_event_file(self.path):
            return read_event_files(
                self.parts or (self.path,),
                file=file,
                default_run=run,
                choose=choose,
                problems=problems,
            )
        if self.parts:
            return read_json_files(
                self.parts, file=file, default_run=run, choose=choose, problems=problems
            )
        if suffix in _PARQUET:
            return read_parquet(self.path, file=file, default_run=run, choose=choose)
        is_lines = suffix in _TEXT and is_json_lines(self.path)
        if suffix in _LINES or name == "result.json" or is_lines:
            return read_json_lines(
                self.path, file=file, default_run=run, choose=choose, problems=problems
            )
        if suffix == ".json":
            return read_json(
                self.path, file=file, default_run=run, choose=choose, problems=problems
            )
        return read_delimited(
            self.path, file=file, default_run=run, choose=choose, problems=problems
        )


def find_sources(path: Path) -> list[Source]:
    """Return the files of a path: itself, or what a folder and its subfolders hold.

    Of a Ray Tune trial ``result.json`` is read rather than ``progress.csv``, which lacks metrics
    that were first reported late; of the checkpoints of a Hugging Face run the last.

    Args:
        path: A file or a folder.

    Returns:
        At least one file, sorted by name.

    Raises:
        ReaderError: If it does not exist, is of an unknown kind, or holds nothing to read.
    """
    settings_beside.cache_clear()
    if not path.exists():
        message = f"{path} does not exist"
        raise ReaderError(message)
    if path.is_file():
        if not _is_known(path):
            message = (
                f"{path}: expected a file that ends in {', '.join(_SUFFIXES)}, an event file of "
                "TensorBoard, or a folder"
            )
            raise ReaderError(message)
        (place,) = places_of([path], path.parent)
        run = _run_of(path, path.parent)
        name = storable(path.name)
        return [Source(path=path, file=name, default_run=run, top=path.parent, place=place)]
    logs, printed = _files_of(path)
    logs = _superseded(logs)
    printed = _only_printed(printed, logs)
    folders = {file.parent for file in printed}
    found = sorted([*printed, *(log for log in logs if not _is_summary(log, folders))])
    if not found:
        message = (
            f"{path} holds no file that ends in {', '.join(_SUFFIXES)} and may be a log, no event "
            "file of TensorBoard, and no .txt or .log file with losses (a header, JSON, or lines "
            "that name them)"
        )
        raise ReaderError(message)
    parts = _parts_of(found)
    first = [file for file in found if file not in parts or parts[file][0] == file]
    return [
        Source(
            path=file,
            file=_name_of(file, path),
            default_run=_run_of(file, path),
            top=path,
            place=place,
            parts=parts.get(file, ()),
        )
        for file, place in zip(first, places_of(first, path), strict=True)
    ]


def _is_known(file: Path) -> bool:
    """Return whether a file that was asked for by name is of a known kind."""
    has_ending = file.suffix.lower() in {*_SUFFIXES, *_TEXT, ".md"}
    return has_ending or is_event_file(file) or run_folder(file) is not None


def _parts_of(files: list[Path]) -> dict[Path, tuple[Path, ...]]:
    """Return, for each file of several that make one log, all of them in their order.

    These are the files of all epochs in a folder, all event files there, whose names have their
    time, or those of all metrics of a run.
    """
    by_log: dict[tuple[str, Path], list[tuple[int, Path]]] = {}
    for file in files:
        match, of_run = _EPOCH.fullmatch(file.name), run_folder(file)
        if match:
            by_log.setdefault(("epochs", file.parent), []).append((int(match[1]), file))
        elif of_run is not None:
            by_log.setdefault(("metrics", of_run), []).append((0, file))
        elif is_event_file(file):
            by_log.setdefault(("events", file.parent), []).append((0, file))
    joined = [tuple(file for _, file in sorted(found)) for found in by_log.values()]
    return {file: parts for parts in joined for file in parts}


def _name_of(file: Path, top: Path) -> str:
    """Return what messages call a file, or the files that make up a log."""
    of_run = run_folder(file)
    if of_run is not None and of_run.is_relative_to(top):
        return storable((of_run.relative_to(top) / "metrics" / "*").as_posix())
    name = _EPOCH.sub("metrics_epoch_*.json", file.relative_to(top).as_posix())
    return storable(re.sub(r"tfevents.*", "tfevents.*", name))


def _files_of(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the files that may be logs, and those that may be printed ones.

    Hidden files and earlier diagnoses are passed over.
    """
    logs: list[Path] = []
    printed: list[Path] = []
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts) or not is_file(file):
            continue
        is_log = _may_be_log(file)
        if not is_log and not (file.suffix.lower() in _FREE_TEXT and has_printed_losses(file)):
            continue
        parents = [folder / parent for parent in inside.parents]
        if not any((parent / MARKER).exists() for parent in parents):
            (logs if is_log else printed).append(file)
    return logs, printed


def _only_printed(printed: list[Path], logs: list[Path]) -> list[Path]:
    """Return the printed logs whose losses no other log has, be it in a folder above or below."""
    if not printed:
        return []
    tables = [file for file in logs if file.suffix.lower() in {".csv", ".tsv"}]
    beside = {file.parent for file in tables if _has_losses(file)}
    around = {file.parent for file in logs if _has_curves(file)}
    above = {parent for folder in around for parent in (folder, *folder.parents)}
    return [
        file
        for file in printed
        if file.parent not in beside | above and around.isdisjoint(file.parents)
    ]


def _may_be_log(file: Path) -> bool:
    """Return whether a file of a folder may hold curves; not all text and JSON there does."""
    suffix = file.suffix.lower()
    if is_event_file(file) or run_folder(file) is not None:
        return True
    if suffix == ".json":
        return _is_usual(file) or holds_curves(file)
    if suffix in _FREE_TEXT:
        return has_header_of_losses(file) or has_records_of_losses(file)
    return suffix in _SUFFIXES and file.name not in _PROJECTOR


def _is_usual(file: Path) -> bool:
    """Return whether a file has a name by which logs in JSON are known."""
    name = file.name.lower()
    is_known = name in {*_JSON_LOGS, _METRICS} or bool(_EPOCH.fullmatch(name))
    return is_known or name.endswith(".log.json")


def _superseded(files: list[Path]) -> list[Path]:
    """Return the files without those whose content another one has too."""
    kept = []
    latest = _latest_checkpoints(files)
    n_in_folder = Counter(file.parent for file in files)
    others = {file.parent for file in files if not is_event_file(file) and _has_losses(file)}
    logs = {file.parent for file in files if _is_log_by_name(file)}
    n_of_events = Counter(
        above
        for folder in {file.parent for file in files if is_event_file(file)}
        for above in folder.parents
    )
    trainers = {
        file.parent.parent if _CHECKPOINT.fullmatch(file.parent.name) else file.parent
        for file in files
        if file.name == _TRAINER
    }
    copies = _copies([file for file in files if _is_other_json(file)])
    catboost = {file.parent for file in files if file.name in _CATBOOST}
    for file in files:
        # Ray Tune, Lightning and YOLO write event files beside a table, Hugging Face and CatBoost
        # below it.
        is_twice = is_event_file(file) and (
            file.parent in others
            or _has_log_above(file, others, n_of_events)
            or file.parent.parent in catboost
            or not trainers.isdisjoint(file.parents)
        )
        is_twice |= file.name == "time_left.tsv" and file.parent in catboost
        is_twice |= (
            file.name == "catboost_training.json" and file.with_name("learn_error.tsv") in files
        )
        is_summary = file.name == "progress.csv" and file.with_name("result.json") in files
        is_summary |= file.name.lower() == _METRICS and n_in_folder[file.parent] > 1
        is_summary |= _is_other_json(file) and (file.parent in logs or file in copies)
        is_early = _CHECKPOINT.fullmatch(file.parent.name) and file not in latest
        if not (is_summary or is_early or is_twice):
            kept.append(file)
    return kept


def _is_other_json(file: Path) -> bool:
    return file.suffix.lower() == ".json" and not _is_usual(file)


def _copies(files: list[Path]) -> set[Path]:
    """Return the files with what another one before them in their folder holds too."""
    sizes = {file: file.stat().st_size for file in files}
    n_alike = Counter((file.parent, size) for file, size in sizes.items())
    seen = set()
    found = set()
    for file, size in sizes.items():
        if n_alike[file.parent, size] > 1:
            content = (file.parent, hashlib.sha256(file.read_bytes()).digest())
            if content in seen:
                found.add(file)
            seen.add(content)
    return found


def _is_log_by_name(file: Path) -> bool:
    """Return whether a file is a log by its name, or its header: beside it JSON sums it up."""
    suffix = file.suffix.lower()
    if suffix == ".json":
        return _is_usual(file) and file.name.lower() != _METRICS
    return suffix in _SUFFIXES and _has_curves(file)


def _has_log_above(file: Path, others: set[Path], n_of_events: Mapping[Path, int]) -> bool:
    """Return whether a folder above an event file's, with no other such below, has a log.

    So it is where a run is logged both ways: ``metrics.csv`` beside ``tf/events.out.tfevents``.
    """
    return any(above in others and n_of_events[above] == 1 for above in file.parent.parents)


def _has_losses(file: Path) -> bool:
    """Return whether a log has losses, as far as can be seen at once."""
    return file.suffix.lower() not in {".csv", ".tsv"} or has_header_of_losses(file)


def _has_curves(file: Path) -> bool:
    """Return whether a log has losses by epoch or step, as far as can be seen at once."""
    if file.name.lower() == _METRICS:  # mostly the last values alone
        return is_json_lines(file) and file.read_bytes().strip().count(b"\n") > 0
    is_text = file.suffix.lower() in _TEXT
    return not is_text or has_curves_by_header(file) or has_records_of_losses(file)


def _is_summary(file: Path, folders: set[Path]) -> bool:
    """Return whether a file beside the logs in some folders has but the last values of one."""
    return file.name.lower() == _METRICS and file.parent in folders and not _has_curves(file)


def _latest_checkpoints(files: list[Path]) -> set[Path]:
    latest: dict[tuple[Path, str], tuple[int, Path]] = {}
    finished = {(file.parent, file.name) for file in files}
    for file in files:
        match = _CHECKPOINT.fullmatch(file.parent.name)
        run = (file.parent.parent, file.name)
        if match and run not in finished:
            latest[run] = max(latest.get(run, (-1, file)), (int(match[1]), file))
    return {file for _, file in latest.values()}


def _run_of(file: Path, top: Path) -> str:
    """Return what tells a file from the others: its path, without what all such files are called.

    A file of its own is named by its folder if its own name says nothing.
    """
    if _CHECKPOINT.fullmatch(file.parent.name):
        file = file.parent
    of_run = run_folder(file)
    if of_run is not None:
        file = of_run / "metrics.csv"  # whatever it is called, its folder names the run
    is_numbered = _CHECKPOINT.fullmatch(file.name) or _EPOCH.fullmatch(file.name)
    is_common = file.stem.lower() in _COMMON or is_numbered or is_event_file(file)
    file = file.parent if is_common else file.with_suffix("")
    name = file.relative_to(top).as_posix() if file.is_relative_to(top) else file.name
    return storable(name if name != "." else file.resolve().name or "run")
