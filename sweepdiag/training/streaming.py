"""The minibatches of the members of a pack: gathered on the device, or streamed to it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Protocol

from sweepdiag.workloads import StreamedSamples

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    import torch

    from sweepdiag.training.members import Timetable
    from sweepdiag.training.step_tables import StepTable
    from sweepdiag.workloads import Samples
    from sweepdiag.workloads.samples import Batch

__all__ = ["Feed", "feed_for"]


class Feed(Protocol):
    """Gives the minibatches of all members of a pack, step by step.

    Which samples a step takes follows from the member's seed and the step; so do the random
    numbers that reading them draws. What comes from one seed is read once.
    """

    def load(self, seeds: Sequence[int], first_step: int, last_step: int) -> None:
        """Begin with some steps.

        Args:
            seeds: Of each member.
            first_step: First step.
            last_step: One past the last step.
        """

    def take(self) -> Batch:
        """Return inputs and targets of the next of these steps, on the device.

        Both have the shape ``(n_members, batch_size, …)``.
        """

    def close(self) -> None:
        """Stop reading ahead; steps can be loaded again."""


def feed_for(samples: Samples, timetable: Timetable, new_table: Callable[[], StepTable]) -> Feed:
    """Return what feeds a pack with minibatches.

    Args:
        samples: The training samples.
        timetable: Shared by all members.
        new_table: Makes what holds the samples' numbers, for samples on the device.
    """
    if isinstance(samples, StreamedSamples):
        return _StreamedFeed(samples, timetable)
    return _GatheredFeed(samples, timetable, new_table())


class _GatheredFeed:
    """Picks samples that lie on the device."""

    def __init__(self, samples: Samples, timetable: Timetable, table: StepTable) -> None:
        self._samples = samples
        self._timetable = timetable
        self._table = table
        self._n_members = 0

    def load(self, seeds: Sequence[int], first_step: int, last_step: int) -> None:
        import torch

        of_seed = _indices(self._timetable, seeds, first_step, last_step)
        self._n_members = len(seeds)
        self._table.load(
            {"samples": torch.stack([of_seed[seed] for seed in seeds], dim=1).flatten(1)}
        )

    def take(self) -> Batch:
        inputs, targets = self._samples.take(self._table.take()["samples"])
        return (
            inputs.view(self._n_members, -1, *inputs.shape[1:]),
            targets.view(self._n_members, -1, *targets.shape[1:]),
        )

    def close(self) -> None:
        """Do nothing: nothing is read ahead."""


class _StreamedFeed:
    """Reads samples in a thread, some steps ahead."""

    def __init__(self, samples: StreamedSamples, timetable: Timetable) -> None:
        self._samples = samples
        self._timetable = timetable
        self._batches: Generator[Batch] | None = None

    def load(self, seeds: Sequence[int], first_step: int, last_step: int) -> None:
        self.close()
        self._batches = self._read(seeds, first_step, last_step)

    def take(self) -> Batch:
        if self._batches is None:
            message = "no steps are loaded"
            raise RuntimeError(message)
        return next(self._batches)

    def close(self) -> None:
        if self._batches is not None:
            self._batches.close()
            self._batches = None

    def _read(self, seeds: Sequence[int], first_step: int, last_step: int) -> Generator[Batch]:
        import torch

        of_seed = _indices(self._timetable, seeds, first_step, last_step)
        distinct = list(of_seed)
        places = torch.tensor(
            [distinct.index(seed) for seed in seeds], device=self._samples.device
        )
        jobs = (
            functools.partial(_fetch, self._samples, of_seed, first_step, n)
            for n in range(last_step - first_step)
        )
        for inputs, targets in self._samples.stream(jobs):
            yield inputs.index_select(0, places), targets.index_select(0, places)


def _indices(
    timetable: Timetable, seeds: Sequence[int], first_step: int, last_step: int
) -> dict[int, torch.Tensor]:
    """Return the samples of each step, shape ``(n_steps, batch_size)``, for each distinct seed."""
    return {seed: timetable.indices(seed, first_step, last_step) for seed in dict.fromkeys(seeds)}


def _fetch(
    samples: StreamedSamples, of_seed: dict[int, torch.Tensor], first_step: int, n: int
) -> Batch:
    """Return the minibatches of one step for each seed, shape ``(n_seeds, batch_size, …)``."""
    import torch

    batches = [
        samples.fetch(indices[n].numpy(), seed=seed, stream=f"data/{first_step + n}")
        for seed, indices in of_seed.items()
    ]
    inputs, targets = (torch.stack(parts) for parts in zip(*batches, strict=True))
    return inputs, targets
