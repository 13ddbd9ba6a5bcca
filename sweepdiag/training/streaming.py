"""The minibatches of the members of a pack: gathered on the device, or streamed to it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from sweepdiag.workloads import StreamedSamples

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import torch

    from sweepdiag.training.members import Timetable
    from sweepdiag.workloads import Samples
    from sweepdiag.workloads.samples import Batch

__all__ = ["minibatches"]


def minibatches(
    samples: Samples,
    timetable: Timetable,
    seeds: Sequence[int],
    first_step: int,
    last_step: int,
) -> Generator[Batch]:
    """Yield the minibatches of some steps, for all members of a pack at once.

    Which samples a step takes follows from the member's seed and the step; so do the random
    numbers that reading them draws. What comes from one seed is read once.

    Args:
        samples: The training samples.
        timetable: Shared by all members.
        seeds: Of each member.
        first_step: First step.
        last_step: One past the last step.

    Yields:
        Inputs and targets of each step, shape ``(n_members, batch_size, …)``, on the device.
    """
    of_seed = {
        seed: timetable.indices(seed, first_step, last_step) for seed in dict.fromkeys(seeds)
    }
    if isinstance(samples, StreamedSamples):
        yield from _streamed(samples, of_seed, seeds, first_step)
    else:
        yield from _gathered(samples, of_seed, seeds)


def _gathered(
    samples: Samples, of_seed: dict[int, torch.Tensor], seeds: Sequence[int]
) -> Generator[Batch]:
    import torch

    n_members = len(seeds)
    table = torch.stack([of_seed[seed] for seed in seeds], dim=1).flatten(1)
    for indices in table.to(samples.targets.device):
        inputs, targets = samples.take(indices)
        yield (
            inputs.view(n_members, -1, *inputs.shape[1:]),
            targets.view(n_members, -1, *targets.shape[1:]),
        )


def _streamed(
    samples: StreamedSamples,
    of_seed: dict[int, torch.Tensor],
    seeds: Sequence[int],
    first_step: int,
) -> Generator[Batch]:
    import torch

    distinct = list(of_seed)
    places = torch.tensor([distinct.index(seed) for seed in seeds], device=samples.device)
    n_steps = len(of_seed[distinct[0]])
    jobs = (functools.partial(_fetch, samples, of_seed, first_step, n) for n in range(n_steps))
    for inputs, targets in samples.stream(jobs):
        yield inputs.index_select(0, places), targets.index_select(0, places)


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
