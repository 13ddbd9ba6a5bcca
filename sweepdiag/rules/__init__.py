"""Verdicts on curves and configurations, and findings about the sweep."""

from sweepdiag.rules.configurations import judge_configurations
from sweepdiag.rules.early_stop import STOPPABLE, stop_reasons
from sweepdiag.rules.findings import (
    FINDINGS,
    SweepView,
    cause_outside_settings,
    check_sweep,
    rank_findings,
)
from sweepdiag.rules.judge import judge_curves
from sweepdiag.rules.thresholds import Thresholds

__all__ = [
    "FINDINGS",
    "STOPPABLE",
    "SweepView",
    "Thresholds",
    "cause_outside_settings",
    "check_sweep",
    "judge_configurations",
    "judge_curves",
    "rank_findings",
    "stop_reasons",
]
