"""What a diagnosis of other people's curves has found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sweepdiag.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from sweepdiag.plotting import ReportData
    from sweepdiag.readers import Problem, Reading
    from sweepdiag.records import Finding, Recommendation

__all__ = ["CurvesResult"]


@dataclass(frozen=True, kw_only=True)
class CurvesResult:
    """Other people's curves and what they say.

    Attributes:
        path: The folder with the report.
        data: Everything shown in figures and report.
        features: The features of each curve.
        reading: What was read, and what could not be.
        groups: The result of each sweep, by its name, where ``group_by`` made several.
    """

    path: Path
    data: ReportData
    features: pd.DataFrame
    reading: Reading
    groups: Mapping[str, CurvesResult] = field(default_factory=dict)

    @property
    def trials(self) -> pd.DataFrame:
        """One row per run, with what is known of it."""
        return self.data.trials

    @property
    def curves(self) -> pd.DataFrame:
        """One row per evaluation of each run."""
        return self.data.curves

    @property
    def verdicts(self) -> pd.DataFrame:
        """One row per run: class, tags, evidence, confidence."""
        return self.data.verdicts

    @property
    def configurations(self) -> pd.DataFrame:
        """One row per configuration: class over its seeds, best values."""
        return self.data.configurations

    @property
    def stopping(self) -> pd.DataFrame:
        """Per run and criterion: where it would have stopped, and what that costs."""
        import pandas as pd

        return self.data.stopping if self.data.stopping is not None else pd.DataFrame()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What can be said about the runs as a sweep."""
        return self.data.findings

    @property
    def recommendation(self) -> Recommendation:
        """Where to train and when to stop."""
        return self.data.recommendation

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What could not be read."""
        return tuple(self.reading.problems.listed)

    @property
    def report(self) -> Path:
        """The HTML report."""
        return RunFolder(self.path).report

    def __str__(self) -> str:
        """Return the summary that the command line prints."""
        from sweepdiag.report import render_text

        return render_text(self.data)
