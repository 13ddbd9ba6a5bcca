"""How far runs of equal settings lie apart, where their losses differ by factors."""

from __future__ import annotations

import math

__all__ = ["LARGEST_FACTOR", "seed_factor"]

LARGEST_FACTOR = 3.0
"""Seeds that differ by more than this are rarely seeds alone: something else differs."""


def seed_factor(deviation: float) -> float:
    """Return how many times the loss of one seed that of another is, typically.

    Args:
        deviation: Standard deviation of the logarithms of the losses between seeds.
    """
    return math.exp(math.sqrt(2.0) * deviation)
