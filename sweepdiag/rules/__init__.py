"""Verdicts on curves and configurations, and findings about the sweep."""

from sweepdiag.rules.judge import judge_curves
from sweepdiag.rules.thresholds import Thresholds

__all__ = ["Thresholds", "judge_curves"]
