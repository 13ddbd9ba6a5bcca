"""SD902: trials that failed to execute."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sweepdiag.records import DONE_STATES, Severity
from sweepdiag.rules.configurations import FAILED_STATES
from sweepdiag.rules.findings.base import Check

if TYPE_CHECKING:
    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

_ERROR = re.compile(r"[A-Za-z_.]*(Error|Exception|Interrupt|Exit)\b")

__all__ = ["TrialsFailed"]


class TrialsFailed(Check):
    """Some trainings broke off with an error.

    What it checks: the states of the trials. A training that diverged has not failed.

    Why it matters: a hole in the sweep is no statement about its settings, and holes are seldom
    random: the largest networks run out of memory first.

    What it needs: nothing.

    How it is detected: states ``failed``, ``timed_out`` and ``out_of_memory``. Trials that are
    pending, or were lost when the sweep was interrupted, have not failed: ``sweepdiag resume``
    trains them.

    Known false alarms: none.

    What to do: read the reason in ``trials.parquet``, mend it, and run ``sweepdiag resume --retry
    STATE``.
    """

    code = "SD902"
    name = "trials-failed"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return how many trials failed and the most frequent reason."""
        del thresholds
        if view.trials.empty:
            return self.not_applicable("no trial was planned")
        failed = view.trials[view.trials["state"].isin([s.value for s in FAILED_STATES])]
        n_done = int(view.trials["state"].isin([s.value for s in DONE_STATES]).sum())
        if failed.empty:
            return self.passed("No trial failed", _none_failed(n_done, len(view.trials)))
        counts = {str(k): int(v) for k, v in failed["state"].value_counts().items()}
        listed = ", ".join(f"{count} {state}" for state, count in counts.items())
        reasons = failed["reason"].fillna("").astype(str)
        lines = [_telling_line(reason) for reason in reasons if reason.strip()]
        evidence = f"of {len(view.trials)} trials: {listed}"
        if lines:
            evidence += f"; most frequent reason: {max(lines, key=lines.count)}"
        is_all = len(failed) == len(view.trials)
        retry = " ".join(f"--retry {state}" for state in counts)
        return self.finding(
            "Every trial failed" if is_all else f"{len(failed)} trials failed",
            evidence,
            f"Read the reasons in trials.parquet, mend them, and run sweepdiag resume DIR {retry} "
            "(and --accept-changed-code where the workload's own code was mended).",
            severity=Severity.ERROR if is_all else Severity.WARNING,
            states=counts,
        )


def _none_failed(n_done: int, n_trials: int) -> str:
    if n_done == n_trials:
        return f"all {n_trials} trials were executed"
    return f"{n_done} of {n_trials} trials are done, none failed"


def _telling_line(reason: str) -> str:
    """Return the line of a reason that names the error: a traceback's last, else the first."""
    lines = reason.strip().splitlines()
    errors = [line for line in lines if _ERROR.match(line)]
    return errors[-1] if errors else lines[0]
