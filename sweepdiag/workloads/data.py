"""From a workload to the tensors that every trial of a sweep shares."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.records import SplitSettings, SweepFacts
from sweepdiag.workloads._arrays import input_array, target_array
from sweepdiag.workloads._split import choose_stratified, hold_out
from sweepdiag.workloads.losses import (
    Baseline,
    baseline,
    function_identity,
    loss_floor,
    loss_function,
    loss_name,
    metric_function,
    sample_loss_function,
    sample_metric_function,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from sweepdiag.workloads.base import BatchFunction, Workload

__all__ = ["PreparedWorkload", "prepare"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PreparedWorkload:
    """A workload whose data are split, converted, checked and fingerprinted.

    Attributes:
        name: Name of the workload.
        version: Its version.
        train_inputs: All training samples, float32 (or int64 token ids), shape ``(n_train, …)``.
        train_targets: Their targets: int64 classes, or float32.
        train_eval_inputs: The fixed subset on which the training loss is evaluated.
        train_eval_targets: Their targets.
        validation_inputs: The validation samples.
        validation_targets: Their targets.
        loss_fn: Mean loss of ``(outputs, targets)``.
        metric_fn: Mean metric of ``(outputs, targets)``, if there is one.
        sample_loss_fn: The loss of each sample; ``None`` for a loss of the user's own.
        sample_metric_fn: The metric of each sample, likewise.
        model: Builds a fresh module from axes by name.
        named_loss: The loss's name if it is one of sweepdiag's; ``None`` for the user's own.
        facts: What is known of the task before training.
        fingerprint: SHA-256 over all these tensors, the loss and the metric.
    """

    name: str
    version: str
    train_inputs: torch.Tensor = field(repr=False)
    train_targets: torch.Tensor = field(repr=False)
    train_eval_inputs: torch.Tensor = field(repr=False)
    train_eval_targets: torch.Tensor = field(repr=False)
    validation_inputs: torch.Tensor = field(repr=False)
    validation_targets: torch.Tensor = field(repr=False)
    loss_fn: BatchFunction
    metric_fn: BatchFunction | None
    sample_loss_fn: BatchFunction | None
    sample_metric_fn: BatchFunction | None
    model: Callable[..., torch.nn.Module]
    named_loss: str | None
    facts: SweepFacts
    fingerprint: str

    def to(self, device: torch.device | str) -> PreparedWorkload:
        """Return a copy whose tensors are on a device.

        A loss or metric that is itself a module (with class weights, say) moves too; tensors that
        a function of the user's closes over do not.

        Args:
            device: Where to.

        Returns:
            The copy; tensors that are there already are shared with it.
        """
        moved: dict[str, Any] = {
            name: getattr(self, name).to(device)
            for name in self.__slots__
            if name.endswith(("_inputs", "_targets"))
        }
        for name in ("loss_fn", "metric_fn"):
            function = getattr(self, name)
            if hasattr(function, "state_dict"):
                moved[name] = copy.deepcopy(function).to(device)
        return dataclasses.replace(self, **moved)


@dataclass(frozen=True, slots=True)
class _Samples:
    inputs: NDArray[Any]
    targets: NDArray[Any]

    def __getitem__(self, chosen: NDArray[np.int64]) -> _Samples:
        return _Samples(self.inputs[chosen], self.targets[chosen])


def prepare(
    workload: Workload, split: SplitSettings, *, loss: str | None = None
) -> PreparedWorkload:
    """Return the tensors, loss, metric and facts that all trials of a sweep share.

    Training loss is evaluated on a fixed subset of the training samples, stratified by class,
    that has as many samples as validation (or on all of them if there are fewer).

    Args:
        workload: What to train.
        split: Seed of the choices, and the share held out where the workload has no validation.
        loss: Name of a loss that replaces the workload's.

    Returns:
        The prepared workload, on the CPU.
    """
    if loss is not None and callable(workload.loss):
        # A loss of the user's own may have targets of any shape, a named one may not.
        workload = dataclasses.replace(workload, loss=loss, loss_floor=None)
    train, validation = _split(workload, split)
    train_eval = train[
        choose_stratified(_strata(workload, train), len(validation.targets), seed=split.seed)
    ]
    parts = {"train": train, "train_eval": train_eval, "validation": validation}
    tensors = {
        f"{part}_{kind}": _tensor(getattr(samples, kind))
        for part, samples in parts.items()
        for kind in ("inputs", "targets")
    }
    resolved_loss = workload.resolved_loss(loss)
    return PreparedWorkload(
        name=workload.name,
        version=workload.version,
        **tensors,
        loss_fn=loss_function(resolved_loss) if isinstance(resolved_loss, str) else resolved_loss,
        metric_fn=metric_function(workload),
        sample_loss_fn=sample_loss_function(resolved_loss),
        sample_metric_fn=sample_metric_function(workload),
        model=workload.model,
        named_loss=resolved_loss if isinstance(resolved_loss, str) else None,
        facts=_facts(workload, parts, loss),
        fingerprint=_fingerprint(workload, parts, resolved_loss),
    )


def _split(workload: Workload, split: SplitSettings) -> tuple[_Samples, _Samples]:
    samples = _samples(workload, "train", workload.train)
    if workload.validation is not None:
        return samples, _samples(workload, "validation", workload.validation)
    strata = _strata(workload, samples)
    training, validating = hold_out(strata, fraction=split.validation_fraction, seed=split.seed)
    return samples[training], samples[validating]


def _samples(workload: Workload, name: str, pair: tuple[Any, Any]) -> _Samples:
    is_classes = workload.task == "classification"
    return _Samples(
        input_array(pair[0], f"{name} inputs"),
        target_array(pair[1], f"{name} targets", is_integer=is_classes),
    )


def _strata(workload: Workload, samples: _Samples) -> NDArray[np.int64]:
    """Return the class of each sample; one class for all where targets are not classes."""
    targets = samples.targets
    if workload.task == "regression" or targets.size != len(targets):
        return np.zeros(len(targets), dtype=np.int64)
    return targets.reshape(-1).astype(np.int64)


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    """Return a tensor with memory of its own, so that the user's later edits change nothing."""
    import torch

    return torch.from_numpy(np.array(array, order="C"))


