"""Logs in JSON: a document, a line per record, or a file per record."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.errors import ReaderError
from sweepdiag.readers.columns import LOSSES, find_columns
from sweepdiag.readers.json_records import N_LOOKED_AT, JsonRun, columns_of, flatten, has_series
from sweepdiag.readers.json_runs import runs_of, settings_of
from sweepdiag.readers.raw import Chooser, RawTable, storable
from sweepdiag.readers.sacred import sacred_scalars
from sweepdiag.readers.scalars import table_of_scalars

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sweepdiag.readers.problems import ProblemList

__all__ = [
    "has_records_of_losses",
    "holds_curves",
    "is_json_lines",
    "read_json",
    "read_json_files",
    "read_json_lines",
]

_RUN = "run_id"
"""The column that names the runs of a document with several."""
_LARGEST = 32 * 2**20
"""Bytes from which a file is no log unless it is asked for by name."""
_LOSS = re.compile(rb'(?:loss|losses|nll|xent)[^"\\]*"\s*:', re.IGNORECASE)
"""What a file without a name of a loss does not have anywhere."""


def read_json_lines(
    path: Path, *, file: str, default_run: str, choose: Chooser, problems: ProblemList
) -> RawTable:
    """Return the chosen columns of a file with one JSON object a line.

    Objects inside an object become columns such as ``config/lr``, and so does what the first line
    says of the run.

    Args:
        path: The file.
        file: What messages call it.
        default_run: Name of the run where no column names it.
        choose: Which columns to read.
        problems: Told which lines cannot be read.

    Returns:
        The table.
    """
    records: list[Mapping[str, Any]] = []
    lines = []
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                text = line.strip().decode("utf-8", errors="replace")
                problems.add(file, number, "", text, "line left out: it is no JSON")
                continue
            if isinstance(record, dict):
                if record:
                    records.append(record)
                    lines.append(number)
            else:
                problems.add(file, number, "", record, "line left out: expected a JSON object")
    settings, kept = _headings(records)
    records, lines = [records[i] for i in kept], [lines[i] for i in kept]
    has_lists = any(map(has_series, records[:N_LOOKED_AT]))
    runs = runs_of(records) if has_lists else []
    if len(runs) > 1:  # a line per run
        return _table(runs, file=file, default_run=default_run, choose=choose)
    run = JsonRun(records=records, settings=settings)
    return _table([run], file=file, default_run=default_run, choose=choose, lines=lines)


def _headings(records: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[int]]:
    """Return what records beside the curve say of the run, and which ones are of the curve.

    Such records have neither a loss nor a place, and no name of another one. The first may be of
    settings: ``{"_meta": {"lr": 0.1}}``. A later one is if it is but one object: a summary, which
    is left out.
    """
    columns = columns_of(records)
    used = {name for role in ("epoch", "step", *LOSSES) for name in columns.columns_of(role)}
    settings: dict[str, Any] = {}
    kept = []
    for i, record in enumerate(records):
        is_object = len(record) == 1 and isinstance(next(iter(record.values())), dict)
        is_beside = used and (i == 0 or is_object) and not used & dict(flatten(record)).keys()
        if is_beside and not any(
            name in other for name in record for other in records if other is not record
        ):
            settings |= settings_of(record) if i == 0 else {}
        else:
            kept.append(i)
    return settings, kept


def read_json(
    path: Path, *, file: str, default_run: str, choose: Chooser, problems: ProblemList
) -> RawTable:
    """Return the chosen columns of a JSON document, or of lines of JSON.

    A document may be a Hugging Face ``trainer_state.json``, Sacred's ``metrics.json``, a list of
    objects, or an object of lists such as a Keras ``history``. Lists may lie deeper, and other
    things beside them: what is said there of a run are columns such as ``config/lr``. Of several
    runs each has its name in ``run_id``.

    Args:
        path: The file.
        file: What messages call it.
        default_run: Name of the run where no column names it.
        choose: Which columns to read.
        problems: Told which lines cannot be read.

    Returns:
        The table; its lines count the records.

    Raises:
        ReaderError: If it is no JSON, or none of these.
    """
    try:
        content = json.loads(path.read_bytes())
        runs, scalars = _runs(content), sacred_scalars(content)
    except (ValueError, RecursionError) as error:
        if is_json_lines(path):
            return read_json_lines(
                path, file=file, default_run=default_run, choose=choose, problems=problems
            )
        message = f"{file} cannot be read as JSON: {error}"
        raise ReaderError(message) from error
    if scalars:
        return table_of_scalars([scalars], file=file, default_run=default_run, choose=choose)
    if not runs:
        message = (
            f"{file} holds no curves: expected a Hugging Face trainer_state.json, a list of "
            "objects, or an object of equally long lists"
        )
        raise ReaderError(message)
    return _table(runs, file=file, default_run=default_run, choose=choose)


def read_json_files(
    paths: Sequence[Path],
    *,
    file: str,
    default_run: str,
    choose: Chooser,
    problems: ProblemList,
) -> RawTable:
    """Return the chosen columns of files with one JSON object each, as one table.

    Args:
        paths: The files, in the order of the rows.
        file: What messages call them.
        default_run: Name of the run where no column names it.
        choose: Which columns to read.
        problems: Told which files cannot be read.

    Returns:
        The table; its lines count the files.
    """
    records: list[Mapping[str, Any]] = []
    lines = []
    for number, path in enumerate(paths, start=1):
        record = _first_record(path, is_line=False)
        if record is None:
            why = f"{path.name} left out: it is no JSON object"
            problems.add(file, number, "", path.name, why)
        else:
            records.append(record)
            lines.append(number)
    run = JsonRun(records=records, settings={})
    return _table([run], file=file, default_run=default_run, choose=choose, lines=lines)


def _runs(content: Any) -> list[JsonRun]:
    """Return the runs of a document."""
    whole = content if isinstance(content, dict) else {}
    history, iterations, meta = map(whole.get, ("log_history", "iterations", "meta"))
    if isinstance(history, list):
        runs = [JsonRun(records=_objects(history), settings={})]
    elif isinstance(iterations, list) and isinstance(meta, dict):
        runs = [JsonRun(records=_named_iterations(_objects(iterations), meta), settings={})]
    else:
        runs = runs_of(content)
    return [run for run in runs if run.records]


def _objects(values: Any) -> list[Mapping[str, Any]]:
    """Return the objects of a list; none of what is no list."""
    return (
        [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
    )


def _named_iterations(
    iterations: list[Mapping[str, Any]], meta: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Return CatBoost's records with a name for each value: the first to be minimised is the loss.

    Args:
        iterations: Records with a list of values per set, such as ``learn`` and ``test``.
        meta: Names of the sets (``learn_sets``) and of their values (``learn_metrics``).
    """
    names = {}
    for part in ("learn", "test"):
        metrics = _objects(meta.get(f"{part}_metrics"))
        called = [str(metric.get("name")) for metric in metrics]
        loss = next((i for i, m in enumerate(metrics) if m.get("best_value") == "Min"), -1)
        sets = meta.get(f"{part}_sets")
        for own in map(str, sets if isinstance(sets, list) else []):
            names[own] = [
                f"{own}/{'loss' if i == loss else name}" for i, name in enumerate(called)
            ]
    return [
        {name: value for name, value in record.items() if name not in names}
        | {
            name: value
            for own, called in names.items()
            if isinstance(values := record.get(own), list)
            for name, value in zip(called, values, strict=False)
        }
        for record in iterations
    ]


