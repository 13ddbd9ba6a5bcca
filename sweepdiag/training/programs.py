"""Two ways to train the members of a pack behind one interface: fused, and one model alone.

Neither knows trials, events or budgets: they advance by steps and evaluate.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sweepdiag.training.dead_units import UnitSums, dead_fractions
from sweepdiag.training.flat import FlatParameters
from sweepdiag.training.gradients import (
    Recorded,
    RecordingOptimizer,
    StepNorms,
    watch_torch_optimizer,
)
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

    def advance(self, first_step: int, last_step: int) -> list[float]:
        """Train all members for some steps and return the mean minibatch loss of each."""

    def evaluate(self) -> list[tuple[Evaluation, Evaluation]]:
        """Return each member's evaluation on the training subset and on the validation set."""

    def recorded(self) -> list[Recorded]:
        """Return what else each member's last steps and evaluation have shown, if asked for."""


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
        record: Sequence[str] = (),
    ) -> None:
        """Copy the members' parameters.

        Args:
            members: At least one; all of one architecture, optimizer and batch size.
            model: The step and the evaluation of this architecture.
            prepared: The data, on the device.
            timetable: Shared by all members.
            device: Where to train.
            record: What else to record.
        """
        self.members = members
        self._model = model
        self._prepared = prepared
        self._timetable = timetable
        self._device = device
        self.parameters = FlatParameters([model.trained_of(member.model) for member in members])
        self._state = model.stacked_state_of([member.model for member in members])
        self._optimizer = make_fused_optimizer([m.optimizer for m in members], device=device)
        self._norms = StepNorms() if "gradients" in record else None
        self._sums: Sequence[Sequence[torch.Tensor]] = ()
        if self._norms is not None:
            self._optimizer = RecordingOptimizer(self._optimizer, self._norms)
        self._lrs = np.array([member.lr for member in members])

    def advance(self, first_step: int, last_step: int) -> list[float]:
        """Train all members for some steps and return the mean minibatch loss of each."""
        import torch

        samples = self._samples(first_step, last_step)
        factors = np.asarray(self._timetable.factors[first_step:last_step])
        self._optimizer.plan(factors[:, None] * self._lrs)
        seeds = [member.trial.seed for member in self.members]
        self._model.noise.seed(seeds, f"forward/{first_step}")
        totals: torch.Tensor | None = None
        with torch.no_grad(), tiny_numbers_as_zero():
            for of_step in samples:
                losses = self._step(of_step)
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
            sums: list[Sequence[torch.Tensor]] = []
            train, validation = (
                evaluate(functools.partial(self._measure, seen), inputs, targets)
                for seen, inputs, targets in (
                    (sums, prepared.train_eval_inputs, prepared.train_eval_targets),
                    ([], prepared.validation_inputs, prepared.validation_targets),
                )
            )
        self._sums = sums
        return list(zip(train, validation, strict=True))

    def recorded(self) -> list[Recorded]:
        """Return what else each member's last steps and evaluation have shown, if asked for."""
        n_members = len(self.members)
        if self._norms is None:
            return [Recorded()] * n_members
        return self._norms.take(dead_fractions(self._sums, n_members=n_members))

    def _samples(self, first_step: int, last_step: int) -> torch.Tensor:
        """Return the samples of each step, shape ``(n_steps, n_members * batch_size)``."""
        import torch

        of_seed = {
            seed: self._timetable.indices(seed, first_step, last_step)
            for seed in {member.trial.seed for member in self.members}
        }
        table = torch.stack([of_seed[member.trial.seed] for member in self.members], dim=1)
        return table.flatten(1).to(self._device)

    def _step(self, samples: torch.Tensor) -> torch.Tensor:
        """Take one step; return the losses of its samples, shape ``(n_members, n)``."""
        prepared, n_members = self._prepared, len(self.members)
        inputs, targets = (
            all_samples.index_select(0, samples).view(n_members, -1, *all_samples.shape[1:])
            for all_samples in (prepared.train_inputs, prepared.train_targets)
        )
        parameters = self.parameters
        gradients, measured = self._model.step(parameters.views, self._state, inputs, targets)
        parameters.set_gradients(gradients)
        self._optimizer.step(parameters.rows, parameters.gradient_rows)
        if prepared.sample_loss_fn is not None:
            return measured.view(n_members, -1)
        return minibatch_losses(measured, targets, prepared)

    def _measure(
        self,
        seen: list[Sequence[torch.Tensor]],
        inputs: torch.Tensor,
        targets: torch.Tensor,
    ) -> torch.Tensor:
        """Return losses and metrics, and add the sums of units to those seen."""
        views = self.parameters.views
        measures, sums = self._model.measure(views, self._state, inputs, targets)
        seen.append(sums)
        return measures


class UnfusedProgram:
    """One member alone, trained as anybody would: its module, ``backward`` and ``torch.optim``."""

    def __init__(
        self,
        member: Member,
        *,
        prepared: PreparedWorkload,
        timetable: Timetable,
        device: str,
        record: Sequence[str] = (),
    ) -> None:
        """Take the member's model and make its optimizer.

        Args:
            member: The member; its model is trained in place.
            prepared: The data, on the device.
            timetable: Its steps.
            device: Where to train.
            record: What else to record.
        """
        self.members = (member,)
        self._model = member.model
        self._prepared = prepared
        self._timetable = timetable
        self._device = device
        self._n_steps = 0
        self._optimizer = make_torch_optimizer(member.model, member.optimizer, lr=member.lr)
        self._norms = StepNorms() if "gradients" in record else None
        self._units = UnitSums(member.model)
        if self._norms is not None:
            watch_torch_optimizer(self._optimizer, self._norms)

    def advance(self, first_step: int, last_step: int) -> list[float]:
        """Train for some steps and return the mean minibatch loss."""
        import torch

        member = self.members[0]
        table = self._timetable.indices(member.trial.seed, first_step, last_step)
        totals: torch.Tensor | float = 0.0
        self._model.train()
        name = f"forward/{first_step}"
        if self._norms is not None:
            self._norms.expect(last_step - first_step)
        with seeded(member.trial.seed, name, device=self._device), tiny_numbers_as_zero():
            for step, indices in enumerate(table.to(self._device), start=first_step):
                totals = totals + self._step(step, indices)
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
            # In the same forward pass: another one might change what the model holds.
            watching = contextlib.nullcontext() if self._norms is None else self._units.watching()
            with watching:
                (train,) = evaluate(
                    self._measure, prepared.train_eval_inputs, prepared.train_eval_targets
                )
            (validation,) = evaluate(
                self._measure, prepared.validation_inputs, prepared.validation_targets
            )
        return [(train, validation)]

    def recorded(self) -> list[Recorded]:
        """Return what else the member's last steps and evaluation have shown, if asked for."""
        if self._norms is None:
            return [Recorded()]
        sums = [of_call[None] for of_call in self._units.take()]
        return self._norms.take(dead_fractions([sums], n_members=1))

    def _step(self, step: int, indices: torch.Tensor) -> torch.Tensor:
        import torch

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
        with torch.no_grad():
            return minibatch_losses(outputs.detach()[None], targets[None], prepared).double()

    def _measure(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self._model(inputs)
        return mean_measures(outputs[None], targets, self._prepared)
