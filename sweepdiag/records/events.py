"""What workers tell while they train."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from sweepdiag.records.states import State

__all__ = ["RECORDED_FIELDS", "CurvePoint", "Event", "PointMeasured", "TrialEnded", "TrialStarted"]


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