def is_json_lines(path: Path) -> bool:
    """Return whether the first line of a file is a JSON object by itself, whatever its ending."""
    return _first_record(path) is not None


def has_records_of_losses(path: Path) -> bool:
    """Return whether the first line of a file is a JSON object with a loss."""
    try:
        names = [name for name, _ in flatten(_first_record(path) or {})]
    except RecursionError:
        return False
    return bool(names) and find_columns(names, {}).has_loss


def holds_curves(path: Path) -> bool:
    """Return whether a file has losses of several epochs, as far as a short look can tell.

    Objects without an epoch or step may be results of a run each, so that they are no curve.
    """
    try:
        if path.stat().st_size > _LARGEST:
            return False
        content = path.read_bytes()
        if not _LOSS.search(content):
            return False
        document = json.loads(content)
        runs = _runs(document)
        tags = {scalar.tag for scalar in sacred_scalars(document)}
        if find_columns(sorted(tags), {}).has_loss:
            return True
    except (ValueError, RecursionError):
        runs = _first_lines(content)
    except OSError:
        return False
    try:
        return any(map(_is_curve, runs))
    except RecursionError:
        return False


def _first_lines(content: bytes) -> list[JsonRun]:
    """Return the first lines of JSON as a run; none if the first ones are no objects."""
    try:
        records = [
            json.loads(line)
            for line in content.split(b"\n", N_LOOKED_AT)[:N_LOOKED_AT]
            if line.strip()
        ]
    except (ValueError, RecursionError):
        return []
    return [JsonRun(records=[r for r in records if isinstance(r, dict)], settings={})]


