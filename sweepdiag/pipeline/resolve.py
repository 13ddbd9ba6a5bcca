"""From what a user asked for to a sweep that is completely decided."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweepdiag.config import Settings, SweepConfig, read_settings, validate_settings
from sweepdiag.errors import ConfigError
from sweepdiag.pipeline.fitting import (
    check_executor,
    check_loop_settings,
    check_model_axes,
    check_monitor,
    check_optimizer_axes,
    note_metric,
)
from sweepdiag.pipeline.worker import EarlyStop, SweepWorker
from sweepdiag.records import (
    Deadlines,
    OptimizerSettings,
    PackSettings,
    Plan,
    ScheduleSettings,
    SplitSettings,
    SweepFacts,
    TrainingSettings,
    plain,
)
from sweepdiag.rules import Thresholds
from sweepdiag.space import (
    axes_of_configurations,
    grid_axes,
    grid_configurations,
    is_whole_range,
    plan_trials,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sweepdiag.records import Axis, AxisValue
    from sweepdiag.workloads import PreparedWorkload, TrainLoop, Workload

__all__ = ["IN_MEMORY", "ResolvedSweep", "resolve_config", "resolve_sweep"]

logger = logging.getLogger(__name__)

IN_MEMORY = "object:"
"""Prefix of the reference of a workload that exists only in the process that made it."""

_DEFAULT_LR = {"sgd": (1e-4, 10.0), "adam": (1e-5, 1.0), "adamw": (1e-5, 1.0)}
_READ_BY_OPTIMIZER = {
    "sgd": ("momentum", "nesterov", "weight_decay"),
    "adam": ("beta1", "beta2", "eps", "weight_decay"),
    "adamw": ("beta1", "beta2", "eps", "weight_decay"),
}
_READ_BY_SCHEDULE = {
    "constant": (),
    "step": ("step_epochs", "step_factor"),
    "cosine": ("final_fraction",),
}
_DEFAULT_BATCH_SIZES = (16, 64, 256)


@dataclass(frozen=True, kw_only=True)
class ResolvedSweep:
    """A sweep that is completely decided: only training is left.

    Attributes:
        config: Every setting.
        plan: Every trial.
        facts: What is known of the task.
        worker: What trains a pack.
        sources: SHA-256 of the user's source files, by path.
    """

    config: SweepConfig
    plan: Plan
    facts: SweepFacts
    worker: SweepWorker
    sources: Mapping[str, str]


def resolve_config(
    workload: str | Workload | TrainLoop | None = None,
    *,
    path: Path | None = None,
    options: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
) -> tuple[SweepConfig, Workload | TrainLoop]:
    """Return the resolved configuration and the workload it is about.

    Args:
        workload: A reference or the workload itself; ``None`` if the file or the options name it.
        path: A YAML file.
        options: Settings that come before the file's.
        overrides: ``key=value`` settings that come before the file's, and may not contradict
            the options.

    Returns:
        The configuration with the workload's own defaults filled in, and the workload.

    Raises:
        ConfigError: If the workload exists only in the Python process that made it.
    """
    from sweepdiag.training import fix_summation_order
    from sweepdiag.workloads import load_workload

    fix_summation_order()  # before the user's code computes anything
    given = dict(options or {})
    if workload is not None:
        given["workload"] = workload if isinstance(workload, str) else IN_MEMORY + workload.name
    settings = read_settings(path, options=given, overrides=overrides)
    if isinstance(workload, str | None):
        if settings.workload.startswith(IN_MEMORY):
            message = (
                f"workload {settings.workload!r} was made in Python: call sweepdiag.run_sweep "
                "again with the same workload and output to go on"
            )
            raise ConfigError(message)
        workload = load_workload(settings.workload, settings.workload_parameters)
    config = _validated(settings, workload)
    _warn_of_unread(settings.given, config)
    return config, workload


def _warn_of_unread(given: Mapping[str, Any], config: SweepConfig) -> None:
    """Name each setting that was given, and that the optimizer or schedule does not read."""
    for group, readers in (("optimizer", _READ_BY_OPTIMIZER), ("schedule", _READ_BY_SCHEDULE)):
        block = getattr(config, group)
        unread = set().union(*readers.values()) - set(readers[block.name])
        for name in sorted(unread & (given.get(group) or {}).keys()):
            value = getattr(block, name)
            if value != type(block).model_fields[name].default:
                owners = " and ".join(owner for owner, read in readers.items() if name in read)
                logger.warning(
                    "%s.%s=%s is not read: it belongs to %s, and %s.name is %s",
                    group, name, value, owners, group, block.name,
                )  # fmt: skip


def resolve_sweep(config: SweepConfig, workload: Workload | TrainLoop) -> ResolvedSweep:
    """Return the sweep that a configuration describes: its data prepared, its trials planned.

    Args:
        config: Every setting.
        workload: The workload that it names.

    Returns:
        The sweep. Nothing has been written or trained.

    Raises:
        ConfigError: If an axis does not fit the workload or the optimizer.
    """
    from sweepdiag.workloads import Workload, prepare, source_hashes

    settings, split = _training_settings(config), _split_settings(config)
    axes, configurations = _configurations(config)
    prepared = None
    if isinstance(workload, Workload):
        memory_gb = config.execution.data_memory_gb
        prepared = prepare(workload, split, loss=config.loss, memory_gb=memory_gb)
        note_metric(workload, prepared)
        check_model_axes(axes, workload, n_train=len(prepared.train))
        check_optimizer_axes(axes, config.optimizer.name)
        check_executor(config.execution.executor, workload)
    elif not axes:
        message = (
            f"training loop {workload.name!r} has no axes: give it some, as --lr 1e-4:1:6 or "
            "parameters.dropout=0,0.5"
        )
        raise ConfigError(message)
    elif "epochs" in {axis.name for axis in axes}:
        message = "axis 'epochs' is the budget of a training; set epochs instead"
        raise ConfigError(message)
    else:
        check_loop_settings(config)
    is_in_memory = config.workload.startswith(IN_MEMORY)
    facts = _facts(workload, prepared)
    check_monitor(config.monitor, facts)
    thresholds = Thresholds.from_overrides(config.diagnosis.thresholds)
    identity = {
        "settings": _effective(settings, axes, workload),
        "split": plain(split),
        "workload": [workload.name, workload.version, config.workload_parameters],
        "data": None if prepared is None else prepared.fingerprint,
    }
    return ResolvedSweep(
        config=config,
        plan=plan_trials(axes, configurations, config.seed_values, identity),
        facts=facts,
        sources={} if is_in_memory else source_hashes(config.workload),
        worker=SweepWorker(
            reference=None if is_in_memory else config.workload,
            parameters=config.workload_parameters,
            workload=workload,
            split=split,
            settings=settings,
            data_memory_gb=config.execution.data_memory_gb,
            pack_memory_gb=config.execution.pack_memory_gb,
            prepared=prepared,
            fingerprint=None if prepared is None else prepared.fingerprint,
            stop_rule=EarlyStop(facts=facts, thresholds=thresholds) if config.stop_early else None,
            packing=PackSettings(
                tier=config.execution.tier,
                width=config.execution.pack_width,
                threads=config.execution.threads,
            ),
            deadlines=Deadlines(
                start_s=config.execution.start_timeout_s,
                silence_s=config.execution.silence_timeout_s,
            ),
        ),
    )


def _effective(
    settings: TrainingSettings, axes: Sequence[Axis], workload: Workload | TrainLoop
) -> dict[str, Any]:
    """Return the settings that a curve depends on: none that its optimizer or schedule ignores.

    So the same training keeps its identity whatever stands in settings that nobody reads.
    """
    from sweepdiag.workloads import Workload

    if not isinstance(workload, Workload):
        return {"epochs": settings.epochs}
    named = {axis.name for axis in axes}
    loss = workload.resolved_loss(settings.loss)
    optimizer, schedule = plain(settings.optimizer), plain(settings.schedule)
    of_curve = {name: value for name, value in plain(settings).items() if name != "record"}
    return {
        **of_curve,
        "loss": loss if isinstance(loss, str) else "own",
        "optimizer": {
            name: optimizer[name]
            for name in ("name", *_READ_BY_OPTIMIZER[settings.optimizer.name])
            if name not in named
        },
        "schedule": {
            name: schedule[name]
            for name in ("name", "warmup_epochs", *_READ_BY_SCHEDULE[settings.schedule.name])
        },
    }


def _validated(settings: Settings, workload: Workload | TrainLoop) -> SweepConfig:
    """Return the configuration on top of the workload's defaults and, below those, our own."""
    from sweepdiag.workloads import Workload

    defaults = _nested(workload.settings)
    blocks = {name: _block(default) for name, default in workload.axes.items()}
    if isinstance(workload, Workload):
        optimizer = defaults.setdefault("optimizer", {})
        optimizer.setdefault("name", workload.optimizer)
        low, high = _DEFAULT_LR.get(optimizer["name"], _DEFAULT_LR["sgd"])
        blocks.setdefault("lr", _block((low, high)))
        n_samples = workload.n_samples
        fitting = [size for size in _DEFAULT_BATCH_SIZES if size <= n_samples // 2]
        blocks.setdefault("batch_size", {"values": fitting or [1]})
    return validate_settings(settings, defaults={**defaults, "parameters": blocks})


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Turn ``{"optimizer.momentum": 0.9}`` into ``{"optimizer": {"momentum": 0.9}}``."""
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        *parents, name = key.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[name] = value
    return tree


def _block(default: Any) -> dict[str, Any]:
    if isinstance(default, tuple):
        low, high = default
        return {"min": low, "max": high, "distribution": "log_uniform_values"}
    return dict(default) if isinstance(default, Mapping) else {"values": list(default)}


def _training_settings(config: SweepConfig) -> TrainingSettings:
    return TrainingSettings(
        optimizer=OptimizerSettings(**config.optimizer.model_dump()),
        schedule=ScheduleSettings(**config.schedule.model_dump()),
        loss=config.loss,
        epochs=config.epochs,
        evaluate_every_steps=config.evaluation.every_steps,
        numerics=config.numerics,
        record=config.record,
    )


def _split_settings(config: SweepConfig) -> SplitSettings:
    return SplitSettings(**config.split.model_dump())


def _configurations(
    config: SweepConfig,
) -> tuple[tuple[Axis, ...], Sequence[Mapping[str, AxisValue]]]:
    blocks = config.to_mapping()["parameters"]
    if config.sampler == "grid":
        axes = grid_axes(blocks)
        return axes, grid_configurations(axes)
    from sweepdiag.recommend import sample_quasi_random

    space = {name: _range(block) for name, block in blocks.items()}
    drawn = [
        {name: _whole(name, value, space[name]) for name, value in configuration.items()}
        for configuration in sample_quasi_random(
            space, config.n_configurations or 1, seed=config.split.seed
        )
    ]
    return axes_of_configurations(list(space), drawn), drawn


def _whole(name: str, value: AxisValue, drawn_from: Any) -> AxisValue:
    """Round values drawn from a range of whole numbers."""
    low, high = getattr(drawn_from, "low", None), getattr(drawn_from, "high", None)
    if low is None or high is None or not is_whole_range(name, low, high):
        return value
    return round(float(value))


def _range(block: Mapping[str, Any]) -> Any:
    from sweepdiag.recommend import ContinuousRange

    if "values" in block:
        return tuple(block["values"])
    if "value" in block:
        return (block["value"],)
    is_log = str(block["distribution"]).startswith("log")
    return ContinuousRange(low=float(block["min"]), high=float(block["max"]), log=is_log)


def _facts(workload: Workload | TrainLoop, prepared: PreparedWorkload | None) -> SweepFacts:
    if prepared is not None:
        return prepared.facts
    return SweepFacts(
        workload=workload.name, workload_version=workload.version, task=workload.task
    )
