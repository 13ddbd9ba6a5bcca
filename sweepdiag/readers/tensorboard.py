"""Event files of TensorBoard: scalars, each with a tag, a step and a time."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.errors import ReaderError
from sweepdiag.readers.columns import LOSSES, find_columns
from sweepdiag.readers.raw import Chooser, RawTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sweepdiag.readers.problems import ProblemList

__all__ = ["is_event_file", "read_event_files"]

_HEADER = struct.Struct("<QI")
"""Length of a record and its checksum; the record follows, and a checksum of four bytes."""
_FOOTER_SIZE = 4
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}
"""Little-endian types of a tensor's bytes, by TensorFlow's number of the type."""
_OTHER_COUNT = 2.0
"""Ratio of the last steps of two losses from which they do not count the same thing."""
_SAME_END = 0.1
"""Share of the time of a run within which two losses that are logged to its end both end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scalar:
    """One value of a curve.

    Attributes:
        time: When it was logged, in seconds.
        step: Where it lies, as the program counts.
        tag: What it is of.
        value: The value.
    """

    time: float
    step: float
    tag: str
    value: float


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

    Where training and validation losses count different things (iterations and epochs), the finer
    count is put into the coarser one by the time at which the values were logged.

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
    scalars = [list(_scalars(path, problems)) for path in paths]
    tags = list(dict.fromkeys(scalar.tag for part in scalars for scalar in part))
    if not tags:
        message = f"{file} holds no scalars (add_scalar), only other things such as histograms"
        raise ReaderError(message)
    names = ["step", *(tag for tag in tags if tag != "step")]
    columns = find_columns(names, {})
    losses = [name for role in LOSSES if (name := getattr(columns, role))]
    records: list[dict[str, Any]] = []
    notes: list[str] = []
    for part in scalars:
        aligned, note = _one_count(part, losses)
        records += _records(aligned)
        notes += [note] if note and note not in notes else []
    wanted = choose(names)
    return RawTable(
        file=file,
        default_run=default_run,
        names=tuple(names),
        columns={name: [record.get(name) for record in records] for name in wanted},
        lines=np.arange(1, len(records) + 1),
        notes=tuple(notes),
    )


def _scalars(path: Path, problems: ProblemList) -> Iterator[_Scalar]:
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
                yield _Scalar(
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


def _one_count(scalars: Sequence[_Scalar], losses: Sequence[str]) -> tuple[Sequence[_Scalar], str]:
    """Return scalars whose steps count one thing, and in words what was done: nothing mostly."""
    last = {scalar.tag: scalar for scalar in scalars if scalar.tag in losses}
    if len(last) < len(LOSSES):
        return scalars, ""
    coarse, fine = sorted(last.values(), key=lambda scalar: scalar.step)
    begin = min(scalar.time for scalar in scalars)
    seconds = max(coarse.time, fine.time) - begin
    if fine.step < _OTHER_COUNT * max(coarse.step, 1.0):
        return scalars, ""
    if abs(fine.time - coarse.time) > _SAME_END * seconds:
        return scalars, ""  # one of the two goes on after the other
    own = [scalar for scalar in scalars if scalar.tag == coarse.tag]
    ends = {scalar.tag: scalar.step for scalar in scalars}
    is_fine = {tag: end >= _OTHER_COUNT * max(coarse.step, 1.0) for tag, end in ends.items()}
    places = _places(
        np.array([scalar.time for scalar in own]), np.array([scalar.step for scalar in own]), begin
    )
    aligned = [
        _Scalar(
            time=scalar.time,
            step=float(np.interp(scalar.time, *places)) if is_fine[scalar.tag] else scalar.step,
            tag=scalar.tag,
            value=scalar.value,
        )
        for scalar in scalars
    ]
    note = (
        f"{fine.tag!r} was logged by another count of steps (up to {fine.step:g}) than "
        f"{coarse.tag!r} (up to {coarse.step:g}): put into that by the time of each value"
    )
    return aligned, note


def _places(
    time: NDArray[np.float64], step: NDArray[np.float64], begin: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times and steps between which to interpolate, from the start of the run to its end.

    What was logged after the last step comes up to one step later.
    """
    order = np.argsort(time, kind="stable")
    time, step = time[order], step[order]
    steps, seconds = (
        float(np.median(np.diff(axis))) if axis.size > 1 else 1.0 for axis in (step, time)
    )
    return (
        np.concatenate(([begin], time, [time[-1] + seconds])),
        np.concatenate(([step[0] - steps], step, [step[-1] + steps])),
    )


def _records(scalars: Sequence[_Scalar]) -> list[dict[str, Any]]:
    """Return a record for each stretch of scalars of one step that have each tag once."""
    records: list[dict[str, Any]] = []
    for scalar in scalars:
        if not records or records[-1]["step"] != scalar.step or scalar.tag in records[-1]:
            records.append({"step": scalar.step})
        if scalar.tag != "step":
            records[-1][scalar.tag] = scalar.value
    return records
