"""Event files of TensorBoard: scalars, each with a tag, a step and a time."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.errors import ReaderError
from sweepdiag.readers.scalars import Scalar, table_of_scalars

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sweepdiag.readers.problems import ProblemList
    from sweepdiag.readers.raw import Chooser, RawTable

__all__ = ["is_event_file", "read_event_files"]

_HEADER = struct.Struct("<QI")
"""Length of a record and its checksum; the record follows, and a checksum of four bytes."""
_FOOTER_SIZE = 4
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}
"""Little-endian types of a tensor's bytes, by TensorFlow's number of the type."""


def is_event_file(path: Path) -> bool:
    """Return whether a file is called like an event file of TensorBoard."""
    return "tfevents" in path.name


def read_event_files(
    paths: Sequence[Path],
    *,
    file: str,
    default_run: str,
    choose: Chooser,
    problems: ProblemList,
) -> RawTable:
    """Return the chosen tags of the event files of one folder, which TensorBoard shows as one run.

    Args:
        paths: The files, in the order in which they were begun.
        file: What messages call them.
        default_run: Name of the run.
        choose: Told the tags.
        problems: Told where a file is damaged.

    Returns:
        A column ``step`` and one per tag; a row per step, in the order of time. Its lines count
        the rows.

    Raises:
        ReaderError: If no file holds a scalar, or the library that reads them is not installed.
    """
    n_before = problems.count
    scalars = [list(_scalars(path, problems)) for path in paths]
    if not any(scalars):
        what = "it is empty, or holds only other things such as histograms"
        if problems.count > n_before:
            what = "it is damaged, or no event file at all"
        message = f"{file} holds no scalars (add_scalar): {what}"
        raise ReaderError(message)
    return table_of_scalars(scalars, file=file, default_run=default_run, choose=choose)


def _scalars(path: Path, problems: ProblemList) -> Iterator[Scalar]:
    """Yield the scalars of a file, in the order in which they were written.

    Raises:
        ReaderError: If the library that reads them is not installed.
    """
    try:
        from tensorboardX.proto.event_pb2 import Event
    except ImportError as error:
        message = f"{path.name}: reading TensorBoard's files needs `pip install tensorboardX`"
        raise ReaderError(message) from error
    from google.protobuf.message import DecodeError

    for number, record in enumerate(_event_records(path), start=1):
        event = Event()
        try:
            event.ParseFromString(record or b"\x00")
        except DecodeError:
            why = "all after it left out: the file is cut off or damaged"
            problems.add(path.name, number, "", "record", why)
            return
        for entry in event.summary.value:
            value = _value_of(entry)
            if value is not None:
                yield Scalar(
                    time=event.wall_time, step=float(event.step), tag=entry.tag, value=value
                )


def _event_records(path: Path) -> Iterator[bytes]:
    """Yield the records of a file; an empty one where it is cut off."""
    n_left = path.stat().st_size
    with path.open("rb") as stream:
        while header := stream.read(_HEADER.size):
            n_left -= len(header)
            size = _HEADER.unpack(header)[0] if len(header) == _HEADER.size else n_left
            if len(header) < _HEADER.size or size + _FOOTER_SIZE > n_left:
                yield b""
                return
            record = stream.read(size)
            stream.seek(_FOOTER_SIZE, 1)
            n_left -= size + _FOOTER_SIZE
            yield record


def _value_of(entry: Any) -> float | None:
    """Return the scalar of a summary's entry, old (a float) or new (a tensor of one number)."""
    kind = entry.WhichOneof("value")
    if kind == "simple_value":
        return float(entry.simple_value)
    if kind != "tensor" or entry.metadata.plugin_data.plugin_name != "scalars":
        return None
    tensor = entry.tensor
    dtype = _DTYPES.get(tensor.dtype)
    if dtype and len(tensor.tensor_content) == np.dtype(dtype).itemsize:
        return float(np.frombuffer(tensor.tensor_content, dtype=dtype)[0])
    for numbers in (tensor.float_val, tensor.double_val, tensor.int_val, tensor.int64_val):
        if len(numbers) == 1:
            return float(numbers[0])
    return None
