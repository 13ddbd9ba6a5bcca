"""The documentation page of the findings, written from their checks."""

from __future__ import annotations

import inspect

from sweepdiag.rules.findings.ranking import EXPLAINS
from sweepdiag.rules.findings.registry import FINDINGS

__all__ = ["findings_page"]

_HEAD = """\
# Findings of a sweep

Written by `scripts/findings-page` from the checks in `sweepdiag/rules/findings/`: edit those.

`sweepdiag explain SD101` shows what a check looks for, why it matters, what it needs, how it is
detected, known false alarms, what to do and references.

Each check comes out as a *finding* (severity `warning` or `error`), a *tip* (good to know, no
fault), *passed*, or *not applicable* with the reason. Its evidence has the numbers, its action
says what to do next. Findings are ordered by cause: what another finding explains comes after
it, and the one that explains names it.

    sweepdiag run my_workload.py:build --ignore SD301,SD501
    sweepdiag run my_workload.py:build --fail-on error --junit checks.xml
    sweepdiag report results/my-net --fail-on warning
    sweepdiag report results/my-net --fail-on SD305,SD308

`--ignore` (setting `diagnosis.ignore`) leaves checks out, by code or name. `--fail-on` makes the
command exit with 1 if there is a finding of at least that severity (at `info` tips count too), or
of one of those codes. `--junit` writes every check as a test case: findings fail, checks that do
not apply are skipped. `findings.json` in the run folder has all of it.

Checks of the data rest on a look at the samples before training: at all of them for copies, at up
to 2,000 of each part for scale, shift and neighbours. For other tools' logs nothing is known of
the samples; what curves alone can tell is then all there is, and often a tip only.

"Within 2 % of the best" and the like are shares of the value, of which the floor of the loss is
taken off. Of an accuracy, or whatever else lies in [0, 1] and is better the larger it is, they are
shares of what it lacks of 1: 0.98 is twice as wrong as 0.99. Of a loss without a floor they are
shares of all that was learned.
"""


def findings_page() -> str:
    """Return the page in Markdown: how findings are used, and a table of all checks."""
    lines = [_HEAD, "| code | name | what it says | explains |", "|---|---|---|---|"]
    for check in FINDINGS:
        first = (inspect.getdoc(type(check)) or "").partition("\n")[0].replace("|", "\\|")
        explained = ", ".join(sorted(EXPLAINS.get(check.code, ())))
        lines.append(f"| {check.code} | {check.name} | {first} | {explained} |")
    return "\n".join(lines) + "\n"
