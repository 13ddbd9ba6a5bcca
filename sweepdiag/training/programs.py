"""Two ways to train the members of a pack behind one interface: fused, and one model alone.

Neither knows trials, events or budgets: they advance by steps and evaluate.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sweepdiag.training.flat import FlatParameters
from sweepdiag.training.measures import (
    Evaluation,
    evaluate,
    fixed_order_sums,
    mean_measures,
    minibatch_losses,
)
from sweepdiag.training.numerics import tiny_numbers_as_zero
from sweepdiag.training.optimizers import make_fused_optimizer, make_torch_optimizer
from sweepdiag.training.seeds import seeded
from sweepdiag.training.streaming import minibatches

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from sweepdiag.training.fused_model import FusedModel
    from sweepdiag.training.members import Member, Timetable
    from sweepdiag.workloads import PreparedWorkload

__all__ = ["FusedProgram", "Program", "UnfusedProgram"]


class Program(Protocol):
    """Trains some members together."""

    @property
    def members(self) -> Sequence[Member]:
        """Who is trained, in the order of everything that is returned."""

    @property
    def layout_s(self) -> float:
        """Seconds that a change of the members costs, as far as has been measured."""

    def advance(self, first_step: int, last_step: int) -> list[float]:
        """Train all members for some steps and return the mean minibatch loss of each."""

    def evaluate(self) -> list[tuple[Evaluation, Evaluation]]:
        """Return each member's evaluation on the training subset and on the validation set."""

    def keep(self, places: Sequence[int]) -> None:
        """Go on with some of the members only.

        Args:
            places: Their places among ``members``, ascending; at least one.
        """


class FusedProgram:
    """All members in one program: parameters in one tensor, one step for all of them.

    Nothing is reduced across members, so a member that diverges leaves the others as they are.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        model: FusedModel,
        prepared: PreparedWorkload,
        timetable: Timetable,
        device: str,
    ) -> None:
        """Copy the members' parameters.

        Args:
            members: At least one; all of one architecture, optimizer and batch size.
            model: The step and the evaluation of this architecture.
            prepared: The data, on the device.
            timetable: Shared by all members.
            device: Where to train.
        """
        self.members = members
        self._model = model
        self._prepared = prepared
        self._timetable = timetable
        self._device = device
        self.parameters = FlatParameters([model.trained_of(member.model) for member in members])
        self._state = model.stacked_state_of([member.model for member in members])
        self._optimizer = make_fused_optimizer([m.optimizer for m in members], device=device)
        self._lrs = np.array([member.lr for member in members])

    @property
    def layout_s(self) -> float:
        """Seconds that a change of the members costs, as far as has been measured."""
        return self._model.layout_s

    def advance(self, first_step: int, last_step: int) -> list[float]:
        """Train all members for some steps and return the mean minibatch loss of each."""
        import torch

        factors = np.asarray(self._timetable.factors[first_step:last_step])
        self._optimizer.plan(factors[:, None] * self._lrs)
        seeds = [member.trial.seed for member in self.members]
        self._model.noise.seed(seeds, f"forward/{first_step}")
        totals: torch.Tensor | None = None
        batches = minibatches(self._prepared.train, self._timetable, seeds, first_step, last_step)
        with torch.no_grad(), tiny_numbers_as_zero(), closing(batches):
            for inputs, targets in batches:
                losses = self._step(inputs, targets)
                if totals is None:
                    totals = losses.double()
                else:
                    totals.add_(losses)
        if totals is None:
            return [float("nan")] * len(self.members)
        n_summed = (last_step - first_step) * totals.shape[1]
        means: list[float] = (fixed_order_sums(totals) / n_summed).tolist()
        return means

    def evaluate(self) -> list[tuple[Evaluation, Evaluation]]:
        """Return each member's evaluation on the training subset and on the validation set."""
        prepared = self._prepared
        with tiny_numbers_as_zero():
            train, validation = (
                evaluate(self._measure, samples)
                for samples in (prepared.train_eval, prepared.validation)
            )
        return list(zip(train, validation, strict=True))

    def keep(self, places: Sequence[int]) -> None:
        """Go on with some of the members only; see :class:`Program`."""
        import torch

        self.members = [self.members[place] for place in places]
        kept = torch.tensor(places, device=self._device)
        self.parameters.keep(kept)
        self._state = {name: rows.index_select(0, kept) for name, rows in self._state.items()}
        self._optimizer.keep(kept)
        self._lrs = self._lrs[list(places)]

    def _step(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Take one step; return the losses of its samples, shape ``(n_members, n)``."""
        parameters = self.parameters
        gradients, measured = self._model.step(parameters.views, self._state, inputs, targets)
        parameters.set_gradients(gradients)
        self._optimizer.step(parameters.rows, parameters.gradient_rows)
        if self._prepared.sample_loss_fn is not None:
            return measured.view(len(self.members), -1)
        return minibatch_losses(measured, targets, self._prepared)

    def _measure(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self._model.measure(self.parameters.views, self._state, inputs, targets)


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
        self.layout_s = 0.0
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
        seeds = [member.trial.seed]
        batches = minibatches(self._prepared.train, self._timetable, seeds, first_step, last_step)
        totals: torch.Tensor | float = 0.0
        self._model.train()
        name = f"forward/{first_step}"
        with (
            seeded(member.trial.seed, name, device=self._device),
            tiny_numbers_as_zero(),
            closing(batches),
        ):
            for step, (inputs, targets) in enumerate(batches, start=first_step):
                totals = totals + self._step(step, inputs[0], targets[0])
        self._n_steps = last_step
        if not isinstance(totals, torch.Tensor):
            return [float("nan")]
        n_summed = (last_step - first_step) * totals.shape[1]
        return [float(fixed_order_sums(totals)) / n_summed]

    def evaluate(self) -> list[tuple[Evaluation, Evaluation]]:
        """Return the member's evaluation on the training subset and on the validation set."""
        prepared = self._prepared
        self._model.eval()
        # Seeded too: some models draw random numbers even in eval mode.
        name = f"evaluate/{self._n_steps}"
        seed = self.members[0].trial.seed
        with seeded(seed, name, device=self._device), tiny_numbers_as_zero():
            (train,) = evaluate(self._measure, prepared.train_eval)
            (validation,) = evaluate(self._measure, prepared.validation)
        return [(train, validation)]

    def keep(self, places: Sequence[int]) -> None:
        """Do nothing: there is only one member, and it stays."""

    def _step(self, step: int, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        import torch

        prepared = self._prepared
        for group in self._optimizer.param_groups:
            group["lr"] = self.members[0].lr * float(self._timetable.factors[step])
        self._optimizer.zero_grad()
        outputs = self._model(inputs)
        loss = prepared.loss_fn(outputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        self._optimizer.step()
        with torch.no_grad():
            return minibatch_losses(outputs.detach()[None], targets[None], prepared).double()

    def _measure(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self._model(inputs)
        return mean_measures(outputs[None], targets, self._prepared)
