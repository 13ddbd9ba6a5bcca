"""Samples on the host, read by their numbers: arrays, memory maps and map-style data sets."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sweepdiag.errors import WorkloadError
from sweepdiag.workloads._arrays import as_array, as_inputs, input_dtype, target_array
from sweepdiag.workloads._datasets import (
    ItemReader,
    is_map_style,
    note_unused,
    open_items,
    unlike_items,
)
from sweepdiag.workloads.randomness import global_states, seeded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["ArrayRows", "DatasetRows", "Part", "Rows", "open_rows"]

logger = logging.getLogger(__name__)

_READ_AT_ONCE = 512
_TRIED = 16
"""Items that are read more than once, to see whether they stay the same."""
_IN_FINGERPRINT = 1024


class Rows(Protocol):
    """Samples on the host, each of which can be read by its number.

    Attributes:
        targets: Of all samples, int64 classes or float32, shape ``(n_rows, …)``.
        input_shape: Shape of one input.
        input_dtype: float32 or int64.
        is_random: Whether reading a row draws random numbers.
        is_sampled: Whether a fingerprint is taken of some inputs only. A property of where the
            rows come from, not of where they are kept: identities do not depend on the machine.
    """

    @property
    def targets(self) -> NDArray[Any]: ...  # noqa: D102 - in the class
    @property
    def input_shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def input_dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    @property
    def is_random(self) -> bool: ...  # noqa: D102
    @property
    def is_sampled(self) -> bool: ...  # noqa: D102

    def read(
        self, indices: NDArray[np.int64], *, seed: int = 0, stream: str = ""
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return inputs and targets of some rows as arrays of their own.

        Args:
            indices: Which rows, shape ``(n,)``.
            seed: Seed of the random numbers that reading draws, if it does.
            stream: What they are for.
        """


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ArrayRows:
    """Rows of arrays that have been checked; a memory map stays on the disk."""

    inputs: NDArray[Any] = field(repr=False)
    targets: NDArray[Any] = field(repr=False)
    is_sampled: bool = False
    is_random: bool = False

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.inputs.shape[1:]

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """The type that inputs are read as."""
        return input_dtype(self.inputs)

    def read(
        self,
        indices: NDArray[np.int64],
        *,
        seed: int = 0,  # noqa: ARG002 - nothing is drawn
        stream: str = "",  # noqa: ARG002
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return inputs and targets of some rows as arrays of their own."""
        return as_inputs(self.inputs[indices]), self.targets[indices]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DatasetRows:
    """Items of a map-style data set."""

    reader: ItemReader = field(repr=False)
    targets: NDArray[Any] = field(repr=False)
    input_shape: tuple[int, ...]
    input_dtype: np.dtype[Any]
    is_random: bool
    is_sampled: bool = True

    def read(
        self, indices: NDArray[np.int64], *, seed: int = 0, stream: str = ""
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return inputs and targets of some items.

        Raises:
            WorkloadError: If an item cannot be read, or is unlike the others.
        """
        inputs, targets = _read(self.reader, indices, self.is_random, seed, stream)
        for kind, found, first in (
            ("input", (inputs.shape[1:], inputs.dtype), (self.input_shape, self.input_dtype)),
            (
                "target",
                (targets.shape[1:], targets.dtype),
                (self.targets.shape[1:], self.targets.dtype),
            ),
        ):
            if found != first:
                told = (
                    f"one batch has {first[1]} of shape {first[0]}, another (from item "
                    f"{indices[0]} on) {found[1]} of {found[0]}"
                )
                raise WorkloadError(unlike_items(self.reader.name, kind, told))
        return inputs, targets


def open_rows(name: str, samples: Any, *, is_classes: bool, room_bytes: float) -> Rows:
    """Return the rows of a workload's samples, with all targets read.

    Args:
        name: What they are, for messages (``"train"``).
        samples: A pair of arrays that have been checked, a map-style data set or a loader of one.
        is_classes: Whether targets are class numbers.
        room_bytes: A data set that needs no more memory is read whole, each item once.

    Returns:
        The rows.
    """
    if not is_map_style(samples):
        return ArrayRows(
            inputs=as_array(samples[0], f"{name} inputs"),
            targets=target_array(samples[1], f"{name} targets", is_integer=is_classes),
        )
    reader = open_items(name, samples, is_classes=is_classes)
    note_unused(name, samples)
    tried = _evenly(len(reader.dataset), _TRIED)
    is_random = _is_random(reader, tried)
    inputs, targets = _read(reader, tried, is_random, 0, "try")
    rows = DatasetRows(
        reader=reader,
        targets=np.empty((len(reader.dataset), *targets.shape[1:]), targets.dtype),
        input_shape=inputs.shape[1:],
        input_dtype=inputs.dtype,
        is_random=is_random,
    )
    if is_random:
        logger.info(
            "%s: reading an item draws random numbers, so items are read anew whenever they are "
            "used; the numbers follow from the trial's seed and the step",
            name,
        )
    elif Part.whole(rows).n_bytes <= room_bytes:
        return Part.whole(rows).held()
    return dataclasses.replace(rows, targets=_all_targets(rows, tried, targets))


def _read(
    reader: ItemReader, indices: NDArray[np.int64], is_random: bool, seed: int, stream: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    if not is_random:
        return reader.read(indices)
    with seeded(seed, stream):
        return reader.read(indices)


def _is_random(reader: ItemReader, tried: NDArray[np.int64]) -> bool:
    """Return whether reading draws from the global generators, which can be seeded.

    Raises:
        WorkloadError: If items differ although those are seeded.
    """
    readings = []
    has_drawn = False
    for _ in range(2):
        with seeded(0, "try"):
            before = global_states()
            readings.append(reader.read(tried))
            has_drawn |= global_states() != before
    if not all(np.array_equal(a, b) for a, b in zip(*readings, strict=True)):
        message = (
            f"items of {reader.name} differ from one reading to the next although the generators "
            "of torch, NumPy and Python were seeded alike: draw random numbers from those global "
            "generators, or seed your own by the index of the item"
        )
        raise WorkloadError(message)
    return has_drawn


def _all_targets(rows: DatasetRows, tried: NDArray[np.int64], own: NDArray[Any]) -> NDArray[Any]:
    """Return the targets of all items, from the data set's own list where it has a true one.

    Args:
        rows: The items.
        tried: Some of their numbers.
        own: The targets of those.
    """
    listed = _listed_targets(rows.reader)
    if listed is not None and np.array_equal(listed[tried], own):
        return listed
    targets = np.empty_like(rows.targets)
    for indices in _in_pieces(np.arange(len(targets))):
        targets[indices] = rows.read(indices, stream=f"targets/{indices[0]}")[1]
    return targets


def _listed_targets(reader: ItemReader) -> NDArray[Any] | None:
    """Return a data set's attribute ``targets`` if it holds a target per item."""
    listed = getattr(reader.dataset, "targets", None)
    if listed is None or reader.collate is not None:
        return None
    try:
        targets = target_array(listed, "targets", is_integer=reader.is_classes)
    except WorkloadError:
        return None
    return targets.copy() if len(targets) == len(reader.dataset) else None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Part:
    """Some of the rows: those that train, those that validate."""

    rows: Rows
    indices: NDArray[np.int64] = field(repr=False)

    @classmethod
    def whole(cls, rows: Rows) -> Part:
        """Return all rows."""
        return cls(rows=rows, indices=np.arange(len(rows.targets)))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, chosen: NDArray[np.int64]) -> Part:
        return Part(rows=self.rows, indices=self.indices[chosen])

    @property
    def targets(self) -> NDArray[Any]:
        """Targets of these rows."""
        return self.rows.targets[self.indices]

    @property
    def n_bytes(self) -> int:
        """Memory that these samples take, in bytes."""
        rows = self.rows
        n_inputs = int(np.prod(rows.input_shape, dtype=np.int64))
        n_targets = int(np.prod(rows.targets.shape[1:], dtype=np.int64))
        n_bytes = n_inputs * rows.input_dtype.itemsize + n_targets * rows.targets.dtype.itemsize
        return len(self) * n_bytes

    def read(
        self, places: NDArray[np.int64], *, seed: int = 0, stream: str = ""
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return inputs and targets of the samples at some places of this part."""
        return self.rows.read(self.indices[places], seed=seed, stream=stream)

    def held(self) -> ArrayRows:
        """Return the same samples in memory of their own, so that later edits change nothing."""
        rows = self.rows
        inputs = np.empty((len(self), *rows.input_shape), rows.input_dtype)
        targets = np.empty((len(self), *rows.targets.shape[1:]), rows.targets.dtype)
        for places in _in_pieces(np.arange(len(self))):
            inputs[places], targets[places] = self.read(places)
        return ArrayRows(inputs=inputs, targets=targets, is_sampled=rows.is_sampled)

    def input_pieces(self) -> Iterator[NDArray[Any]]:
        """Yield the inputs that a fingerprint is taken of, in pieces.

        All of them; of a data set's items, up to 1,024 that are evenly spaced.
        """
        n_read = min(len(self), _IN_FINGERPRINT) if self.rows.is_sampled else len(self)
        for places in _in_pieces(_evenly(len(self), n_read)):
            yield self.read(places, stream=f"fingerprint/{places[0]}")[0]


def _evenly(n: int, n_chosen: int) -> NDArray[np.int64]:
    """Return up to ``n_chosen`` places of ``n``, evenly spaced, the first and last among them."""
    if n_chosen >= n:
        return np.arange(n)
    return np.linspace(0, n - 1, n_chosen).round().astype(np.int64)


def _in_pieces(places: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(places), _READ_AT_ONCE):
        yield places[start : start + _READ_AT_ONCE]
