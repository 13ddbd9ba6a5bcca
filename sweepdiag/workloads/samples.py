"""Samples as trainings take them: from tensors on the device, or streamed to it from the host."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from sweepdiag.workloads._prefetch import prefetched
from sweepdiag.workloads.rows import ArrayRows, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import torch

__all__ = ["Batch", "Samples", "StreamedSamples", "TensorSamples", "streamed", "tensors"]

Batch: TypeAlias = "tuple[torch.Tensor, torch.Tensor]"
"""Inputs and targets of some samples, samples first."""

_N_EXAMPLES = 2
_N_AHEAD = 2
_READ_AT_ONCE = 512


class Samples(Protocol):
    """Inputs and targets that trainings take minibatches and evaluations from.

    Attributes:
        targets: All targets, on whatever device.
        examples: A few inputs on the device, to try a model on.
        n_bytes: Memory that all of them take, or would.
    """

    @property
    def targets(self) -> torch.Tensor: ...  # noqa: D102 - in the class
    @property
    def examples(self) -> torch.Tensor: ...  # noqa: D102
    @property
    def n_bytes(self) -> int: ...  # noqa: D102

    def __len__(self) -> int: ...

    def take(self, indices: torch.Tensor) -> Batch:
        """Return some samples, on the device.

        Args:
            indices: Which, shape ``(n,)``, int64.
        """

    def chunks(self, size: int) -> Iterator[Batch]:
        """Yield all samples in order, ``size`` at a time, on the device."""

    def to(self, device: torch.device | str, *, room_bytes: float) -> Samples:
        """Return the same samples on a device; streamed to it if they take more than the room."""


@dataclass(frozen=True, slots=True, eq=False)
class TensorSamples:
    """Samples in tensors that stay on the device."""

    inputs: torch.Tensor = field(repr=False)
    targets: torch.Tensor = field(repr=False)

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def examples(self) -> torch.Tensor:
        """A few inputs."""
        return self.inputs[:_N_EXAMPLES]

    @property
    def n_bytes(self) -> int:
        """Memory that they take."""
        return self.inputs.nbytes + self.targets.nbytes

    def take(self, indices: torch.Tensor) -> Batch:
        """Return some samples; ``indices`` are on the device."""
        return self.inputs.index_select(0, indices), self.targets.index_select(0, indices)

    def chunks(self, size: int) -> Iterator[Batch]:
        """Yield all samples in order, ``size`` at a time."""
        for start in range(0, len(self), size):
            yield self.inputs[start : start + size], self.targets[start : start + size]

    def to(self, device: torch.device | str, *, room_bytes: float) -> Samples:
        """Return the same samples on a device; streamed to it if they take more than the room."""
        if self.n_bytes > room_bytes:
            rows = ArrayRows(inputs=self.inputs.cpu().numpy(), targets=self.targets.cpu().numpy())
            return streamed(Part.whole(rows), device)
        return TensorSamples(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StreamedSamples:
    """Samples that stay on the host, and are read and moved when they are needed."""

    part: Part
    device: str
    targets: torch.Tensor = field(repr=False)
    examples: torch.Tensor = field(repr=False)

    def __len__(self) -> int:
        return len(self.part)

    @property
    def n_bytes(self) -> int:
        """Memory that they would take."""
        return self.part.n_bytes

    def take(self, indices: torch.Tensor) -> Batch:
        """Return some samples, on the device."""
        places = indices.cpu().numpy()
        (batch,) = self.stream([functools.partial(self.fetch, places, seed=0, stream="take")])
        return batch

    def chunks(self, size: int) -> Iterator[Batch]:
        """Yield all samples in order, ``size`` at a time.

        Where reading draws random numbers they are the same each time.
        """
        places = np.arange(len(self))
        return self.stream(
            functools.partial(
                self.fetch, places[start : start + size], seed=0, stream=f"chunk/{start}"
            )
            for start in range(0, len(self), size)
        )

    def to(self, device: torch.device | str, *, room_bytes: float) -> Samples:
        """Return the same samples on a device; streamed to it if they take more than the room.

        The room of a device is none of the host's: what is streamed from a host with little memory
        may fit on a GPU.
        """
        import torch

        has_own_memory = torch.device(device).type != "cpu"
        if has_own_memory and self.n_bytes <= room_bytes and not self.part.rows.is_random:
            return self.gathered(device)
        return dataclasses.replace(self, device=str(device), examples=self.examples.to(device))

    def gathered(self, device: torch.device | str) -> TensorSamples:
        """Return all samples in tensors on a device, read a piece at a time."""
        import torch

        rows = self.part.rows
        dtype = torch.from_numpy(np.empty(0, rows.input_dtype)).dtype
        inputs = torch.empty((len(self), *rows.input_shape), dtype=dtype, device=device)
        start = 0
        for piece, _ in self.chunks(_READ_AT_ONCE):
            inputs[start : start + len(piece)] = piece.to(device)
            start += len(piece)
        return TensorSamples(inputs, self.targets.to(device))

    def fetch(self, places: np.ndarray, *, seed: int, stream: str) -> Batch:
        """Return some samples on the host.

        Args:
            places: Which, shape ``(n,)``.
            seed: Seed of the random numbers that reading draws, if it does.
            stream: What they are for.
        """
        import torch

        inputs, targets = self.part.read(places, seed=seed, stream=stream)
        return torch.from_numpy(inputs), torch.from_numpy(targets)

    def stream(self, jobs: Iterable[Callable[[], Batch]]) -> Iterator[Batch]:
        """Yield on the device what jobs return on the host, which are done ahead by a thread.

        Where reading draws from the global generators nothing else may draw from them meanwhile,
        and no job is done ahead.
        """
        is_cuda = self.device.startswith("cuda")
        if is_cuda:
            # Only from pinned memory can a copy be begun without waiting for the device.
            jobs = (functools.partial(_pinned, job, self.device) for job in jobs)
        n_ahead = 0 if self.part.rows.is_random else _N_AHEAD
        for inputs, targets in prefetched(jobs, n_ahead=n_ahead):
            yield (
                inputs.to(self.device, non_blocking=is_cuda),
                targets.to(self.device, non_blocking=is_cuda),
            )


def tensors(part: Part) -> TensorSamples:
    """Return samples in tensors with memory of their own, on the CPU."""
    import torch

    held = part.held()
    return TensorSamples(torch.from_numpy(held.inputs), torch.from_numpy(held.targets))


def streamed(part: Part, device: torch.device | str = "cpu") -> StreamedSamples:
    """Return samples that are read from the host when they are needed."""
    import torch

    examples, _ = part.read(np.arange(min(_N_EXAMPLES, len(part))), stream="examples")
    return StreamedSamples(
        part=part,
        device=str(device),
        targets=torch.from_numpy(part.targets),
        examples=torch.from_numpy(examples).to(device),
    )


def _pinned(job: Callable[[], Batch], device: str) -> Batch:
    import torch

    inputs, targets = job()
    with torch.cuda.device(device):
        return inputs.pin_memory(), targets.pin_memory()
