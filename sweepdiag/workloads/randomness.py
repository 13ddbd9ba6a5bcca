"""Random numbers by the name of what they are for, each from a seed of its own.

Models and data sets of users draw from the global generators of torch, NumPy and Python. Those are
seeded for the block in which such code runs, and restored after it.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["global_states", "seeded", "stream_seed"]


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
    # user's code may draw from the global generators, and then it should from the given seed.
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


def global_states() -> tuple[Any, ...]:
    """Return what the global generators would draw from next, as values that compare."""
    import torch

    name, keys, *others = np.random.get_state()  # noqa: NPY002 - looked at, not drawn from
    torch_state = torch.default_generator.get_state().numpy().tobytes()
    return torch_state, random.getstate(), name, np.asarray(keys).tobytes(), *others
