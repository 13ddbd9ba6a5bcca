"""Training what is left of a plan: packs, the executor, and every event into the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweepdiag.errors import ConfigError
from sweepdiag.pipeline.environment import now
from sweepdiag.pipeline.fuse import FailureFuse
from sweepdiag.pipeline.progress import ProgressMeter, SweepObserver
from sweepdiag.rules import Thresholds
from sweepdiag.space import plan_packs
from sweepdiag.store.driver import session_record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sweepdiag.execution import Devices, Executor, StopRequests
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
    stops: StopRequests,
) -> None:
    """Train what is to be done and record every event before anybody sees it."""
    thresholds = Thresholds.from_overrides(sweep.config.diagnosis.thresholds)
    packs = _packs(history, sweep, retry)
    make, reason, n_threads = None, "", 1
    if packs:
        make, reason, n_threads = _choose_executor(
            sweep, devices, packs, has_crashed=journal.is_taken_over
        )
    meter = ProgressMeter(history, packs=packs, epochs=sweep.config.epochs, thresholds=thresholds)
    if make is None:
        watcher.started(folder.path, ["All trials are done already."], meter.progress())
        return
    watcher.started(folder.path, [devices.line, reason], meter.progress())
    journal.append([session_record(started=now())])
    sweep.worker.most_threads = n_threads
    fuse = FailureFuse(history, max_fraction=sweep.config.execution.max_failed_fraction)
    with make() as executor:
        stops.check()
        # The hosts of a cluster are not known here: there each core may have a worker.
        is_cluster = sweep.config.execution.address not in {None, "local"}
        sweep.worker.n_workers = None if is_cluster else executor.n_workers
        for events in executor.run(packs, sweep.worker):
            journal.append(history.add_events(events))
            progress = meter.update(events)
            watcher.progressed(progress)
            fuse.update(events, n_left=progress.n_trials - progress.n_done)
            stops.check()


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
    sweep: ResolvedSweep, devices: Devices, packs: Sequence[Pack], *, has_crashed: bool
) -> tuple[Callable[[], Executor], str, int]:
    """Return what makes the executor, why it is that one, and the threads that a worker may have.

    Workers share the cores of this machine; what other machines of a cluster have is not known.
    Where the process that trained here before has died, a training may have ended it, and would
    end this one as well.

    Raises:
        ConfigError: If there are deadlines and no process that could be ended.
    """
    from sweepdiag.execution import make_executor, usable_cpus
    from sweepdiag.workloads import TrainLoop

    execution = sweep.config.execution
    # Each trial of a user's own loop is a process, which a worker waits for.
    is_loop = isinstance(sweep.worker.workload, TrainLoop)
    n_workers = devices.count or execution.workers or usable_cpus()
    name, reason = execution.executor, f"Executor {execution.executor}, as asked."
    # A training that hangs in this process cannot be ended; a loop's trial has its own process.
    is_child = _is_child_process(sweep)
    has_deadlines = bool(sweep.worker.deadlines) and not is_child
    if has_deadlines and name in {"serial", "tune"}:
        message = (
            "execution.start_timeout_s and silence_timeout_s need processes that are watched and "
            f"can be ended: execution.executor must be ray or auto, got {name}"
        )
        raise ConfigError(message)
    if name == "auto" and has_deadlines:
        name, reason = "ray", "Ray: deadlines need worker processes, which can be ended."
    elif name == "auto" and has_crashed and not is_child:
        name, reason = "ray", "Ray: the process before has died; of workers one may."
    elif name == "auto":
        name, reason = _expected_sooner(sweep, devices, packs, n_workers)

    n_used = min(n_workers, len(packs))
    is_here = devices.kind != "cuda" and execution.address in {None, "local"}
    n_threads = usable_cpus() // (1 if name == "serial" else n_used) if is_here else 1

    def make() -> Executor:
        return make_executor(
            name,
            devices=devices,
            n_workers=n_used,
            packs_per_device=1 if is_loop else execution.packs_per_device,
            address=execution.address,
            join_timeout_s=execution.join_timeout_s,
            deadlines=sweep.worker.deadlines if has_deadlines else None,
        )

    return make, reason, execution.threads or max(n_threads, 1)


def _is_child_process(sweep: ResolvedSweep) -> bool:
    """Return whether each trial is a process that its worker waits for, and ends in time."""
    from sweepdiag.workloads import TrainLoop

    worker = sweep.worker
    return isinstance(worker.workload, TrainLoop) and worker.reference is not None


def _expected_sooner(
    sweep: ResolvedSweep, devices: Devices, packs: Sequence[Pack], n_workers: int
) -> tuple[str, str]:
    from sweepdiag.execution import choose_executor

    if n_workers > 1 and sweep.config.execution.workers is not None:
        return "ray", f"Ray: {n_workers} workers, as asked."
    if devices.count > 1:
        return "ray", f"Ray: a worker for each of {devices.count} GPUs."
    device = "cuda:0" if devices.kind == "cuda" else "cpu"
    is_open = n_workers > 1 and sweep.config.execution.address in {None, "local"}
    pack_s = sweep.worker.estimate_seconds(packs, device=device) if is_open else [0.0]
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
