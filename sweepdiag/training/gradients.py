"""Norms of gradients and updates, recorded beside a curve without touching it.

One mechanism for both ways of training: whoever updates parameters shows them, with their
gradients, before and after. For a pack that is an optimizer around the pack's own; for a single
model it is a pair of hooks of ``torch.optim``. Nothing is written into, and nothing is reduced
across members, so no bit of a training changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import torch

    from sweepdiag.training.optimizers import FusedOptimizer, Rows

__all__ = ["Recorded", "RecordingOptimizer", "StepNorms", "watch_torch_optimizer"]

_BLOCK = 2**14
"""Numbers whose squares are added in their own precision; sums of blocks are taken in float64."""
_MOST_WAITING = 64
"""Steps whose norms are kept until they are added up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """What was recorded of one member since the last evaluation; NaN where nothing was.

    Attributes:
        grad_norm: Mean L2 norm of the gradient.
        update_ratio: L2 norm of an update over that of the parameters.
        dead_fraction: Share of units that are zero for every sample.
    """

    grad_norm: float = math.nan
    update_ratio: float = math.nan
    dead_fraction: float = math.nan


class StepNorms:
    """Norms over the steps between two evaluations, per member.

    The gradient's norm costs one pass over it and is taken at every step. The update's norm takes
    a copy of the parameters, and is taken at the last step before an evaluation only.

    Rows are one tensor per type of number, of shape ``(n_members, n)``.
    """

    def __init__(self) -> None:
        """Begin with no steps."""
        self._n_expected = 0
        self._n_steps = 0
        self._waiting: list[Sequence[torch.Tensor]] = []
        self._total: torch.Tensor | None = None
        self._before: dict[torch.dtype, torch.Tensor] | None = None
        self._ratios: torch.Tensor | None = None

    def expect(self, n_steps: int) -> None:
        """Say how many steps will be taken until the next evaluation."""
        self._n_expected = n_steps

    @property
    def is_last_step(self) -> bool:
        """Whether the step that comes, or is under way, is the last one expected."""
        return self._n_expected == 1

    def before_update(self, rows: Rows, gradient_rows: Rows) -> None:
        """Look at the gradients of a step, as the optimizer is given them.

        Args:
            rows: The parameters.
            gradient_rows: Their gradients; not changed.
        """
        self._waiting.append(_norms_of_blocks(gradient_rows.values()))
        if len(self._waiting) == _MOST_WAITING:
            self._add_up()
        if self.is_last_step:
            self._before = {dtype: of_dtype.clone() for dtype, of_dtype in rows.items()}

    def after_update(self, rows: Rows) -> None:
        """Look at the parameters that a step has left.

        Args:
            rows: The parameters; not changed.
        """
        before, self._before = self._before, None
        if before is not None:
            weights = row_norms(before.values())
            updates = [rows[dtype] - of_dtype for dtype, of_dtype in before.items()]
            self._ratios = row_norms(updates) / weights
        self._n_expected -= 1

    def take(self, dead_fractions: Sequence[float]) -> list[Recorded]:
        """Return what the steps since the last call have shown, and begin anew.

        Args:
            dead_fractions: What the evaluation has shown, one per member.
        """
        self._add_up()
        nothing = [math.nan] * len(dead_fractions)
        total, ratios = self._total, self._ratios
        norms = nothing if total is None else (total / self._n_steps).tolist()
        last_ratios = nothing if ratios is None else ratios.tolist()
        self._n_steps, self._total, self._ratios = 0, None, None
        return [
            Recorded(grad_norm=norm, update_ratio=ratio, dead_fraction=dead)
            for norm, ratio, dead in zip(norms, last_ratios, dead_fractions, strict=True)
        ]

    def _add_up(self) -> None:
        """Add the norms of the steps that wait for it: many at once cost no more than one."""
        if self._waiting:
            sums = _joined(self._waiting).sum(dim=0)
            self._total = sums if self._total is None else self._total + sums
            self._n_steps += len(self._waiting)
            self._waiting = []


def row_norms(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return the L2 norm of each row over all tensors, shape ``(n_members,)``, float64.

    A number whose square overflows its own type (1.8e19 in float32) makes its row's norm infinite.

    Args:
        tensors: Each of shape ``(n_members, n)``.
    """
    return _joined([_norms_of_blocks(tensors)])[0]


def _norms_of_blocks(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Return norms of pieces of each row, each tensor of shape ``(n_members, n_blocks)``."""
    import torch

    norms = []
    for rows in tensors:
        n_whole = rows.shape[1] // _BLOCK * _BLOCK
        rest = rows[:, n_whole:] if n_whole else rows
        if n_whole:
            whole = torch.unflatten(rows[:, :n_whole], 1, (-1, _BLOCK))
            norms.append(torch.linalg.vector_norm(whole, dim=2))
        if rest.shape[1]:
            norms.append(torch.linalg.vector_norm(rest, dim=1, keepdim=True))
    return norms


def _joined(steps: Sequence[Sequence[torch.Tensor]]) -> torch.Tensor:
    """Return the norms of whole rows, shape ``(n_steps, n_members)``, float64."""
    import torch

    kinds = [torch.stack(of_steps).double() for of_steps in zip(*steps, strict=True)]
    norms: torch.Tensor = torch.linalg.vector_norm(torch.cat(kinds, dim=2), dim=2)
    return norms


class RecordingOptimizer:
    """An optimizer of a pack that shows each step to :class:`StepNorms`."""

    def __init__(self, optimizer: FusedOptimizer, norms: StepNorms) -> None:
        """Take the optimizer that does the work."""
        self._optimizer = optimizer
        self._norms = norms

    def plan(self, rates: np.ndarray, dtypes: Iterable[torch.dtype]) -> None:
        """Take the learning rates of the next steps."""
        self._norms.expect(len(rates))
        self._optimizer.plan(rates, dtypes)

    def keep(self, places: torch.Tensor) -> None:
        """Forget all members but some; what the last steps have shown has been taken before."""
        self._optimizer.keep(places)

    def step(self, rows: Rows, gradient_rows: Rows) -> None:
        """Update every member, and look on."""
        self._norms.before_update(rows, gradient_rows)
        self._optimizer.step(rows, gradient_rows)
        self._norms.after_update(rows)


def watch_torch_optimizer(optimizer: torch.optim.Optimizer, norms: StepNorms) -> None:
    """Show each step of one model's optimizer to :class:`StepNorms`, by hooks."""

    def before(*_: Any) -> None:
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        gradients = [(p, p.grad) for p in parameters if p.grad is not None]
        updated[:] = [p for p, _ in gradients]
        if gradients:
            norms.before_update(rows_at_last(), _row([gradient for _, gradient in gradients]))

    def after(*_: Any) -> None:
        norms.after_update(rows_at_last())

    def rows_at_last() -> Rows:
        """Return the parameters at the step that needs them, and nothing before."""
        return _row([p.detach() for p in updated]) if norms.is_last_step else {}

    updated: list[torch.Tensor] = []
    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)


def _row(tensors: Sequence[torch.Tensor]) -> Rows:
    """Return tensors as the rows of a pack of one."""
    import torch

    of_dtype: dict[torch.dtype, list[torch.Tensor]] = {}
    for tensor in tensors:
        # Gradients of embeddings may be sparse.
        dense = tensor if tensor.layout is torch.strided else tensor.to_dense()
        of_dtype.setdefault(tensor.dtype, []).append(dense.reshape(-1))
    return {dtype: torch.cat(parts)[None] for dtype, parts in of_dtype.items()}
