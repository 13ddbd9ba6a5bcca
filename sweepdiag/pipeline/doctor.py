"""How a sweep would be trained on this machine, found out without training it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweepdiag.errors import ConfigError
from sweepdiag.messages import describe_error
from sweepdiag.pipeline.resolve import resolve_sweep
from sweepdiag.space import plan_packs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sweepdiag.config import ExecutionConfig, SweepConfig
    from sweepdiag.records import AxisValue, Pack
    from sweepdiag.training import MemoryNeed, PackTrainer
    from sweepdiag.workloads import TrainLoop, Workload

__all__ = ["Examination", "examine_workload"]

_ANY_NUMBER = 10**9


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """How the trials of one architecture and batch size would be trained.

    Attributes:
        axes: What they have in common.
        n_trials: How many there are.
        n_parameters: Trainable numbers of each.
        tier: How they would be trained; empty where the model does not run.
        reason: Why, or what the model raised.
        width: Trials that are trained together.
        threads: Threads of the CPU that each worker trains on.
        is_remembered: Whether an earlier run on this machine has measured it.
        speedup: How many times as fast as one after the other.
        trials_per_s: On one worker.
        memory_bytes: What each trial of a pack takes at most, measured: model, gradients,
            optimizer, minibatch and activations. NaN where it is not known.
        n_fitting: How many trials have room at a time in one worker; ``None``: not known.
    """

    axes: Mapping[str, AxisValue]
    n_trials: int
    n_parameters: int
    tier: str
    reason: str
    width: int
    threads: int
    is_remembered: bool
    speedup: float
    trials_per_s: float
    memory_bytes: float
    n_fitting: int | None


def examine_workload(
    config: SweepConfig, workload: Workload | TrainLoop, *, device: str = "cpu"
) -> list[Examination]:
    """Return how each architecture of a sweep would be trained, from a few real steps of it.

    Every model is traced, and a few of its steps are compared with those of a single training;
    nothing is written.

    Args:
        config: Every setting of the sweep.
        workload: The workload that it names.
        device: Where to try.

    Returns:
        One examination per architecture and batch size.

    Raises:
        ConfigError: If the workload is a training loop of the user's own, which is never fused.
    """
    from sweepdiag.workloads import TrainLoop

    if isinstance(workload, TrainLoop):
        message = (
            f"workload {workload.name!r} is a training loop of your own: each of its trials runs "
            "in a process of its own, and there is no model to look at"
        )
        raise ConfigError(message)
    sweep = resolve_sweep(config, workload)
    execution = config.execution
    sweep.worker.n_workers = 1 if execution.executor == "serial" else execution.workers
    sweep.worker.most_threads = _threads_of_worker(execution)
    packs = plan_packs(
        sweep.plan.trials,
        axes=sweep.plan.axes,
        pack_size=execution.pack_size,
        attempts={},
    )
    room_bytes = sweep.worker.room_bytes(device)
    return _examine(sweep.worker.trainer(device), packs, room_bytes=room_bytes)


def _threads_of_worker(execution: ExecutionConfig) -> int:
    """Return the threads that a worker may have if the cores are filled as the settings say."""
    from sweepdiag.execution import usable_cpus

    n_cores = usable_cpus()
    n_workers = execution.workers or (1 if execution.executor == "serial" else n_cores)
    return execution.threads or max(n_cores // n_workers, 1)


def _examine(
    trainer: PackTrainer, packs: tuple[Pack, ...], *, room_bytes: float
) -> list[Examination]:
    from sweepdiag.training import structure

    groups: dict[object, list[Pack]] = {}
    for pack in packs:
        groups.setdefault(structure(pack), []).append(pack)
    return [_examine_group(trainer, group, room_bytes=room_bytes) for group in groups.values()]


def _examine_group(trainer: PackTrainer, packs: list[Pack], *, room_bytes: float) -> Examination:
    from sweepdiag.training import structure

    axes = dict(structure(packs[0]))
    n_trials = sum(len(pack.trials) for pack in packs)
    try:
        plan = trainer.plan(packs[0])
    except Exception as error:  # noqa: BLE001 - the user's model may raise anything
        return Examination(
            axes=axes,
            n_trials=n_trials,
            n_parameters=0,
            tier="",
            reason=describe_error(error, with_place=True),
            width=0,
            threads=0,
            is_remembered=False,
            speedup=math.nan,
            trials_per_s=math.nan,
            memory_bytes=math.nan,
            n_fitting=None,
        )
    seconds = sum(trainer.estimate_seconds(packs))
    return Examination(
        axes=axes,
        n_trials=n_trials,
        n_parameters=plan.n_parameters,
        tier=str(plan.tier),
        reason=plan.reason,
        width=plan.width_in(room_bytes, len(packs[0].trials)),
        threads=plan.threads,
        is_remembered=plan.is_remembered,
        speedup=plan.speedup,
        trials_per_s=n_trials / seconds if seconds > 0 else math.nan,
        memory_bytes=plan.memory.member_bytes,
        n_fitting=_n_fitting(plan.memory, room_bytes),
    )


def _n_fitting(need: MemoryNeed, room_bytes: float) -> int | None:
    if not math.isfinite(need.of(1)) or not math.isfinite(room_bytes):
        return None
    return need.fitting(_ANY_NUMBER, room_bytes)
