"""The summary that a terminal shows after a sweep."""

from __future__ import annotations

import itertools
import textwrap
import unicodedata
from typing import TYPE_CHECKING

from sweepdiag.plotting import CLASS_LETTERS, CLASS_NAMES, CLASSES, class_heatmap_info
from sweepdiag.records import FindingState
from sweepdiag.report.summary import (
    compare_stopping,
    count_classes,
    count_trials,
    describe_best,
    describe_causes,
    describe_curves,
    describe_memory,
    describe_parameter,
    describe_stop,
    level_of,
    open_findings,
    other_findings,
)
from sweepdiag.wording import clean, percent, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sweepdiag.plotting import ClassHeatmapInfo, ReportData
    from sweepdiag.records import Finding

__all__ = ["render_text"]

_INDENT = "  "
_MAX_FINDINGS = 5
_MAX_REASONS = 6
_MAX_MAP_LINES = 22
_BAR = 30


def render_text(data: ReportData, *, width: int = 88) -> str:
    """Return the summary of a sweep as plain text.

    The answer first, then what it rests on: classes, their map, findings, when to stop and what
    to run next.

    Args:
        data: The sweep.
        width: Longest line, in characters; at least 40.

    Returns:
        Lines without escape sequences, ending with a line break.
    """
    width = max(width, 40)
    blocks = [
        _head(data, width),
        _answer(data, width),
        _classes(data, width),
        _curves(data, width),
        _map(data, width),
        _stopping(data),
        _findings(data, width),
        _next(data, width),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _head(data: ReportData, width: int) -> list[str]:
    title = _shortened(clean(data.title), width // 2)
    memory = describe_memory(data)
    told = f"{count_trials(data)}; peak memory {memory}" if memory else count_trials(data)
    lines = _wrap(f"{title}: {told}", width)
    if data.interrupted:
        lines += _wrap("Interrupted: what follows rests on the trials that are done.", width)
    return lines


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1].rstrip()}…"


def _answer(data: ReportData, width: int) -> list[str]:
    """Return where to train and when to stop, and which configuration was best."""
    lines = _wrap(data.recommendation.answer, width)
    stop = data.recommendation.region_stop
    if stop is not None:
        lines += _wrap(describe_stop(stop, data.monitor_name), width)
    best = describe_best(data)
    return lines + (_wrap(f"{best}.", width) if best else [])


def _classes(data: ReportData, width: int) -> list[str]:
    counts = count_classes(data)
    if not counts:
        return ["No curve has been judged."]
    if len(data.verdicts) == 1 and not data.axes:
        return []  # said with the curve
    noun = "configurations" if data.axes else "curves"
    largest = max(count.n for count in counts)
    lines = [f"Classes ({noun})"]
    digits = len(str(largest))
    bar = min(_BAR, width - 32 - digits)
    for count in counts:
        name = f"{CLASS_LETTERS[count.verdict]} {CLASS_NAMES[count.verdict]:<13}"
        filled = "#" * max(1, round(bar * count.n / largest))
        share = percent(count.share, digits=1)
        lines.append(f"{_INDENT}{name} {count.n:>{digits}} {share:>6}  {filled}")
    return lines


def _curves(data: ReportData, width: int) -> list[str]:
    """Return class, evidence and stop epoch of each curve, where they are few and no sweep."""
    lines: list[str] = []
    for curve in describe_curves(data):
        lines += _wrap(curve.head, width, _INDENT, hang="  ")
        lines += _wrap(curve.evidence, width, _INDENT * 3)
        lines += _wrap(f"-> {curve.stop}", width, _INDENT * 3, hang="   ") if curve.stop else []
    return ["Curves", *lines] if lines else []


def _map(data: ReportData, width: int) -> list[str]:
    """Return one grid of letters per panel, beside each other as far as they fit."""
    if not data.axes or len(data.configurations) < 2:
        return []
    info = class_heatmap_info(data)
    head = "Map" + (f": {info.grid.columns.name} across" if info.grid.columns.name else "")
    if info.grid.rows.name:
        head += f", {info.grid.rows.name} down"
    panels = [_panel(info, index) for index in range(len(info.grid.panels))]
    lines = _beside(panels, width - len(_INDENT))
    if not lines or len(lines) > _MAX_MAP_LINES:
        return _wrap(f"{head}: too large for text, see the figure class_heatmap.", width)
    below = [_key(info), *info.grid.notes]
    lines = [_INDENT + line for line in lines]
    return [
        *_wrap(head, width),
        *lines,
        *(w for text in below for w in _wrap(text, width, _INDENT)),
    ]


def _panel(info: ClassHeatmapInfo, index: int) -> list[str]:
    grid = info.grid
    columns = grid.columns.edge_labels[:-1] if grid.columns.is_binned else grid.columns.labels
    rows = grid.rows.edge_labels[:-1] if grid.rows.is_binned else grid.rows.labels
    cell = max(4, *(_places(label) + 1 for label in columns))
    margin = max(_places(label) for label in rows)
    title = grid.panel_title(index)
    lines = [title] if title else []
    # A label ends above its letter: a cell's last two places hold the bracket and the star.
    lines.append(" " * (margin + 1) + "".join(_right(label, cell) for label in columns))
    for row in reversed(range(len(rows))):
        cells = (_cell(info, index, row, column) for column in range(len(columns)))
        lines.append(f"{_right(rows[row], margin)} " + "".join(f"{t:>{cell}}" for t in cells))
    return [line.rstrip() for line in lines]


