"""From a journal to everything that is said about the sweep.

Reads only the run folder, so that a sweep can be diagnosed again at any time, without its
workload.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.config import SweepConfig, load_config
from sweepdiag.errors import StoreError
from sweepdiag.records import JUDGED_STATES, Tag, plain
from sweepdiag.rules import Thresholds

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from sweepdiag.features import CurveArrays, FeatureMatrix
    from sweepdiag.plotting import ReportData
    from sweepdiag.records import Axis, Finding, Recommendation, SweepFacts, Verdict
    from sweepdiag.store import History, RunFolder

__all__ = ["Diagnosis", "diagnose_folder"]

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
    on_stage: Callable[[str], None] = lambda _name: None,
    keep_report: bool = False,
) -> Diagnosis:
    """Judge every curve of a run folder, and write all its derived files.

    Args:
        folder: A run folder with a plan.
        on_stage: Told the name of each step as it begins.
        keep_report: Write nothing if the report was written after the last record.

    Returns:
        The diagnosis, as written.
    """
    config, history = _read(folder)
    if keep_report and folder.has_current_report:
        return _diagnose(folder, config, history)
    on_stage("reading curves")
    _write_curves(folder, history)
    on_stage("judging curves")
    diagnosis = _diagnose(folder, config, history)
    _write_diagnosis(folder, diagnosis)
    on_stage("drawing figures")
    _write_report(folder, diagnosis.data, on_stage)
    return diagnosis


def _read(folder: RunFolder) -> tuple[SweepConfig, History]:
    config = read_config(folder)
    history, damages = folder.read_history()
    for damage in damages:
        logger.warning("journal.jsonl, line %d cannot be read; it is left out", damage.line)
    if history.plan is None:
        message = f"{folder.path} holds no plan yet: run the sweep first"
        raise StoreError(message)
    history.mark_lost()
    return config, history


def read_config(folder: RunFolder) -> SweepConfig:
    """Return the configuration of a run folder."""
    folder.read_sweep()
    return load_config(folder.path / "sweep.yaml")


def _write_curves(folder: RunFolder, history: History) -> None:
    folder.write_table("plan", history.plan_table())
    folder.write_table("trials", history.trials_table())
    folder.write_table("curves", history.curves_table())


def _diagnose(folder: RunFolder, config: SweepConfig, history: History) -> Diagnosis:
    from sweepdiag.plotting import ReportData
    from sweepdiag.recommend import recommend
    from sweepdiag.rules import judge_configurations

    trials, curves = history.trials_table(), history.curves_table()
    axes = _axes(history)
    verdicts, features = _verdicts(trials, curves, axes, history.facts, config)
    configurations = judge_configurations(
        trials=trials,
        curves=curves,
        verdicts=verdicts,
        axis_names=[axis.name for axis in axes],
        monitor=config.monitor,
        metric_mode=history.facts.metric_mode,
    )
    shared: dict[str, Any] = {
        "axes": axes,
        "facts": history.facts,
        "trials": trials,
        "curves": curves,
        "verdicts": verdicts,
        "configurations": configurations,
        "monitor": config.monitor,
        "metric_mode": history.facts.metric_mode,
    }
    data = ReportData(
        **shared,
        findings=_findings(shared, config),
        recommendation=recommend(**shared, epochs=config.epochs, n_seeds=config.n_seeds),
        title=folder.path.name,
        environment=_environment(folder),
        interrupted=bool(history.todo()),
    )
    _tag_edge(data)
    return Diagnosis(config=config, data=data, features=features)


def _axes(history: History) -> tuple[Axis, ...]:
    return history.plan.axes if history.plan is not None else ()


def _verdicts(
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    axes: tuple[Axis, ...],
    facts: SweepFacts,
    config: SweepConfig,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the verdicts of all complete curves, and their features."""
    from sweepdiag.features import CurveArrays, compute_features
    from sweepdiag.rules import judge_curves

    judged = trials[trials["state"].isin([state.value for state in JUDGED_STATES])]
    rows = curves[curves["trial_id"].isin(judged["trial_id"])]
    arrays = CurveArrays.from_long(
        rows["trial_id"].to_numpy(),
        rows["epoch"].to_numpy(),
        rows["train_loss"].to_numpy(),
        rows["val_loss"].to_numpy(),
        rows["val_metric"].to_numpy(),
    )
    config_of = dict(zip(judged["trial_id"], judged["config_id"], strict=True))
    verdicts = judge_curves(
        arrays,
        facts=facts,
        config_ids=[config_of[trial_id] for trial_id in arrays.run_ids],
        context="sweep",
        thresholds=Thresholds.from_overrides(config.diagnosis.thresholds),
    )
    table = _verdict_table(verdicts, judged, [axis.name for axis in axes])
    return table, _feature_table(arrays, compute_features(arrays))


