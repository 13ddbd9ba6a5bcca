"""Losses and metrics of the members of a pack, rounded alike in any pack.

A mean over a batch rounds differently when it is taken for many members at once than for one. So
what is recorded is taken sample by sample, and summed in float64 in a fixed order; a loss or
metric of the user's own, which only gives means, is taken member by member.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweepdiag.training.transfers import Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from sweepdiag.workloads import PreparedWorkload, Samples

__all__ = [
    "EVALUATION_CHUNK",
    "Evaluation",
    "evaluate",
    "fixed_order_sums",
    "mean_measures",
    "minibatch_losses",
    "read_evaluations",
]

EVALUATION_CHUNK = 512
"""Samples evaluated at once. Part of the numerics: another size would round differently."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Losses and metrics of one member on one set of samples; NaN where there is no metric."""

    loss: float
    metric: float


def evaluate(
    measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    samples: Samples,
) -> torch.Tensor:
    """Return the mean loss and metric of each member, on the device.

    Args:
        measure: From inputs ``(n, …)`` and targets ``(n, …)`` to what :func:`mean_measures`
            returns for all members.
        samples: What to evaluate on.

    Returns:
        Shape ``(2, n_members)``, float64.
    """
    import torch

    totals: Any = 0.0
    with torch.no_grad():
        for x, y in samples.chunks(EVALUATION_CHUNK):
            totals = totals + len(y) * measure(x, y)
    means: torch.Tensor = totals / len(samples)
    return means


def read_evaluations(means: torch.Tensor) -> Reading[list[tuple[Evaluation, Evaluation]]]:
    """Begin to read what :func:`evaluate` returned for the training and the validation set.

    Args:
        means: Both, shape ``(2, 2, n_members)``; not to be written into any more.
    """
    return Reading(means, _as_evaluations)


def _as_evaluations(means: torch.Tensor) -> list[tuple[Evaluation, Evaluation]]:
    """Return each member's evaluations from means of shape ``(2, 2, n_members)``."""
    train, validation = (
        [
            Evaluation(loss=_recorded(loss), metric=_recorded(metric))
            for loss, metric in zip(losses, metrics, strict=True)
        ]
        for losses, metrics in means.tolist()
    )
    return list(zip(train, validation, strict=True))


def minibatch_losses(
    outputs: torch.Tensor, targets: torch.Tensor, prepared: PreparedWorkload
) -> torch.Tensor:
    """Return the losses of the members on minibatches of their own.

    Args:
        outputs: Outputs of all members, shape ``(n_members, batch_size, …)``.
        targets: Their targets, shape ``(n_members, batch_size, …)``.
        prepared: Brings the loss.

    Returns:
        Losses per sample, shape ``(n_members, n)``; per member (``n`` is 1) where the loss is the
        user's own.
    """
    import torch

    per_sample = prepared.sample_loss_fn
    if per_sample is None:
        pairs = zip(outputs, targets, strict=True)
        return torch.stack([prepared.loss_fn(o, t).reshape(1) for o, t in pairs])
    losses = per_sample(outputs.flatten(0, 1), targets.flatten(0, 1))
    return losses.view(len(outputs), -1)


def fixed_order_sums(rows: torch.Tensor) -> torch.Tensor:
    """Return the sum of each row in float64, added from left to right.

    ``sum`` adds in an order that depends on the number of rows.

    Args:
        rows: Shape ``(n_members, n)``.
    """
    # Rows may lie on a GPU, where cumsum adds in blocks; there equal bits are not promised.
    return rows.double().cumsum(dim=1)[:, -1]


def mean_measures(
    outputs: torch.Tensor, targets: torch.Tensor, prepared: PreparedWorkload
) -> torch.Tensor:
    """Return the mean loss and the mean metric of each member on samples that all of them share.

    Args:
        outputs: Outputs of all members, shape ``(n_members, n, …)``.
        targets: Shape ``(n, …)``.
        prepared: Brings the loss and the metric.

    Returns:
        Shape ``(2, n_members)``, float64; NaN where there is no metric.
    """
    import torch

    return torch.stack(
        [_loss_means(outputs, targets, prepared), _metric_means(outputs, targets, prepared)]
    )


def _loss_means(
    outputs: torch.Tensor, targets: torch.Tensor, prepared: PreparedWorkload
) -> torch.Tensor:
    """Return the mean loss of each member, shape ``(n_members,)``, float64."""
    import torch

    if prepared.sample_loss_fn is None:
        return torch.stack([prepared.loss_fn(o, targets).double() for o in outputs])
    return _row_means(outputs, targets, prepared.sample_loss_fn)


def _metric_means(
    outputs: torch.Tensor, targets: torch.Tensor, prepared: PreparedWorkload
) -> torch.Tensor:
    """Return the mean metric of each member, shape ``(n_members,)``, float64."""
    import torch

    if prepared.sample_metric_fn is not None:
        return _row_means(outputs, targets, prepared.sample_metric_fn)
    if prepared.metric_fn is None:
        return torch.full((len(outputs),), math.nan, dtype=torch.float64, device=outputs.device)
    # The user's own may return a number.
    means = [float(prepared.metric_fn(o, targets)) for o in outputs]
    return torch.tensor(means, dtype=torch.float64, device=outputs.device)


def _row_means(
    outputs: torch.Tensor,
    targets: torch.Tensor,
    per_sample: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    n_members = len(outputs)
    repeated = targets.expand(n_members, *targets.shape).flatten(0, 1)
    rows = per_sample(outputs.flatten(0, 1), repeated).view(n_members, -1)
    return fixed_order_sums(rows) / rows.shape[1]


def _recorded(value: float) -> float:
    """Round to the 9 digits that tell any two float32 numbers apart, to keep the journal small."""
    return float(f"{value:.9g}")
