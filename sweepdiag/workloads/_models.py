"""The small models of the built-in workloads. ``capacity`` is the width of their layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["cnn", "mlp"]


def mlp(n_inputs: int, n_outputs: int, capacity: int) -> torch.nn.Module:
    """Return two hidden layers of ``capacity`` ReLU units each and a linear output."""
    from torch import nn

    return nn.Sequential(
        nn.Linear(n_inputs, capacity),
        nn.ReLU(),
        nn.Linear(capacity, capacity),
        nn.ReLU(),
        nn.Linear(capacity, n_outputs),
    )


def cnn(side: int, n_outputs: int, capacity: int) -> torch.nn.Module:
    """Return two convolutions of ``capacity`` and twice as many channels, each halving the side.

    Inputs are grey images of shape ``(n, 1, side, side)``.
    """
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, capacity, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(capacity, 2 * capacity, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * capacity * (side // 4) ** 2, n_outputs),
    )
