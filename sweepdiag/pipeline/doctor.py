"""How a sweep would be trained on this machine, found out without training it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweepdiag.errors import ConfigError
from sweepdiag.messages import describe_error
from sweepdiag.pipeline.resolve import resolve_sweep
from sweepdiag.space import plan_packs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sweepdiag.config import SweepConfig
    from sweepdiag.records import AxisValue, Pack
    from sweepdiag.training import PackTrainer
    from sweepdiag.workloads import TrainLoop, Workload

__all__ = ["Examination", "examine_workload"]


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
        state_bytes: Parameters, gradients and optimizer state of one trial, in single precision.
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
    state_bytes: int


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
    from sweepdiag.training import PackTrainer
    from sweepdiag.workloads import TrainLoop

    if isinstance(workload, TrainLoop):
        message = (
            f"workload {workload.name!r} is a training loop of your own: each of its trials runs "
            "in a process of its own, and there is no model to look at"
        )
        raise ConfigError(message)
    sweep = resolve_sweep(config, workload)
    prepared = sweep.worker.prepared
    if prepared is None:
        message = f"workload {workload.name!r} has no data"
        raise ConfigError(message)
    trainer = PackTrainer(
        prepared=prepared.to(device, memory_gb=config.execution.data_memory_gb),
        settings=sweep.worker.settings,
        device=device,
        packing=sweep.worker.packing,
    )
    trainer.most_threads = _threads_of_worker(config)
    packs = plan_packs(
        sweep.plan.trials,
        axes=sweep.plan.axes,
        pack_size=config.execution.pack_size,
        attempts={},
    )
    return _examine(trainer, packs, n_states=_n_states(config))


def _threads_of_worker(config: SweepConfig) -> int:
    """Return the threads that a worker may have if the cores are filled as the settings say."""
    from sweepdiag.execution import usable_cpus

    execution, n_cores = config.execution, usable_cpus()
    n_workers = execution.workers or (1 if execution.executor == "serial" else n_cores)
    return execution.threads or max(n_cores // n_workers, 1)


def _n_states(config: SweepConfig) -> int:
    """Return how many numbers the optimizer keeps per parameter."""
    if config.optimizer.name != "sgd":
        return 2
    return int(config.optimizer.momentum > 0 or "momentum" in config.parameters)


def _examine(trainer: PackTrainer, packs: tuple[Pack, ...], *, n_states: int) -> list[Examination]:
    from sweepdiag.training import structure

    groups: dict[object, list[Pack]] = {}
    for pack in packs:
        groups.setdefault(structure(pack), []).append(pack)
    return [_examine_group(trainer, group, n_states=n_states) for group in groups.values()]


def _examine_group(trainer: PackTrainer, packs: list[Pack], *, n_states: int) -> Examination:
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
            reason=describe_error(error),
            width=0,
            threads=0,
            is_remembered=False,
            speedup=float("nan"),
            trials_per_s=float("nan"),
            state_bytes=0,
        )
    seconds = sum(trainer.estimate_seconds(packs))
    return Examination(
        axes=axes,
        n_trials=n_trials,
        n_parameters=plan.n_parameters,
        tier=str(plan.tier),
        reason=plan.reason,
        width=plan.width or len(packs[0].trials),
        threads=plan.threads,
        is_remembered=plan.is_remembered,
        speedup=plan.speedup,
        trials_per_s=n_trials / seconds if seconds > 0 else float("nan"),
        state_bytes=4 * (2 + n_states) * plan.n_parameters,
    )
