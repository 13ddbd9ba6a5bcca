"""How trials are trained."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "Deadlines",
    "OptimizerSettings",
    "PackSettings",
    "ScheduleSettings",
    "SplitSettings",
    "TrainingSettings",
]


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
