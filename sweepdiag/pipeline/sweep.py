"""Running and resuming a sweep."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sweepdiag
from sweepdiag.errors import ConfigError
from sweepdiag.pipeline.diagnosis import Diagnosis, diagnose_folder, read_config
from sweepdiag.pipeline.environment import describe_environment
from sweepdiag.pipeline.execute import train
from sweepdiag.pipeline.recording import claim, recorded_history
from sweepdiag.pipeline.resolve import resolve_config, resolve_sweep
from sweepdiag.pipeline.trying import check_that_some_trial_begins
from sweepdiag.records import DONE_STATES
from sweepdiag.rules import Thresholds
from sweepdiag.rules.findings.gate import check_codes
from sweepdiag.space import shard_trials
from sweepdiag.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from sweepdiag.config import SweepConfig
    from sweepdiag.pipeline.progress import Progress, SweepObserver
    from sweepdiag.records import Finding, Recommendation, State
    from sweepdiag.store import History
    from sweepdiag.workloads import TrainLoop, Workload

__all__ = [
    "ShardResult",
    "SweepResult",
    "default_output",
    "resume_sweep",
    "run_config",
    "run_sweep",
    "train_shard",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """A finished sweep and what it says.

    Attributes:
        path: The run folder.
        diagnosis: Everything that was derived from it.
    """

    path: Path
    diagnosis: Diagnosis

    @property
    def trials(self) -> pd.DataFrame:
        """One row per trial: axes, seed, state, parameters, time."""
        return self.diagnosis.data.trials

    @property
    def curves(self) -> pd.DataFrame:
        """One row per evaluation of each trial."""
        return self.diagnosis.data.curves

    @property
    def verdicts(self) -> pd.DataFrame:
        """One row per judged trial: class, tags, evidence, confidence."""
        return self.diagnosis.data.verdicts

    @property
    def configurations(self) -> pd.DataFrame:
        """One row per configuration: class over its seeds, best values."""
        return self.diagnosis.data.configurations

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What can be said about the sweep as a whole."""
        return self.diagnosis.data.findings

    @property
    def recommendation(self) -> Recommendation:
        """Where to train, when to stop, what to run next."""
        return self.diagnosis.data.recommendation

    @property
    def report(self) -> Path:
        """The HTML report."""
        return RunFolder(self.path).report

    @property
    def n_failed(self) -> int:
        """Trials that could not be carried out."""
        from sweepdiag.pipeline.progress import failed_states

        return int(self.trials["state"].isin([s.value for s in failed_states()]).sum())

    @property
    def n_missing(self) -> int:
        """Trials that are still to be trained."""
        return int((~self.trials["state"].isin([s.value for s in DONE_STATES])).sum())

    def __str__(self) -> str:
        """Return the summary that the command line prints."""
        from sweepdiag.report import render_text

        return render_text(self.diagnosis.data)


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """A part of a sweep, trained.

    Attributes:
        path: The run folder.
        shard: Which part, as ``i/K``.
        states: Number of its trials per state.
    """

    path: Path
    shard: str
    states: Mapping[State, int]

    @property
    def n_failed(self) -> int:
        """Trials that could not be carried out."""
        from sweepdiag.pipeline.progress import failed_states

        return sum(self.states.get(state, 0) for state in failed_states())

    def __str__(self) -> str:
        """Return a line on what became of its trials."""
        told = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        return f"{self.path}: shard {self.shard}, trials: {told}"


def run_sweep(
    workload: str | Workload | TrainLoop | None = None,
    *,
    config: str | Path | None = None,
    parameters: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    output: str | Path | None = None,
    overwrite: bool = False,
    accept_changed_code: bool = False,
    observer: SweepObserver | None = None,
    **settings: Any,
) -> SweepResult:
    """Train a sweep and diagnose it.

    A folder that holds the same sweep is continued, so that an interrupted call can be repeated.

    Args:
        workload: What to train: a ``Workload``, a ``TrainLoop``, or a reference such as
            ``"digits"`` or ``"my_workload.py:build"``. ``None`` if the file names it.
        config: A YAML file of settings.
        parameters: The axes: per name a list of values, one value, or a block
            ``{"min": 1e-4, "max": 1, "n": 8}``.
        overrides: Further settings as ``"optimizer.momentum=0.95"``.
        output: The run folder; by default a new one under ``results/``.
        overwrite: Replace a different sweep in that folder.
        accept_changed_code: Continue although the workload's source files have changed.
        observer: Told how the sweep goes.
        **settings: Settings of the file's top level: ``epochs``, ``seeds``, ``optimizer``, ….

    Returns:
        The sweep with its curves, verdicts, findings and recommendation.
    """
    options = {
        **settings,
        "parameters": parameters,
        "output": None if output is None else str(output),
    }
    resolved_config, loaded = resolve_config(
        workload,
        path=None if config is None else Path(config),
        options={name: value for name, value in options.items() if value is not None},
        overrides=overrides,
    )
    return run_config(
        resolved_config,
        loaded,
        overwrite=overwrite,
        accept_changed_code=accept_changed_code,
        observer=observer,
    )


