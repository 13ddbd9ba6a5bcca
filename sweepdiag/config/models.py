"""The configuration of a sweep: every setting, its rule, its default and what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from sweepdiag.config.axes import Parameters, ParameterSpec
from sweepdiag.config.checks import IDENTIFIER, SHARD, Choice, Flag, Integer, Number, Text
from sweepdiag.config.containers import Choices, Names, PlainMapping, Seeds, Thresholds
from sweepdiag.config.problems import Problem, SettingsModel, lift
from sweepdiag.config.yaml_writing import write_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DEFAULT_GRID_POINTS",
    "DEFAULT_N_CONFIGURATIONS",
    "JUDGING_SETTINGS",
    "MAX_TRIALS",
    "DiagnosisConfig",
    "EvaluationConfig",
    "ExecutionConfig",
    "OptimizerConfig",
    "ScheduleConfig",
    "SplitConfig",
    "SweepConfig",
]

MAX_TRIALS = 1_000_000
DEFAULT_GRID_POINTS = 8
DEFAULT_N_CONFIGURATIONS = 64

_NOT_THE_SWEEP = frozenset({"execution", "output"})
"""Settings that say where and how trials run, but not which trials there are."""

JUDGING_SETTINGS = ("diagnosis", "monitor")
"""Settings that say how curves are judged once they are there."""


class OptimizerConfig(SettingsModel):
    """How parameters are updated. An axis of the same name takes the place of a setting here."""

    name: Annotated[str, Choice(("sgd", "adam", "adamw"))] = Field(
        default="sgd", description="Update rule: sgd, adam or adamw."
    )
    momentum: Annotated[float, Number(at_least=0, below=1)] = Field(
        default=0.9, description="Momentum of sgd."
    )
    nesterov: Annotated[bool, Flag()] = Field(
        default=False, description="Nesterov's momentum, for sgd with momentum above 0."
    )
    weight_decay: Annotated[float, Number(at_least=0)] = Field(
        default=0.0, description="Weight decay: decoupled in adamw, an L2 penalty otherwise."
    )
    beta1: Annotated[float, Number(at_least=0, below=1)] = Field(
        default=0.9, description="Decay of the mean of gradients in adam and adamw."
    )
    beta2: Annotated[float, Number(at_least=0, below=1)] = Field(
        default=0.999, description="Decay of the mean of squared gradients in adam and adamw."
    )
    eps: Annotated[float, Number(above=0)] = Field(
        default=1e-8, description="Added to the denominator of adam and adamw."
    )


class ScheduleConfig(SettingsModel):
    """How the learning rate changes during a training."""

    name: Annotated[str, Choice(("constant", "step", "cosine"))] = Field(
        default="constant", description="Shape of the schedule: constant, step or cosine."
    )
    warmup_epochs: Annotated[float, Number(at_least=0)] = Field(
        default=0.0, description="Epochs over which the rate rises linearly from 0."
    )
    step_epochs: Annotated[float, Number(above=0)] = Field(
        default=10.0, description="Epochs between two drops of the step schedule."
    )
    step_factor: Annotated[float, Number(above=0, at_most=1)] = Field(
        default=0.1, description="What each drop of the step schedule multiplies the rate with."
    )
    final_fraction: Annotated[float, Number(at_least=0, at_most=1)] = Field(
        default=0.0, description="Share of the rate left at the end of the cosine schedule."
    )


class EvaluationConfig(SettingsModel):
    """When the losses are measured."""

    every_steps: Annotated[int | None, Integer(at_least=1, or_null=True)] = Field(
        default=None, description="Optimizer steps between evaluations; null: after each epoch."
    )


class SplitConfig(SettingsModel):
    """Which samples validate, the same for every trial."""

    validation_fraction: Annotated[float, Number(above=0, below=1)] = Field(
        default=0.2, description="Share held out when the workload has no validation set."
    )
    seed: Annotated[int, Integer(at_least=0)] = Field(
        default=0, description="Seed of the split and of the training samples evaluated."
    )


class DiagnosisConfig(SettingsModel):
    """How curves are judged."""

    thresholds: Annotated[dict[str, float], Thresholds()] = Field(
        default={}, description="Thresholds of rules by name, in place of their own."
    )
    ignore: Annotated[tuple[str, ...], Names(what="codes")] = Field(
        default=(), description="Codes of findings to leave out, such as SD101."
    )


class ExecutionConfig(SettingsModel):
    """Where trials run. Changes nothing in their curves; may differ when a sweep is resumed."""

    executor: Annotated[str, Choice(("auto", "serial", "ray", "tune"))] = Field(
        default="auto",
        description="What runs the packs: serial, ray, tune (Ray Tune, for training loops of "
        "your own), or auto to choose between serial and ray.",
    )
    gpus: Annotated[int | None, Integer(at_least=0, or_null=True)] = Field(
        default=None, description="GPUs to use in all; null: all there are; 0: the CPU."
    )
    workers: Annotated[int | None, Integer(at_least=1, or_null=True)] = Field(
        default=None, description="Worker processes on the CPU; null: chosen by the cores."
    )
    pack_size: Annotated[int, Integer(at_least=1)] = Field(
        default=64, description="Most trials trained together as one program."
    )
    packs_per_device: Annotated[int | None, Integer(at_least=1, or_null=True)] = Field(
        default=None,
        description="Packs that take turns in one process; null: 4 on a GPU, 1 on the CPU.",
    )
    tier: Annotated[str, Choice(("auto", "traced", "vmap", "unfused"))] = Field(
        default="auto",
        description="How a pack is trained: traced (fused, as one graph), vmap (fused), unfused, "
        "or auto to measure.",
    )
    pack_width: Annotated[int | None, Integer(at_least=1, or_null=True)] = Field(
        default=None,
        description="Most trials of a pack that are trained at a time; null: measured.",
    )
    threads: Annotated[int | None, Integer(at_least=1, or_null=True)] = Field(
        default=None, description="Threads of each worker on the CPU; null: measured."
    )
    data_memory_gb: Annotated[float | None, Number(at_least=0, or_null=True)] = Field(
        default=None,
        description="Memory that samples may take in each worker and on each GPU, in GB; what "
        "does not fit is streamed; null: a share of what is free.",
    )
    pack_memory_gb: Annotated[float | None, Number(at_least=0, or_null=True)] = Field(
        default=None,
        description="Memory that trainings may take at a time in each worker and on each GPU, in "
        "GB; packs that need more are split; null: a share of what is free.",
    )
    start_timeout_s: Annotated[float | None, Number(above=0, or_null=True)] = Field(
        default=None,
        description="How long a training may take to its first evaluation before it is ended as "
        "timed_out; null: for ever. In packs, the whole pack's.",
    )
    silence_timeout_s: Annotated[float | None, Number(above=0, or_null=True)] = Field(
        default=None,
        description="How long a training may then go without an evaluation; null: for ever.",
    )
    max_failed_fraction: Annotated[float, Number(at_least=0, at_most=1)] = Field(
        default=0.5,
        description="Share of the planned trials that may fail to execute before the sweep is "
        "stopped; 1: it never is. Trainings that diverge have not failed.",
    )
    address: Annotated[str | None, Text(what="an address", max_length=256, or_null=True)] = Field(
        default=None, description="Address of a Ray cluster to join; null: this machine."
    )
    join_timeout_s: Annotated[float | None, Number(at_least=0, or_null=True)] = Field(
        default=None,
        description="How long that cluster may take to answer, and then to have room for all "
        "workers; null: 10 s to answer, and it must have room at once.",
    )
    shard: Annotated[
        str | None,
        Text(what="i/K, with i from 0 to K - 1", pattern=SHARD, max_length=21, or_null=True),
    ] = Field(
        default=None,
        description="Train part i of K of the plan only, i/K with i from 0; `sweepdiag merge` "
        "puts the parts together.",
    )

    @property
    def wanted_gpus(self) -> int | None:
        """GPUs asked for; ``None``: all there are. Worker processes are asked for the CPU."""
        return 0 if self.gpus is None and self.workers is not None else self.gpus

    @property
    def most_gpus(self) -> int | None:
        """GPUs that the executor can use; ``None``: any number."""
        return 1 if self.executor == "serial" else None

    @property
    def shard_parts(self) -> tuple[int, int] | None:
        """The shard as numbers: which part, of how many; None for the whole plan."""
        if self.shard is None:
            return None
        index, _, count = self.shard.partition("/")
        return int(index), int(count)


class SweepConfig(SettingsModel):
    """Everything that defines a sweep, validated and frozen.

    Made by ``load_config`` from a file, options and overrides, or directly from keyword arguments.
    """

    workload: Annotated[str, Text(what="a workload")] = Field(
        description="What is trained: a built-in name such as digits, or file.py:function."
    )
    workload_parameters: Annotated[dict[str, Any], PlainMapping()] = Field(
        default={}, description="Arguments of the workload's function by name."
    )
    parameters: Annotated[dict[str, ParameterSpec], Parameters()] = Field(
        default={},
        description="Axes of the sweep by name: {values: […]}, {value: x}, "
        "{min, max, distribution, n}, or a bare list or value.",
    )
    seeds: Annotated[int | tuple[int, ...], Seeds()] = Field(
        default=3, description="Seeds of each configuration: how many (0, 1, …), or which."
    )
    epochs: Annotated[int, Integer(at_least=1)] = Field(
        default=30, description="Epochs of each training."
    )
    sampler: Annotated[str, Choice(("grid", "qmc"))] = Field(
        default="grid", description="Every combination (grid), or quasi-random points (qmc)."
    )
    n_configurations: Annotated[int | None, Integer(at_least=1, or_null=True)] = Field(
        default=None,
        description=f"Configurations that qmc draws; {DEFAULT_N_CONFIGURATIONS} if null.",
    )
    optimizer: OptimizerConfig = Field(
        default_factory=OptimizerConfig, description="How parameters are updated."
    )
    schedule: ScheduleConfig = Field(
        default_factory=ScheduleConfig, description="How the learning rate changes."
    )
    loss: Annotated[
        str | None, Text(what="the name of a loss", pattern=IDENTIFIER, or_null=True)
    ] = Field(default=None, description="Loss; null: the workload's own.")
    evaluation: EvaluationConfig = Field(
        default_factory=EvaluationConfig, description="When the losses are measured."
    )
    split: SplitConfig = Field(default_factory=SplitConfig, description="Which samples validate.")
    monitor: Annotated[str, Choice(("val_loss", "val_metric"))] = Field(
        default="val_loss", description="What regions and stop epochs are judged by."
    )
    stop_early: Annotated[bool, Flag()] = Field(
        default=False,
        description="End trainings that diverge or learn nothing, and would to their end.",
    )
    numerics: Annotated[str, Choice(("exact", "fast"))] = Field(
        default="exact",
        description="exact: the same bits in whatever pack a trial runs; fast: up to rounding.",
    )
    record: Annotated[tuple[str, ...], Choices(("gradients",))] = Field(
        default=(),
        description="What to record beside the losses, changing none of their bits: gradients "
        "(norm of the gradient, ratio of update to weights, share of dead units).",
    )
    diagnosis: DiagnosisConfig = Field(
        default_factory=DiagnosisConfig, description="How curves are judged."
    )
    execution: ExecutionConfig = Field(
        default_factory=ExecutionConfig,
        description="Where trials run; no part of the sweep itself.",
    )
    output: Annotated[str | None, Text(what="a path", max_length=4096, or_null=True)] = Field(
        default=None, description="Folder of the run; null: results/ and a name with the time."
    )

    @property
    def seed_values(self) -> tuple[int, ...]:
        """The seeds themselves."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    @property
    def n_seeds(self) -> int:
        """Number of seeds of each configuration."""
        return self.seeds if isinstance(self.seeds, int) else len(self.seeds)

    @property
    def n_trials(self) -> int:
        """Number of trials planned, at most; equal configurations are planned once."""
        return self._n_configurations() * self.n_seeds

    def to_mapping(self) -> dict[str, Any]:
        """Return every setting as a file would hold it: dicts, lists and scalars."""
        mapping = {name: _plain(getattr(self, name)) for name in type(self).model_fields}
        mapping["parameters"] = {name: spec.block() for name, spec in self.parameters.items()}
        return mapping

    def comparable(self) -> dict[str, Any]:
        """Return what makes two sweeps the same: what their curves depend on.

        Thresholds do where ``stop_early`` follows them. Seeds are listed, so that three seeds and
        the seeds 0, 1 and 2 compare equal.
        """
        kept = {
            name: setting
            for name, setting in self.to_mapping().items()
            if name not in _NOT_THE_SWEEP and name not in JUDGING_SETTINGS
        }
        if self.stop_early:
            kept["thresholds"] = dict(self.diagnosis.thresholds)
        return {**kept, "seeds": list(self.seed_values)}

    def to_yaml(self, *, header: str | None = None) -> str:
        """Return the configuration as a file that loads to an equal one.

        Args:
            header: Text for the top of the file, as comments.
        """
        return write_yaml(self.to_mapping(), header=header)

    def _n_configurations(self) -> int:
        if self.n_configurations is not None:
            return self.n_configurations
        n_configurations = 1
        for spec in self.parameters.values():
            n_configurations *= (spec.n or 1) if spec.values is None else len(spec.values)
        return n_configurations

    @model_validator(mode="after")
    def _settle(self) -> Self:
        problems = list(self._conflicts())
        if problems:
            lift(problems)
        # Settled here rather than where it is read, so that the written configuration says it.
        if self.sampler == "qmc" and self.n_configurations is None:
            object.__setattr__(self, "n_configurations", DEFAULT_N_CONFIGURATIONS)
        n_points = DEFAULT_GRID_POINTS if self.sampler == "grid" else None
        object.__setattr__(self, "parameters", _with_points(self.parameters, n_points))
        if self.n_trials > MAX_TRIALS:
            rule = f"must plan at most {MAX_TRIALS} trials over all seeds"
            lift([_conflict(("parameters",), f"{rule}, got {self.n_trials}")])
        return self

    def _conflicts(self) -> Iterator[Problem]:
        if self.sampler == "grid" and self.n_configurations is not None:
            rule = "belongs to the sampler qmc, and sampler is grid"
            yield _conflict(("n_configurations",), f"{rule}; got {self.n_configurations}")
        if self.schedule.warmup_epochs > self.epochs:
            rule = f"must be at most epochs ({self.epochs})"
            got = f"{self.schedule.warmup_epochs:g}"
            yield _conflict(("schedule", "warmup_epochs"), f"{rule}, got {got}")
        if self.optimizer.nesterov and not self._can_use_nesterov():
            rule = "needs the optimizer sgd with momentum above 0"
            got = f"{self.optimizer.name} with {self.optimizer.momentum:g}"
            yield _conflict(("optimizer", "nesterov"), f"{rule}, got {got}")
        if self.execution.executor == "serial" and self.execution.address is not None:
            rule = "belongs to the executors ray and tune, and execution.executor is serial"
            yield _conflict(("execution", "address"), f"{rule}; got {self.execution.address!r}")
        workers, gpus = self.execution.workers, self.execution.gpus
        if workers is not None and gpus:
            rule = f"are processes on the CPU, and execution.gpus is {gpus}"
            yield _conflict(("execution", "workers"), f"{rule}; got {workers}")
        if workers is not None and workers > 1 and self.execution.executor == "serial":
            rule = "must be 1 where execution.executor is serial"
            yield _conflict(("execution", "workers"), f"{rule}; got {workers}")
        if gpus is not None and gpus > 1 and self.execution.executor == "serial":
            rule = "must be 0 or 1 where execution.executor is serial"
            yield _conflict(("execution", "gpus"), f"{rule}; got {gpus}")
        index, count = self.execution.shard_parts or (0, 1)
        if index >= count:
            rule = f"must be i/K with i from 0 to {count - 1}"
            yield _conflict(("execution", "shard"), f"{rule}, got {self.execution.shard!r}")

    def _can_use_nesterov(self) -> bool:
        axis = self.parameters.get("momentum")
        if axis is None:
            lowest = self.optimizer.momentum
        else:
            lowest = min(float(v) for v in (axis.values or (axis.min or 0.0,)))
        return self.optimizer.name == "sgd" and lowest > 0


def _conflict(path: tuple[str, ...], message: str) -> Problem:
    return Problem(path=path, kind="combination", message=message)


def _with_points(
    parameters: dict[str, ParameterSpec], n_points: int | None
) -> dict[str, ParameterSpec]:
    """Give ranges the points of a grid, or take them away where no grid is laid."""
    settled = {}
    for name, spec in parameters.items():
        n = None if n_points is None else (spec.n or n_points)
        settled[name] = spec.model_copy(update={"n": n}) if spec.is_range else spec
    return settled


def _plain(setting: Any) -> Any:
    if isinstance(setting, SettingsModel):
        return {name: _plain(getattr(setting, name)) for name in type(setting).model_fields}
    if isinstance(setting, dict):
        return {name: _plain(item) for name, item in setting.items()}
    return [_plain(item) for item in setting] if isinstance(setting, tuple | list) else setting
