"""Dropout of many members at once, each with the random numbers that it would draw alone."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from sweepdiag.training.seeds import stream_seed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

__all__ = ["NoiseSource", "dropout", "traced_noise"]


def dropout(
    input: torch.Tensor,  # noqa: A002
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> torch.Tensor:
    """Follow PyTorch's own dropout on the CPU, with each member's own noise.

    Args:
        input: Of one member, under ``vmap``.
        p: Probability of a zero.
        training: Whether to do anything.
        inplace: Whether to write into the input.
    """
    if p == 0.0 or not training:
        return input
    if p == 1.0:
        return input.mul_(0.0) if inplace else input * 0.0
    noise = _noise_operation()(input.detach(), 1.0 - p) / (1.0 - p)
    return input.mul_(noise) if inplace else input * noise


@functools.cache
def _noise_operation() -> Any:
    """Return the operation that stands for :meth:`NoiseSource.draw` in a traced step."""
    import torch

    def member_noise(like: torch.Tensor, probability: float) -> torch.Tensor:
        message = "random numbers of members are drawn in traced steps only"
        raise NotImplementedError(message)

    member_noise.__annotations__ = {
        "like": torch.Tensor,
        "probability": float,
        "return": torch.Tensor,
    }
    operation = torch.library.custom_op(
        "sweepdiag::member_noise",
        member_noise,
        mutates_args=(),
        tags=(torch.Tag.nondeterministic_seeded,),
    )

    @operation.register_fake
    def _(like: torch.Tensor, probability: float) -> torch.Tensor:
        del probability
        return torch.empty(like.shape, dtype=like.dtype, device=like.device)

    def vmapped(info: Any, dims: Any, like: torch.Tensor, probability: float) -> Any:
        del info
        return operation(like.movedim(dims[0], 0), probability), 0

    operation.register_vmap(vmapped)
    return operation


def traced_noise() -> Any:
    """Return the operation as it stands in a traced step."""
    import torch

    _noise_operation()
    return torch.ops.sweepdiag.member_noise.default


class NoiseSource:
    """Draws each member's random numbers from a generator of its own.

    A member's generator is seeded as the global one is where it trains alone, and asked for the
    same numbers in the same order.
    """

    def __init__(self) -> None:
        self._streams: list[int] = []
        self._generators: list[torch.Generator] = []

    def seed(self, seeds: Sequence[int], name: str) -> None:
        """Begin a named stream of each member.

        Args:
            seeds: The members' seeds.
            name: Of the stream.
        """
        self._streams = [stream_seed(seed, name) for seed in seeds]
        self._generators = []

    def draw(self, like: torch.Tensor, probability: float) -> torch.Tensor:
        """Return zeros and ones for each member.

        Args:
            like: Shape ``(n_members, …)``; only its shape and type count.
            probability: Of a one.
        """
        import torch

        if not self._generators:  # models without random layers need none
            self._generators = [torch.Generator().manual_seed(seed) for seed in self._streams]
        noise = torch.empty(like.shape, dtype=like.dtype)
        for of_member, generator in zip(noise, self._generators, strict=True):
            of_member.bernoulli_(probability, generator=generator)
        return noise
