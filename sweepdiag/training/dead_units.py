"""Units that are zero for every sample: which share of a network takes no part any more.

A *unit* is a feature or channel of the output of an activation that can be exactly zero
(``nn.ReLU`` and its kin), reduced over samples and positions. A module that is called more than
once in a forward pass counts anew at each call. A unit is *dead* if it is zero for every sample
and at every position.

The features of an output of more than two dimensions lie on its last axis if the last layer to run
before it was one of those that have them there (linear layers, layer norm, embeddings, attention,
recurrent layers), and on axis 1 otherwise, where convolutions have their channels.

Modules are watched by a hook of all modules, not by hooks of their own: PyTorch takes another,
differently rounded way through ``nn.TransformerEncoderLayer`` if a module in it has a hook.
"""

from __future__ import annotations

import contextlib
import functools
import math
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    UnitsKey: TypeAlias = tuple[int, int, int]

__all__ = ["UnitPeaks", "dead_fractions"]


@functools.cache
def _kinds() -> tuple[tuple[type, ...], tuple[type, ...], tuple[type, ...]]:
    """Return modules that can be zero, those with features last, and those with channels on 1."""
    from torch import nn

    can_be_zero = (
        nn.ReLU,
        nn.ReLU6,
        nn.Threshold,
        nn.Hardswish,
        nn.Hardsigmoid,
        nn.Hardshrink,
        nn.Softshrink,
    )
    features_last = (
        nn.Linear,
        nn.Bilinear,
        nn.LayerNorm,
        nn.RMSNorm,
        nn.Embedding,
        nn.EmbeddingBag,
        nn.MultiheadAttention,
        nn.RNNBase,
    )
    channels_first = (
        nn.modules.conv._ConvNd,
        nn.modules.batchnorm._NormBase,
        nn.GroupNorm,
    )
    return can_be_zero, features_last, channels_first


class UnitPeaks:
    """The largest magnitude of each unit over the forward passes of one model.

    Works on a member's own module as well as under ``vmap``, where the tensors are batched.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        """Take the model; not changed."""
        self._root = model
        self._places = {id(module): place for place, module in enumerate(model.modules())}
        self._n_calls: dict[int, int] = {}
        self._is_last_axis = False
        self._peaks: dict[UnitsKey, torch.Tensor] = {}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look at every forward pass of the model within a block."""
        from torch.nn.modules.module import register_module_forward_hook

        handle = register_module_forward_hook(self._look)
        try:
            yield
        finally:
            handle.remove()

    def take(self) -> list[torch.Tensor]:
        """Return the peaks by call, each of shape ``(n_units,)``, and begin anew."""
        peaks, self._peaks = self._peaks, {}
        return list(peaks.values())

    def _look(self, module: torch.nn.Module, inputs: Any, output: Any) -> None:
        import torch

        del inputs
        place = self._places.get(id(module))
        if place is None:
            return
        can_be_zero, features_last, channels_first = _kinds()
        if isinstance(module, features_last + channels_first):
            self._is_last_axis = isinstance(module, features_last)
        if isinstance(module, can_be_zero) and isinstance(output, torch.Tensor):
            number = self._n_calls.get(place, 0)
            self._n_calls[place] = number + 1
            self._add(place, number, output.detach())
        if module is self._root:
            self._n_calls, self._is_last_axis = {}, False

    def _add(self, place: int, number: int, output: torch.Tensor) -> None:
        import torch

        if output.numel() == 0:
            return
        peaks = _peaks(output, is_last_axis=self._is_last_axis)
        key = (place, number, len(peaks))
        seen = self._peaks.get(key)
        # Both maxima keep NaN.
        self._peaks[key] = peaks if seen is None else torch.maximum(seen, peaks)


def _peaks(output: torch.Tensor, *, is_last_axis: bool) -> torch.Tensor:
    """Return the largest magnitude of each unit, shape ``(n_units,)``."""
    if output.dim() < 2:
        output = output.reshape(-1, 1)
    axis = output.dim() - 1 if is_last_axis else 1
    return output.abs().amax(dim=[d for d in range(output.dim()) if d != axis])


def dead_fractions(pieces: Sequence[Sequence[torch.Tensor]], *, n_members: int) -> list[float]:
    """Return the share of dead units of each member.

    Args:
        pieces: For each piece of the samples, the largest magnitudes of units by call, each of
            shape ``(n_members, n_units)``.
        n_members: How many members there are.

    Returns:
        Shares in ``[0, 1]``; NaN where there are no units or one of them has been NaN.
    """
    import torch

    # This maximum keeps NaN.
    peaks = [functools.reduce(torch.maximum, of_call) for of_call in zip(*pieces, strict=True)]
    if not peaks:
        return [math.nan] * n_members
    units = torch.cat([of_call.double() for of_call in peaks], dim=1)
    shares = (units == 0).double().mean(dim=1)
    shares[units.isnan().any(dim=1)] = math.nan
    found: list[float] = shares.tolist()
    return found
