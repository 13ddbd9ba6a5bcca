"""What `sweepdiag diagnose` says about its files, before what it says about their curves."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweepdiag.pipeline import CurvesResult

__all__ = ["describe_reading", "describe_sweeps"]

_MOST_SWEEPS = 20


def describe_reading(result: CurvesResult, width: int) -> str:
    """Return what was read, which column was taken for what, and what could not be read.

    Args:
        result: The diagnosis.
        width: Longest line, in characters.
    """
    from sweepdiag.report.summary import describe_problems
    from sweepdiag.wording import clean

    origin = result.data.origin
    if origin is None:
        return ""
    lines = ["Read"]
    for line in origin.lines:
        lines += textwrap.wrap(
            clean(line), width, initial_indent="  ", subsequent_indent="    ",
            break_on_hyphens=False,
        )  # fmt: skip
    if origin.n_problems:
        head = describe_problems(origin, result.path)
        lines += textwrap.wrap(head, width, break_on_hyphens=False, break_long_words=False)
        for problem in origin.problems:
            lines += textwrap.wrap(
                clean(problem), width, initial_indent="  ", subsequent_indent="    ",
                max_lines=2, placeholder=" ...", break_on_hyphens=False,
            )  # fmt: skip
    return "\n".join(lines) + "\n"


def describe_sweeps(result: CurvesResult, width: int) -> str:
    """Return the answer of each sweep, where there are several.

    Args:
        result: The diagnosis.
        width: Longest line, in characters.
    """
    from sweepdiag.wording import clean

    lines = ["Sweeps"]
    for name, group in list(result.groups.items())[:_MOST_SWEEPS]:
        text = f"{name} ({len(group.trials)} runs): {group.recommendation.answer}"
        lines += textwrap.wrap(
            clean(text), width, initial_indent="  ", subsequent_indent="    ",
            break_on_hyphens=False,
        )  # fmt: skip
    if len(result.groups) > _MOST_SWEEPS:
        lines.append(f"  and {len(result.groups) - _MOST_SWEEPS} more")
    return "\n".join(lines) + "\n"
