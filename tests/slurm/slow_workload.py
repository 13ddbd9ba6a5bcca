"""A small task whose every step takes ``SLOW_S`` seconds, without work for the processor."""

from __future__ import annotations

import os
import time

import torch

from sweepdiag import Workload


class Slow(torch.nn.Module):
    """A small network that takes its time; a decision by its data keeps it from being fused."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, capacity), torch.nn.ReLU(), torch.nn.Linear(capacity, 2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum().item() > 0:
            time.sleep(0)
        if self.training:
            time.sleep(float(os.environ.get("SLOW_S", "0")))
        return self.layers(x)


def build() -> Workload:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (96,), generator=generator)
    x = torch.randn(96, 4, generator=generator) + 2 * y[:, None]
    return Workload(
        name="slow",
        version="1",
        train=(x[:64], y[:64]),
        validation=(x[64:], y[64:]),
        model=Slow,
        axes={"lr": [0.01, 0.1], "batch_size": [32], "capacity": [4, 8, 16]},
        settings={"epochs": 10, "seeds": 1},
    )
