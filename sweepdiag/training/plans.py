"""What is chosen for an architecture: tier, width and threads, and the ways to choose from."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sweepdiag.space import MEMBER_AXES

if TYPE_CHECKING:
    from sweepdiag.records import AxisValue, Pack
    from sweepdiag.training.fused_model import FusedModel
    from sweepdiag.training.memory import MemoryNeed

__all__ = ["Plan", "Structure", "Tier", "Way", "allowed_ways", "structure"]

Structure: TypeAlias = "tuple[tuple[str, AxisValue], ...]"
"""What the trials of a pack have in common: every axis but the per-member ones."""


class Tier(enum.StrEnum):
    """How the members of a pack are trained, fastest first."""

    TRACED = "fused and traced"
    VMAP = "fused"
    UNFUSED = "unfused"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What was chosen for an architecture, why, and what it costs.

    Attributes:
        tier: How to train.
        reason: Why, in words.
        step_s: Seconds per step and member, on one thread.
        evaluation_s: Seconds per evaluation and member, on one thread.
        memory: What members take.
        width: Most members that are trained together; ``None``: as many as there are.
        speedup: Time of trainings one by one over that of the chosen way, on one thread.
        n_parameters: Trainable numbers of one member.
        model: The fused step and evaluation; ``None`` if unfused.
        way: Of the fused model; ``None`` if unfused.
        untrained: Parameters that no optimizer touches.
        threads: Threads to train on.
        is_remembered: Whether an earlier run on this machine has measured this.
        is_lasting: Whether it holds for later runs: not if it rests on what the numbers were, or
            on how much memory was free.
    """

    tier: Tier
    reason: str
    step_s: float
    evaluation_s: float
    memory: MemoryNeed
    width: int | None = None
    speedup: float = 1.0
    n_parameters: int = 0
    model: FusedModel | None = None
    way: Way | None = None
    untrained: frozenset[str] = frozenset()
    threads: int = 1
    is_remembered: bool = False
    is_lasting: bool = True

    def wanted_width(self, n_members: int) -> int:
        """Return how many of so many members are best trained at a time."""
        return 1 if self.model is None else min(self.width or n_members, n_members)

    def width_in(self, room_bytes: float, n_members: int) -> int:
        """Return how many of so many members are trained at a time in so much memory."""
        width = self.wanted_width(n_members)
        return max(1, self.memory.fitting(width, room_bytes))

    def __str__(self) -> str:
        """Say it in a line: the way, its measure, and the reason."""
        parts = [str(self.tier)]
        if self.width is not None:
            parts.append(f"{self.width} at a time")
        if self.threads > 1:
            parts.append(f"{self.threads} threads")
        remembered = "; measured by an earlier run" if self.is_remembered else ""
        return f"{', '.join(parts)} ({self.reason}{remembered})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """A way to train members together.

    Attributes:
        tier: Traced or not.
        is_exact: Whether operations that would round otherwise are taken member by member.
        is_coarse: Whether products may be rounded to bfloat16.
    """

    tier: Tier
    is_exact: bool
    is_coarse: bool = False


def allowed_ways(device: str, *, is_fast: bool, wanted: str = "auto") -> tuple[Way, ...]:
    """Return the ways to fuse that are allowed; later ones matter where earlier ones fail.

    Where equal bits are promised, only a traced step keeps them by design, so the untraced one is
    tried only if it is asked for. Where speed is wanted, the traced ones compete.

    Args:
        device: Where to train.
        is_fast: Whether operations may round otherwise than alone.
        wanted: ``auto``, or the tier that the user asks for: ``traced`` or ``vmap``.
    """
    is_cpu = device == "cpu"
    traced = Way(tier=Tier.TRACED, is_exact=is_cpu)
    if wanted == "vmap":
        return (Way(tier=Tier.VMAP, is_exact=is_cpu and not is_fast),)
    untraced = Way(tier=Tier.VMAP, is_exact=False)
    other = Way(tier=Tier.TRACED, is_exact=False, is_coarse=not is_cpu)
    ways = [traced]
    if is_fast:
        ways.append(other)
    if is_fast or not is_cpu:
        ways.append(untraced)
    return (
        tuple(ways) if wanted == "auto" else tuple(way for way in ways if way.tier is Tier.TRACED)
    )


def structure(pack: Pack) -> Structure:
    """Return what the trials of a pack have in common: every axis but the per-member ones."""
    axes = pack.trials[0].axes
    return tuple((name, value) for name, value in sorted(axes.items()) if name not in MEMBER_AXES)