def _facts(workload: Workload, parts: dict[str, _Samples], loss: str | None) -> SweepFacts:
    metric = workload.resolved_metric()
    zero_rule = _baseline(workload, parts, loss)
    return SweepFacts(
        workload=workload.name,
        workload_version=workload.version,
        task=workload.task,
        loss=loss_name(workload.resolved_loss(loss)),
        metric=None if metric is None else loss_name(metric),
        metric_mode=workload.resolved_metric_mode(),
        n_train=len(parts["train"].targets),
        n_train_eval=len(parts["train_eval"].targets),
        n_validation=len(parts["validation"].targets),
        baseline_train_loss=zero_rule.train_loss,
        baseline_val_loss=zero_rule.val_loss,
        baseline_metric=zero_rule.metric if isinstance(metric, str) else None,
        loss_floor=loss_floor(workload, loss),
    )


def _baseline(workload: Workload, parts: dict[str, _Samples], loss: str | None) -> Baseline:
    """Return the zero-rule baseline; unknown where the user's own loss may mean anything."""
    if not isinstance(workload.resolved_loss(loss), str):
        return Baseline(train_loss=None, val_loss=None, metric=None)
    targets = (parts[name].targets for name in ("train", "train_eval", "validation"))
    return baseline(workload.task, *targets)


def _fingerprint(workload: Workload, parts: dict[str, _Samples], loss: str | BatchFunction) -> str:
    digest = hashlib.sha256()
    metric = workload.resolved_metric()
    mode = workload.resolved_metric_mode()
    for text in (workload.task, function_identity(loss), function_identity(metric), str(mode)):
        digest.update(f"{text}\n".encode())
    for name, samples in parts.items():
        for kind, array in (("inputs", samples.inputs), ("targets", samples.targets)):
            # Little-endian on every machine, so that equal data have equal fingerprints.
            stored = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{name} {kind} {stored.dtype.str} {stored.shape}\n".encode())
            digest.update(stored.data.cast("B"))
    return digest.hexdigest()
