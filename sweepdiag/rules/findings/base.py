"""What a check of the whole sweep sees and returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from sweepdiag.features.seed_spread import seed_factor
from sweepdiag.features.share_unit import known_floor, monitored_unit
from sweepdiag.records import (
    Axis,
    DataFacts,
    Finding,
    FindingState,
    Severity,
    StepFacts,
    SweepFacts,
    VerdictClass,
)
from sweepdiag.rules.findings.costs import costs_by_config
from sweepdiag.wording import format_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

    from sweepdiag.features.share_unit import ShareUnit
    from sweepdiag.rules.findings.costs import CostsByConfig
    from sweepdiag.rules.thresholds import Thresholds

__all__ = [
    "BAD_CLASSES",
    "Check",
    "FindingCheck",
    "SweepView",
    "format_value",
    "format_values",
    "in_words",
]

BAD_CLASSES = (VerdictClass.DIVERGING.value, VerdictClass.NOT_LEARNING.value)
"""Classes whose configurations say nothing about capacity, data or budget."""

_FEWEST_FOR_NOISE = 4
"""Configurations over which the noise between seeds is taken at least."""

_MOST_LISTED = 6
"""Numbers that a sentence lists one by one."""


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
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

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
        table: pd.DataFrame = self.once(
            "judged", lambda: self.configurations[self.configurations["n_judged"] > 0]
        )
        return table

    @property
    def data(self) -> DataFacts:
        """What a look at the samples told; nothing is known where they were not seen."""
        return DataFacts() if self.facts is None or self.facts.data is None else self.facts.data

    @property
    def step(self) -> StepFacts | None:
        """What the first step told; ``None`` where none was taken before the sweep."""
        return None if self.facts is None else self.facts.step

    @property
    def usable(self) -> pd.DataFrame:
        """Judged configurations that neither diverge nor fail to learn."""
        table: pd.DataFrame = self.once(
            "usable", lambda: self.judged[~self.judged["verdict"].isin(BAD_CLASSES)]
        )
        return table

    @property
    def loss_floor(self) -> float | None:
        """The lowest value the loss can take; ``None`` if it has none, so that ratios say nothing.

        Where nothing is known of the task, a loss that is never negative has its floor at 0.
        """
        assumed = 0.0 if self.facts is None else self.facts.loss_floor
        floor: float | None = self.once("loss floor", lambda: known_floor(self.curves, assumed))
        return floor

    @property
    def share_unit(self) -> ShareUnit:
        """What shares of the monitored quantity are taken of."""
        return self._unit_of(self.monitored)

    @property
    def loss_unit(self) -> ShareUnit:
        """What shares of a loss are taken of, whatever is monitored."""
        return self._unit_of("val_loss")

    def _unit_of(self, monitor: str) -> ShareUnit:
        unit: ShareUnit = self.once(
            f"unit of {monitor}",
            lambda: monitored_unit(
                self.curves,
                monitor=monitor,
                metric_mode=self.metric_mode,
                loss_floor=self.loss_floor,
            ),
        )
        return unit

    @property
    def cost_sign(self) -> float:
        """1 if a smaller monitored value is better, -1 if a larger one is."""
        return -1.0 if self.monitor == "val_metric" and self.metric_mode == "max" else 1.0

    def ranked(self) -> pd.DataFrame:
        """Return the usable configurations with a monitored value, best first."""
        table: pd.DataFrame = self.once("ranked", self._ranked)
        return table

    def _ranked(self) -> pd.DataFrame:
        table = self.usable[self.usable["best_monitor"].notna()]
        order = (self.cost_sign * table["best_monitor"]).sort_values(kind="stable").index
        return table.loc[order]

    def seed_deviation(self) -> float | None:
        """Return the typical standard deviation between seeds, near the best monitored value.

        It is the median over the better half of the usable configurations, of those with at least
        two judged seeds, so that one wild configuration has no say, nor have those that hardly
        move. Losses that are all positive are compared as logarithms:
        seeds differ by a share of the loss, which itself spans orders of magnitude over a sweep.

        Returns:
            The deviation in the monitored quantity's unit; ``None`` with one seed.
        """
        ranked = self.ranked()
        if ranked.empty:
            return None
        return self.seed_margin(float(ranked["best_monitor"].iloc[0]), 1.0)

    def seed_margin(self, value: float, factor: float) -> float | None:
        """Return how far above a monitored value its noise between seeds reaches.

        Args:
            value: A monitored value.
            factor: Standard deviations between seeds.

        Returns:
            A distance in the monitored quantity's unit; ``None`` with one seed.
        """
        deviation, is_relative = self._deviation_of(value)
        if deviation is None:
            return None
        return float(value * np.expm1(factor * deviation)) if is_relative else factor * deviation

    def seed_factor(self) -> float | None:
        """Return how many times the loss of a typical seed another one's is.

        Returns:
            The exponential of the deviation between two seeds' logarithms; ``None`` with one seed,
            or where the monitored quantity is no positive loss.
        """
        ranked = self.ranked()
        if ranked.empty:
            return None
        deviation, is_relative = self._deviation_of(float(ranked["best_monitor"].iloc[0]))
        return seed_factor(deviation) if is_relative and deviation is not None else None

    def _deviation_of(self, value: float) -> tuple[float | None, bool]:
        """Return the deviation between seeds, and whether it is one of logarithms."""
        best: pd.DataFrame = self.once("best of seeds", self._best_of_seeds)
        is_positive = self.once("is positive", lambda: bool((best["best"] > 0).all()))
        is_relative = self.monitor == "val_loss" and is_positive and value > 0
        name = "relative deviation" if is_relative else "deviation"
        return self.once(name, lambda: _deviation(best, is_relative=is_relative)), is_relative

    def _best_of_seeds(self) -> pd.DataFrame:
        """Return the best monitored value of each judged trial of the better configurations."""
        column = self.monitored
        finite = self.curves[np.isfinite(self.curves[column])]
        groups = finite.groupby("trial_id")[column]
        best = groups.min() if self.cost_sign > 0 else groups.max()
        known = self.trials[["trial_id", "config_id"]].merge(
            best.rename("best"), left_on="trial_id", right_index=True
        )
        known = known[known["trial_id"].isin(self.verdicts["trial_id"])]
        ranked = self.ranked()
        better = ranked.head(max(_FEWEST_FOR_NOISE, (len(ranked) + 1) // 2))
        return known[known["config_id"].isin(better["config_id"])]

    def tied(self, n_deviations: float, *, least_share: float = 0.0) -> pd.DataFrame:
        """Return the configurations that cannot be told from the best one, best first.

        Args:
            n_deviations: Standard deviations between seeds within which two are tied.
            least_share: Share (of ``share_unit``) within which they are tied in any case.

        Returns:
            Rows of ``ranked()``; none where nothing was learned.
        """
        ranked = self.ranked()
        if ranked.empty:
            return ranked
        best = float(ranked["best_monitor"].iloc[0])
        least = least_share * self.share_unit.at(best)
        margin = max(self.seed_margin(best, n_deviations) or 0.0, least)
        tied: pd.DataFrame = ranked[
            self.cost_sign * ranked["best_monitor"] <= self.cost_sign * best + margin
        ]
        return tied

    @property
    def monitored(self) -> str:
        """Column of ``curves`` that "best" refers to."""
        return "val_loss" if self.monitor == "val_loss" else "val_metric"

    def monitored_costs(self, config_id: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the epochs and costs of a configuration's judged trials.

        Args:
            config_id: The configuration.

        Returns:
            Per trial its epochs and monitored values, turned so that smaller is better.
        """
        costs: CostsByConfig = self.once("costs", self._costs_by_config)
        return costs.of(config_id)

    def _costs_by_config(self) -> CostsByConfig:
        is_judged = self.trials["trial_id"].isin(self.verdicts["trial_id"])
        costs = self.cost_sign * self.curves[self.monitored].to_numpy(dtype=float)
        return costs_by_config(self.trials[is_judged], self.curves, costs)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what is made of whole tables, made for the first check that asks.

        Args:
            name: What it is called: one name for one thing.
            make: Makes it.

        Returns:
            The same object for every check; do not change it.
        """
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def lack_of_evaluations(self, needed: float) -> str:
        """Return why classes say nothing, if most configurations have too few evaluations.

        Args:
            needed: Evaluations that a verdict needs.

        Returns:
            One clause; empty if there are enough.
        """
        judged = self.judged
        is_short = (judged["verdict"] == VerdictClass.INCONCLUSIVE.value) & (
            judged["n_evaluations"] < needed
        )
        if judged.empty or is_short.mean() <= 0.5:
            return ""
        return (
            f"{int(is_short.sum())} of {len(judged)} configurations have fewer than {needed:g} "
            "evaluations, which a verdict needs"
        )


def _deviation(best: pd.DataFrame, *, is_relative: bool) -> float | None:
    """Return the typical deviation between seeds of a configuration, perhaps of logarithms."""
    values = np.log(best["best"]) if is_relative else best["best"]
    variances = values.groupby(best["config_id"]).var(ddof=1).dropna()
    return None if variances.empty else float(np.sqrt(variances.median()))


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


def in_words(verdict: str) -> str:
    """Return a class as a person writes it: ``not learning``, ``u-shaped``."""
    return "u-shaped" if verdict == VerdictClass.U_SHAPED.value else verdict.replace("_", " ")


def format_values(values: list[float], *, noun: str = "values") -> str:
    """Return numbers in a sentence: ``1, 2 and 4``, or of many ``12 values from 1 to 90``."""
    words = [format_value(value) for value in values]
    if len(words) > _MOST_LISTED:
        return f"{len(words)} {noun} from {words[0]} to {words[-1]}"
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
