"""The frozen records that travel between the layers.

Plain dataclasses without behaviour of their own: everything here can be pickled, sent to a worker
and written as JSON. Tables (many rows of the same kind) travel as pandas DataFrames instead; their
columns are listed in ``sweepdiag.store``.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = [
    "DONE_STATES",
    "JUDGED_STATES",
    "RECORDED_FIELDS",
    "Axis",
    "AxisRange",
    "AxisValue",
    "CurvePoint",
    "DataFacts",
    "Deadlines",
    "Event",
    "Finding",
    "FindingState",
    "OptimizerSettings",
    "Pack",
    "PackSettings",
    "Plan",
    "PointMeasured",
    "Recommendation",
    "Region",
    "Scale",
    "ScheduleSettings",
    "Severity",
    "SplitSettings",
    "State",
    "StopEpoch",
    "SweepFacts",
    "Tag",
    "TrainingSettings",
    "Trial",
    "TrialEnded",
    "TrialStarted",
    "Verdict",
    "VerdictClass",
    "plain",
]

AxisValue: TypeAlias = float | int | str | bool


class State(enum.StrEnum):
    """Where the execution of a trial stands. Says nothing about how well it learned."""

    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    OUT_OF_MEMORY = "out_of_memory"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"


DONE_STATES = frozenset(
    {
        State.FINISHED,
        State.STOPPED,
        State.OUT_OF_MEMORY,
        State.FAILED,
        State.TIMED_OUT,
    }
)
"""States that ``resume`` does not repeat."""

JUDGED_STATES = frozenset({State.FINISHED, State.STOPPED})
"""States whose curve is complete, so that it gets a verdict and may be recommended."""


class VerdictClass(enum.StrEnum):
    """The class of one learning curve, from worst to best."""

    DIVERGING = "diverging"
    NOT_LEARNING = "not_learning"
    UNDERFIT = "underfit"
    OVERFIT = "overfit"
    U_SHAPED = "u_shaped"
    INCONCLUSIVE = "inconclusive"
    HEALTHY = "healthy"


class Tag(enum.StrEnum):
    """What else is true of a curve, beside its class."""

    OSCILLATING = "oscillating"
    NOISY_VALIDATION = "noisy_validation"
    STILL_IMPROVING = "still_improving"
    PLATEAUED = "plateaued"
    VALIDATION_EASIER = "validation_easier"
    SPIKE_RECOVERED = "spike_recovered"
    BLEW_UP = "blew_up"
    NON_FINITE = "non_finite"
    EDGE = "edge"
    STOPPED_EARLY = "stopped_early"
    METRIC_DISAGREES = "metric_disagrees"
    UNSTABLE = "unstable"


class Scale(enum.StrEnum):
    """How distances along an axis are measured."""

    LOG = "log"
    LINEAR = "linear"
    CATEGORICAL = "categorical"


class FindingState(enum.StrEnum):
    """What a check of the whole sweep came to."""

    FINDING = "finding"
    TIP = "tip"
    PASSED = "passed"
    NOT_APPLICABLE = "not_applicable"


class Severity(enum.StrEnum):
    """How much a finding matters, from least to most."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One hyperparameter and the values planned for it.

    Attributes:
        name: Column name in every table.
        values: The planned values in ascending order (in the given order when categorical).
        scale: How distances along it are measured.
        is_structural: Whether two values need two different programs (``batch_size``,
            ``capacity``, every argument of ``model``); otherwise members of one pack may differ
            in it (``lr``).
    """

    name: str
    values: tuple[AxisValue, ...]
    scale: Scale
    is_structural: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One configuration with one seed: one training, one learning curve."""

    trial_id: str
    config_id: str
    axes: Mapping[str, AxisValue]
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All trials of a sweep, recorded before the first of them trains."""

    axes: tuple[Axis, ...]
    trials: tuple[Trial, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    """Trials that are trained together; ``attempts[i]`` counts from 1 for ``trials[i]``."""

    trials: tuple[Trial, ...]
    attempts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerSettings:
    """How parameters are updated.

    ``momentum`` and ``nesterov`` belong to SGD; ``beta1``, ``beta2`` and ``eps`` to Adam(W).
    """

    name: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleSettings:
    """How the learning rate changes during a training.

    Attributes:
        name: ``constant``, ``step`` or ``cosine``.
        warmup_epochs: Epochs over which the rate rises linearly from 0 to its base value.
        step_epochs: Epochs between two drops of the ``step`` schedule.
        step_factor: What each drop multiplies the rate with.
        final_fraction: Share of the base rate at the end of the ``cosine`` schedule.
    """

    name: str = "constant"
    warmup_epochs: float = 0.0
    step_epochs: float = 10.0
    step_factor: float = 0.1
    final_fraction: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitSettings:
    """Which samples validate. The same for every trial of a sweep.

    Attributes:
        validation_fraction: Share held out when the workload brings no validation set.
        seed: Seed of the split and of the choice of training samples that are evaluated.
    """

    validation_fraction: float = 0.2
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSettings:
    """Everything beside axes, seed, workload and data that a training depends on.

    Attributes:
        loss: Name of the loss; ``None`` takes the workload's own.
        epochs: Budget of each training.
        evaluate_every_steps: Optimizer steps between evaluations; ``None``: after each epoch.
        numerics: ``exact`` uses only operations that give the same bits in any pack; ``fast``
            those that round otherwise as well.
        record: What else is measured (``gradients``). It changes no bit of a curve, and so is no
            part of a trial's identity.
    """

    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    loss: str | None = None
    epochs: int = 30
    evaluate_every_steps: int | None = None
    numerics: str = "exact"
    record: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFacts:
    """What a look at the samples tells before anything is trained.

    Distances are taken between features divided by their deviation in training, over at most
    2,000 samples of each part. ``None`` where something cannot be known: targets that are no
    classes, token ids as inputs, items that are read with random numbers for copies.

    Attributes:
        n_classes: Number of classes that occur in training.
        largest_class: Share of the most frequent of them.
        input_size: Root mean square of all training inputs.
        feature_spread: 95 % quantile of the features' deviations over their median.
        copied_share: Share of the validation inputs that also occur in training, bit by bit.
        repeated_share: Share of the training inputs that occur more than once in training.
        validation_shift: Root mean square over features of the distance between the means of
            validation and training, in deviations of training, without what chance explains.
        validation_spread: Median over features of their deviation in validation over that in
            training.
        neighbour_accuracy: Share of training labels that most of ten neighbours have as well.
        neighbour_val_accuracy: Share of validation labels that most of ten training neighbours
            have.
        validation_neighbour_accuracy: The same of neighbours within validation.
        label_noise: Share of training labels that neighbours contradict, over the quarter of the
            samples whose neighbours agree most.
        agreement: Median share of neighbours that have the most frequent class among them.
        loss_growth: For a loss of the user's own, its value on samples taken twice over that on
            samples taken once: 1 for a mean, 2 for a sum.
    """

    n_classes: int | None = None
    largest_class: float | None = None
    input_size: float | None = None
    feature_spread: float | None = None
    copied_share: float | None = None
    repeated_share: float | None = None
    validation_shift: float | None = None
    validation_spread: float | None = None
    neighbour_accuracy: float | None = None
    neighbour_val_accuracy: float | None = None
    validation_neighbour_accuracy: float | None = None
    label_noise: float | None = None
    agreement: float | None = None
    loss_growth: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PackSettings:
    """How packs are trained where the user says it; what is left open is measured.

    Nothing here is part of a trial's identity: under ``exact`` a choice that changes bits is
    refused.

    Attributes:
        tier: ``auto``, ``traced``, ``vmap`` or ``unfused``.
        width: Most members trained together; ``None``: measured.
        threads: Threads of a worker on the CPU; ``None``: measured.
    """

    tier: str = "auto"
    width: int | None = None
    threads: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Deadlines:
    """How long a training may be silent before it ends as ``timed_out``; ``None``: for ever.

    Attributes:
        start_s: Until its first evaluation.
        silence_s: From then on, between two evaluations and until it ends.
    """

    start_s: float | None = None
    silence_s: float | None = None

    def __bool__(self) -> bool:
        """Return whether there is one."""
        return self.start_s is not None or self.silence_s is not None

    def after(self, n_points: int) -> float | None:
        """Return the one that counts after so many evaluations, in seconds."""
        return self.silence_s if n_points else self.start_s

    def missed(self, n_points: int) -> str:
        """Return why a training is ended that has missed the one after so many evaluations."""
        what = "no evaluation" if n_points else "no first evaluation"
        return f"{what} within {self.after(n_points):g} s"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepFacts:
    """What is known of a sweep's task before anything is trained.

    Losses are in the loss's own unit (nats for cross-entropy). ``None`` where it cannot be known,
    as for a loss that the user wrote.

    Attributes:
        workload: Name of the workload.
        workload_version: Its version, part of every trial's identity.
        task: ``classification``, ``binary``, ``regression`` or ``custom``.
        loss: Name of the loss.
        metric: Name of the metric, if there is one.
        metric_mode: ``max`` if larger is better, ``min`` if smaller is.
        n_train: Training samples.
        n_train_eval: Training samples on which the training loss is evaluated.
        n_validation: Validation samples.
        baseline_train_loss: Training loss of the best constant prediction (zero-rule baseline).
        baseline_val_loss: Validation loss of that same prediction.
        baseline_metric: Validation metric of that same prediction.
        loss_floor: The lowest value the loss can take; ``None`` if it has none.
        data: What a look at the samples tells; ``None`` where they were not seen.
    """

    workload: str
    workload_version: str = "1"
    task: str = "custom"
    loss: str = "custom"
    metric: str | None = None
    metric_mode: str | None = None
    n_train: int | None = None
    n_train_eval: int | None = None
    n_validation: int | None = None
    baseline_train_loss: float | None = None
    baseline_val_loss: float | None = None
    baseline_metric: float | None = None
    loss_floor: float | None = None
    data: DataFacts | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """One evaluation of one training. Losses may be NaN or infinite; unknown values are NaN.

    Attributes:
        epoch: Epochs trained so far; 0 is before any update.
        step: Optimizer steps so far.
        train_loss: On the fixed subset of the training samples, in eval mode.
        val_loss: On all validation samples, in eval mode.
        train_loss_running: Mean minibatch loss since the last evaluation, in train mode.
        train_metric: The workload's metric on the subset of the training samples.
        val_metric: The workload's metric on the validation samples.
        seconds: Time spent on this trial so far, its share where a pack was trained together.
        grad_norm: Mean L2 norm of the gradient over the steps since the last evaluation, before
            weight decay. Like the next two, NaN unless recording ``gradients``.
        update_ratio: L2 norm of the last update over that of the parameters before it.
        dead_fraction: Share of units of ReLU-like modules that are zero for every sample of the
            training subset, in [0, 1].
    """

    epoch: float
    step: int
    train_loss: float
    val_loss: float
    train_loss_running: float = math.nan
    train_metric: float = math.nan
    val_metric: float = math.nan
    seconds: float = math.nan
    grad_norm: float = math.nan
    update_ratio: float = math.nan
    dead_fraction: float = math.nan


RECORDED_FIELDS = ("grad_norm", "update_ratio", "dead_fraction")
"""What a point has only if it was asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialStarted:
    """A worker begins an attempt at a trial."""

    trial_id: str
    attempt: int
    device: str
    n_parameters: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PointMeasured:
    """A worker has evaluated a trial."""

    trial_id: str
    attempt: int
    point: CurvePoint


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialEnded:
    """An attempt at a trial is over, with the state it came to and why.

    Attributes:
        trial_id: The trial.
        attempt: Counted from 1.
        state: What it came to.
        reason: Why.
        seconds: Time spent on it, its share where a pack was trained together.
        peak_memory_mb: Most memory that its worker took until then since the pack began, in MB
            (1e6 bytes): resident memory of the process, or on a GPU what PyTorch took there.
    """

    trial_id: str
    attempt: int
    state: State
    reason: str = ""
    seconds: float = math.nan
    peak_memory_mb: float = math.nan


