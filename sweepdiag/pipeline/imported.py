"""Diagnosing curves that other programs have logged."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.errors import ConfigError, unknown_name
from sweepdiag.pipeline.axis_choice import without_settings
from sweepdiag.pipeline.imported_axes import RunAxes, find_axes
from sweepdiag.pipeline.imported_folder import claim_output, write_group, write_imported
from sweepdiag.pipeline.imported_result import CurvesResult
from sweepdiag.pipeline.imported_words import (
    MAX_GROUP_REPORTS,
    N_SHOWN,
    axis_lines,
    group_lines,
    lacking_lines,
    not_applicable,
    reading_lines,
    stops_alone,
)
from sweepdiag.pipeline.judging import (
    Recorded,
    budget_of,
    cause_of,
    check_findings,
    judge,
    tag_edge,
)
from sweepdiag.pipeline.runs import group_runs, seed_column, seeds_of, trials_of
from sweepdiag.readers import attribute_name, metric_mode, read_curves
from sweepdiag.records import SweepFacts
from sweepdiag.rules import Thresholds
from sweepdiag.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from sweepdiag.plotting import Origin
    from sweepdiag.readers import Reading
    from sweepdiag.records import Finding, Recommendation

__all__ = ["diagnose"]

_ALONE = "the curves were judged alone: say which runs belong together with --group-by"
_GROUPS = "each sweep has a report of its own"
_EXECUTION = ("SD902", "curves do not tell how their runs were carried out")


def diagnose(
    curves: str | Path | pd.DataFrame,
    *,
    output: str | Path | None = None,
    group_by: str | None = None,
    one_sweep: bool = False,
    columns: Mapping[str, str] | None = None,
    axes: Sequence[str] | None = None,
    monitor: str | None = None,
    thresholds: Mapping[str, float] | None = None,
    on_stage: Callable[[str], None] = lambda _name: None,
) -> CurvesResult:
    """Judge curves that other programs have logged, without training anything.

    Args:
        curves: A CSV, Parquet or JSON file, a folder of them, or a data frame: one row per run and
            epoch (or step), with losses and metrics.
        output: Folder for the report; by default a new one under ``results/``.
        group_by: Column that says which runs belong together: each of its values is a sweep.
        one_sweep: All runs together are one sweep. Without this and ``group_by`` each curve is
            judged alone.
        columns: Which column holds what, such as ``{"run": "job", "val_loss": "dev_nll"}``, with
            the roles ``run, epoch, step, seed, train_loss, val_loss, train_metric, val_metric``.
            The rest is found by usual names.
        axes: The columns that are axes of the sweeps; by default those that differ between runs.
        monitor: ``val_loss`` or ``val_metric``; by default the loss where there is one.
        thresholds: Limits of the rules that differ from the defaults.
        on_stage: Told the name of each step as it begins.

    Returns:
        The diagnosis, as written.

    Raises:
        ConfigError: If an argument is wrong, or a column does not exist.
    """
    if group_by is not None and one_sweep:
        message = "give group_by or one_sweep, not both: one says that there are several sweeps"
        raise ConfigError(message)
    limits = Thresholds.from_overrides(dict(thresholds or {}))
    folder = claim_output(output, curves)
    on_stage("reading curves")
    is_sweep = group_by is not None or one_sweep
    reading = read_curves(curves, columns=columns, group_by=group_by, with_attributes=is_sweep)
    job = _Job(
        reading=reading,
        group_by=None if group_by is None else _known(reading, group_by),
        asked=None if axes is None else [_known(reading, name) for name in dict.fromkeys(axes)],
        monitor=_monitor(reading, monitor),
        thresholds=limits,
        has_no_seed=(columns or {}).get("seed") == "",
    )
    on_stage("judging curves")
    result = job.result(folder, is_sweep=is_sweep)
    on_stage("drawing figures")
    write_imported(folder, result, on_stage)
    for group in list(result.groups.values())[:MAX_GROUP_REPORTS]:
        on_stage(f"report of {group.data.title}")
        write_group(group)
    return result


def _known(reading: Reading, column: str) -> str:
    """Return what a column is called that the user names."""
    name = attribute_name(column)
    return name if name in reading.runs.columns else column


def _monitor(reading: Reading, asked: str | None) -> str:
    """Return what "best" refers to.

    Raises:
        ConfigError: If it is unknown, or nothing is known of it.
    """
    if asked not in {None, "val_loss", "val_metric"}:
        raise ConfigError(unknown_name("monitor", str(asked), ("val_loss", "val_metric")))
    has_loss = bool(np.isfinite(reading.curves["val_loss"]).any())
    has_metric = bool(np.isfinite(reading.curves["val_metric"]).any())
    mode = metric_mode(_metric_name(reading) or "")
    if asked == "val_metric" and (not has_metric or mode is None):
        what = _metric_name(reading) or "no column is named like one"
        message = f"monitor val_metric needs a metric whose better direction is known, got {what}"
        raise ConfigError(message)
    if asked is not None:
        return asked
    return "val_metric" if has_metric and mode and not has_loss else "val_loss"


def _metric_name(reading: Reading) -> str | None:
    names = [columns.val_metric for _, columns in reading.columns if columns.val_metric]
    return names[0] if names else None


@dataclass(frozen=True, kw_only=True)
class _Job:
    """Curves that were read, and how to judge them."""

    reading: Reading
    group_by: str | None
    asked: Sequence[str] | None
    monitor: str
    thresholds: Thresholds
    has_no_seed: bool

    def result(self, folder: RunFolder, *, is_sweep: bool) -> CurvesResult:
        runs, curves = self.reading.runs, self.reading.curves
        if not is_sweep:
            return self._alone(folder, self._recorded(runs, curves, RunAxes(), "alone"))
        named = {self.reading.name: runs}
        if self.group_by is not None:
            named = group_runs(runs, self.group_by)
        if len(named) == 1:
            (title,) = named
            return self._sweep(folder, title, runs, curves)
        groups = {}
        by_run = dict(list(curves.groupby("trial_id", sort=False)))
        for number, (name, part) in enumerate(named.items(), start=1):
            own = _concat([by_run[run] for run in part["trial_id"]])
            place = RunFolder(folder.path / "groups" / _slug(name, number))
            groups[name] = self._sweep(place, name, part.reset_index(drop=True), own)
        return self._together(folder, groups)

    def _recorded(
        self, runs: pd.DataFrame, curves: pd.DataFrame, axes: RunAxes, context: Any
    ) -> Recorded:
        metric = _metric_name(self.reading)
        return Recorded(
            axes=axes.axes,
            # A floor of 0 means here: at 0, if no loss of the curve is negative.
            facts=SweepFacts(
                workload=self.reading.name,
                loss="unknown",
                metric=metric,
                metric_mode=metric_mode(metric or ""),
                loss_floor=0.0,
            ),
            trials=trials_of(runs, axes, seed_column=self._seed_column()),
            curves=curves,
            monitor=self.monitor,
            thresholds=self.thresholds,
            context=context,
        )

    def _seed_column(self) -> str | None:
        """Return the column of seeds, which may stand in a table of runs."""
        if self.has_no_seed:
            return None
        runs = self.reading.runs
        known = [name for name in runs.columns if runs[name].notna().any()]
        seeds = [columns.seed for _, columns in self.reading.columns if columns.seed in known]
        return seeds[0] if seeds else seed_column(known)

    def _alone(self, folder: RunFolder, recorded: Recorded) -> CurvesResult:
        judged = judge(recorded)
        shared = recorded.shared(judged)
        return self._result(
            folder,
            shared,
            judged.features,
            findings=not_applicable(_ALONE),
            advice=stops_alone(shared, "each judged alone"),
            title=self.reading.name,
            lines=reading_lines(self.reading),
        )

    def _sweep(
        self, folder: RunFolder, title: str, runs: pd.DataFrame, curves: pd.DataFrame
    ) -> CurvesResult:
        from sweepdiag.recommend import recommend

        runs, curves, told = self._with_settings(runs, curves)
        axes = find_axes(
            runs,
            asked=self.asked,
            not_axes=self._not_axes(),
            seeds=seeds_of(runs, self._seed_column()),
        )
        recorded = self._recorded(runs, curves, axes, "sweep")
        judged = judge(recorded)
        shared = recorded.shared(judged)
        findings = check_findings(recorded, judged, ignore=(_EXECUTION[0],))
        findings += tuple(f for f in not_applicable(_EXECUTION[1]) if f.code == _EXECUTION[0])
        n_seeds = recorded.trials.groupby("config_id").size().max()
        # A number of steps is no number of epochs to train for.
        is_epoch = self.reading.axis == "epoch"
        advice = recommend(
            **shared,
            epochs=max(1, round(float(curves["epoch"].max()))) if is_epoch else None,
            n_seeds=int(n_seeds),
            budget=budget_of(findings),
            cause=cause_of(findings),
            least_of_learned=recorded.thresholds.tag_improving_share,
        )
        result = self._result(
            folder,
            shared,
            judged.features,
            findings=tuple(sorted(findings, key=lambda finding: finding.code)),
            advice=advice,
            title=title,
            lines=[*reading_lines(self.reading), *told, *axis_lines(axes)],
        )
        tag_edge(result.data)
        return result

    def _with_settings(
        self, runs: pd.DataFrame, curves: pd.DataFrame
    ) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
        """Return the runs whose settings are known, with what is said of the others."""
        asked = self.asked
        if asked is None:
            others = {"trial_id", *self._not_axes()}
            asked = [name for name in runs.columns if name not in others]
        is_lacking, columns = without_settings(runs, asked)
        if not is_lacking.any():
            return runs, curves, []
        gone = list(runs.loc[is_lacking, "trial_id"])
        return *_without(gone, runs, curves), lacking_lines(gone, columns)

    def _together(self, folder: RunFolder, groups: dict[str, CurvesResult]) -> CurvesResult:
        """Return all sweeps on one page: the verdicts of each, and no statement on them all."""
        from sweepdiag.rules import judge_configurations

        verdicts = _concat(
            [group.verdicts[_VERDICT_COLUMNS].assign(group=name) for name, group in groups.items()]
        )
        runs = self.reading.runs
        gone = list(runs.loc[~runs["trial_id"].isin(verdicts["trial_id"]), "trial_id"])
        trials = self._recorded(*_without(gone, runs, self.reading.curves), RunAxes(), "sweep")
        verdicts["config_id"] = verdicts["trial_id"]
        shared: dict[str, Any] = {
            "axes": (),
            "facts": trials.facts,
            "trials": trials.trials,
            "curves": trials.curves,
            "verdicts": verdicts,
            "configurations": judge_configurations(
                trials=trials.trials,
                curves=trials.curves,
                verdicts=verdicts,
                axis_names=(),
                monitor=self.monitor,
                metric_mode=trials.facts.metric_mode,
            ),
            "monitor": self.monitor,
            "metric_mode": trials.facts.metric_mode,
        }
        result = self._result(
            folder,
            shared,
            _concat([group.features for group in groups.values()]),
            findings=not_applicable(_GROUPS),
            advice=stops_alone(shared, f"in {len(groups)} sweeps by {self.group_by}"),
            title=self.reading.name,
            lines=[
                *reading_lines(self.reading),
                *(lacking_lines(gone, ()) if gone else ()),
                *group_lines(folder, groups),
            ],
        )
        return dataclasses.replace(result, groups=groups)

    def _result(
        self,
        folder: RunFolder,
        shared: dict[str, Any],
        features: pd.DataFrame,
        *,
        findings: tuple[Finding, ...],
        advice: Recommendation,
        title: str,
        lines: Sequence[str],
    ) -> CurvesResult:
        from sweepdiag.plotting import ReportData
        from sweepdiag.recommend import compare_criteria

        stopping = compare_criteria(
            shared["curves"], monitor=self.monitor, metric_mode=shared["metric_mode"]
        )
        data = ReportData(
            **shared,
            findings=findings,
            recommendation=advice,
            title=title,
            environment=_environment(),
            origin=self._origin(lines),
            stopping=stopping,
        )
        return CurvesResult(path=folder.path, data=data, features=features, reading=self.reading)

    def _not_axes(self) -> list[str]:
        names = [self.group_by, self._seed_column()]
        # A run that several columns name together is named by its settings.
        names += [c.run[0] for _, c in self.reading.columns if len(c.run) == 1]
        return [name for name in names if name is not None]

    def _origin(self, lines: Sequence[str]) -> Origin:
        from sweepdiag.plotting import Origin

        problems = self.reading.problems
        return Origin(
            lines=tuple(lines),
            problems=tuple(str(problem) for problem in problems.listed[:N_SHOWN]),
            n_problems=problems.count,
            problems_file="unreadable.csv" if problems.count else "",
        )


_VERDICT_COLUMNS = [
    "trial_id", "seed", "verdict", "runner_up", "tags", "confidence", "turning_epoch", "evidence",
    "context", "reference_id",
]  # fmt: skip


def _environment() -> dict[str, Any]:
    import sweepdiag

    return {"sweepdiag": sweepdiag.__version__}


def _concat(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(parts, ignore_index=True)


def _without(gone: Sequence[str], *tables: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return runs and curves without those of some runs."""
    runs, curves = (t[~t["trial_id"].isin(gone)].reset_index(drop=True) for t in tables)
    return runs, curves


def _slug(name: str, number: int) -> str:
    """Return a folder name for a sweep; the number keeps those apart that look alike."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")[:40]
    return f"{number:02d}-{plain}" if plain else f"{number:02d}"
