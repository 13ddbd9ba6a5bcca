"""What both reports say, in words: counts, findings in order, when to stop, what to run next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweepdiag.messages import describe_peak_memory
from sweepdiag.plotting import CLASS_NAMES
from sweepdiag.plotting.view import as_class
from sweepdiag.records import FindingState, State, VerdictClass
from sweepdiag.rules import rank_findings
from sweepdiag.wording import clean, epoch_text, format_value, percent, plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sweepdiag.plotting import Origin, ReportData
    from sweepdiag.records import Finding, StopEpoch

__all__ = [
    "ClassCount",
    "CriterionRow",
    "CurveText",
    "compare_stopping",
    "count_classes",
    "count_trials",
    "describe_best",
    "describe_causes",
    "describe_configuration",
    "describe_curves",
    "describe_memory",
    "describe_parameter",
    "describe_problems",
    "describe_stop",
    "describe_task",
    "level_of",
    "open_findings",
    "other_findings",
]


_METRIC_NAMES = {"mae": "mean absolute error"}


_MOST_TOLD = 6
"""Curves without axes up to which each is told by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveText:
    """What is said of one curve: its class, why, and when it should have stopped."""

    head: str
    evidence: str
    stop: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassCount:
    """How many configurations (curves, where there are no axes) have a class."""

    verdict: VerdictClass
    n: int
    share: float


def count_classes(data: ReportData) -> list[ClassCount]:
    """Return the classes that occur, from worst to best."""
    table = data.configurations if data.axes else data.verdicts
    verdicts = [as_class(value) for value in table["verdict"]]
    n_judged = sum(verdict is not None for verdict in verdicts)
    counts = [(verdict, verdicts.count(verdict)) for verdict in VerdictClass]
    return [ClassCount(verdict=v, n=n, share=n / n_judged) for v, n in counts if n]


def describe_curves(data: ReportData) -> list[CurveText]:
    """Return what is said of each curve, where they are few and no sweep; else nothing."""
    if data.axes or len(data.verdicts) > _MOST_TOLD:
        return []
    stops = {stop.config_id: stop for stop in data.recommendation.stop_epochs}
    texts = []
    for row in data.verdicts.to_dict("records"):
        verdict, stop = as_class(row["verdict"]), stops.get(str(row["trial_id"]))
        told = CLASS_NAMES[verdict] if verdict is not None else "not judged"
        if math.isfinite(row["confidence"]):
            told += f", confidence {percent(row['confidence'])}"
        tags = [str(tag).replace("_", " ") for tag in row["tags"]]
        told += f" ({', '.join(tags)})" if tags else ""
        texts.append(
            CurveText(
                head=f"{clean(row['trial_id'])}: {told}",
                evidence=clean(row["evidence"]),
                stop="" if stop is None else describe_stop(stop, data.monitor_name),
            )
        )
    return texts


def count_trials(data: ReportData) -> str:
    """Return ``54 configurations x 2 seeds: 108 trials, 105 judged, 3 failed``."""
    n_trials, n_configurations = len(data.trials), len(data.configurations)
    noun = "run" if data.origin is not None else "trial"
    parts = [plural(n_trials, noun if data.axes else "curve"), f"{len(data.verdicts)} judged"]
    states = data.trials["state"].astype(str).value_counts()
    if states.get(State.STOPPED.value, 0):
        parts.append(f"{states[State.STOPPED.value]} ended early")
    parts += [
        f"{states[state.value]} {state.value.replace('_', ' ')}"
        for state in (State.FAILED, State.TIMED_OUT, State.OUT_OF_MEMORY, State.LOST)
        if states.get(state.value, 0)
    ]
    if data.interrupted:
        parts.append(f"{n_trials - data.n_done} not done")
    lead = plural(n_configurations, "configuration") + ": " if data.axes else ""
    return lead + ", ".join(parts)


def describe_task(data: ReportData) -> str:
    """Return what was trained: workload, task, loss and samples."""
    if data.origin is not None:
        return "curves logged by another program"
    facts = data.facts
    parts = [f"{clean(facts.workload)} (version {clean(facts.workload_version)})", facts.task]
    parts.append(f"loss {clean(facts.loss)}")
    if facts.n_train is not None:
        samples = f"{facts.n_train} training samples"
        if facts.n_validation is not None:
            samples += f", {facts.n_validation} for validation"
        parts.append(samples)
    return "; ".join(parts)


def describe_memory(data: ReportData) -> str:
    """Return the most memory a worker took, as ``1.2 GB per worker``; empty if unknown."""
    trials = data.trials
    if "peak_memory_mb" not in trials:  # curves that came from elsewhere
        return ""
    peaks = zip(trials["device"].astype(str), trials["peak_memory_mb"].astype(float), strict=True)
    return describe_peak_memory(peaks)


def level_of(finding: Finding) -> str:
    """Return the word a finding is introduced with: its severity, or ``tip``."""
    return "tip" if finding.state is FindingState.TIP else finding.severity.value


