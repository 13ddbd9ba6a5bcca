"""Members of a pack: a trial's axes resolved into the numbers and the model that train."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import TrainingError
from sweepdiag.space import TRAINING_AXES
from sweepdiag.training.schedules import rate_factors
from sweepdiag.training.seeds import batch_indices, seeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from sweepdiag.records import OptimizerSettings, TrainingSettings, Trial
    from sweepdiag.workloads import PreparedWorkload

__all__ = [
    "Member",
    "Timetable",
    "build_member",
    "build_model",
    "check_model_outputs",
    "common_timetable",
    "member_of",
    "model_arguments",
]


@dataclass(frozen=True, kw_only=True)
class Timetable:
    """Which steps a training consists of, and after which of them it is evaluated.

    Attributes:
        batch_size: Samples per step.
        n_samples: Training samples.
        steps_per_epoch: Full batches in an epoch.
        evaluations: Numbers of steps after which to evaluate, ascending, from 0 to the last step.
        factors: What the base rate is multiplied with at each step, float64.
    """

    batch_size: int
    n_samples: int
    steps_per_epoch: int
    evaluations: tuple[int, ...]
    factors: Any

    @classmethod
    def plan(cls, settings: TrainingSettings, *, batch_size: int, n_samples: int) -> Timetable:
        """Return the timetable of trainings with this batch size."""
        steps_per_epoch = n_samples // batch_size
        n_steps = settings.epochs * steps_per_epoch
        every = settings.evaluate_every_steps or steps_per_epoch
        return cls(
            batch_size=batch_size,
            n_samples=n_samples,
            steps_per_epoch=steps_per_epoch,
            evaluations=(*range(0, n_steps, every), n_steps),
            factors=rate_factors(
                settings.schedule, epochs=settings.epochs, steps_per_epoch=steps_per_epoch
            ),
        )

    def indices(self, seed: int, first_step: int, last_step: int) -> torch.Tensor:
        """Return the samples of each step, shape ``(n_steps, batch_size)``."""
        return batch_indices(
            seed, first_step, last_step, batch_size=self.batch_size, n_samples=self.n_samples
        )


@dataclass(frozen=True, kw_only=True)
class Member:
    """One training of a pack, ready to start.

    Attributes:
        trial: Which trial it is.
        attempt: Counted from 1.
        model: Its own module with its initial weights, on the device.
        lr: Base learning rate.
        optimizer: The optimizer's settings with this member's axes filled in.
    """

    trial: Trial
    attempt: int
    model: torch.nn.Module
    lr: float
    optimizer: OptimizerSettings

    @property
    def n_parameters(self) -> int:
        """Trainable numbers of the model."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)


def build_member(
    trial: Trial,
    attempt: int,
    *,
    prepared: PreparedWorkload,
    settings: TrainingSettings,
    device: str,
) -> Member:
    """Build the model of a trial from the trial's own stream of random numbers."""
    # On the CPU whatever the device: the same seed then gives the same weights everywhere.
    with seeded(trial.seed, "weights"):
        model = build_model(trial, prepared)
        check_model_outputs(model, prepared)
    return member_of(trial, attempt, model.to(device), settings)


def model_arguments(trial: Trial) -> dict[str, Any]:
    """Return the axes of a trial that its model is built from."""
    return {name: value for name, value in trial.axes.items() if name not in TRAINING_AXES}


def build_model(trial: Trial, prepared: PreparedWorkload) -> torch.nn.Module:
    """Return a new model of a trial; weights come from the global generators.

    Raises:
        TrainingError: If what ``model`` returns is not a module.
    """
    import torch

    model: object = prepared.model(**model_arguments(trial))
    if not isinstance(model, torch.nn.Module):
        message = f"model must return a torch.nn.Module, got {type(model).__name__}"
        raise TrainingError(message)
    return model


def member_of(
    trial: Trial, attempt: int, model: torch.nn.Module, settings: TrainingSettings
) -> Member:
    """Return the member that a trial makes of a model."""
    overrides: dict[str, Any] = {
        name: float(trial.axes[name])
        for name in ("momentum", "weight_decay")
        if name in trial.axes
    }
    return Member(
        trial=trial,
        attempt=attempt,
        model=model,
        lr=float(trial.axes["lr"]),
        optimizer=dataclasses.replace(settings.optimizer, **overrides),
    )


def common_timetable(
    trials: Sequence[Trial], prepared: PreparedWorkload, settings: TrainingSettings
) -> Timetable:
    """Return the timetable that all trials of a pack share."""
    batch_size = int(trials[0].axes["batch_size"])
    return Timetable.plan(settings, batch_size=batch_size, n_samples=len(prepared.train))


def check_model_outputs(model: torch.nn.Module, prepared: PreparedWorkload) -> tuple[int, ...]:
    """Run two samples: wrong outputs become a message, and lazy layers get their weights.

    Returns:
        The shape of the outputs.

    Raises:
        TrainingError: If the model returns anything but a tensor.
    """
    import torch

    from sweepdiag.workloads import check_outputs

    was_training = model.training
    with torch.no_grad():
        parameter = next(model.parameters(), None)
        device = "cpu" if parameter is None else parameter.device
        outputs: object = model.eval()(prepared.train_eval.examples.to(device))
    model.train(was_training)
    if not isinstance(outputs, torch.Tensor):
        message = (
            f"model must return one tensor, got {type(outputs).__name__}: put all outputs "
            "into one (torch.cat) and take it apart in a loss of your own, or use a training loop "
            "of your own, train(config, report)"
        )
        raise TrainingError(message)
    if prepared.named_loss is not None:
        check_outputs(prepared.facts.task, tuple(outputs.shape), prepared.train.targets)
    return tuple(outputs.shape)


def output_shape(trial: Trial, prepared: PreparedWorkload) -> tuple[int, ...]:
    """Return the shape of what a trial's model returns for one sample; no curve depends on it."""
    with seeded(trial.seed, "output shape"):
        return check_model_outputs(build_model(trial, prepared), prepared)[1:]
