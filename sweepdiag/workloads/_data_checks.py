"""Which samples are refused, with messages that name the argument, the rule and the value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.errors import WorkloadError
from sweepdiag.workloads._arrays import ONE_TENSOR, checked_inputs, target_array
from sweepdiag.workloads._datasets import is_map_style, open_items
from sweepdiag.workloads.rows import ArrayRows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sweepdiag.workloads.rows import Rows

__all__ = ["check_data", "check_rows"]


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
        is_several = isinstance(samples, tuple | list) and len(samples) > 2
        message = (
            f"{name} must be a pair (inputs, targets) or a map-style Dataset, got "
            f"{type(samples).__name__}{f' of {len(samples)}: {ONE_TENSOR}' if is_several else ''}"
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
            " or loss=function, a loss of your own, for sequences and images (such as "
            "torch.nn.functional.cross_entropy; accuracy is left out then, metric=function gives "
            "a metric of your own)"
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