def resume_sweep(
    path: str | Path,
    *,
    retry: Sequence[State] = (),
    accept_changed_code: bool = False,
    observer: SweepObserver | None = None,
    execution: Mapping[str, Any] | None = None,
) -> SweepResult | ShardResult:
    """Continue the sweep of a folder: its plan minus what is done.

    Args:
        path: The run folder.
        retry: States whose trials are trained again although they are done, such as ``failed``.
        accept_changed_code: Continue although the workload's source files have changed.
        observer: Told how the sweep goes.
        execution: Settings of ``execution`` that differ this time.

    Returns:
        The sweep as if it had never been interrupted; of a folder that holds a shard, the shard.
    """
    folder = RunFolder(Path(path))
    recorded = read_config(folder).to_mapping()
    _check_directory(folder, str(recorded["workload"]))
    changed = {**recorded["execution"], **dict(execution or {})}
    config, workload = resolve_config(
        options={**recorded, "execution": changed, "output": str(path)}
    )
    run = run_config if config.execution.shard is None else train_shard
    return run(
        config,
        workload,
        accept_changed_code=accept_changed_code,
        observer=observer,
        retry=retry,
    )


def _check_directory(folder: RunFolder, reference: str) -> None:
    """Say where to resume from if the workload's file is relative to another folder.

    Raises:
        ConfigError: If the file is not here, but where the sweep was begun.
    """
    file = Path(reference.rpartition(":")[0])
    if file.suffix != ".py" or file.exists():
        return
    history, _ = folder.read_history()
    begun_in = Path(str(history.header.get("directory", "")))
    if (begun_in / file).exists():
        message = (
            f"workload file {file} is relative to {begun_in}, where the sweep was begun: resume "
            f"there, with {folder.path.resolve()}"
        )
        raise ConfigError(message)


def run_config(
    config: SweepConfig,
    workload: Workload | TrainLoop,
    *,
    overwrite: bool = False,
    accept_changed_code: bool = False,
    observer: SweepObserver | None = None,
    retry: Sequence[State] = (),
) -> SweepResult:
    """Run a resolved configuration; see ``run_sweep``.

    Repeated on a finished sweep it trains nothing, and leaves what has been derived as it is.
    """
    watcher = observer or _Silent()
    # What the journal has told is not kept: it is read again, as anybody would.
    folder = _train(
        config,
        workload,
        overwrite=overwrite,
        accept_changed_code=accept_changed_code,
        observer=watcher,
        retry=retry,
    )[0]
    diagnosis = diagnose_folder(folder, on_stage=watcher.stage, keep_report=True)
    return SweepResult(path=folder.path, diagnosis=diagnosis)


def train_shard(
    config: SweepConfig,
    workload: Workload | TrainLoop,
    *,
    overwrite: bool = False,
    accept_changed_code: bool = False,
    observer: SweepObserver | None = None,
    retry: Sequence[State] = (),
) -> ShardResult:
    """Train the part of a plan that ``execution.shard`` names; a part alone is not diagnosed.

    Arguments as of ``run_sweep``.
    """
    folder, history = _train(
        config,
        workload,
        overwrite=overwrite,
        accept_changed_code=accept_changed_code,
        observer=observer or _Silent(),
        retry=retry,
    )
    shard = config.execution.shard or "0/1"
    return ShardResult(path=folder.path, shard=shard, states=history.count_states())


def _train(
    config: SweepConfig,
    workload: Workload | TrainLoop,
    *,
    overwrite: bool,
    accept_changed_code: bool,
    observer: SweepObserver,
    retry: Sequence[State],
) -> tuple[RunFolder, History]:
    """Train what a configuration asks for; of a shard, the history has its own trials only."""
    from sweepdiag.execution import StopRequests, resolve_devices

    Thresholds.from_overrides(config.diagnosis.thresholds)  # refused now rather than in the end
    check_codes(config.diagnosis.ignore, option="diagnosis.ignore")
    with StopRequests() as stops:
        devices = resolve_devices(
            config.execution.wanted_gpus,
            most=config.execution.most_gpus,
            address=config.execution.address,
            join_timeout_s=config.execution.join_timeout_s,
        )
        stops.check()
        sweep = resolve_sweep(config, workload)
        shard = config.execution.shard_parts
        part = None if shard is None else shard_trials(sweep.plan, *shard)
        folder = RunFolder(Path(config.output) if config.output else default_output(workload.name))
        try_first = partial(check_that_some_trial_begins, kind=devices.kind)
        if overwrite or not folder.exists:
            sweep = try_first(sweep)
        claim(folder, sweep, overwrite=overwrite)
        with folder.open_journal() as journal:
            history = recorded_history(
                folder,
                journal,
                sweep,
                try_first=try_first,
                overwrite=overwrite,
                accept_changed_code=accept_changed_code,
            )
            if part is not None:
                history.keep(trial.trial_id for trial in part)
            if history.todo(retry=retry):
                environment = describe_environment(
                    version=sweepdiag.__version__, devices=devices.line
                )
                folder.write_json("environment.json", environment)
            train(folder, journal, history, sweep, devices, observer, retry, stops)
    return folder, history


def default_output(name: str) -> Path:
    """Return a new folder under ``results/`` named by the workload and the time."""
    stamp = dt.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    path = Path("results") / f"{name}-{stamp}"
    number = 2
    while path.exists():
        path = Path("results") / f"{name}-{stamp}-{number}"
        number += 1
    return path


class _Silent:
    """Watches without a word."""

    def started(self, path: Path, lines: Sequence[str], _progress: Progress) -> None:
        for line in lines:
            logger.info("%s: %s", path, line)

    def progressed(self, progress: Progress) -> None:
        """Say nothing."""

    def stage(self, name: str) -> None:
        logger.info("%s", name)
