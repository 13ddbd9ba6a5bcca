"""Two ways to train the members of a pack behind one interface: fused, and one model alone.

Neither knows trials, events or budgets: they advance by steps and evaluate.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sweepdiag.training.capture import CapturedStep, recorder_for
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
    read_evaluations,
)
from sweepdiag.training.numerics import tiny_numbers_as_zero
from sweepdiag.training.optimizers import make_fused_optimizer, make_torch_optimizer
from sweepdiag.training.seeds import seeded
from sweepdiag.training.step_tables import DeviceTable, HostTable
from sweepdiag.training.streaming import feed_for
from sweepdiag.training.transfers import Reading
from sweepdiag.workloads import StreamedSamples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from sweepdiag.training.fused_model import FusedModel
    from sweepdiag.training.members import Member, Timetable
    from sweepdiag.training.step_tables import StepTable
    from sweepdiag.workloads import PreparedWorkload

__all__ = ["FusedProgram", "Program", "UnfusedProgram", "make_program", "steps_ahead"]

_MOST_STEPS = 256
_MOST_INDICES = 2**23
"""Steps, and samples of all members, that a step's tables hold at a time: 64 MiB."""


def steps_ahead(n_members: int, batch_size: int) -> int:
    """Return how many steps are laid out at a time, at most, for members trained together."""
    return max(1, min(_MOST_STEPS, _MOST_INDICES // (n_members * batch_size)))


class Program(Protocol):
    """Trains some members together."""

    @property
    def members(self) -> Sequence[Member]:
        """Who is trained, in the order of everything that is returned."""

    @property
    def layout_s(self) -> float:
        """Seconds that a change of the members costs, as far as has been measured."""

    def advance(self, first_step: int, last_step: int) -> Reading[list[float]]:
        """Train all members for some steps and return the mean minibatch loss of each."""

    def evaluate(self) -> Reading[list[tuple[Evaluation, Evaluation]]]:
        """Return each member's evaluation on the training subset and on the validation set."""

    def keep(self, places: Sequence[int]) -> None:
        """Go on with some of the members only.

        Args:
            places: Their places among ``members``, ascending; at least one.
        """

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
        # What is streamed comes in new tensors each time, and norms are kept by the host: neither
        # can be captured.
        is_capturable = not record and not isinstance(prepared.train, StreamedSamples)
        self._recorder = recorder_for(device) if is_capturable else None
        evaluated = (prepared.train_eval, prepared.validation)
        is_held = not any(isinstance(samples, StreamedSamples) for samples in evaluated)
        self._evaluation_recorder = recorder_for(device) if is_held and not record else None
        self._most_steps = steps_ahead(len(members), timetable.batch_size)
        # No methods of this object: in a circle, its memory would outlive it.
        self._new_table: Callable[[], StepTable] = (
            partial(HostTable, device)
            if self._recorder is None
            else partial(DeviceTable, device, n_rows=self._most_steps)
        )
        self._optimizer = make_fused_optimizer(
            [m.optimizer for m in members], device=device, new_table=self._new_table
        )
        self._norms = StepNorms() if "gradients" in record else None
        self._sums: Sequence[Sequence[torch.Tensor]] = ()
        if self._norms is not None:
            self._optimizer = RecordingOptimizer(self._optimizer, self._norms)
        self._lrs = np.array([member.lr for member in members])
        self._layout: tuple[int, ...] = ()
        self._lay_out()

    @property
    def layout_s(self) -> float:
        """Seconds that a change of the members costs, as far as has been measured."""
        return self._model.layout_s

    def advance(self, first_step: int, last_step: int) -> Reading[list[float]]:
        """Train all members for some steps and return the mean minibatch loss of each."""
        import torch

        self._lay_out()
        seeds = [member.trial.seed for member in self.members]
        self._model.noise.seed(seeds, f"forward/{first_step}")
        self._forget_losses()
        with torch.no_grad(), tiny_numbers_as_zero(), contextlib.closing(self._feed):
            for first in range(first_step, last_step, self._most_steps):
                last = min(first + self._most_steps, last_step)
                self._load(seeds, first, last)
                for _ in range(first, last):
                    self._captured.take(self._step)
        totals = self._totals
        if totals is None or first_step == last_step:
            totals = torch.full((len(self.members), 1), float("nan"), dtype=torch.float64)
        n_summed = max(last_step - first_step, 1) * totals.shape[1]
        return Reading(fixed_order_sums(totals) / n_summed, torch.Tensor.tolist)

    def evaluate(self) -> Reading[list[tuple[Evaluation, Evaluation]]]:
        """Return each member's evaluation on the training subset and on the validation set."""
        import torch

        self._lay_out()
        with torch.no_grad(), tiny_numbers_as_zero():
            self._captured_evaluation.take(self._evaluate)
        means = self._means if self._evaluation_recorder is None else self._means.clone()
        return read_evaluations(means)

    def recorded(self) -> list[Recorded]:
        """Return what else each member's last steps and evaluation have shown, if asked for."""
        n_members = len(self.members)
        if self._norms is None:
            return [Recorded()] * n_members
        return self._norms.take(dead_fractions(self._sums, n_members=n_members))

    def keep(self, places: Sequence[int]) -> None:
        """Go on with some of the members only; see :class:`Program`."""
        import torch

        self.members = [self.members[place] for place in places]
        kept = torch.tensor(places, device=self._device)
        self.parameters.keep(kept)
        self._state = {name: rows.index_select(0, kept) for name, rows in self._state.items()}
        self._optimizer.keep(kept)
        self._lrs = self._lrs[list(places)]

    def _lay_out(self) -> None:
        """Begin a new captured step where members, and so the tensors of all, have changed."""
        tensors = (*self.parameters.rows.values(), *self._state.values())
        layout = (len(self.members), *(tensor.data_ptr() for tensor in tensors))
        if layout == self._layout:
            return
        self._layout = layout
        self._captured = CapturedStep(self._recorder)
        self._totals: torch.Tensor | None = None
        self._captured_evaluation = CapturedStep(self._evaluation_recorder, what="evaluations")
        self._means: Any = None
        self._feed = feed_for(self._prepared.train, self._timetable, self._new_table)

    def _load(self, seeds: Sequence[int], first_step: int, last_step: int) -> None:
        """Lay out what differs from step to step."""
        self._feed.load(seeds, first_step, last_step)
        factors = np.asarray(self._timetable.factors[first_step:last_step])
        self._optimizer.plan(factors[:, None] * self._lrs, self.parameters.rows)

    def _step(self) -> None:
        """Take one step. Nothing that it leaves on the host is needed by the next."""
        prepared = self._prepared
        inputs, targets = self._feed.take()
        parameters = self.parameters
        gradients, measured = self._model.step(parameters.views, self._state, inputs, targets)
        parameters.set_gradients(gradients)
        self._optimizer.step(parameters.rows, parameters.gradient_rows)
        if prepared.sample_loss_fn is not None:
            self._add(measured.view(len(self.members), -1))
        else:
            self._add(minibatch_losses(measured, targets, prepared))

    def _add(self, losses: torch.Tensor) -> None:
        """Add the losses of a step's samples, shape ``(n_members, n)``, to those before."""
        if self._totals is None:
            self._totals = losses.double()
        else:
            self._totals.add_(losses)

    def _evaluate(self) -> None:
        """Evaluate; a captured evaluation leaves its numbers where the first one did."""
        import torch

        prepared = self._prepared
        sums: list[Sequence[torch.Tensor]] = []
        means = torch.stack(
            [
                evaluate(partial(self._measure, seen), samples)
                for seen, samples in ((sums, prepared.train_eval), ([], prepared.validation))
            ]
        )
        if self._evaluation_recorder is None or self._means is None:
            self._means = means
        else:
            self._means.copy_(means)
        self._sums = sums

    def _forget_losses(self) -> None:
        if self._recorder is not None and self._totals is not None:
            self._totals.zero_()  # a captured step adds to this one
        else:
            self._totals = None

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
        self.layout_s = 0.0
        self._model = member.model
        self._prepared = prepared
        self._timetable = timetable
        self._device = device
        self._n_steps = 0
        self._feed = feed_for(prepared.train, timetable, partial(HostTable, device))
        self._optimizer = make_torch_optimizer(member.model, member.optimizer, lr=member.lr)
        self._norms = StepNorms() if "gradients" in record else None
        self._units = UnitSums(member.model)
        if self._norms is not None:
            watch_torch_optimizer(self._optimizer, self._norms)

    def advance(self, first_step: int, last_step: int) -> Reading[list[float]]:
        """Train for some steps and return the mean minibatch loss."""
        import torch

        member = self.members[0]
        totals: Any = 0.0
        self._model.train()
        name = f"forward/{first_step}"
        if self._norms is not None:
            self._norms.expect(last_step - first_step)
        with (
            seeded(member.trial.seed, name, device=self._device),
            tiny_numbers_as_zero(),
            contextlib.closing(self._feed),
        ):
            self._feed.load([member.trial.seed], first_step, last_step)
            for step in range(first_step, last_step):
                inputs, targets = self._feed.take()
                totals = totals + self._step(step, inputs[0], targets[0])
        self._n_steps = last_step
        if first_step == last_step:
            totals = torch.full((1, 1), float("nan"), dtype=torch.float64)
        n_summed = max(last_step - first_step, 1) * totals.shape[1]
        return Reading(fixed_order_sums(totals) / n_summed, torch.Tensor.tolist)

    def evaluate(self) -> Reading[list[tuple[Evaluation, Evaluation]]]:
        """Return the member's evaluation on the training subset and on the validation set."""
        import torch

        prepared = self._prepared
        self._model.eval()
        # Seeded too: some models draw random numbers even in eval mode.
        name = f"evaluate/{self._n_steps}"
        seed = self.members[0].trial.seed
        with seeded(seed, name, device=self._device), tiny_numbers_as_zero():
            # In the same forward pass: another one might change what the model holds.
            watching = contextlib.nullcontext() if self._norms is None else self._units.watching()
            with watching:
                train = evaluate(self._measure, prepared.train_eval)
            validation = evaluate(self._measure, prepared.validation)
        return read_evaluations(torch.stack([train, validation]))

    def recorded(self) -> list[Recorded]:
        """Return what else the member's last steps and evaluation have shown, if asked for."""
        if self._norms is None:
            return [Recorded()]
        sums = [of_call[None] for of_call in self._units.take()]
        return self._norms.take(dead_fractions([sums], n_members=1))

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


def make_program(
    model: FusedModel | None,
    members: Sequence[Member],
    *,
    prepared: PreparedWorkload,
    timetable: Timetable,
    device: str,
    record: Sequence[str] = (),
) -> Program:
    """Return the program that trains these members; exactly one where there is no fused model."""
    if model is None:
        return UnfusedProgram(
            members[0], prepared=prepared, timetable=timetable, device=device, record=record
        )
    return FusedProgram(
        members,
        model=model,
        prepared=prepared,
        timetable=timetable,
        device=device,
        record=record,
    )
