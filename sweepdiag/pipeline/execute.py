"""Training what is left of a plan: packs, the executor, and every event into the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweepdiag.pipeline.environment import now
from sweepdiag.pipeline.progress import ProgressMeter, SweepObserver
from sweepdiag.rules import Thresholds
from sweepdiag.space import plan_packs
from sweepdiag.store.driver import session_record
from sweepdiag.store.history import event_records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sweepdiag.execution import Devices, Executor
    from sweepdiag.pipeline.resolve import ResolvedSweep
    from sweepdiag.records import Pack, State
    from sweepdiag.store import History, Journal, RunFolder

__all__ = ["train"]


def train(
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
    make, reason = _choose_executor(sweep, devices, packs) if packs else (None, "")
    meter = ProgressMeter(history, packs=packs, epochs=sweep.config.epochs, thresholds=thresholds)
    if make is None:
        watcher.started(folder.path, ["All trials are done already."], meter.progress())
        return
    watcher.started(folder.path, [devices.line, reason], meter.progress())
    journal.append([session_record(started=now())])
    with make() as executor:
        # The hosts of a cluster are not known here: there each core may have a worker.
        is_cluster = sweep.config.execution.address not in {None, "local"}
        sweep.worker.n_workers = None if is_cluster else executor.n_workers
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
    from sweepdiag.workloads import TrainLoop

    execution = sweep.config.execution
    # Each trial of a user's own loop is a process, which a worker waits for.
    is_loop = isinstance(sweep.worker.workload, TrainLoop)
    n_workers = devices.count or execution.workers or usable_cpus()
    name, reason = execution.executor, f"Executor {execution.executor}, as asked."
    if name == "auto":
        name, reason = _expected_sooner(sweep, devices, packs, n_workers)

    def make() -> Executor:
        return make_executor(
            name,
            devices=devices,
            n_workers=min(n_workers, len(packs)),
            packs_per_device=1 if is_loop else execution.packs_per_device,
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
