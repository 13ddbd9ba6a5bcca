"""Which files hold curves, and what the run of each is called where no column says so."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweepdiag.errors import ReaderError
from sweepdiag.readers.delimited import has_header_of_losses, read_delimited
from sweepdiag.readers.places import NOWHERE, Place, places_of
from sweepdiag.readers.structured import (
    has_records_of_losses,
    is_json_lines,
    read_json,
    read_json_files,
    read_json_lines,
    read_parquet,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sweepdiag.readers.problems import ProblemList
    from sweepdiag.readers.raw import Chooser, RawTable

__all__ = ["MARKER", "Source", "find_sources"]

MARKER = "diagnosis.json"
"""File that marks a folder as written by ``sweepdiag diagnose``: its tables are no logs."""

_TEXT = {".csv", ".tsv", ".txt", ".log"}
_PARQUET = {".parquet", ".pq"}
_LINES = {".jsonl", ".ndjson"}
_SUFFIXES = (".csv", ".tsv", ".parquet", ".pq", ".jsonl", ".ndjson", ".json")
# Names that libraries give every run's file, so that the folder names the run.
_COMMON = {"metrics", "progress", "result", "trainer_state", "log", "logs", "history", "training"}
_COMMON |= {"results", "training_log", "curves", "train"}
_JSON_LOGS = {"trainer_state.json", "result.json", "history.json", "training_history.json"}
_METRICS = "metrics.json"
"""Curves where it is the only log (Detectron2), else mostly the last values of one."""
_EPOCH = re.compile(r"metrics_epoch_(\d+)\.json")
"""What AllenNLP calls the file that it writes after each epoch."""
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One file to read.

    Attributes:
        path: Where it is.
        file: What messages call it: relative to the folder asked for.
        default_run: Name of its run where no column names runs.
        place: What its path says of its losses.
        epochs: The files of all epochs where each has one of its own, else none.
    """

    path: Path
    file: str
    default_run: str
    place: Place = NOWHERE
    epochs: tuple[Path, ...] = ()

    def read(self, choose: Chooser, problems: ProblemList) -> RawTable:
        """Return the chosen columns of the file."""
        name, suffix = self.path.name.lower(), self.path.suffix.lower()
        file, run = self.file, self.default_run
        if self.epochs:
            return read_json_files(
                self.epochs, file=file, default_run=run, choose=choose, problems=problems
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
    if not path.exists():
        message = f"{path} does not exist"
        raise ReaderError(message)
    if path.is_file():
        if path.suffix.lower() not in {*_SUFFIXES, *_TEXT}:
            message = f"{path}: expected a file that ends in {', '.join(_SUFFIXES)}, or a folder"
            raise ReaderError(message)
        (place,) = places_of([path], path.parent)
        run = _run_of(path, path.parent)
        return [Source(path=path, file=path.name, default_run=run, place=place)]
    found = _superseded(_files_of(path))
    if not found:
        message = (
            f"{path} holds no file that ends in {', '.join(_SUFFIXES)} and may be a log, and no "
            ".txt or .log file that begins with a header or a JSON object with a loss"
        )
        raise ReaderError(message)
    epochs = _files_of_epochs(found)
    first = [file for file in found if file not in epochs or epochs[file][0] == file]
    return [
        Source(
            path=file,
            file=_EPOCH.sub("metrics_epoch_*.json", file.relative_to(path).as_posix()),
            default_run=_run_of(file, path),
            place=place,
            epochs=epochs.get(file, ()),
        )
        for file, place in zip(first, places_of(first, path), strict=True)
    ]


def _files_of_epochs(files: list[Path]) -> dict[Path, tuple[Path, ...]]:
    """Return, for each file of one epoch, those of all epochs in its folder, in their order."""
    by_folder: dict[Path, list[tuple[int, Path]]] = {}
    for file in files:
        match = _EPOCH.fullmatch(file.name)
        if match:
            by_folder.setdefault(file.parent, []).append((int(match[1]), file))
    joined = [tuple(file for _, file in sorted(found)) for found in by_folder.values()]
    return {file: epochs for epochs in joined for file in epochs}


def _files_of(folder: Path) -> list[Path]:
    """Return the files that may be logs; hidden ones and earlier diagnoses are passed over."""
    files = []
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts) or not file.is_file():
            continue
        if not _may_be_log(file):
            continue
        parents = [folder / parent for parent in inside.parents]
        if not any((parent / MARKER).exists() for parent in parents):
            files.append(file)
    return files


def _may_be_log(file: Path) -> bool:
    """Return whether a file of a folder may hold curves; not all text and JSON there does."""
    name, suffix = file.name.lower(), file.suffix.lower()
    if suffix == ".json":
        is_usual = name in {*_JSON_LOGS, _METRICS} or bool(_EPOCH.fullmatch(name))
        return is_usual or name.endswith(".log.json")
    if suffix in {".txt", ".log"}:
        return has_header_of_losses(file) or has_records_of_losses(file)
    return suffix in _SUFFIXES


def _superseded(files: list[Path]) -> list[Path]:
    """Return the files without those whose content another one has too."""
    kept = []
    latest = _latest_checkpoints(files)
    n_in_folder = Counter(file.parent for file in files)
    for file in files:
        is_summary = file.name == "progress.csv" and file.with_name("result.json") in files
        is_summary |= file.name.lower() == _METRICS and n_in_folder[file.parent] > 1
        is_early = _CHECKPOINT.fullmatch(file.parent.name) and file not in latest
        if not (is_summary or is_early):
            kept.append(file)
    return kept


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
    is_numbered = _CHECKPOINT.fullmatch(file.name) or _EPOCH.fullmatch(file.name)
    is_common = file.stem.lower() in _COMMON or is_numbered
    file = file.parent if is_common else file.with_suffix("")
    name = file.relative_to(top).as_posix() if file.is_relative_to(top) else file.name
    return name if name != "." else file.resolve().name or "run"
