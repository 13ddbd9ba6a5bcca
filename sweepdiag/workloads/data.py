"""From a workload to the samples that every trial of a sweep shares."""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.records import SplitSettings, SweepFacts
from sweepdiag.workloads._data_checks import check_rows
from sweepdiag.workloads._data_facts import measure_data
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
from sweepdiag.workloads.memory import device_room_bytes, host_room_bytes
from sweepdiag.workloads.rows import Part, open_rows
from sweepdiag.workloads.samples import TensorSamples, streamed, tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import torch
    from numpy.typing import NDArray

    from sweepdiag.workloads.base import BatchFunction, Workload
    from sweepdiag.workloads.samples import Samples

__all__ = ["PreparedWorkload", "prepare"]

logger = logging.getLogger(__name__)

_IN_ORDER_OF_USE = ("validation", "train_eval", "train")
"""Which samples memory goes to first: those of evaluations are all used at each of them."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PreparedWorkload:
    """A workload whose data are split, converted, checked and fingerprinted.

    Attributes:
        name: Name of the workload.
        version: Its version.
        train: All training samples: inputs float32 (or int64 token ids), targets int64 classes or
            float32.
        train_eval: The fixed subset on which the training loss is evaluated.
        validation: The validation samples.
        loss_fn: Mean loss of ``(outputs, targets)``.
        metric_fn: Mean metric of ``(outputs, targets)``, if there is one.
        sample_loss_fn: The loss of each sample; ``None`` for a loss of the user's own.
        sample_metric_fn: The metric of each sample, likewise.
        model: Builds a fresh module from axes by name.
        named_loss: The loss's name if it is one of sweepdiag's; ``None`` for the user's own.
        facts: What is known of the task before training.
        fingerprint: SHA-256 over the samples, the loss and the metric; of the inputs of a data set
            that is read by items, up to 1,024 of each part that are evenly spaced.
    """

    name: str
    version: str
    train: Samples = field(repr=False)
    train_eval: Samples = field(repr=False)
    validation: Samples = field(repr=False)
    loss_fn: BatchFunction
    metric_fn: BatchFunction | None
    sample_loss_fn: BatchFunction | None
    sample_metric_fn: BatchFunction | None
    model: Callable[..., torch.nn.Module]
    named_loss: str | None
    facts: SweepFacts
    fingerprint: str

    def to(
        self, device: torch.device | str, *, memory_gb: float | None = None
    ) -> PreparedWorkload:
        """Return a copy whose samples are on a device, or streamed to it where they do not fit.

        A loss or metric that is itself a module (with class weights, say) moves too; tensors that
        a function of the user's closes over do not.

        Args:
            device: Where to.
            memory_gb: Memory of the device that samples may take, in GB; ``None``: half of what
                is free.

        Returns:
            The copy; tensors that are there already are shared with it.
        """
        room_bytes = device_room_bytes(str(device), memory_gb)
        moved: dict[str, Any] = {}
        for name in _IN_ORDER_OF_USE:
            samples = getattr(self, name)
            moved[name] = samples.to(device, room_bytes=room_bytes)
            if isinstance(moved[name], TensorSamples):
                room_bytes -= samples.n_bytes
        for name in ("loss_fn", "metric_fn"):
            function = getattr(self, name)
            if hasattr(function, "state_dict"):
                moved[name] = copy.deepcopy(function).to(device)
        return dataclasses.replace(self, **moved)


def prepare(
    workload: Workload,
    split: SplitSettings,
    *,
    loss: str | None = None,
    memory_gb: float | None = None,
) -> PreparedWorkload:
    """Return the samples, loss, metric and facts that all trials of a sweep share.

    Training loss is evaluated on a fixed subset of the training samples, stratified by class,
    that has as many samples as validation (or on all of them if there are fewer).

    Args:
        workload: What to train.
        split: Seed of the choices, and the share held out where the workload has no validation.
        loss: Name of a loss that replaces the workload's.
        memory_gb: Memory that the samples may take in this process, in GB; ``None``: measured.
            What does not fit is streamed, which changes no curve and no fingerprint.

    Returns:
        The prepared workload, on the CPU.
    """
    if loss is not None and callable(workload.loss):
        # A loss of the user's own may have targets of any shape, a named one may not.
        workload = dataclasses.replace(workload, loss=loss, loss_floor=None)
    room_bytes = host_room_bytes(memory_gb)
    train, validation = _split(workload, split, room_bytes)
    if not _has_fitting_metric(workload, train):
        workload = dataclasses.replace(workload, metric=None, metric_mode=None)
    chosen = choose_stratified(_strata(workload, train), len(validation), seed=split.seed)
    parts = {"train": train, "train_eval": train[chosen], "validation": validation}
    resolved_loss = workload.resolved_loss(loss)
    is_classes = workload.task == "classification"
    largest = max(int(part.targets.max()) for part in parts.values()) if is_classes else -1
    return PreparedWorkload(
        name=workload.name,
        version=workload.version,
        **_samples(parts, room_bytes),
        loss_fn=loss_function(resolved_loss) if isinstance(resolved_loss, str) else resolved_loss,
        metric_fn=metric_function(workload, n_classes=largest + 1),
        sample_loss_fn=sample_loss_function(resolved_loss),
        sample_metric_fn=sample_metric_function(workload, n_classes=largest + 1),
        model=workload.model,
        named_loss=resolved_loss if isinstance(resolved_loss, str) else None,
        facts=_facts(workload, parts, loss),
        fingerprint=_fingerprint(workload, parts, resolved_loss),
    )


def _has_fitting_metric(workload: Workload, train: Part) -> bool:
    """Return whether the task's metric fits targets that only the user's own loss has to fit."""
    is_left_to_task = workload.metric == "auto" and callable(workload.loss)
    is_per_sample = workload.task != "classification" or train.targets.ndim == 1
    return is_per_sample or not is_left_to_task


def _split(workload: Workload, split: SplitSettings, room_bytes: float) -> tuple[Part, Part]:
    is_classes = workload.task == "classification"
    open_set = functools.partial(open_rows, is_classes=is_classes, room_bytes=room_bytes)
    rows = open_set("train", workload.train)
    given = None if workload.validation is None else open_set("validation", workload.validation)
    check_rows(workload.task, rows, given, has_own_loss=callable(workload.loss))
    train = Part.whole(rows)
    if given is not None:
        return train, Part.whole(given)
    strata = _strata(workload, train)
    training, validating = hold_out(strata, fraction=split.validation_fraction, seed=split.seed)
    return train[training], train[validating]


def _samples(parts: dict[str, Part], room_bytes: float) -> dict[str, Samples]:
    """Return the samples of each part: in memory as long as there is room, else streamed."""
    samples: dict[str, Samples] = {}
    for name in _IN_ORDER_OF_USE:
        part = parts[name]
        if part.rows.is_random or part.n_bytes > room_bytes:
            samples[name] = streamed(part)
            logger.info("%s: %.3g GB are streamed", name, part.n_bytes / 1e9)
        else:
            samples[name] = tensors(part)
            room_bytes -= part.n_bytes
    return samples


def _strata(workload: Workload, samples: Part) -> NDArray[np.int64]:
    """Return the class of each sample; one class for all where targets are not classes."""
    targets = samples.targets
    if workload.task == "regression" or targets.size != len(targets):
        return np.zeros(len(targets), dtype=np.int64)
    return targets.reshape(-1).astype(np.int64)


def _facts(workload: Workload, parts: dict[str, Part], loss: str | None) -> SweepFacts:
    metric = workload.resolved_metric()
    zero_rule = _baseline(workload, parts, loss)
    return SweepFacts(
        workload=workload.name,
        workload_version=workload.version,
        task=workload.task,
        loss=loss_name(workload.resolved_loss(loss)),
        metric=None if metric is None else loss_name(metric),
        metric_mode=workload.resolved_metric_mode(),
        n_train=len(parts["train"]),
        n_train_eval=len(parts["train_eval"]),
        n_validation=len(parts["validation"]),
        baseline_train_loss=zero_rule.train_loss,
        baseline_val_loss=zero_rule.val_loss,
        baseline_metric=zero_rule.metric if isinstance(metric, str) else None,
        loss_floor=loss_floor(workload, loss),
        data=measure_data(
            parts["train"],
            parts["validation"],
            task=workload.task,
            loss=workload.resolved_loss(loss),
        ),
    )


def _baseline(workload: Workload, parts: dict[str, Part], loss: str | None) -> Baseline:
    """Return the zero-rule baseline; unknown where the user's own loss may mean anything."""
    if not isinstance(workload.resolved_loss(loss), str):
        return Baseline(train_loss=None, val_loss=None, metric=None)
    targets = (parts[name].targets for name in ("train", "train_eval", "validation"))
    return baseline(workload.task, *targets)


def _fingerprint(workload: Workload, parts: dict[str, Part], loss: str | BatchFunction) -> str:
    digest = hashlib.sha256()
    metric = workload.resolved_metric()
    mode = workload.resolved_metric_mode()
    for text in (workload.task, function_identity(loss), function_identity(metric), str(mode)):
        digest.update(f"{text}\n".encode())
    for name, part in parts.items():
        what = " sampled" if part.rows.is_sampled else ""
        shape = (len(part), *part.rows.input_shape)
        _update(digest, f"{name} inputs{what}", shape, part.rows.input_dtype, part.input_pieces())
        targets = part.targets
        _update(digest, f"{name} targets", targets.shape, targets.dtype, [targets])
    return digest.hexdigest()


def _update(
    digest: hashlib._Hash,
    what: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    pieces: Iterable[NDArray[Any]],
) -> None:
    # Little-endian on every machine, so that equal data have equal fingerprints.
    stored = dtype.newbyteorder("<")
    digest.update(f"{what} {stored.str} {shape}\n".encode())
    for piece in pieces:
        digest.update(np.ascontiguousarray(piece, dtype=stored).data.cast("B"))
