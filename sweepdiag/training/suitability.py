"""What a model keeps or does in Python, which a fused step cannot see.

A fused step is traced from one member, once. Whatever another member, or the same one at a later
step, would do otherwise has to lie in parameters and buffers.
"""

from __future__ import annotations

import copy
import functools
import random
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.training.seeds import seeded

if TYPE_CHECKING:
    import torch

__all__ = ["attributes", "have_same_attributes", "why_unsuitable"]


def attributes(model: torch.nn.Module) -> dict[tuple[str, str], Any]:
    """Return what a model's modules hold beside parameters and buffers, by module and name.

    Tensors are copied; of everything that is neither a tensor nor a plain value its type is taken.
    """
    common = _names_of_every_module()
    return {
        (path, name): _comparable(value)
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if name not in common
    }


@functools.cache
def _names_of_every_module() -> frozenset[str]:
    """Return what every module has: parameters and buffers, which a fused step is given, hooks."""
    import torch

    return frozenset(vars(torch.nn.Module()))


def have_same_attributes(
    some: dict[tuple[str, str], Any], others: dict[tuple[str, str], Any]
) -> bool:
    """Return whether two models hold the same."""
    return some.keys() == others.keys() and all(
        _are_equal(value, others[key]) for key, value in some.items()
    )


def why_unsuitable(model: torch.nn.Module, inputs: torch.Tensor) -> str | None:
    """Return why steps of a model cannot be traced once and for all, or ``None`` if they can.

    One forward pass of a copy is taken, and looked at for what it leaves behind in Python.

    Args:
        model: Not changed.
        inputs: A few samples.
    """
    tried = copy.deepcopy(model).train()
    before, buffers = attributes(tried), [id(buffer) for _, buffer in tried.named_buffers()]
    with seeded(0, "suitability"):
        python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
        tried(inputs)
        if random.getstate() != python or not _are_equal(np.random.get_state(), numpy):  # noqa: NPY002
            return "forward draws random numbers of Python or NumPy"
    if not have_same_attributes(attributes(tried), before):
        return "forward changes attributes that are no buffers"
    if [id(buffer) for _, buffer in tried.named_buffers()] != buffers:
        return "forward replaces a buffer instead of writing into it"
    return None


def _comparable(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, bool | int | float | complex | str | bytes | None):
        return value
    if isinstance(value, list | tuple):
        return tuple(_comparable(item) for item in value)
    if isinstance(value, dict):
        return {str(key): _comparable(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.copy()
    return type(value)


def _are_equal(a: Any, b: Any) -> bool:
    import torch

    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return bool(np.array_equal(a, b))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_are_equal, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_are_equal(a[key], b[key]) for key in a)
    return bool(a == b)
