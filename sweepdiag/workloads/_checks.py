"""What is refused in a workload, with messages that name the argument, the rule and the value."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from sweepdiag.errors import ConfigError, unknown_name
from sweepdiag.workloads._tasks import LOSS_OF_TASK, METRIC_MODES, METRIC_OF_TASK

__all__ = [
    "check_defaults",
    "check_labels",
    "check_loop",
    "check_loss",
    "check_metric",
    "check_model",
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
