"""How a Ray worker process ended, in words for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sweepdiag.messages import clean_message

if TYPE_CHECKING:
    from sweepdiag.execution._ray_session import RaySession

__all__ = ["cause_of_death", "is_for_memory"]


def cause_of_death(text: str, session: RaySession) -> str:
    """Return how a worker process ended, as far as Ray and its last output tell.

    Args:
        text: What Ray says of it.
        session: The Ray that it ran on.
    """
    told = re.search(
        r"Worker exit detail: (.+?)(?: Some common causes| There are some|$)", text
    ) or re.search(r"died because (its node has died)", text)
    cause = clean_message(told.group(1) if told else text, max_bytes=500)
    if "connection error code 2" in cause:
        cause = "it was killed (perhaps for memory) or crashed"
    pid = re.search(r"\bpid: (\d+)", text)
    last_words = session.last_words(int(pid.group(1))) if pid else ""
    return f"{cause}\nIts last output:\n{last_words}" if last_words else cause


def is_for_memory(text: str) -> bool:
    """Return whether Ray says that it ended a process for its memory.

    Args:
        text: What Ray says of it.
    """
    return "running low on memory" in text
