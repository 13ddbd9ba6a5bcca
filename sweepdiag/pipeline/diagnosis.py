"""From a journal to everything that is said about the sweep.

Reads only the run folder, so that a sweep can be diagnosed again at any time, without its
workload.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweepdiag.config import SweepConfig, load_config
from sweepdiag.errors import ConfigError, StoreError
from sweepdiag.freeing import give_back_memory
from sweepdiag.pipeline.judging import (
    Recorded,
    budget_of,
    cause_of,
    check_findings,
    judge,
    tag_edge,
)
from sweepdiag.readers import MARKER
from sweepdiag.rules import Thresholds
from sweepdiag.rules.findings.gate import check_codes
from sweepdiag.store import describe_damages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from sweepdiag.plotting import ReportData
    from sweepdiag.records import Recommendation, SweepFacts
    from sweepdiag.store import RunFolder

__all__ = [
    "Diagnosis",
    "diagnose_folder",
    "judge_folder",
    "read_config",
    "write_report",
    "write_verdicts",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What a sweep says; the tables have the columns of the run folder's.

    Attributes:
        config: The sweep's configuration.
        data: Its tables, findings and recommendation, as shown in figures and report.
        features: The features of each judged curve.
    """

    config: SweepConfig
    data: ReportData
    features: pd.DataFrame


def diagnose_folder(
    folder: RunFolder,
    *,
    ignore: Sequence[str] = (),
    on_stage: Callable[[str], None] = lambda _name: None,
    keep_report: bool = False,
    into: RunFolder | None = None,
) -> Diagnosis:
    """Judge every curve of a run folder, and write all its derived files.

    Args:
        folder: A run folder with a plan.
        ignore: Codes of findings to leave out, beside those of its settings.
        on_stage: Told the name of each step as it begins.
        keep_report: Write nothing if the report was written after the last record.
        into: Where to write; by default the run folder itself. With another folder the run folder
            is only read.

    Returns:
        The diagnosis, as written.
    """
    check_codes(ignore, option="--ignore")
    target = folder if into is None else into
    if keep_report and folder.has_current_report:
        return _diagnose(_read(folder))
    _check_writable(folder, target)
    _enter("reading curves", on_stage)
    sweep = _read(folder)
    if target is not folder:
        _claim_report(folder, target)
    _write_curves(target, sweep)
    _enter("judging curves", on_stage)
    diagnosis = _diagnose(sweep, ignore=ignore)
    _write_diagnosis(target, diagnosis)
    _enter("drawing figures", on_stage)
    write_report(target, diagnosis.data, on_stage)
    return diagnosis


def _enter(name: str, on_stage: Callable[[str], None]) -> None:
    """Begin a step with what it needs, and not with what the one before has left."""
    give_back_memory()
    on_stage(name)


def _check_writable(folder: RunFolder, target: RunFolder) -> None:
    """Say at once, rather than after all the work, that a run folder is read-only.

    Raises:
        StoreError: If it is, and the report is to be written into it.
    """
    if target is folder and folder.exists and not folder.is_writable:
        message = (
            f"{folder.path} cannot be written (read-only): write the report elsewhere with "
            "sweepdiag report --output"
        )
        raise StoreError(message)


def _claim_report(folder: RunFolder, target: RunFolder) -> None:
    """Create the folder of a report, if nothing there belongs to anybody else.

    Raises:
        ConfigError: If something does.
    """
    if target.exists or (not target.is_free and not (target.path / MARKER).is_file()):
        message = (
            f"--output {target.path} holds a sweep or files that sweepdiag did not write: choose "
            "a new folder"
        )
        raise ConfigError(message)
    target.create_empty()
    target.write_json(MARKER, {"source": folder.path.resolve().name})


def judge_folder(folder: RunFolder, *, facts: SweepFacts | None = None) -> Diagnosis:
    """Judge every curve of a run folder, and write nothing.

    Args:
        folder: A run folder with a plan.
        facts: What is known of the task, in place of what the journal says.

    Returns:
        The diagnosis.
    """
    return _diagnose(_read(folder, facts=facts))


@dataclass(frozen=True, kw_only=True)
class _Sweep:
    """What a run folder tells, its curves as tables only: two forms of them would not fit."""

    folder: RunFolder
    config: SweepConfig
    recorded: Recorded
    interrupted: bool