Event: TypeAlias = TrialStarted | PointMeasured | TrialEnded


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The class of one curve, and why.

    Attributes:
        trial_id: The trial, or the run's own identifier where the curve came from elsewhere.
        verdict: The class.
        runner_up: The class it would have been otherwise, if one was near.
        tags: What else is true of the curve.
        confidence: Share of resampled curves of the same class, in [0, 1].
        turning_epoch: Epoch of the smoothed validation loss's minimum; NaN if there is none.
        evidence: One sentence with the numbers behind the class.
        margin: How far the curve is from another class, relative to the nearest limit of its own,
            in [0, 1]; for the class of what is left, to those of the others.
        numbers: The features that the evidence speaks of, by name.
        context: ``alone`` (this curve only) or ``sweep`` (its siblings were known).
        reference_id: The sibling that the verdict leans on, if it leans on one.
    """

    trial_id: str
    verdict: VerdictClass
    runner_up: VerdictClass | None
    tags: tuple[Tag, ...]
    confidence: float
    turning_epoch: float
    evidence: str
    context: str
    margin: float = math.nan
    numbers: Mapping[str, float] = field(default_factory=dict)
    reference_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A statement about the whole sweep.

    Attributes:
        code: Stable code, such as ``SD101``.
        name: Short stable name, such as ``learning-rate-too-high``.
        state: Whether it is a finding, a tip, a passed check, or does not apply.
        severity: How much it matters.
        title: One line.
        evidence: The numbers behind it, or why the check does not apply.
        action: What to do next; empty for passed checks.
        numbers: The same numbers by name.
        explains: Codes of the findings of this sweep that this one is a cause of.
    """

    code: str
    name: str
    state: FindingState
    severity: Severity
    title: str
    evidence: str
    action: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    explains: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class AxisRange:
    """One side of a region's box.

    Attributes:
        name: The axis.
        low: Lowest recommended value (``None`` when categorical).
        high: Highest recommended value (``None`` when categorical).
        values: The planned values inside.
        centre: Where to start.
        low_reason: What lies below the lower end ("no value below was tried", "underfits").
        high_reason: What lies above the upper end.
    """

    name: str
    low: float | None
    high: float | None
    values: tuple[AxisValue, ...]
    centre: AxisValue
    low_reason: str
    high_reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """A box on the axes inside which every tried configuration is worth training."""

    axes: tuple[AxisRange, ...]
    config_ids: tuple[str, ...]
    centre_config_id: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StopEpoch:
    """When one configuration should have stopped.

    Attributes:
        config_id: The configuration.
        epoch: Recommended last epoch.
        budget_epochs: Epochs it was trained for.
        saved_fraction: Share of the budget that stopping there saves.
        regret: Best monitored value until then against the best of the whole curve, relative.
        reason: Why, in words.
    """

    config_id: str
    epoch: float
    budget_epochs: float
    saved_fraction: float
    regret: float
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendation:
    """Where to train, when to stop, what to run next.

    Attributes:
        answer: One or two sentences, also when there is no region.
        region: The box, or ``None`` if nothing is worth recommending.
        stop_epochs: Per configuration that was judged.
        region_stop: For the region as a whole.
        next_parameters: The ``parameters`` block of the next sweep's file.
        next_settings: Further settings that the next sweep should change (``epochs``, …).
        next_reasons: Why the next sweep looks like that.
    """

    answer: str
    region: Region | None
    stop_epochs: tuple[StopEpoch, ...]
    region_stop: StopEpoch | None
    next_parameters: Mapping[str, Mapping[str, Any]]
    next_settings: Mapping[str, Any]
    next_reasons: tuple[str, ...]


def plain(record: Any) -> Any:
    """Return a record as dicts, lists and scalars, ready for JSON.

    Non-finite floats become the strings ``NaN``, ``Infinity`` and ``-Infinity``, since JSON has no
    numbers for them.
    """
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {f.name: plain(getattr(record, f.name)) for f in dataclasses.fields(record)}
    if isinstance(record, Mapping):
        return {str(key): plain(value) for key, value in record.items()}
    if isinstance(record, list | tuple | set | frozenset):
        return [plain(value) for value in record]
    if isinstance(record, enum.Enum):
        return record.value
    if isinstance(record, float) and not math.isfinite(record):
        return "NaN" if math.isnan(record) else ("Infinity" if record > 0 else "-Infinity")
    return record
