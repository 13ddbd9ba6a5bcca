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
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    UnitsKey: TypeAlias = tuple[int, int, int]

__all__ = ["UnitSums", "dead_fractions"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kinds:
    """Types of modules.

    Attributes:
        can_be_zero: Activations whose units are counted.
        never_negative: Those of them whose outputs need no sign taken away.
        features_last: Layers whose outputs have their features on the last axis.
        channels_first: Layers whose outputs have their channels on axis 1.
    """

    can_be_zero: tuple[type, ...]
    never_negative: frozenset[type]
    features_last: tuple[type, ...]
    channels_first: tuple[type, ...]


@functools.cache
def _kinds() -> _Kinds:
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
    return _Kinds(
        can_be_zero=can_be_zero,
        never_negative=frozenset({nn.ReLU, nn.ReLU6, nn.Hardsigmoid}),
        features_last=features_last,
        channels_first=channels_first,
    )


class UnitSums:
    """The sum of each unit's magnitudes over the forward passes of one model.

    It is zero where every magnitude is, and cheaper than the largest of them. Works on a member's
    own module as well as under ``vmap``, where the tensors are batched.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        """Take the model; not changed."""
        self._root = model
        self._places = {id(module): place for place, module in enumerate(model.modules())}
        self._n_calls: dict[int, int] = {}
        self._is_last_axis = False
        self._sums: dict[UnitsKey, torch.Tensor] = {}

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
        """Return the sums by call, each of shape ``(n_units,)``, and begin anew."""
        sums, self._sums = self._sums, {}
        return list(sums.values())

    def _look(self, module: torch.nn.Module, inputs: Any, output: Any) -> None:
        import torch

        del inputs
        place = self._places.get(id(module))
        if place is None:
            return
        kinds = _kinds()
        if isinstance(module, kinds.features_last + kinds.channels_first):
            self._is_last_axis = isinstance(module, kinds.features_last)
        if isinstance(module, kinds.can_be_zero) and isinstance(output, torch.Tensor):
            number = self._n_calls.get(place, 0)
            self._n_calls[place] = number + 1
            magnitudes = output.detach()
            if type(module) not in kinds.never_negative:
                magnitudes = magnitudes.abs()
            self._add(place, number, magnitudes)
        if module is self._root:
            self._n_calls, self._is_last_axis = {}, False

    def _add(self, place: int, number: int, magnitudes: torch.Tensor) -> None:
        if magnitudes.numel() == 0:
            return
        sums = _sums(magnitudes, is_last_axis=self._is_last_axis)
        key = (place, number, len(sums))
        self._sums[key] = self._sums[key] + sums if key in self._sums else sums


def _sums(magnitudes: torch.Tensor, *, is_last_axis: bool) -> torch.Tensor:
    """Return the sum over all but the axis of the units, shape ``(n_units,)``."""
    if magnitudes.dim() < 2:
        magnitudes = magnitudes.reshape(-1, 1)
    axis = magnitudes.dim() - 1 if is_last_axis else 1
    return magnitudes.sum(dim=[d for d in range(magnitudes.dim()) if d != axis])


def dead_fractions(pieces: Sequence[Sequence[torch.Tensor]], *, n_members: int) -> list[float]:
    """Return the share of dead units of each member.

    Args:
        pieces: For each piece of the samples, the sums of units' magnitudes by call, each of
            shape ``(n_members, n_units)``.
        n_members: How many members there are.

    Returns:
        Shares in ``[0, 1]``; NaN where there are no units or one of them has been NaN.
    """
    import torch

    sums = [functools.reduce(operator.add, of_call) for of_call in zip(*pieces, strict=True)]
    if not sums:
        return [math.nan] * n_members
    units = torch.cat(sums, dim=1)
    shares = (units == 0).double().mean(dim=1)
    shares[units.isnan().any(dim=1)] = math.nan
    found: list[float] = shares.tolist()
    return found
