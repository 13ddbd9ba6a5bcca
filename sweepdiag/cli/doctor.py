"""What ``sweepdiag doctor`` prints."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from sweepdiag.messages import clean_message, describe_bytes
from sweepdiag.pipeline.machine import Health

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.pipeline import Check, Examination

__all__ = ["describe_check", "describe_health", "describe_training"]

_MARKS = {Health.GOOD: " ", Health.ABSENT: "-", Health.FAULTY: "?", Health.BROKEN: "!"}
_HEADS = (
    "parameters",
    "memory",
    "fits",
    "trained",
    "width",
    "threads",
    "speed",
    "trials",
    "trials/s",
)
_WORDS = {"fused and traced": "traced", "fused": "vmap"}
"""Tiers as ``execution.tier`` names them."""


def describe_check(check: Check, width: int) -> str:
    """Return a part of the machine, and what to do about it where something is to be done.

    Args:
        check: The part.
        width: Longest line of text, in characters.
    """
    head = f"{_MARKS[check.health]} {check.name:<16}"
    texts = [check.value, *([f"fix: {check.fix}"] if check.fix else [])]
    indent = " " * len(head)
    lines = [line for text in texts for line in textwrap.wrap(text, width - len(indent))]
    return "\n".join(f"{indent if number else head}{line}" for number, line in enumerate(lines))


def describe_health(n_broken: int) -> str:
    """Return the last line on the machine."""
    marks = "-: not there; ?: does not work, but is not needed to train here; !: broken"
    if n_broken:
        return f"{n_broken} {'part' if n_broken == 1 else 'parts'} broken. ({marks})"
    return f"Nothing that is needed is broken. ({marks})"


def describe_training(name: str, examinations: Sequence[Examination], width: int) -> str:
    """Return a table of how each architecture would be trained, and the reasons below it.

    Args:
        name: Of the workload.
        examinations: One per architecture and batch size.
        width: Longest line of text, in characters.
    """
    axes = list(examinations[0].axes) if examinations else []
    rows = [[*axes, *_HEADS]]
    rows += [[*(str(e.axes[axis]) for axis in axes), *_cells(e)] for e in examinations]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(f"{cell:>{size}}" for cell, size in zip(row, widths, strict=True))
        for row in rows
    ]
    n_trials = sum(e.n_trials for e in examinations)
    text = [f"{name}: {n_trials} trials, {len(examinations)} architectures", *lines]
    for reason in dict.fromkeys(_reason(e) for e in examinations):
        text += textwrap.wrap(reason, width, subsequent_indent="  ") if reason else []
    text += textwrap.wrap(
        "memory: most that one trial of a pack takes, measured in a step and an evaluation; fits: "
        "trials that have room at a time in one worker's share of what is free; trained: as "
        "execution.tier names it (traced: fused, as one graph; vmap: fused); width: trials "
        "trained at a time; speed: times as fast as one training after the other; trials/s: on "
        f"one worker. {_sources(examinations)}",
        width,
    )
    return "\n".join(("", *text))


def _cells(examination: Examination) -> list[str]:
    if not examination.tier:
        return ["-", "-", "-", "fails", "-", "-", "-", str(examination.n_trials), "-"]
    return [
        str(examination.n_parameters),
        describe_bytes(examination.memory_bytes),
        "-" if examination.n_fitting is None else str(examination.n_fitting),
        _WORDS.get(examination.tier, examination.tier),
        str(examination.width),
        str(examination.threads),
        f"{examination.speedup:.1f}x",
        str(examination.n_trials),
        "-" if math.isnan(examination.trials_per_s) else f"{examination.trials_per_s:.3g}",
    ]


def _sources(examinations: Sequence[Examination]) -> str:
    """Return where the plans come from."""
    n_remembered = sum(e.is_remembered for e in examinations)
    if n_remembered == 0:
        return "Measured just now."
    if n_remembered == len(examinations):
        return "Measured by an earlier run on this machine."
    rest = len(examinations) - n_remembered
    return f"{n_remembered} measured by an earlier run on this machine, {rest} just now."


def _reason(examination: Examination) -> str:
    """Return why trials are not fused; empty where they are."""
    if examination.tier == "" or examination.tier == "unfused":
        return f"{examination.tier or 'does not run'}: {clean_message(examination.reason)}"
    return ""
