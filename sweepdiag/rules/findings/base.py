"""What a check of the whole sweep sees and returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from sweepdiag.records import Axis, Finding, FindingState, Severity, SweepFacts, VerdictClass

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from sweepdiag.rules.thresholds import Thresholds

__all__ = [
    "BAD_CLASSES",
    "Check",
    "FindingCheck",
    "SweepView",
    "format_value",
    "format_values",
]

BAD_CLASSES = (VerdictClass.DIVERGING.value, VerdictClass.NOT_LEARNING.value)
"""Classes whose configurations say nothing about capacity, data or budget."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepView:
    """Everything that is known of a sweep after its curves were judged.

    Attributes:
        axes: The planned axes.
        trials: Columns of ``trials.parquet``.
        curves: Columns of ``curves.parquet``.
        verdicts: Columns of ``verdicts.parquet``.
        configurations: Columns of ``configurations.parquet``.
        facts: What is known of the task; ``None`` for other tools' logs.
        monitor: What "best" refers to.
        metric_mode: ``max`` if a larger metric is better; ``None`` if there is no metric.
    """

    axes: tuple[Axis, ...]
    trials: pd.DataFrame
    curves: pd.DataFrame
    verdicts: pd.DataFrame
    configurations: pd.DataFrame
    facts: SweepFacts | None
    monitor: str
    metric_mode: Literal["max", "min"] | None

    def axis(self, name: str) -> Axis | None:
        """Return an axis with at least two numeric values, or ``None``."""
        for axis in self.axes:
            if axis.name == name and name in self.configurations.columns:
                values = axis.values
                is_numeric = all(
                    isinstance(v, int | float) and not isinstance(v, bool) for v in values
                )
                return axis if is_numeric and len(values) > 1 else None
        return None

    def other_axes(self, *names: str) -> list[str]:
        """Return the names of the axes beside the given ones that the tables have."""
        columns = self.configurations.columns
        return [a.name for a in self.axes if a.name not in names and a.name in columns]

    @property
    def judged(self) -> pd.DataFrame:
        """Configurations of which at least one seed was judged."""
        return self.configurations[self.configurations["n_judged"] > 0]

    @property
    def usable(self) -> pd.DataFrame:
        """Judged configurations that neither diverge nor fail to learn."""
        return self.judged[~self.judged["verdict"].isin(BAD_CLASSES)]

    @property
    def cost_sign(self) -> float:
        """1 if a smaller monitored value is better, -1 if a larger one is."""
        return -1.0 if self.monitor == "val_metric" and self.metric_mode == "max" else 1.0

    def ranked(self) -> pd.DataFrame:
        """Return the usable configurations with a monitored value, best first."""
        table = self.usable[self.usable["best_monitor"].notna()]
        order = (self.cost_sign * table["best_monitor"]).sort_values(kind="stable").index
        return table.loc[order]

    def seed_deviation(self) -> float | None:
        """Return the typical standard deviation between seeds of the monitored value.

        Half the spread between the median and the worst seed would mislead with few seeds, so it
        is the root mean variance over usable configurations with at least two judged seeds.

        Returns:
            The deviation in the monitored quantity's unit; ``None`` with one seed.
        """
        column = "val_loss" if self.monitor == "val_loss" else "val_metric"
        which = "min" if self.cost_sign > 0 else "max"
        finite = self.curves[np.isfinite(self.curves[column])]
        best = finite.groupby("trial_id")[column].agg(which)
        known = self.trials[["trial_id", "config_id"]].merge(
            best.rename("best"), left_on="trial_id", right_index=True
        )
        known = known[known["trial_id"].isin(self.verdicts["trial_id"])]
        known = known[known["config_id"].isin(self.ranked()["config_id"])]
        variances = known.groupby("config_id")["best"].var(ddof=1).dropna()
        return float(np.sqrt(variances.median())) if len(variances) else None


@runtime_checkable
class FindingCheck(Protocol):
    """One statement about the whole sweep and how it is told.

    The docstring of the class is the page that explains its code. Checks of other packages load
    from the entry point group ``sweepdiag.findings``.

    Attributes:
        code: Stable code, such as ``SD101``.
        name: Short stable name, such as ``learning-rate-too-high``.
    """

    code: ClassVar[str]
    name: ClassVar[str]

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return the finding; one that says ``not_applicable`` where something is missing."""
        ...


class Check:
    """Base of the built-in checks: the four ways in which one can come out."""

    code: ClassVar[str]
    name: ClassVar[str]

    def passed(self, title: str, evidence: str, **numbers: Any) -> Finding:
        """Return that nothing is wrong."""
        return self._finding(FindingState.PASSED, Severity.INFO, title, evidence, "", numbers)

    def not_applicable(self, reason: str) -> Finding:
        """Return that the check cannot be made, and why."""
        title = f"{self.name.replace('-', ' ').capitalize()}: not checked"
        return self._finding(FindingState.NOT_APPLICABLE, Severity.INFO, title, reason, "", {})

    def tip(self, title: str, evidence: str, action: str, **numbers: Any) -> Finding:
        """Return what is good to know and no fault."""
        return self._finding(FindingState.TIP, Severity.INFO, title, evidence, action, numbers)

    def finding(
        self,
        title: str,
        evidence: str,
        action: str,
        *,
        severity: Severity = Severity.WARNING,
        **numbers: Any,
    ) -> Finding:
        """Return what is wrong and what to do about it."""
        return self._finding(FindingState.FINDING, severity, title, evidence, action, numbers)

    def _finding(
        self,
        state: FindingState,
        severity: Severity,
        title: str,
        evidence: str,
        action: str,
        numbers: Mapping[str, Any],
    ) -> Finding:
        return Finding(
            code=self.code,
            name=self.name,
            state=state,
            severity=severity,
            title=title,
            evidence=evidence,
            action=action,
            numbers=dict(numbers),
        )


def format_value(value: float) -> str:
    """Return a number as a person writes it on an axis."""
    return f"{value:.3g}"


def format_values(values: list[float]) -> str:
    """Return numbers in a sentence: ``1, 2 and 4``."""
    words = [format_value(value) for value in values]
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
