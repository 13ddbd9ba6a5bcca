"""Two ways to train the members of a pack behind one interface: fused, and one model alone.

Neither knows trials, events or budgets: they advance by steps and evaluate.
"""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sweepdiag.training.measures import Evaluation, evaluate, running_losses
from sweepdiag.training.numerics import small_product_mode
from sweepdiag.training.optimizers import make_fused_optimizer, make_torch_optimizer
from sweepdiag.training.seeds import seeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from sweepdiag.training.members import Member, Timetable
    from sweepdiag.workloads import PreparedWorkload

__all__ = ["FusedProgram", "Program", "UnfusedProgram"]


class Program(Protocol):
    """Trains some members together."""

    @property
    def members(self) -> Sequence[Member]:
        """Who is trained, in the order of everything that is returned."""

    def advance(self, first_step: int, last_step: int) -> list[float]:
        """Train all members for some steps and return the mean minibatch loss of each."""

    def evaluate(self) -> list[tuple[Evaluation, Evaluation]]:
        """Return each member's evaluation on the training subset and on the validation set."""


class FusedProgram:
    """All members in one program: parameters stacked, one vmapped step for all of them.

    Nothing is reduced across members, so a member that diverges leaves the others as they are.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        prepared: PreparedWorkload,
        timetable: Timetable,
        device: str,
        exact_small_products: bool = False,
    ) -> None:
        """Stack the members' models.

        Args:
            members: At least one; all of one architecture, optimizer and batch size.
            prepared: The data, on the device.
            timetable: Shared by all members.
            device: Where to train.
            exact_small_products: Take products of tiny matrices as a single model would.
        """
        from torch.func import grad, stack_module_state, vmap

        self.members = members
        self._prepared = prepared
        self._timetable = timetable
        self._device = device
        self._mode = small_product_mode if exact_small_products else contextlib.nullcontext
        parameters, buffers = stack_module_state([member.model for member in members])
        trained = {name for name, p in members[0].model.named_parameters() if p.requires_grad}
        self.parameters = {name: p.detach() for name, p in parameters.items() if name in trained}
        # Frozen parameters are read like buffers, and nothing differentiates or updates them.
        frozen = {name: p.detach() for name, p in parameters.items() if name not in trained}
        self._buffers = {**buffers, **frozen}
        self._optimizer = make_fused_optimizer([m.optimizer for m in members], device=device)
        self._lrs = np.array([member.lr for member in members])
        self._training = copy.deepcopy(members[0].model).to("meta").train()
        self._evaluating = copy.deepcopy(self._training).eval()
        self._gradients = vmap(grad(self._loss, has_aux=True))
        self._forward = vmap(self._outputs, in_dims=(0, 0, None))

    def advance(self, first_step: int, last_step: int) -> list[float]:
        """Train all members for some steps and return the mean minibatch loss of each."""
        import torch

        table = torch.stack(
            [
                self._timetable.indices(member.trial.seed, first_step, last_step)
                for member in self.members
            ]
        ).to(self._device)
        total = torch.zeros(len(self.members), dtype=torch.float64, device=self._device)
        with self._mode():
            for step in range(first_step, last_step):
                total += self._step(step, table[:, step - first_step])
        return [float(value) for value in (total / (last_step - first_step)).tolist()]

    def evaluate(self) -> list[tuple[Evaluation, Evaluation]]:
        """Return each member's evaluation on the training subset and on the validation set."""
        prepared = self._prepared
        with self._mode():
            train, validation = (
                evaluate(self._outputs_of_all, inputs, targets, prepared)
                for inputs, targets in (
                    (prepared.train_eval_inputs, prepared.train_eval_targets),
                    (prepared.validation_inputs, prepared.validation_targets),
                )
            )
        return list(zip(train, validation, strict=True))

    def _step(self, step: int, indices: torch.Tensor) -> torch.Tensor:
        inputs = self._gather(self._prepared.train_inputs, indices)
        targets = self._gather(self._prepared.train_targets, indices)
        gradients, outputs = self._gradients(self.parameters, self._buffers, inputs, targets)
        rates = self._lrs * self._timetable.factors[step]
        self._optimizer.step(self.parameters, gradients, rates)
        return running_losses(outputs, targets, self._prepared)

    def _loss(
        self,
        parameters: dict[str, torch.Tensor],
        buffers: dict[str, torch.Tensor],
        inputs: torch.Tensor,
        targets: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        from torch.func import functional_call

        outputs = functional_call(self._training, (parameters, buffers), (inputs,))
        return self._prepared.loss_fn(outputs, targets), outputs

    def _outputs(
        self,
        parameters: dict[str, torch.Tensor],
        buffers: dict[str, torch.Tensor],
        inputs: torch.Tensor,
    ) -> Any:
        from torch.func import functional_call

        return functional_call(self._evaluating, (parameters, buffers), (inputs,))

    def _outputs_of_all(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self._forward(self.parameters, self._buffers, inputs)
        return outputs

    @staticmethod
    def _gather(samples: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        return samples.index_select(0, indices.reshape(-1)).view(
            *indices.shape, *samples.shape[1:]
        )


class UnfusedProgram:
    """One member alone, trained as anybody would: its module, ``backward`` and ``torch.optim``."""

    def __init__(
        self, member: Member, *, prepared: PreparedWorkload, timetable: Timetable, device: str
    ) -> None:
        """Take the member's model and make its optimizer.

        Args:
            member: The member; its model is trained in place.
            prepared: The data, on the device.
            timetable: Its steps.
            device: Where to train.
        """
        self.members = (member,)
        self._model = member.model
        self._prepared = prepared
        self._timetable = timetable
        self._device = device
        self._n_steps = 0
        self._optimizer = make_torch_optimizer(member.model, member.optimizer, lr=member.lr)

    def advance(self, first_step: int, last_step: int) -> list[float]:
        """Train for some steps and return the mean minibatch loss."""
        import torch

        member = self.members[0]
        table = self._timetable.indices(member.trial.seed, first_step, last_step)
        total = torch.zeros(1, dtype=torch.float64, device=self._device)
        self._model.train()
        with seeded(member.trial.seed, f"forward/{first_step}", device=self._device):
            for step, indices in enumerate(table.to(self._device), start=first_step):
                total += self._step(step, indices)
        self._n_steps = last_step
        return [float(total) / (last_step - first_step)]

    def evaluate(self) -> list[tuple[Evaluation, Evaluation]]:
        """Return the member's evaluation on the training subset and on the validation set."""
        prepared = self._prepared
        self._model.eval()
        # Seeded too: some models draw random numbers even in eval mode.
        name = f"evaluate/{self._n_steps}"
        with seeded(self.members[0].trial.seed, name, device=self._device):
            (train,) = evaluate(
                self._outputs, prepared.train_eval_inputs, prepared.train_eval_targets, prepared
            )
            (validation,) = evaluate(
                self._outputs, prepared.validation_inputs, prepared.validation_targets, prepared
            )
        return [(train, validation)]

    def _step(self, step: int, indices: torch.Tensor) -> torch.Tensor:
        prepared = self._prepared
        inputs = prepared.train_inputs.index_select(0, indices)
        targets = prepared.train_targets.index_select(0, indices)
        for group in self._optimizer.param_groups:
            group["lr"] = self.members[0].lr * float(self._timetable.factors[step])
        self._optimizer.zero_grad()
        outputs = self._model(inputs)
        loss = prepared.loss_fn(outputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        self._optimizer.step()
        return running_losses(outputs.detach()[None], targets[None], prepared)

    def _outputs(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self._model(inputs)
        return outputs[None]
