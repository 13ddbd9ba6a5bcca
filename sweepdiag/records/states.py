"""Where the execution of a trial stands."""

from __future__ import annotations

import enum

__all__ = ["DONE_STATES", "JUDGED_STATES", "State"]


class State(enum.StrEnum):
    """Where the execution of a trial stands. Says nothing about how well it learned."""

    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    OUT_OF_MEMORY = "out_of_memory"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"


DONE_STATES = frozenset(
    {
        State.FINISHED,
        State.STOPPED,
        State.OUT_OF_MEMORY,
        State.FAILED,
        State.TIMED_OUT,
    }
)
"""States that ``resume`` does not repeat."""

JUDGED_STATES = frozenset({State.FINISHED, State.STOPPED})
"""States whose curve is complete, so that it gets a verdict and may be recommended."""