def _verdict_table(
    verdicts: tuple[Verdict, ...], trials: pd.DataFrame, axis_names: list[str]
) -> pd.DataFrame:
    import pandas as pd

    columns = [
        "trial_id",
        "verdict",
        "runner_up",
        "tags",
        "confidence",
        "turning_epoch",
        "evidence",
        "context",
        "reference_id",
    ]
    table = pd.DataFrame([plain(verdict) for verdict in verdicts], columns=columns)
    for name in ("confidence", "turning_epoch"):
        table[name] = table[name].astype(float)  # NaN travels as a string in plain records
    keys = trials[["trial_id", "config_id", *axis_names, "seed"]]
    return keys.merge(table, on="trial_id", how="inner", validate="one_to_one")


def _feature_table(arrays: CurveArrays, features: FeatureMatrix) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(features.values, columns=list(features.names))
    table.insert(0, "trial_id", np.asarray(arrays.run_ids, dtype=object))
    return table


def _findings(shared: dict[str, Any], config: SweepConfig) -> tuple[Finding, ...]:
    from sweepdiag.rules import SweepView, check_sweep

    return check_sweep(
        SweepView(**shared),
        thresholds=Thresholds.from_overrides(config.diagnosis.thresholds),
        ignore=config.diagnosis.ignore,
    )


def _tag_edge(data: ReportData) -> None:
    """Mark the best configuration if its value is the first or last that was tried of an axis."""
    table = data.configurations
    is_best = table["config_id"] == data.best_config_id
    for axis in data.axes:
        if len(axis.values) > 1:
            is_best_at_end = is_best & table[axis.name].isin([axis.values[0], axis.values[-1]])
            table["tags"] = [
                [*tags, Tag.EDGE.value] if at_end and Tag.EDGE.value not in tags else tags
                for tags, at_end in zip(table["tags"], is_best_at_end, strict=True)
            ]


def _environment(folder: RunFolder) -> dict[str, Any]:
    try:
        content = json.loads((folder.path / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_diagnosis(folder: RunFolder, diagnosis: Diagnosis) -> None:
    data = diagnosis.data
    folder.write_table("verdicts", data.verdicts)
    folder.write_table("configurations", data.configurations)
    folder.write_table("features", diagnosis.features)
    folder.write_json("findings.json", data.findings)
    folder.write_json("recommendation.json", data.recommendation)
    folder.write_text("next_sweep.yaml", _next_sweep(diagnosis.config, data.recommendation))


def _next_sweep(config: SweepConfig, recommendation: Recommendation) -> str:
    """Return the file of the next sweep: this one's settings with what should change."""
    options = {
        **config.to_mapping(),
        **recommendation.next_settings,
        "parameters": dict(recommendation.next_parameters) or config.to_mapping()["parameters"],
        "output": None,
        "execution": {**config.to_mapping()["execution"], "shard": None},
    }
    return load_config(options=options).to_yaml(header="\n".join(recommendation.next_reasons))


def _write_report(folder: RunFolder, data: ReportData, on_stage: Callable[[str], None]) -> None:
    from sweepdiag.plotting import draw_figures
    from sweepdiag.report import render_html

    draw_figures(data, folder.figures)
    on_stage("writing the report")
    folder.write_text("report.html", render_html(data))