def _read(folder: RunFolder, *, facts: SweepFacts | None = None) -> _Sweep:
    config = read_config(folder)
    history, damages = folder.read_history()
    for line in describe_damages(damages):
        logger.warning("%s/journal.jsonl: %s", folder.path, line)
    if history.plan is None:
        message = f"{folder.path} holds no plan yet: run the sweep first"
        raise StoreError(message)
    history.mark_lost()
    return _Sweep(
        folder=folder,
        config=config,
        recorded=Recorded(
            axes=history.plan.axes,
            facts=facts or history.facts,
            trials=history.trials_table(),
            curves=history.curves_table(),
            monitor=config.monitor,
            thresholds=Thresholds.from_overrides(config.diagnosis.thresholds),
        ),
        interrupted=bool(history.todo()),
    )


def read_config(folder: RunFolder) -> SweepConfig:
    """Return the configuration of a run folder."""
    folder.read_sweep()
    return load_config(folder.path / "sweep.yaml")


def _write_curves(folder: RunFolder, sweep: _Sweep) -> None:
    trials = sweep.recorded.trials
    planned = ["trial_id", "config_id", *(axis.name for axis in sweep.recorded.axes), "seed"]
    folder.write_table("plan", trials[planned] if len(trials) else trials)
    folder.write_table("trials", trials)
    folder.write_table("curves", sweep.recorded.curves)


def _diagnose(sweep: _Sweep, *, ignore: Sequence[str] = ()) -> Diagnosis:
    from sweepdiag.plotting import ReportData
    from sweepdiag.recommend import compare_criteria, recommend

    config, recorded = sweep.config, sweep.recorded
    judged = judge(recorded)
    give_back_memory()
    shared = recorded.shared(judged)
    findings = check_findings(recorded, judged, ignore=(*config.diagnosis.ignore, *ignore))
    data = ReportData(
        **shared,
        findings=findings,
        recommendation=recommend(
            **shared,
            epochs=config.epochs,
            n_seeds=config.n_seeds,
            budget=budget_of(findings),
            cause=cause_of(findings),
            n_configurations=config.n_configurations,
            least_of_learned=recorded.thresholds.tag_improving_share,
        ),
        title=sweep.folder.path.name,
        environment=_environment(sweep.folder),
        interrupted=sweep.interrupted,
        stopping=compare_criteria(
            recorded.curves, monitor=config.monitor, metric_mode=recorded.facts.metric_mode
        ),
    )
    tag_edge(data)
    return Diagnosis(config=config, data=data, features=judged.features)


def _environment(folder: RunFolder) -> dict[str, Any]:
    try:
        content = json.loads((folder.path / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_diagnosis(folder: RunFolder, diagnosis: Diagnosis) -> None:
    data = diagnosis.data
    write_verdicts(folder, data, diagnosis.features)
    folder.write_text("next_sweep.yaml", _next_sweep(diagnosis.config, data.recommendation))


def _next_sweep(config: SweepConfig, recommendation: Recommendation) -> str:
    """Return the file of the next sweep: this one's settings with what should change."""
    settings, reasons = config.to_mapping(), list(recommendation.next_reasons)
    epochs = recommendation.next_settings.get("epochs", config.epochs)
    schedule = settings["schedule"]
    if schedule["warmup_epochs"] > epochs:
        schedule = {
            **schedule,
            "warmup_epochs": schedule["warmup_epochs"] * epochs / config.epochs,
        }
        reasons.append(f"Warm-up takes the same share of {epochs} epochs as of {config.epochs}.")
    options = {
        **settings,
        **recommendation.next_settings,
        "parameters": dict(recommendation.next_parameters) or settings["parameters"],
        "schedule": schedule,
        "output": None,
        "execution": {**settings["execution"], "shard": None},
    }
    return load_config(options=options).to_yaml(header="\n".join(reasons))


def write_verdicts(folder: RunFolder, data: ReportData, features: pd.DataFrame) -> None:
    """Write the tables and records that a diagnosis consists of."""
    folder.write_table("verdicts", data.verdicts)
    folder.write_table("configurations", data.configurations)
    folder.write_table("features", features)
    if data.stopping is not None:
        folder.write_table("stopping", data.stopping)
    folder.write_json("findings.json", data.findings)
    folder.write_json("recommendation.json", data.recommendation)


def write_report(folder: RunFolder, data: ReportData, on_stage: Callable[[str], None]) -> None:
    """Draw the figures and write the page."""
    from sweepdiag.plotting import draw_figures
    from sweepdiag.report import render_html

    folder.check_subfolder(folder.figures)
    draw_figures(data, folder.figures)
    _enter("writing the report", on_stage)
    folder.write_text("report.html", render_html(data))
