"""Tables that know their types: Parquet, data frames, and logs in JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.errors import ReaderError
from sweepdiag.readers.columns import find_columns
from sweepdiag.readers.raw import Chooser, RawTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from sweepdiag.readers.problems import ProblemList

__all__ = [
    "has_records_of_losses",
    "is_json_lines",
    "read_frame",
    "read_json",
    "read_json_files",
    "read_json_lines",
    "read_parquet",
]


def read_parquet(path: Path, *, file: str, default_run: str, choose: Chooser) -> RawTable:
    """Return the chosen columns of a Parquet file.

    Args:
        path: The file.
        file: What messages call it.
        default_run: Name of the run where no column names it.
        choose: Which columns to read.

    Returns:
        The table.

    Raises:
        ReaderError: If it is no Parquet file, or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as parquet:
            names = [str(name) for name in parquet.schema_arrow.names]
            frame = parquet.read(columns=list(choose(names))).to_pandas(ignore_metadata=True)
    except (pa.ArrowException, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = f"{file} cannot be read as Parquet: {reason}"
        raise ReaderError(message) from error
    return _table(frame, names, file=file, default_run=default_run)


def read_frame(frame: pd.DataFrame, *, choose: Chooser, file: str, default_run: str) -> RawTable:
    """Return the chosen columns of a data frame; a named index counts as columns.

    Args:
        frame: The frame.
        choose: Which columns to read.
        file: What messages call it.
        default_run: Name of the run where no column names it.

    Returns:
        The table.
    """
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    frame = frame.loc[:, ~frame.columns.duplicated()]
    names = list(frame.columns)
    return _table(frame[list(choose(names))], names, file=file, default_run=default_run)


def _table(frame: pd.DataFrame, names: list[str], *, file: str, default_run: str) -> RawTable:
    columns: dict[str, Any] = {}
    for name in frame.columns:
        column = frame[name]
        if column.dtype.kind in "biuf":
            columns[name] = column.to_numpy(dtype=float, na_value=np.nan)
        else:
            cells = column.astype(object).where(column.notna(), None)
            columns[name] = [str(cell) if _is_nested(cell) else cell for cell in cells]
    return RawTable(
        file=file,
        default_run=default_run,
        names=tuple(names),
        columns=columns,
        lines=np.arange(1, len(frame) + 1),
    )


def _is_nested(cell: Any) -> bool:
    """Return whether a cell holds several values, as lists of Parquet do."""
    return isinstance(cell, np.ndarray | list | tuple | dict | set)


def read_json_lines(
    path: Path, *, file: str, default_run: str, choose: Chooser, problems: ProblemList
) -> RawTable:
    """Return the chosen columns of a file with one JSON object a line.

    Objects inside an object become columns such as ``config/lr``.

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
    return _from_records(records, lines, file=file, default_run=default_run, choose=choose)


def read_json(
    path: Path, *, file: str, default_run: str, choose: Chooser, problems: ProblemList
) -> RawTable:
    """Return the chosen columns of a JSON document, or of lines of JSON.

    A document may be a Hugging Face ``trainer_state.json``, a list of objects, or an object of
    lists such as a Keras ``history``. Lists may lie deeper, and other things beside them.

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
        records = _records(json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        if is_json_lines(path):
            return read_json_lines(
                path, file=file, default_run=default_run, choose=choose, problems=problems
            )
        message = f"{file} cannot be read as JSON: {error}"
        raise ReaderError(message) from error
    if records is None:
        message = (
            f"{file} holds no curves: expected a Hugging Face trainer_state.json, a list of "
            "objects, or an object of equally long lists"
        )
        raise ReaderError(message)
    # Hugging Face sums a training up in a record: its train_loss is the mean over all of it.
    records = [record for record in records if "train_runtime" not in record]
    lines = list(range(1, len(records) + 1))
    return _from_records(records, lines, file=file, default_run=default_run, choose=choose)


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
    return _from_records(records, lines, file=file, default_run=default_run, choose=choose)


def _records(content: Any) -> list[Mapping[str, Any]] | None:
    if isinstance(content, dict) and isinstance(content.get("log_history"), list):
        content = content["log_history"]
    if isinstance(content, list) and content and all(isinstance(r, dict) for r in content):
        return content
    if not isinstance(content, dict):
        return None
    if isinstance(content.get("iterations"), list) and isinstance(content.get("meta"), dict):
        return _named_iterations(content["iterations"], content["meta"])
    # Summaries and settings may stand beside the lists, and lists in an object of their own.
    lists = {name: value for name, value in _flatten(content) if isinstance(value, list) and value}
    tables = {
        name: rows for name, rows in lists.items() if all(isinstance(row, dict) for row in rows)
    }
    columns = _columns({name: cells for name, cells in lists.items() if name not in tables})
    return max([*tables.values(), columns], key=len) or None


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
        metrics = meta.get(f"{part}_metrics", [])
        called = [str(metric.get("name")) for metric in metrics]
        loss = next((i for i, m in enumerate(metrics) if m.get("best_value") == "Min"), -1)
        for own in meta.get(f"{part}_sets", []):
            names[own] = [
                f"{own}/{'loss' if i == loss else name}" for i, name in enumerate(called)
            ]
    return [
        {name: value for name, value in record.items() if name not in names}
        | {
            name: value
            for own, called in names.items()
            for name, value in zip(called, record.get(own, []), strict=False)
        }
        for record in iterations
    ]


def _columns(lists: Mapping[str, list[Any]]) -> list[Mapping[str, Any]]:
    """Return the records that lists make up: those of the length that most of them have."""
    by_length: dict[int, list[str]] = {}
    for name, cells in lists.items():
        by_length.setdefault(len(cells), []).append(name)
    names = max(by_length.values(), key=len, default=[])
    levels = list(zip(*(name.split("/")[:-1] for name in names), strict=False))
    n_shared = next((i for i, level in enumerate(levels) if len(set(level)) > 1), len(levels))
    short = ["/".join(name.split("/")[n_shared:]) for name in names]
    return [
        dict(zip(short, row, strict=True))
        for row in zip(*(lists[name] for name in names), strict=True)
    ]


def is_json_lines(path: Path) -> bool:
    """Return whether the first line of a file is a JSON object by itself, whatever its ending."""
    return _first_record(path) is not None


def has_records_of_losses(path: Path) -> bool:
    """Return whether the first line of a file is a JSON object with a loss."""
    record = _first_record(path)
    names = [name for name, _ in _flatten(record or {})]
    return bool(names) and find_columns(names, {}).has_loss


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


def _from_records(
    records: list[Mapping[str, Any]],
    lines: list[int],
    *,
    file: str,
    default_run: str,
    choose: Chooser,
) -> RawTable:
    flat = [dict(_flatten(record)) for record in records]
    names = list(dict.fromkeys(name for record in flat for name in record))
    wanted = choose(names)
    return RawTable(
        file=file,
        default_run=default_run,
        names=tuple(names),
        columns={name: [_scalar(record.get(name)) for record in flat] for name in wanted},
        lines=np.asarray(lines, dtype=np.int64),
    )


def _flatten(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    items: Iterable[tuple[str, Any]] = record.items()
    for name, value in items:
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def _scalar(value: Any) -> Any:
    """Return a cell; a list of one value, as of one of several metrics, is that value."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str | int | float | None) else json.dumps(value)
