"""What a command does with findings beside printing them: fail, and tell a CI system."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sweepdiag.errors import ConfigError

if TYPE_CHECKING:
    from sweepdiag.plotting import ReportData

__all__ = ["Gate"]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What was asked with ``--fail-on`` and ``--junit``; checked before anything is trained.

    Attributes:
        fail_on: Severities, codes or names whose findings make the command fail.
        junit: Where to write the checks as JUnit XML.
    """

    fail_on: list[str] = field(default_factory=list)
    junit: str | None = None

    def __post_init__(self) -> None:
        if self.fail_on:
            from sweepdiag.rules.findings.gate import failing_findings

            failing_findings((), self.fail_on)
        if self.junit is not None and not Path(self.junit).absolute().parent.is_dir():
            message = f"--junit must lie in a folder that exists, got {self.junit!r}"
            raise ConfigError(message)

    def judge(self, data: ReportData) -> bool:
        """Write the JUnit file, and return whether there are findings that fail."""
        from sweepdiag.report.junit import render_junit
        from sweepdiag.rules.findings.gate import failing_findings

        if self.junit is not None:
            text = render_junit(data.findings, title=data.title)
            Path(self.junit).write_text(text, encoding="utf-8")
        failing = failing_findings(data.findings, self.fail_on)
        if failing:
            codes = ", ".join(finding.code for finding in failing)
            sys.stderr.write(f"sweepdiag: --fail-on {','.join(self.fail_on)}: {codes}\n")
        return bool(failing)
