"""What is refused in a workload, with messages that name the argument, the rule and the value."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.errors import ConfigError, WorkloadError, unknown_name
from sweepdiag.workloads._arrays import checked_inputs, target_array
from sweepdiag.workloads._datasets import is_map_style, open_items
from sweepdiag.workloads._tasks import LOSS_OF_TASK, METRIC_MODES, METRIC_OF_TASK
from sweepdiag.workloads.rows import ArrayRows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sweepdiag.workloads.rows import Rows

__all__ = [
    "check_data",
    "check_defaults",
    "check_labels",
    "check_loop",
    "check_loss",
    "check_metric",
    "check_model",
    "check_rows",
    "check_task",
]

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_AXIS_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_N_LOOP_ARGUMENTS = 2


def check_labels(name: object, version: object) -> None:
    """Refuse names and versions that cannot stand in file names and tables.

    Raises:
        ConfigError: If one is not text, or has other characters.
    """
    for argument, value in (("name", name), ("version", version)):
        if not isinstance(value, str) or not _LABEL.fullmatch(value):
            message = (
                f"{argument} must be text of 1 to 64 letters, digits, '.', '_' or '-', beginning "
                f"with a letter or digit, got {value!r}"
            )
            raise ConfigError(message)


def check_task(task: object) -> None:
    """Refuse tasks that do not exist.

    Raises:
        ConfigError: If the task is unknown.
    """
    if task not in LOSS_OF_TASK:
        raise ConfigError(unknown_name("task", str(task), LOSS_OF_TASK))


def check_loss(task: str, loss: object, loss_floor: float | None) -> None:
    """Refuse losses that do not exist, or that do not fit the task.

    Raises:
        ConfigError: If the loss or its floor is wrong.
    """
    if isinstance(loss, str) and loss not in LOSS_OF_TASK.values():
        raise ConfigError(unknown_name("loss", loss, LOSS_OF_TASK.values()))
    if isinstance(loss, str) and loss != LOSS_OF_TASK[task]:
        fitting = LOSS_OF_TASK[task]
        message = f"loss of a {task} task must be {fitting!r} or a callable, got {loss!r}"
        raise ConfigError(message)
    if loss is not None and not isinstance(loss, str) and not callable(loss):
        message = f"loss must be a name or a callable (outputs, targets), got {loss!r}"
        raise ConfigError(message)
    if loss_floor is None:
        return
    if not callable(loss):
        message = (
            f"loss_floor is for a loss of your own; named losses have theirs, got {loss_floor}"
        )
        raise ConfigError(message)
    if not math.isfinite(loss_floor):
        message = f"loss_floor must be a finite number or None, got {loss_floor}"
        raise ConfigError(message)


def check_metric(task: str, metric: object, mode: str | None) -> None:
    """Refuse metrics that do not exist, and modes that do not fit them.

    Raises:
        ConfigError: If the metric or its mode is wrong.
    """
    if metric == "auto":
        metric = METRIC_OF_TASK[task]
    if metric is None:
        if mode is not None:
            message = f"metric_mode must be None where metric is None, got {mode!r}"
            raise ConfigError(message)
        return
    if isinstance(metric, str):
        _check_named_metric(task, metric, mode)
        return
    if not callable(metric):
        message = f"metric must be a name, a callable (outputs, targets) or None, got {metric!r}"
        raise ConfigError(message)
    if mode not in {"max", "min"}:
        message = f"metric_mode must be 'max' or 'min' for a metric of your own, got {mode!r}"
        raise ConfigError(message)


def _check_named_metric(task: str, metric: str, mode: str | None) -> None:
    if metric not in METRIC_MODES:
        raise ConfigError(unknown_name("metric", metric, [*METRIC_MODES, "auto"]))
    if metric != METRIC_OF_TASK[task]:
        fitting = METRIC_OF_TASK[task]
        message = f"metric of a {task} task must be {fitting!r} or a callable, got {metric!r}"
        raise ConfigError(message)
    if mode not in {None, METRIC_MODES[metric]}:
        message = f"metric_mode of {metric} is {METRIC_MODES[metric]!r}, got {mode!r}"
        raise ConfigError(message)


def check_defaults(optimizer: object, axes: object, settings: object) -> None:
    """Refuse default axes and settings of the wrong shape.

    Whether settings exist, and whether values suit them, is for the sweep's configuration to say.

    Raises:
        ConfigError: If the optimizer is not a name, or axes or settings are not mappings of names.
    """
    if not isinstance(optimizer, str) or not optimizer:
        message = f"optimizer must be the name of one, such as 'sgd', got {optimizer!r}"
        raise ConfigError(message)
    for argument, mapping in (("axes", axes), ("settings", settings)):
        if not isinstance(mapping, Mapping):
            message = f"{argument} must map names to values, got {mapping!r}"
            raise ConfigError(message)
        for key in mapping:
            names = key.split(".") if isinstance(key, str) and argument == "settings" else [key]
            if not all(isinstance(name, str) and _AXIS_NAME.fullmatch(name) for name in names):
                message = f"{argument} must be named by letters, digits and '_', got {key!r}"
                raise ConfigError(message)
        if argument == "axes":
            for name, default in mapping.items():
                _check_axis(name, default)


def _check_axis(name: str, default: object) -> None:
    if isinstance(default, tuple):
        is_range = len(default) == 2 and all(_is_number(value) for value in default)
        if not is_range or not 0 < default[0] < default[1] < math.inf:
            message = (
                f"axes[{name!r}] as a tuple must be a range (low, high) with 0 < low < high, got "
                f"{default!r}; use a list for single values"
            )
            raise ConfigError(message)
    elif isinstance(default, list):
        is_plain = all(isinstance(value, str | bool) or _is_number(value) for value in default)
        if not default or not is_plain or len(set(default)) < len(default):
            message = (
                f"axes[{name!r}] as a list must hold different numbers or words, got {default!r}"
            )
            raise ConfigError(message)
    elif not isinstance(default, Mapping) or not default:
        message = (
            f"axes[{name!r}] must be a range (low, high), a list of values or a block such as "
            f"{{'min': 1e-4, 'max': 10}}, got {default!r}"
        )
        raise ConfigError(message)


def _is_number(value: object) -> bool:
    is_real = isinstance(value, int | float | np.integer | np.floating)
    return is_real and not isinstance(value, bool) and math.isfinite(value)  # type: ignore[arg-type]


def check_model(model: object) -> None:
    """Refuse what cannot build a fresh model from named arguments.

    Raises:
        ConfigError: If it is not callable, is a module already, or hides its arguments' names.
    """
    if not isinstance(model, type) and hasattr(model, "state_dict"):
        message = (
            "model must be a function that builds a fresh module for each trial, got a module "
            f"({type(model).__name__}); write model=lambda capacity: ..."
        )
        raise ConfigError(message)
    parameters = _signature("model", model).parameters.values()
    nameless = [p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_ONLY]
    if nameless:
        message = f"model's arguments must be callable by name, {nameless[0]!r} is positional only"
        raise ConfigError(message)


def check_loop(function: object) -> None:
    """Refuse a training loop that cannot be called with a configuration and a reporter.

    Raises:
        ConfigError: If it cannot be called with exactly two positional arguments.
    """
    signature = _signature("function", function)
    try:
        signature.bind(*range(_N_LOOP_ARGUMENTS))
    except TypeError as error:
        message = (
            f"function must be callable as function(config, report), its signature is {signature}"
        )
        raise ConfigError(message) from error


def _signature(argument: str, function: Any) -> inspect.Signature:
    if not callable(function):
        message = f"{argument} must be a function, got {function!r}"
        raise ConfigError(message)
    try:
        return inspect.signature(function)
    except ValueError as error:
        message = f"{argument} must be a function with a readable signature, got {function!r}"
        raise ConfigError(message) from error


def check_data(task: str, train: object, validation: object, *, has_own_loss: bool) -> None:
    """Refuse data that cannot be trained on.

    Arrays are checked in full. Of data sets whose items are read one by one it is checked that
    they can be; their items are checked when they are read.
    """
    rows = {
        name: _checked_rows(name, task, samples)
        for name, samples in (("train", train), ("validation", validation))
        if name == "train" or samples is not None
    }
    if rows["train"] is not None:
        check_rows(task, rows["train"], rows.get("validation"), has_own_loss=has_own_loss)
    elif (alone := rows.get("validation")) is not None and not has_own_loss:
        _TARGET_CHECKS[task]("validation", alone.targets)


def check_rows(task: str, train: Rows, validation: Rows | None, *, has_own_loss: bool) -> None:
    """Refuse samples whose targets no loss fits, and validation samples unlike those that train.

    A loss of the user's own may have targets of any shape; the named losses' targets are checked
    in full.

    Raises:
        WorkloadError: If something is refused.
    """
    if not has_own_loss:
        _TARGET_CHECKS[task]("train", train.targets)
        if validation is not None:
            _TARGET_CHECKS[task]("validation", validation.targets)
        if (train.targets == train.targets[0]).all() and len(train.targets) > 1:
            message = f"train targets are all {train.targets[0]}: there is nothing to learn"
            raise WorkloadError(message)
    if validation is None:
        return
    for kind, first, second in (
        (
            "inputs",
            (train.input_dtype, train.input_shape),
            (validation.input_dtype, validation.input_shape),
        ),
        (
            "targets",
            (train.targets.dtype, train.targets.shape[1:]),
            (validation.targets.dtype, validation.targets.shape[1:]),
        ),
    ):
        if first != second:
            message = (
                f"validation {kind} must be like train {kind}: train samples are {first[0]} of "
                f"shape {first[1]}, validation samples {second[0]} of {second[1]}"
            )
            raise WorkloadError(message)


def _checked_rows(name: str, task: str, samples: Any) -> Rows | None:
    """Return the rows of arrays; ``None`` for a data set that is read by items.

    Raises:
        WorkloadError: If samples are missing or malformed.
    """
    is_classes = task == "classification"
    if is_map_style(samples):
        open_items(name, samples, is_classes=is_classes)
        return None
    if not isinstance(samples, tuple | list) or len(samples) != 2:
        message = (
            f"{name} must be a pair (inputs, targets) or a map-style Dataset, got "
            f"{type(samples).__name__}"
        )
        raise WorkloadError(message)
    inputs = checked_inputs(samples[0], f"{name} inputs")
    targets = target_array(samples[1], f"{name} targets", is_integer=is_classes)
    if len(inputs) != len(targets):
        message = (
            f"{name} inputs and targets must have the same number of samples, got {len(inputs)} "
            f"and {len(targets)}"
        )
        raise WorkloadError(message)
    return ArrayRows(inputs=inputs, targets=targets)


def _check_classes(name: str, targets: NDArray[Any]) -> None:
    if targets.ndim != 1:
        message = (
            f"{name} targets of a classification must be one class number per sample, got shape "
            f"{targets.shape}; use targets.argmax(1) for one-hot rows, targets[:, 0] for a column,"
            " or a loss of your own for sequences"
        )
        raise WorkloadError(message)
    if targets.min() < 0:
        first = int(np.flatnonzero(targets < 0)[0])
        message = (
            f"{name} targets of a classification must be class numbers from 0, got "
            f"{targets[first]} at index {first}"
        )
        raise WorkloadError(message)


def _check_binary(name: str, targets: NDArray[Any]) -> None:
    outside = (targets != 0) & (targets != 1)
    if outside.any():
        first = int(np.argwhere(outside)[0][0])
        message = (
            f"{name} targets of a binary task must be 0 or 1, got {targets[outside][0]:g} at "
            f"index {first}"
        )
        raise WorkloadError(message)


def _check_nothing(name: str, targets: NDArray[Any]) -> None:
    """Accept every finite target: a regression has no range."""


_TARGET_CHECKS: dict[str, Callable[[str, NDArray[Any]], None]] = {
    "classification": _check_classes,
    "binary": _check_binary,
    "regression": _check_nothing,
}
