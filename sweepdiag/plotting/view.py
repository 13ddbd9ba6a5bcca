"""What a plot or a report is made of: the tables and records of one sweep, and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sweepdiag.messages import monitor_name
from sweepdiag.records import DONE_STATES, VerdictClass

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from sweepdiag.records import Axis, Finding, Recommendation, SweepFacts

__all__ = ["Origin", "ReportData", "as_class"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where curves came from that other programs have logged.

    Attributes:
        lines: What was read, and which column was taken for what.
        problems: The first few things that could not be read.
        n_problems: How many there are in all.
        problems_file: Where all of them are listed; empty if there are none.
    """

    lines: tuple[str, ...]
    problems: tuple[str, ...] = ()
    n_problems: int = 0
    problems_file: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportData:
    """Everything that is shown of one sweep.

    Attributes:
        axes: The axes of the sweep; empty for curves that came from elsewhere.
        facts: What was known of the task before training.
        trials: Columns of ``trials.parquet``.
        curves: Columns of ``curves.parquet``.
        verdicts: Columns of ``verdicts.parquet``.
        configurations: Columns of ``configurations.parquet``.
        findings: Every check of the sweep, passed ones included.
        recommendation: Region, stop epochs and next sweep.
        monitor: ``val_loss`` or ``val_metric``, the quantity that decides which is best.
        metric_mode: ``max`` if a larger metric is better, ``min`` if a smaller one is.
        title: Name of the sweep, as its owner wrote it.
        environment: Versions, device and command, for the footer.
        interrupted: Whether the sweep ended before all trials were done.
        origin: Where the curves came from; ``None`` where sweepdiag trained them.
        stopping: What each early-stopping criterion would have done; ``None`` if not compared.
    """

    axes: tuple[Axis, ...]
    facts: SweepFacts
    trials: pd.DataFrame
    curves: pd.DataFrame
    verdicts: pd.DataFrame
    configurations: pd.DataFrame
    findings: tuple[Finding, ...]
    recommendation: Recommendation
    monitor: str = "val_loss"
    metric_mode: str | None = None
    title: str = "sweep"
    environment: Mapping[str, Any] = field(default_factory=dict)
    interrupted: bool = False
    origin: Origin | None = None
    stopping: pd.DataFrame | None = None

    @property
    def n_done(self) -> int:
        """Trials that ``resume`` would not repeat."""
        return int(self.trials["state"].isin([state.value for state in DONE_STATES]).sum())

    @property
    def is_larger_better(self) -> bool:
        """Whether the monitored quantity improves upwards."""
        if self.monitor == "val_loss":
            return False
        return (self.metric_mode or self.facts.metric_mode) == "max"

    @property
    def monitor_name(self) -> str:
        """The monitored quantity in words, such as ``validation accuracy``."""
        return monitor_name(self.monitor, self.facts.metric)

    @property
    def region_ids(self) -> frozenset[str]:
        """Configurations inside the recommended region."""
        region = self.recommendation.region
        return frozenset(region.config_ids) if region else frozenset()

    @property
    def best_config_id(self) -> str | None:
        """The configuration with the best monitored value.

        Returns:
            Its ``config_id``; ``None`` where none both learned and has a value.
        """
        table = self.configurations
        useless = [VerdictClass.DIVERGING.value, VerdictClass.NOT_LEARNING.value]
        learned = table["verdict"].notna() & ~table["verdict"].isin(useless)
        values = table.loc[learned & table["best_monitor"].notna(), "best_monitor"].astype(float)
        if values.empty:
            return None
        numbers = values.to_numpy()
        place = int(numbers.argmax() if self.is_larger_better else numbers.argmin())
        return str(table["config_id"].loc[values.index[[place]]].iloc[0])


def as_class(value: object) -> VerdictClass | None:
    """Return a table's verdict as a class; ``None`` where nothing was judged (None or NaN)."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return VerdictClass(str(value))
