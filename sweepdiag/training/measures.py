"""Losses and metrics of the members of a pack, rounded alike in any pack.

A mean over a batch rounds differently when it is taken for many members at once than for one. So
what is recorded is taken member by member, or sample by sample and then summed in a fixed order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from sweepdiag.workloads import PreparedWorkload

__all__ = [
    "EVALUATION_CHUNK",
    "Evaluation",
    "chunks",
    "evaluate",
    "running_losses",
]

EVALUATION_CHUNK = 512
"""Samples evaluated at once. Part of the numerics: another size would round differently."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Losses and metrics of one member on one set of samples; NaN where there is no metric."""

    loss: float
    metric: float


def chunks(
    inputs: torch.Tensor, targets: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield a set of samples in pieces of ``EVALUATION_CHUNK``."""
    for start in range(0, len(targets), EVALUATION_CHUNK):
        stop = start + EVALUATION_CHUNK
        yield inputs[start:stop], targets[start:stop]


def evaluate(
    forward: Callable[[torch.Tensor], torch.Tensor],
    inputs: torch.Tensor,
    targets: torch.Tensor,
    prepared: PreparedWorkload,
) -> list[Evaluation]:
    """Return the mean loss and metric of each member.

    Args:
        forward: From inputs ``(n, …)`` to the outputs of all members ``(n_members, n, …)``.
        inputs: Samples, shape ``(n_samples, …)``.
        targets: Their targets, shape ``(n_samples, …)``.
        prepared: Brings the loss and the metric.

    Returns:
        One evaluation per member.
    """
    import torch

    sums: list[tuple[float, float]] = []
    with torch.no_grad():
        for x, y in chunks(inputs, targets):
            means = [_means(outputs, y, prepared) for outputs in forward(x)]
            sums = sums or [(0.0, 0.0)] * len(means)
            sums = [
                (a + len(y) * loss, b + len(y) * metric)
                for (a, b), (loss, metric) in zip(sums, means, strict=True)
            ]
    n = len(targets)
    return [Evaluation(loss=_recorded(a / n), metric=_recorded(b / n)) for a, b in sums]


def running_losses(
    outputs: torch.Tensor, targets: torch.Tensor, prepared: PreparedWorkload
) -> torch.Tensor:
    """Return the minibatch loss of each member.

    Args:
        outputs: Outputs of all members, shape ``(n_members, batch_size, …)``.
        targets: Their targets, shape ``(n_members, batch_size, …)``.
        prepared: Brings the loss.

    Returns:
        Mean losses, shape ``(n_members,)``, float64, on the device of ``outputs``.
    """
    import torch

    per_sample = _SAMPLE_LOSSES.get(prepared.named_loss or "")
    if per_sample is None:
        pairs = zip(outputs, targets, strict=True)
        return torch.stack([prepared.loss_fn(o, t) for o, t in pairs]).double()
    losses = per_sample(outputs.flatten(0, 1), targets.flatten(0, 1)).double()
    rows = losses.view(len(outputs), -1)
    # cumsum adds from left to right whatever the number of rows; sum does not.
    return rows.cumsum(dim=1)[:, -1] / rows.shape[1]


def _means(
    outputs: torch.Tensor, targets: torch.Tensor, prepared: PreparedWorkload
) -> tuple[float, float]:
    loss = float(prepared.loss_fn(outputs, targets))
    metric = (
        math.nan if prepared.metric_fn is None else float(prepared.metric_fn(outputs, targets))
    )
    return loss, metric


def _recorded(value: float) -> float:
    """Round to the 9 digits that tell any two float32 numbers apart, to keep the journal small."""
    return float(f"{value:.9g}")


def _cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional

    return functional.cross_entropy(outputs, targets, reduction="none")


def _binary_cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional

    logits = outputs.reshape(targets.shape)
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def _squared_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional

    return functional.mse_loss(outputs.reshape(targets.shape), targets, reduction="none")


_SAMPLE_LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
    "mse": _squared_error,
}