def _cell(info: ClassHeatmapInfo, panel: int, row: int, column: int) -> str:
    place = panel, row, column
    code = int(info.codes[place])
    letter = CLASS_LETTERS[CLASSES[code]] if code >= 0 else " "
    if info.is_failed[place]:
        letter = "x"
    elif info.is_pending[place]:
        letter = "."
    left, right = ("[", "]") if info.is_region[place] else (" ", " ")
    return f"{left}{letter}{right}{'*' if info.best == place else ' '}"


def _key(info: ClassHeatmapInfo) -> str:
    parts = []
    if info.is_region.any():
        parts.append("[ ] recommended")
    if info.best:
        parts.append(f"* {info.best_text}")
    if info.is_failed.any():
        parts.append("x failed to run")
    if info.is_pending.any():
        parts.append(". not judged yet")
    return "; ".join(parts)


def _beside(panels: Sequence[list[str]], width: int) -> list[str]:
    """Return the panels in rows of as many as fit; nothing if one of them is too wide."""
    gap = 3
    widths = [max(_places(line) for line in panel) for panel in panels]
    if max(widths) > width:
        return []
    per_row = max(1, (width + gap) // (max(widths) + gap))
    lines: list[str] = []
    for start in range(0, len(panels), per_row):
        row = panels[start : start + per_row]
        for parts in itertools.zip_longest(*row, fillvalue=""):
            joined = (" " * gap).join(part + " " * (max(widths) - _places(part)) for part in parts)
            lines.append(joined.rstrip())
    return lines


def _right(text: str, n_places: int) -> str:
    return " " * (n_places - _places(text)) + text


def _places(text: str) -> int:
    """Return how many places of a terminal a text takes: wide characters take two."""
    n_wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + n_wide - sum(unicodedata.combining(c) > 0 for c in text)


def _stopping(data: ReportData) -> list[str]:
    """Return what each early-stopping criterion would have done to the curves that learn.

    For curves that were trained elsewhere; a sweep says itself when to stop.
    """
    rows = compare_stopping(data)
    if not rows or data.origin is None or len(data.verdicts) == 1:
        return []
    name = max(len(row.name) for row in rows)
    lines = [f"{_INDENT}{'':<{name}}  epochs  cost: median     mean"]
    for row in rows:
        used, median, mean = row.cells
        lines.append(f"{_INDENT}{row.name:<{name}}  {used:>6}  {median:>12} {mean:>8}")
    return ["What stopping early would have done to the curves that learn", *lines]


def _findings(data: ReportData, width: int) -> list[str]:
    found = open_findings(data.findings)
    passed = len(other_findings(data.findings, FindingState.PASSED))
    unused = len(other_findings(data.findings, FindingState.NOT_APPLICABLE))
    n_tips = sum(finding.state is FindingState.TIP for finding in found)
    counts = [plural(len(found) - n_tips, "finding"), plural(n_tips, "tip") if n_tips else ""]
    counts += [f"{passed} passed" if passed else "", f"{unused} not applicable" if unused else ""]
    lines = _wrap("Checks: " + ", ".join(part for part in counts if part), width)
    for finding in found[:_MAX_FINDINGS]:
        lines += _finding(finding, width)
    if len(found) > _MAX_FINDINGS:
        rest = ", ".join(finding.code for finding in found[_MAX_FINDINGS:])
        lines += _wrap(f"and {len(found) - _MAX_FINDINGS} more: {rest}", width, _INDENT)
    return lines if data.findings else []


def _finding(finding: Finding, width: int) -> Iterable[str]:
    head = f"{finding.code} {level_of(finding)}: {clean(finding.title)}"
    yield from _wrap(head, width, _INDENT)
    # Three lines of evidence are enough here; the page has all of it.
    yield from _wrap(clean(finding.evidence), width, _INDENT * 3, max_lines=3)
    for line in (finding.action, describe_causes(finding)):
        if line:
            yield from _wrap(f"-> {clean(line)}", width, _INDENT * 3, hang="   ")


def _next(data: ReportData, width: int) -> list[str]:
    advice = data.recommendation
    blocks = advice.next_parameters
    if not blocks and not advice.next_settings:
        return []
    words = [f"{name}: {describe_parameter(block)}" for name, block in blocks.items()]
    words += [f"{name}: {value}" for name, value in advice.next_settings.items()]
    lines = ["Next sweep (next_sweep.yaml)", *_wrap("; ".join(words), width, _INDENT)]
    for reason in advice.next_reasons[:_MAX_REASONS]:
        lines += _wrap(f"- {clean(reason)}", width, _INDENT, hang="  ", max_lines=2)
    n_more = len(advice.next_reasons) - _MAX_REASONS
    if n_more > 0:
        lines += _wrap(f"- and {n_more} more in next_sweep.yaml", width, _INDENT)
    return lines


def _wrap(
    text: str, width: int, indent: str = "", *, hang: str = "", max_lines: int | None = None
) -> list[str]:
    return textwrap.wrap(
        clean(text),
        width,
        initial_indent=indent,
        subsequent_indent=indent + hang,
        max_lines=max_lines,
        placeholder=" ...",
        break_on_hyphens=False,
    )
