"""Statements about a whole sweep, one check per file, each with a stable code."""

from sweepdiag.rules.findings.base import Check, FindingCheck, SweepView
from sweepdiag.rules.findings.ranking import cause_outside_settings, rank_findings
from sweepdiag.rules.findings.registry import FINDINGS, active_checks, check_sweep

__all__ = [
    "FINDINGS",
    "Check",
    "FindingCheck",
    "SweepView",
    "active_checks",
    "cause_outside_settings",
    "check_sweep",
    "rank_findings",
]
