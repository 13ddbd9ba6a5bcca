"""What a diagnosis of other people's curves says beside the verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.records import Finding, FindingState, Recommendation, Severity
from sweepdiag.wording import plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweepdiag.pipeline.imported_axes import RunAxes
    from sweepdiag.pipeline.imported_result import CurvesResult
    from sweepdiag.readers import Reading
    from sweepdiag.store import RunFolder

__all__ = [
    "MAX_GROUP_REPORTS",
    "N_SHOWN",
    "axis_lines",
    "group_lines",
    "lacking_lines",
    "not_applicable",
    "reading_lines",
    "stops_alone",
]

N_SHOWN = 20
"""Most problems and columns that are shown one by one."""

MAX_GROUP_REPORTS = 20
"""Most sweeps that get a report of their own."""


def reading_lines(reading: Reading) -> list[str]:
    """Return what was read, and which column was taken for what."""
    n_files = len(reading.files)
    lines = [
        f"{reading.n_rows} rows of {len(reading.runs)} "
        f"{'run' if len(reading.runs) == 1 else 'runs'} from "
        + (reading.files[0] if n_files == 1 else f"{n_files} files")
    ]
    for file, columns in reading.columns:
        where = f" ({file})" if len(reading.columns) > 1 else ""
        pairs = [f"{role}={name}" for role, name in columns.named()]
        if not columns.run:
            pairs.insert(
                0, "run: the name of the file or its folder" if reading.files else "one run"
            )
        lines.append(f"columns{where}: " + ", ".join(pairs))
    return [*lines, *reading.notes]


def axis_lines(axes: RunAxes) -> list[str]:
    """Return which columns are axes, and which are none and why."""
    pairs = [
        axis.name if axis.name == column else f"{axis.name} = {column}"
        for axis, column in zip(axes.axes, axes.columns, strict=True)
    ]
    if axes.is_one_configuration:
        lines = ["axes: none; the runs are seeds of one configuration"]
    elif pairs:
        lines = ["axes: " + ", ".join(pairs)]
    elif axes.left_out or axes.notes:
        lines = ["axes: none"]
    else:
        lines = ["axes: none; no column differs between runs and is constant in each"]
    if axes.left_out:
        reasons = dict.fromkeys(why for _, why in axes.left_out)
        parts = [
            f"{_some([column for column, w in axes.left_out if w == why])} ({why})"
            for why in reasons
        ]
        lines.append("no axes: " + "; ".join(parts))
    return [*lines, *axes.notes]


def lacking_lines(runs: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return which runs are left out of a sweep for lack of settings."""
    n = len(runs)
    who = f"{plural(n, 'run')} {'is' if n == 1 else 'are'} left out, whose settings are unknown"
    return [f"{who}: {_some(runs)}" + (f" (no value of {_some(columns)})" if columns else "")]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:N_SHOWN]) + (", …" if len(names) > N_SHOWN else "")


def group_lines(folder: RunFolder, groups: Mapping[str, CurvesResult]) -> list[str]:
    """Return where the report of each sweep lies."""
    lines = []
    for name, group in list(groups.items())[:MAX_GROUP_REPORTS]:
        place = group.report.relative_to(folder.path).as_posix()
        lines.append(f"{name}: {len(group.trials)} runs, {place}")
    if len(groups) > MAX_GROUP_REPORTS:
        n_more = len(groups) - MAX_GROUP_REPORTS
        lines.append(f"and {n_more} more sweeps without a report of their own")
    return lines


def not_applicable(reason: str) -> tuple[Finding, ...]:
    """Return every check of a sweep as one that cannot be made."""
    from sweepdiag.rules.findings.registry import active_checks

    return tuple(
        Finding(
            code=check.code,
            name=check.name,
            state=FindingState.NOT_APPLICABLE,
            severity=Severity.INFO,
            title=f"{check.name.replace('-', ' ').capitalize()}: not checked",
            evidence=reason,
        )
        for check in active_checks()
    )


def stops_alone(shared: Mapping[str, Any], how: str) -> Recommendation:
    """Return when each curve should have stopped, and nothing on where to train."""
    from sweepdiag.recommend import stop_epochs

    trials = shared["trials"].assign(config_id=shared["trials"]["trial_id"])
    stops = stop_epochs(
        curves=shared["curves"],
        trials=trials,
        configurations=shared["configurations"],
        monitor=shared["monitor"],
        metric_mode=shared["metric_mode"],
        metric=shared["facts"].metric,
        loss_floor=shared["facts"].loss_floor,
    )
    known = [stop for stop in stops if np.isfinite(stop.regret) and stop.budget_epochs > 0]
    n = len(trials)
    answer = "One curve, judged alone." if n == 1 else f"{n} curves, {how}."
    if known and n > 1:
        used, budget = (
            sum(getattr(s, name) for s in known) for name in ("epoch", "budget_epochs")
        )
        answer += (
            f" Stopped at the epoch recommended for each, they would have taken "
            f"{100 * used / budget:.0f} % of their epochs"
        )
        answer += f", at a cost of {_cost([s.regret for s in known])} of the best value."
    return Recommendation(
        answer=answer,
        region=None,
        stop_epochs=stops,
        region_stop=None,
        next_parameters={},
        next_settings={},
        next_reasons=(),
    )


def _cost(regrets: list[float]) -> str:
    middle, worst = float(np.median(regrets)), max(regrets)
    return f"{100 * middle:.2g} % in the median, {100 * worst:.2g} % at most"
