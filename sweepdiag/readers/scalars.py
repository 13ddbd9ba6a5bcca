"""Scalars logged one by one, each with a step and a time: from them a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.readers.columns import LOSSES, find_columns
from sweepdiag.readers.raw import Chooser, RawTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Scalar", "table_of_scalars"]

_OTHER_COUNT = 2.0
"""Ratio of the last steps of two losses from which they do not count the same thing."""
_SAME_END = 0.1
"""Share of the time of a run within which two losses that are logged to its end both end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scalar:
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


def table_of_scalars(
    parts: Sequence[Sequence[Scalar]], *, file: str, default_run: str, choose: Chooser
) -> RawTable:
    """Return the chosen tags as columns.

    Where training and validation losses count different things (iterations and epochs), the finer
    count is put into the coarser one by the time at which the values were logged.

    Args:
        parts: Scalars of one run in the order in which they were logged, by file.
        file: What messages call the files.
        default_run: Name of the run.
        choose: Told the tags.

    Returns:
        A column ``step`` and one per tag; a row per step, in the order of time. Its lines count
        the rows.
    """
    tags = dict.fromkeys(scalar.tag for part in parts for scalar in part)
    names = ["step", *(tag for tag in tags if tag != "step")]
    columns = find_columns(names, {})
    losses = [name for role in LOSSES if (name := getattr(columns, role))]
    records: list[dict[str, Any]] = []
    notes: list[str] = []
    for part in parts:
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


def _one_count(scalars: Sequence[Scalar], losses: Sequence[str]) -> tuple[Sequence[Scalar], str]:
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
        Scalar(
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


def _records(scalars: Sequence[Scalar]) -> list[dict[str, Any]]:
    """Return a record for each stretch of scalars of one step that have each tag once."""
    records: list[dict[str, Any]] = []
    for scalar in scalars:
        if not records or records[-1]["step"] != scalar.step or scalar.tag in records[-1]:
            records.append({"step": scalar.step})
        if scalar.tag != "step":
            records[-1][scalar.tag] = scalar.value
    return records
