"""What a user writes to say what a sweep trains.

``Workload`` is data, a model and a loss: sweepdiag trains it, many trials at a time. ``TrainLoop``
is a function that trains by itself and reports its losses. Both check what they are given when
they are made, so that a mistake is reported before anything is trained.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from sweepdiag.workloads import _checks
from sweepdiag.workloads._data_checks import check_data
from sweepdiag.workloads._datasets import n_samples
from sweepdiag.workloads._tasks import LOSS_OF_TASK, METRIC_MODES, METRIC_OF_TASK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from numpy.typing import NDArray
    from torch.utils.data import DataLoader, Dataset

__all__ = ["Array", "AxisDefault", "BatchFunction", "Data", "TrainLoop", "Workload"]

Array: TypeAlias = "torch.Tensor | NDArray[Any]"
Data: TypeAlias = "tuple[Array, Array] | Dataset[Any] | DataLoader[Any]"
BatchFunction: TypeAlias = "Callable[[torch.Tensor, torch.Tensor], torch.Tensor]"
AxisDefault: TypeAlias = "tuple[float, float] | list[Any] | Mapping[str, Any]"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Workload:
    """What to train: data, a model, a loss, and sensible axes for a sweep over them.

    Attributes:
        name: Names it in tables and reports; letters, digits, ``.``, ``_`` and ``-``.
        version: Changed by its author whenever model or loss change; part of a trial's identity.
        task: ``classification`` (targets are class numbers from 0), ``binary`` (targets are 0 or
            1, outputs are logits of the same shape) or ``regression``.
        train: Inputs and targets, samples first, in arrays, tensors or memory maps; or a
            map-style data set whose items are pairs ``(input, target)``, or a ``DataLoader`` of
            one. Inputs are used as float32, integers (token ids) as int64.
        validation: Samples in one of these forms; ``None`` holds out a share of ``train``,
            stratified by class, as the sweep's ``split`` settings say.
        model: Builds a fresh ``torch.nn.Module``; its arguments are matched to axes by name.
        loss: ``cross_entropy``, ``binary_cross_entropy`` (of logits) or ``mse``; a callable of
            ``(outputs, targets)`` that returns the mean over the batch; ``None``: by task.
        loss_floor: The lowest value that a loss of your own can take, if it has one.
        metric: ``accuracy``, ``mae``, a callable like the loss, ``auto`` (by task; none where a
            loss of your own has targets of several classes per sample) or ``None``.
        metric_mode: ``max`` or ``min``: which is better; needed where ``metric`` is a callable.
        optimizer: Optimizer that a sweep uses unless it names another.
        axes: The axes that a sweep has unless it names its own: a tuple ``(low, high)`` is a
            continuous range on a log scale, a list holds the values, a mapping is a block as in
            a sweep's file (``{"min": 1e-4, "max": 10, "n": 8}``).
        settings: Further settings that a sweep has unless it names its own, by dotted key
            (``{"epochs": 30, "optimizer.momentum": 0.9}``).
    """

    name: str
    train: Data = field(repr=False)
    model: Callable[..., torch.nn.Module]
    version: str = "1"
    task: str = "classification"
    validation: Data | None = field(default=None, repr=False)
    loss: str | BatchFunction | None = None
    loss_floor: float | None = None
    metric: str | BatchFunction | None = "auto"
    metric_mode: str | None = None
    optimizer: str = "sgd"
    axes: Mapping[str, AxisDefault] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _checks.check_labels(self.name, self.version)
        _checks.check_task(self.task)
        _checks.check_loss(self.task, self.loss, self.loss_floor)
        _checks.check_metric(self.task, self.metric, self.metric_mode)
        _checks.check_defaults(self.optimizer, self.axes, self.settings)
        _checks.check_model(self.model)
        has_own_loss = callable(self.loss)
        check_data(self.task, self.train, self.validation, has_own_loss=has_own_loss)

    @property
    def n_samples(self) -> int:
        """How many samples ``train`` holds, those held out for validation among them."""
        return n_samples(self.train)

    def model_arguments(self) -> tuple[str, ...]:
        """Return the names of the arguments that ``model`` declares, in their order."""
        return tuple(parameter.name for parameter in _named_parameters(self.model))

    def required_model_arguments(self) -> tuple[str, ...]:
        """Return the names of the arguments that ``model`` cannot be called without."""
        named = _named_parameters(self.model)
        return tuple(p.name for p in named if p.default is inspect.Parameter.empty)

    def accepts_any_argument(self) -> bool:
        """Return whether ``model`` takes ``**kwargs``, so that any axis may be one of them."""
        parameters = inspect.signature(self.model).parameters.values()
        return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)

    def resolved_loss(self, override: str | None = None) -> str | BatchFunction:
        """Return the loss in force: the override, else the workload's own, else the task's.

        Args:
            override: Name of a loss from the sweep's settings.

        Returns:
            A name, or the user's callable.
        """
        if override is not None:
            _checks.check_loss(self.task, override, None)
            return override
        return LOSS_OF_TASK[self.task] if self.loss is None else self.loss

    def resolved_metric(self) -> str | BatchFunction | None:
        """Return the metric in force, with ``auto`` replaced by the task's."""
        return METRIC_OF_TASK[self.task] if self.metric == "auto" else self.metric

    def resolved_metric_mode(self) -> str | None:
        """Return whether a larger (``max``) or smaller (``min``) metric is better."""
        metric = self.resolved_metric()
        return METRIC_MODES[metric] if isinstance(metric, str) else self.metric_mode


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainLoop:
    """A training loop of the user's own, run once per trial in a process of its own.

    Attributes:
        name: Names it in tables and reports; letters, digits, ``.``, ``_`` and ``-``.
        function: ``function(config, report)``: ``config`` holds the trial's axes, seed and
            settings; ``report(epoch=…, train_loss=…, val_loss=…)`` is called per evaluation.
        version: Part of a trial's identity.
        axes: Default axes, as for ``Workload``; may be empty.
        settings: Default settings, as for ``Workload``.
    """

    name: str
    function: Callable[..., Any]
    version: str = "1"
    axes: Mapping[str, AxisDefault] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _checks.check_labels(self.name, self.version)
        _checks.check_loop(self.function)
        _checks.check_defaults("sgd", self.axes, self.settings)

    @property
    def task(self) -> str:
        """``custom``: only the user knows what the loop trains."""
        return "custom"


def _named_parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p for p in inspect.signature(function).parameters.values() if p.kind in named]