def _is_curve(run: JsonRun) -> bool:
    columns = columns_of(run.records)
    axis = columns.epoch or columns.step
    first = [dict(flatten(record)) for record in run.records[:N_LOOKED_AT]]
    places = {str(record[axis]) for record in first if axis in record}
    is_placed = run.is_of_lists or len(places) > 1
    return columns.has_loss and len(run.records) > 1 and is_placed


def _first_record(path: Path, *, is_line: bool = True) -> dict[str, Any] | None:
    """Return the JSON object in the first line of a file, or in all of it."""
    try:
        with path.open("rb") as stream:
            line = (
                next((line for line in stream if line.strip()), b"") if is_line else stream.read()
            )
        record = json.loads(line)
    except (ValueError, RecursionError, OSError):
        return None
    return record if isinstance(record, dict) else None


def _table(
    runs: Sequence[JsonRun],
    *,
    file: str,
    default_run: str,
    choose: Chooser,
    lines: Sequence[int] = (),
) -> RawTable:
    """Return the chosen columns of runs.

    Args:
        runs: The runs.
        file: What messages call the file.
        default_run: Name of the run where there is but one.
        choose: Which columns to read.
        lines: Where the records lie; without it they are counted.
    """
    rows: list[dict[str, Any]] = []
    recorded: dict[str, None] = dict.fromkeys([_RUN] if len(runs) > 1 else [])
    for run in runs:
        # Hugging Face sums a training up in a record: its train_loss is the mean over all of it.
        records = [record for record in run.records if lines or "train_runtime" not in record]
        for record in map(dict, map(flatten, records)):
            recorded |= dict.fromkeys(record)
            rows.append({**run.settings, **record, **({_RUN: run.name} if len(runs) > 1 else {})})
    names = [*recorded, *(name for run in runs for name in run.settings if name not in recorded)]
    own = {storable(name): name for name in dict.fromkeys(names)}
    return RawTable(
        file=file,
        default_run=default_run,
        names=tuple(own),
        columns={name: [_scalar(row.get(own[name])) for row in rows] for name in choose([*own])},
        lines=np.asarray(lines or range(1, len(rows) + 1), dtype=np.int64),
        notes=_notes(runs),
    )


def _notes(runs: Sequence[JsonRun]) -> tuple[str, ...]:
    """Return in words how a document was read, where it is not plain."""
    notes = []
    if len(runs) > 1:
        notes.append(f"{len(runs)} objects in it have losses of their own: each is a run")
    left_out = dict.fromkeys(name for run in runs for name in run.left_out)
    if left_out:
        notes.append(f"losses of other lengths are left out: {storable(', '.join(left_out))}")
    return tuple(notes)


def _scalar(value: Any) -> Any:
    """Return a cell; a list of one value, as of one of several metrics, is that value."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return storable(value)
    return value if isinstance(value, int | float | None) else json.dumps(value)
