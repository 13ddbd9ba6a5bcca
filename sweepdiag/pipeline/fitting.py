"""Settings that no training of the workload could follow, refused before anything is recorded."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sweepdiag.errors import ConfigError
from sweepdiag.space import TRAINING_AXES, check_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.config import SweepConfig
    from sweepdiag.records import Axis, SweepFacts
    from sweepdiag.workloads import PreparedWorkload, Workload

__all__ = [
    "check_executor",
    "check_loop_settings",
    "check_model_axes",
    "check_monitor",
    "check_optimizer_axes",
    "note_metric",
]

logger = logging.getLogger(__name__)


def check_monitor(monitor: str, facts: SweepFacts) -> None:
    """Refuse to rank by a metric that is not there, or whose better direction nobody knows.

    Raises:
        ConfigError: If it is asked for.
    """
    if monitor == "val_metric" and facts.metric_mode is None:
        why = (
            "nobody says of a loop's val_metric which direction is better"
            if facts.task == "custom"
            else "the workload has no metric"
        )
        message = f"monitor must be val_loss for workload {facts.workload!r}: {why}"
        raise ConfigError(message)


def note_metric(workload: Workload, prepared: PreparedWorkload) -> None:
    """Say that no metric is measured where one would have been expected."""
    if workload.metric == "auto" and prepared.metric_fn is None:
        logger.warning(
            "no metric is measured: accuracy needs one class number per sample, and targets of a "
            "sample have shape %s; metric=function, metric_mode='max' gives one of your own, "
            "metric=None none without this note",
            tuple(prepared.train.targets.shape[1:]),
        )


_NOT_FOR_LOOPS = ("optimizer", "schedule", "evaluation", "loss", "numerics", "split", "record")


def check_loop_settings(config: SweepConfig) -> None:
    """Check that nothing is asked for that only a loop's own code could do.

    Raises:
        ConfigError: If something is.
    """
    fields = type(config).model_fields
    for name in _NOT_FOR_LOOPS:
        if getattr(config, name) != fields[name].get_default(call_default_factory=True):
            message = (
                f"{name} says how a Workload is trained, and a training loop of your own does "
                "that itself: make it an axis (parameters), or set it in your code"
            )
            raise ConfigError(message)


def check_model_axes(axes: Sequence[Axis], workload: Workload, *, n_train: int) -> None:
    """Check that the axes and the model's arguments have the same names, and valid values.

    Raises:
        ConfigError: If they do not.
    """
    names = {axis.name for axis in axes}
    missing = [name for name in workload.required_model_arguments() if name not in names]
    if missing:
        message = (
            f"model of workload {workload.name!r} needs {missing[0]!r}, and no axis has that name:"
            f" give it values, as in parameters.{missing[0]}=8,64"
        )
        raise ConfigError(message)
    arguments = set(workload.model_arguments())
    taken = sorted(arguments & TRAINING_AXES)
    if taken:
        message = (
            f"model of workload {workload.name!r} has an argument {taken[0]!r}, which is an axis "
            "of the training itself: rename the argument"
        )
        raise ConfigError(message)
    if workload.accepts_any_argument():
        arguments |= names
    check_axes(axes, model_arguments=arguments - TRAINING_AXES, n_train=n_train)


def check_optimizer_axes(axes: Sequence[Axis], optimizer: str) -> None:
    """Check that the optimizer reads its axes.

    Raises:
        ConfigError: If it does not.
    """
    for axis in axes:
        if axis.name == "momentum" and optimizer != "sgd":
            message = f"axis 'momentum' belongs to the optimizer sgd, and optimizer is {optimizer}"
            raise ConfigError(message)


def check_executor(executor: str, workload: Workload) -> None:
    """Check that the executor trains models.

    Raises:
        ConfigError: If it runs training loops only.
    """
    if executor == "tune":
        message = (
            f"execution.executor must be auto, ray or serial for workload {workload.name!r}: its "
            "models are trained many at a time, and a trial of Ray Tune can report one training "
            "only, so tune is for training loops of your own; got tune"
        )
        raise ConfigError(message)
