"""What ``sweepdiag status`` prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sweepdiag.cli.watch import describe_duration
from sweepdiag.records import State
from sweepdiag.store import DriverState

if TYPE_CHECKING:
    from sweepdiag.pipeline import SweepStatus

__all__ = ["describe_status", "status_json"]


_NOTES = {State.LOST: "  interrupted, or points missing: resume trains them again"}


def describe_status(status: SweepStatus) -> str:
    """Return a few lines for people."""
    planned = "nothing is planned yet"
    if status.n_trials:
        share = f"{100 * status.fraction:.0f} % of the steps"
        planned = f"{status.n_trials} trials planned, {status.n_done} done ({share})"
    lines = [
        f"{status.path}: {planned}",
        *(
            f"  {state:<14}{count:>8}{_NOTES.get(state, '')}"
            for state, count in sorted(status.states.items())
        ),
        _driver_line(status),
    ]
    if status.trials_per_s is not None:
        pace = f"{status.trials_per_s:.3g} trials/s in the last session"
        left = status.remaining_s
        lines.append(pace if left is None else f"{pace}, about {describe_duration(left)} left")
    if status.peak_memory:
        lines.append(f"Peak memory: {status.peak_memory}")
    if status.errors:
        lines.append("Last errors:")
        lines += [f"  {trial} {state}: {reason}" for trial, state, reason in status.errors]
    if status.n_damaged:
        lines.append(f"{status.n_damaged} damaged lines of the journal cannot be read")
    return "\n".join(lines)


def status_json(status: SweepStatus) -> str:
    """Return the same as one JSON object; what is not known is null."""
    driver = status.driver
    content = {
        "path": status.path,
        "workload": status.workload,
        "is_complete": status.is_complete,
        "driver": driver.state.value,
        "host": driver.host or None,
        "pid": driver.pid,
        "last_heard": driver.last_heard and driver.last_heard.isoformat(timespec="seconds"),
        "seconds_silent": status.seconds_silent,
        "n_trials": status.n_trials,
        "n_done": status.n_done,
        "states": {state.value: count for state, count in sorted(status.states.items())},
        "fraction": status.fraction,
        "trials_per_s": status.trials_per_s,
        "remaining_s": status.remaining_s,
        "errors": [
            {"trial_id": trial, "state": state.value, "reason": reason}
            for trial, state, reason in status.errors
        ],
        "n_damaged": status.n_damaged,
        "peak_memory": status.peak_memory or None,
    }
    return json.dumps(content, indent=2, allow_nan=False)


def _driver_line(status: SweepStatus) -> str:
    """Return whether the sweep runs, and since when it was last heard of."""
    driver = status.driver
    if driver.last_heard is None or status.seconds_silent is None:
        return "Not running: it has not recorded anything"
    silent = describe_duration(status.seconds_silent)
    since = driver.last_heard.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    match driver.state:
        case DriverState.ALIVE:
            return f"Running: process {driver.pid} on {driver.host}, last heard of {silent} ago"
        case DriverState.GONE if status.is_complete:
            return f"Complete since {since}"
        case DriverState.GONE:
            return f"Not running since {since} ({silent} ago): sweepdiag resume {status.path}"
    if status.is_complete:
        return f"Complete since {since}"
    who = f"process {driver.pid} on {driver.host}" if driver.host else "a process elsewhere"
    return (
        f"Last heard of {silent} ago: {who}, which cannot be seen from here; no process "
        "of this machine writes the folder"
    )
