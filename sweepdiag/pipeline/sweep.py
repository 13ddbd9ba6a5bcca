"""Running and resuming a sweep."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sweepdiag
from sweepdiag.errors import ConfigError
from sweepdiag.pipeline.diagnosis import Diagnosis, diagnose_folder, read_config
from sweepdiag.pipeline.environment import describe_environment, now
from sweepdiag.pipeline.progress import Progress, ProgressMeter, SweepObserver
from sweepdiag.pipeline.resolve import ResolvedSweep, resolve_config, resolve_sweep
from sweepdiag.rules import Thresholds
from sweepdiag.space import plan_packs
from sweepdiag.store import RunFolder
from sweepdiag.store.history import event_records, header_record, plan_record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from sweepdiag.config import SweepConfig
    from sweepdiag.execution import Devices, Executor
    from sweepdiag.records import Finding, Pack, Recommendation, State
    from sweepdiag.store import History, Journal
    from sweepdiag.workloads import TrainLoop, Workload

__all__ = ["SweepResult", "default_output", "resume_sweep", "run_sweep"]

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

    def __str__(self) -> str:
        """Return the summary that the command line prints."""
        from sweepdiag.report import render_text

        return render_text(self.diagnosis.data)


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
) -> SweepResult:
    """Continue the sweep of a folder: its plan minus what is done.

    Args:
        path: The run folder.
        retry: States whose trials are trained again although they are done, such as ``failed``.
        accept_changed_code: Continue although the workload's source files have changed.
        observer: Told how the sweep goes.
        execution: Settings of ``execution`` that differ this time.

    Returns:
        The sweep as if it had never been interrupted.
    """
    folder = RunFolder(Path(path))
    recorded = read_config(folder).to_mapping()
    changed = {**recorded["execution"], **dict(execution or {})}
    config, workload = resolve_config(
        options={**recorded, "execution": changed, "output": str(path)}
    )
    return run_config(
        config,
        workload,
        accept_changed_code=accept_changed_code,
        observer=observer,
        retry=retry,
    )


def run_config(
    config: SweepConfig,
    workload: Workload | TrainLoop,
    *,
    overwrite: bool = False,
    accept_changed_code: bool = False,
    observer: SweepObserver | None = None,
    retry: Sequence[State] = (),
) -> SweepResult:
    """Run a resolved configuration; see ``run_sweep``."""
    from sweepdiag.execution import resolve_devices
    from sweepdiag.training import fix_summation_order

    fix_summation_order()
    watcher = observer or _Silent()
    Thresholds.from_overrides(config.diagnosis.thresholds)  # refused now rather than in the end
    devices = resolve_devices(config.execution.gpus, address=config.execution.address)
    sweep = resolve_sweep(config, workload)
    folder = RunFolder(Path(config.output) if config.output else default_output(workload.name))
    _claim(folder, sweep, overwrite=overwrite)
    with folder.open_journal() as journal:
        history = _recorded_history(
            folder, journal, sweep, accept_changed_code=accept_changed_code
        )
        folder.write_json(
            "environment.json",
            describe_environment(version=sweepdiag.__version__, devices=devices.line),
        )
        _train(folder, journal, history, sweep, devices, watcher, retry)
    diagnosis = diagnose_folder(folder, on_stage=watcher.stage)
    return SweepResult(path=folder.path, diagnosis=diagnosis)


def default_output(name: str) -> Path:
    """Return a new folder under ``results/`` named by the workload and the time."""
    stamp = dt.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    path = Path("results") / f"{name}-{stamp}"
    number = 2
    while path.exists():
        path = Path("results") / f"{name}-{stamp}-{number}"
        number += 1
    return path


def _claim(folder: RunFolder, sweep: ResolvedSweep, *, overwrite: bool) -> None:
    """Make the folder this sweep's, continue it, or refuse.

    Raises:
        ConfigError: If the folder holds something else.
    """
    if folder.exists:
        recorded = read_config(folder)
        differences = _differences(recorded.comparable(), sweep.config.comparable())
        if not differences:
            return
        if not overwrite:
            message = (
                f"{folder.path} holds a different sweep ({'; '.join(differences[:3])}): choose "
                "another --output, or replace it with --overwrite"
            )
            raise ConfigError(message)
        folder.clear()
    elif not folder.is_free:
        message = f"{folder.path} is not empty and holds no sweep: choose another --output"
        raise ConfigError(message)
    folder.create(sweep_yaml=sweep.config.to_yaml())


def _differences(there: Any, here: Any, name: str = "") -> list[str]:
    """Return where two nested configurations differ, as ``epochs: 30 there, 40 here``."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        return [
            line
            for key in sorted({*there, *here})
            for line in _differences(there.get(key), here.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if there == here else [f"{name}: {there} there, {here} here"]


def _recorded_history(
    folder: RunFolder, journal: Journal, sweep: ResolvedSweep, *, accept_changed_code: bool
) -> History:
    """Return the sweep's state with header and plan recorded, whoever recorded them.

    Raises:
        ConfigError: If the recorded plan or code is not this sweep's.
    """
    history, damages = folder.read_history()
    for damage in damages:
        logger.warning("%s/journal.jsonl, line %d cannot be read", folder.path, damage.line)
    if not history.header:
        journal.append([_header(sweep)])
        history.facts = sweep.facts
    else:
        _check_sources(folder, history, sweep, accept_changed_code=accept_changed_code)
    if history.plan is None:
        journal.append([plan_record(sweep.plan)])
        history.add_plan(sweep.plan)
    planned = {trial.trial_id for trial in sweep.plan.trials}
    if planned != set(history.trials):
        message = (
            f"{folder.path} was planned with other data, another version of the workload or other "
            "settings: its trials are not those of this sweep; choose another --output, or "
            "replace it with --overwrite"
        )
        raise ConfigError(message)
    return history


def _header(sweep: ResolvedSweep) -> dict[str, Any]:
    return header_record(
        run_id=uuid.uuid4().hex,
        created=now(),
        version=sweepdiag.__version__,
        facts=sweep.facts,
        sources=sweep.sources,
    )


def _check_sources(
    folder: RunFolder, history: History, sweep: ResolvedSweep, *, accept_changed_code: bool
) -> None:
    recorded = history.header.get("sources", {})
    changed = sorted(
        path
        for path in {*recorded, *sweep.sources}
        if recorded.get(path) != sweep.sources.get(path)
    )
    if not changed:
        return
    message = f"{', '.join(changed)} changed since {folder.path} was begun"
    if not accept_changed_code:
        msg = f"{message}: choose another --output, or pass --accept-changed-code"
        raise ConfigError(msg)
    logger.warning("%s; going on as asked", message)


def _train(
    folder: RunFolder,
    journal: Journal,
    history: History,
    sweep: ResolvedSweep,
    devices: Devices,
    watcher: SweepObserver,
    retry: Sequence[State],
) -> None:
    """Train what is to be done and record every event before anybody sees it."""
    thresholds = Thresholds.from_overrides(sweep.config.diagnosis.thresholds)
    packs = _packs(history, sweep, retry)
    meter = ProgressMeter(history, epochs=sweep.config.epochs, thresholds=thresholds)
    if not packs:
        watcher.started(folder.path, ["All trials are done already."], meter.progress())
        return
    make, reason = _choose_executor(sweep, devices, packs)
    watcher.started(folder.path, [devices.line, reason], meter.progress())
    meter = ProgressMeter(history, epochs=sweep.config.epochs, thresholds=thresholds)
    with make() as executor:
        for events in executor.run(packs, sweep.worker):
            journal.append(event_records(events))
            history.add_events(events)
            watcher.progressed(meter.update(events))


def _packs(history: History, sweep: ResolvedSweep, retry: Sequence[State]) -> tuple[Pack, ...]:
    from sweepdiag.workloads import TrainLoop

    is_loop = isinstance(sweep.worker.workload, TrainLoop)
    return plan_packs(
        history.todo(retry=retry),
        axes=sweep.plan.axes,
        pack_size=1 if is_loop else sweep.config.execution.pack_size,
        attempts={trial_id: trial.attempt for trial_id, trial in history.trials.items()},
    )


def _choose_executor(
    sweep: ResolvedSweep, devices: Devices, packs: Sequence[Pack]
) -> tuple[Callable[[], Executor], str]:
    """Return what makes the executor, and why it is that one."""
    from sweepdiag.execution import make_executor, usable_cpus

    execution = sweep.config.execution
    n_workers = devices.count or execution.workers or usable_cpus()
    name, reason = execution.executor, f"Executor {execution.executor}, as asked."
    if name == "auto":
        name, reason = _expected_sooner(sweep, devices, packs, n_workers)

    def make() -> Executor:
        return make_executor(
            name,
            devices=devices,
            n_workers=min(n_workers, len(packs)),
            address=execution.address,
        )

    return make, reason


def _expected_sooner(
    sweep: ResolvedSweep, devices: Devices, packs: Sequence[Pack], n_workers: int
) -> tuple[str, str]:
    from sweepdiag.execution import choose_executor

    if n_workers > 1 and sweep.config.execution.workers is not None:
        return "ray", f"Ray: {n_workers} workers, as asked."
    if devices.count > 1:
        return "ray", f"Ray: a worker for each of {devices.count} GPUs."
    device = "cuda:0" if devices.kind == "cuda" else "cpu"
    pack_s = sweep.worker.estimate_seconds(packs, device=device) if n_workers > 1 else [0.0]
    if pack_s is None:
        return "ray", f"Ray: {n_workers} workers, each trial in a process of its own."
    choice = choose_executor(
        serial_s=sum(pack_s),
        longest_pack_s=max(pack_s),
        n_packs=len(packs),
        n_workers=n_workers,
        address=sweep.config.execution.address,
    )
    return choice.name, choice.reason


class _Silent:
    """Watches without a word."""

    def started(self, path: Path, lines: Sequence[str], _progress: Progress) -> None:
        for line in lines:
            logger.info("%s: %s", path, line)

    def progressed(self, progress: Progress) -> None:
        """Say nothing."""

    def stage(self, name: str) -> None:
        logger.info("%s", name)
