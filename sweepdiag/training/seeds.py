"""Random numbers, each from the trial's own seed by the name of what they are for.

Two trials with the same seed share their data order whatever their batch size, so that differences
between configurations are not differences of luck.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

__all__ = ["batch_indices", "seeded", "stream_seed"]

_CACHED_ORDERS = 64


def stream_seed(seed: int, name: str) -> int:
    """Return the seed of one named stream of a trial, in ``[0, 2**63)``."""
    digest = hashlib.sha256(f"sweepdiag/{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextlib.contextmanager
def seeded(seed: int, name: str, *, device: str = "cpu") -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python for a block, and restore them."""
    import torch

    stream = stream_seed(seed, name)
    # The generators themselves: torch.manual_seed takes ten times as long as a small model.
    generators = [torch.default_generator]
    if device.startswith("cuda"):
        torch.cuda.init()  # type: ignore[no-untyped-call]  # torch has no types here
        generators.append(torch.cuda.default_generators[torch.device(device).index or 0])
    states = [generator.get_state() for generator in generators]
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - the
    # user's model may draw from the global generators, and then it should from the trial's seed.
    try:
        for generator in generators:
            generator.manual_seed(stream)
        random.seed(stream)
        np.random.seed(stream % 2**32)  # noqa: NPY002
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


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