def open_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings, then tips: causes before what they explain, the most severe first."""
    return rank_findings(findings)


def describe_causes(finding: Finding) -> str:
    """Return ``Explains SD101 and SD901.``; empty where it explains no other finding."""
    codes = list(finding.explains)
    if len(codes) < 2:
        return f"Explains {codes[0]}." if codes else ""
    return f"Explains {', '.join(codes[:-1])} and {codes[-1]}."


def other_findings(findings: Sequence[Finding], state: FindingState) -> list[Finding]:
    """Return the checks of one state, by code."""
    return sorted((f for f in findings if f.state is state), key=lambda f: f.code)


def describe_configuration(data: ReportData, row: Mapping[Any, Any]) -> str:
    """Return ``lr 0.1, batch_size 64``; the identifier where there are no axes."""
    if not data.axes:
        return clean(row["config_id"])
    return ", ".join(f"{axis.name} {_plain(row[axis.name])}" for axis in data.axes)


def describe_best(data: ReportData) -> str:
    """Return the best configuration with its best and last value; empty if there is none."""
    table = data.configurations
    if data.best_config_id is None:
        return ""
    row = table[table["config_id"].astype(str) == data.best_config_id].to_dict("records")[0]
    beside = []
    if data.monitor == "val_loss":
        beside = [("last", row["last_val_loss"]), (_best_metric(data), row["best_val_metric"])]
    known = [f"{name} {format_value(value)}" for name, value in beside if math.isfinite(value)]
    last = f" ({', '.join(known)})" if known else ""
    verdict = CLASS_NAMES[VerdictClass(str(row["verdict"]))]
    return (
        f"Best {data.monitor_name} {format_value(row['best_monitor'])}{last}: "
        f"{describe_configuration(data, row)} ({verdict})"
    )


def _best_metric(data: ReportData) -> str:
    """Return what the best metric of a training is called: ``best accuracy``."""
    name = clean(data.facts.metric or "")
    return f"best {'metric' if name in {'', 'custom'} else _METRIC_NAMES.get(name, name)}"


def describe_stop(stop: StopEpoch, monitor: str) -> str:
    """Return when to stop, what it saves and what it costs, and why, as one sentence."""
    if not math.isfinite(stop.regret) and stop.epoch == stop.budget_epochs:
        return f"No stop epoch: {clean(stop.reason).rstrip('.')}."
    text = f"Stop at epoch {epoch_text(stop.epoch)} of {epoch_text(stop.budget_epochs)}"
    if math.isfinite(stop.saved_fraction) and stop.saved_fraction > 0:
        text += f": saves {percent(stop.saved_fraction)} of the training"
        if math.isfinite(stop.regret):
            cost = f"costs {percent(stop.regret)} of the best {monitor}"
            text += f", {cost}" if stop.regret > 0 else f", the best {monitor} stays the same"
    reason = clean(stop.reason).rstrip(".")
    return f"{text} ({reason})." if reason else f"{text}."


def describe_problems(origin: Origin, folder: Path | None = None) -> str:
    """Return how much could not be read, and where all of it is listed."""
    place = origin.problems_file if folder is None else str(folder / origin.problems_file)
    text = f"{plural(origin.n_problems, 'problem')} in the files, all listed in {place}"
    if origin.n_problems > len(origin.problems):
        text += f"; the first {len(origin.problems)}"
    return f"{text}:"


_MOST_COST = 9.99
"""Costs beyond this are told as such."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CriterionRow:
    """What an early-stopping criterion would have done to the curves that learn something.

    Attributes:
        name: The criterion.
        used: Share of the epochs that it would have trained.
        median_cost: Median over curves of what it would have lost of the best value, relative.
        mean_cost: Their mean.
    """

    name: str
    used: float
    median_cost: float
    mean_cost: float

    @property
    def cells(self) -> tuple[str, str, str]:
        """Share of the epochs and both costs as text: costs of losses near 0 have no end."""
        return percent(self.used), _cost_text(self.median_cost), _cost_text(self.mean_cost)


def _cost_text(cost: float) -> str:
    return f"> {percent(_MOST_COST)}" if cost > _MOST_COST else percent(cost)


def compare_stopping(data: ReportData) -> list[CriterionRow]:
    """Return what each criterion would have done to the curves that learn something.

    Of the others it says nothing that matters when a training should have stopped.
    """
    table = data.stopping
    if table is None or table.empty:
        return []
    useless = [VerdictClass.DIVERGING.value, VerdictClass.NOT_LEARNING.value]
    learned = data.verdicts.loc[~data.verdicts["verdict"].isin(useless), "trial_id"]
    known = table[table["regret"].notna() & table["trial_id"].isin(learned)]
    rows = []
    for name, part in known.groupby("criterion", sort=False):
        budget = (part["epochs_used"] / part["used_fraction"]).sum()
        if math.isfinite(budget) and budget > 0:
            rows.append(
                CriterionRow(
                    name=str(name),
                    used=float(part["epochs_used"].sum() / budget),
                    median_cost=float(part["regret"].median()),
                    mean_cost=float(part["regret"].mean()),
                )
            )
    return rows


def describe_parameter(block: Mapping[str, Any]) -> str:
    """Return a parameter of a sweep's file in words, such as ``0.003 to 0.3, log, 7 values``."""
    if "value" in block:
        return f"{_plain(block['value'])} only"
    if "values" in block:
        return ", ".join(_plain(value) for value in block["values"])
    parts = [f"{_plain(block.get('min'))} to {_plain(block.get('max'))}"]
    if "log" in str(block.get("distribution", "")):
        parts.append("log scale")
    if block.get("n") is not None:
        parts.append(plural(int(block["n"]), "value"))
    return ", ".join(parts)


def _plain(value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return format_value(value) if is_number else clean(value)
