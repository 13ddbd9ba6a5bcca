"""How many threads a worker trains on: more than one only where that pays and changes no bits."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sweepdiag.training.agreement import have_same_bits
from sweepdiag.training.openmp import can_share_modes, on_threads
from sweepdiag.training.timed_trial import TimedTrial, own_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sweepdiag.training.members import Member, Timetable
    from sweepdiag.training.plans import Plan
    from sweepdiag.training.timed_trial import Run
    from sweepdiag.workloads import PreparedWorkload

__all__ = ["best_threads", "is_long"]

logger = logging.getLogger(__name__)

_LONG_STEP_S = 5e-3
_CLEARLY_LESS = 0.8
"""More cores than that should be worth it: threads that wait for work keep theirs busy."""


def is_long(plan: Plan, width: int) -> bool:
    """Return whether a step of the program that trains so many members is worth sharing out."""
    return width * plan.step_s > _LONG_STEP_S


def best_threads(
    plan: Plan,
    members: Sequence[Member],
    *,
    prepared: PreparedWorkload,
    timetable: Timetable,
    numerics: str,
    width: int,
    most: int,
    wanted: int | None,
) -> tuple[int, str]:
    """Return how many threads of the CPU to train on, and why.

    The same steps are taken on one thread and on 2, 4, … of them, as long as each is clearly
    faster. Under ``exact``, all numbers must have the same bits.

    Args:
        plan: How the members are trained.
        members: Like those to be trained; not changed.
        prepared: The data, on the CPU.
        timetable: Shared by all members.
        numerics: ``exact`` or ``fast``.
        width: Members that are trained together.
        most: Threads that this worker may have.
        wanted: Threads that the user asks for, however fast.
    """
    if not can_share_modes(wanted or most):
        return 1, "threads cannot be told to take tiny numbers as zero here"
    is_exact = numerics == "exact"
    trial = TimedTrial(
        members, prepared, timetable, "cpu", is_fast=not is_exact, n_threads=max(wanted or most, 2)
    )

    def run(n_threads: int) -> Run:
        own = members[:width] if plan.model else [own_model(members[0])]
        with on_threads(n_threads):
            return trial.run(plan.model, own, is_first=n_threads == 1)

    one = run(1)
    best, fastest, reason = 1, one, "more threads do not pay"
    for n_threads in [wanted] if wanted is not None else _doubled(most):
        more = run(n_threads)
        if is_exact and not have_same_bits(more.numbers, one.numbers):
            reason = f"{n_threads} threads change the curve's bits"
            break
        if wanted is None and trial.seconds(more) > _CLEARLY_LESS * trial.seconds(fastest):
            break
        best, fastest = n_threads, more
        speedup = trial.seconds(one) / trial.seconds(more)
        reason = f"{n_threads} threads are {speedup:.1f} times as fast as one"
    return best, reason


def _doubled(most: int) -> Iterator[int]:
    """Yield 2, 4, … and, last, the most."""
    n_threads = 2
    while n_threads < most:
        yield n_threads
        n_threads *= 2
    yield most
