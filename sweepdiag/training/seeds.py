"""Random numbers, each from the trial's own seed by the name of what they are for.

Two trials with the same seed share their data order whatever their batch size, so that differences
between configurations are not differences of luck.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from sweepdiag.workloads import seeded, stream_seed

if TYPE_CHECKING:
    import torch

__all__ = ["batch_indices", "seeded", "stream_seed"]

_CACHED_ORDERS = 64


def batch_indices(
    seed: int, first_step: int, last_step: int, *, batch_size: int, n_samples: int
) -> torch.Tensor:
    """Return which samples the steps ``first_step … last_step - 1`` train on.

    Every epoch is a new permutation of all samples; its last partial batch is dropped.

    Args:
        seed: The trial's seed.
        first_step: First step, counted from 0 over the whole training.
        last_step: One past the last step.
        batch_size: Samples per step, at most ``n_samples``.
        n_samples: Training samples.

    Returns:
        Indices, shape ``(last_step - first_step, batch_size)``, int64, on the CPU.
    """
    import torch

    steps_per_epoch = n_samples // batch_size
    rows = []
    step = first_step
    while step < last_step:
        epoch, start = divmod(step, steps_per_epoch)
        stop = min(steps_per_epoch, start + last_step - step)
        order = _epoch_order(seed, epoch, n_samples)
        rows.append(order[start * batch_size : stop * batch_size].view(-1, batch_size))
        step += stop - start
    return torch.cat(rows)


@lru_cache(maxsize=_CACHED_ORDERS)
def _epoch_order(seed: int, epoch: int, n_samples: int) -> torch.Tensor:
    import torch

    generator = torch.Generator().manual_seed(stream_seed(seed, f"order/{epoch}"))
    return torch.randperm(n_samples, generator=generator)
