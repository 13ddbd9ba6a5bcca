"""The step and the evaluation of one architecture for any number of members at once."""

from __future__ import annotations

import contextlib
import copy
import warnings
from functools import partial
from typing import TYPE_CHECKING, TypeGuard

from sweepdiag.training.dead_units import UnitSums
from sweepdiag.training.dropout import NoiseSource, traced_noise
from sweepdiag.training.graphs import TracedFunction
from sweepdiag.training.measures import mean_measures
from sweepdiag.training.memberwise import memberwise_mode
from sweepdiag.training.suitability import attributes, have_same_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    import torch

    from sweepdiag.workloads import PreparedWorkload

    Tensors = Mapping[str, torch.Tensor]
    Program = Callable[..., tuple[torch.Tensor, ...]]

__all__ = ["FusedModel"]


class FusedModel:
    """An ``nn.Module`` under ``vmap`` and ``grad``, traced once per layout of its inputs.

    Kept for as long as packs of the architecture are trained, since tracing costs as much as some
    hundred steps. It holds no parameters: they are passed in, stacked over the members.

    Attributes:
        rounding: Makes what the forward pass of a step runs in: autocast, or nothing.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        prepared: PreparedWorkload,
        untrained: frozenset[str] = frozenset(),
        is_traced: bool = True,
        is_exact: bool = True,
        is_coarse: bool = False,
        is_watched: bool = False,
    ) -> None:
        """Take the architecture of a model.

        Args:
            model: Any module of the architecture; not changed.
            prepared: Brings the loss.
            untrained: Parameters that get no gradient, which no optimizer touches.
            is_traced: Whether to trace, instead of interpreting the model anew at each step.
            is_exact: Whether to take operations that ``vmap`` would round otherwise member by
                member; on a GPU, where equal bits are not promised, that would only cost time.
            is_coarse: Whether products of a step are rounded to bfloat16 by autocast.
            is_watched: Whether to look for dead units when evaluating.
        """
        import torch
        from torch.func import grad, vmap

        self._prepared = prepared
        self._is_watched = is_watched
        self._mode = memberwise_mode if is_exact else contextlib.nullcontext
        device = next(model.parameters(), prepared.train.examples).device.type
        self.rounding: Callable[[], AbstractContextManager[object]] = (
            partial(torch.autocast, device, dtype=torch.bfloat16, cache_enabled=False)
            if is_coarse
            else contextlib.nullcontext
        )
        names = [name for name, _ in model.named_parameters()]
        is_frozen = {
            name: name in untrained or not p.requires_grad for name, p in model.named_parameters()
        }
        self._trained = [name for name in names if not is_frozen[name]]
        # Frozen parameters are read like buffers, and nothing differentiates or updates them.
        self._state = [
            *(name for name in names if is_frozen[name]),
            *(name for name, _ in model.named_buffers()),
        ]
        self._attributes = attributes(model)
        self._training = copy.deepcopy(model).train()
        self._evaluating = copy.deepcopy(self._training).eval()
        self._gradients = vmap(grad(self._loss, has_aux=True))
        self._forward = vmap(self._outputs, in_dims=(0, 0, None))
        self._has_sample_measures = prepared.sample_loss_fn is not None and (
            prepared.metric_fn is None or prepared.sample_metric_fn is not None
        )
        self.noise = NoiseSource()
        replacements = {traced_noise(): self.noise.draw}
        quietly = _without_notes_on_speed
        self._step: Program = quietly()(self._flat_step)
        self._evaluation: Program = quietly()(self._flat_evaluation)
        if is_traced:
            traced = partial(TracedFunction, replacements=replacements, is_exact=is_exact)
            self._step = traced(self._step)
            self._evaluation = traced(self._evaluation, n_shared=2)

    @property
    def layout_s(self) -> float:
        """Seconds that the last change to another number of members has cost."""
        return sum(p.build_s for p in (self._step, self._evaluation) if _is_traced(p))

    @property
    def made_s(self) -> float:
        """Seconds that tracing has taken so far."""
        return sum(p.made_s for p in (self._step, self._evaluation) if _is_traced(p))

    def digests(self, n_members: int) -> dict[str, str]:
        """Return SHA-256 over the operations of what was traced for a number of members so far."""
        named = {"step": self._step, "evaluation": self._evaluation}
        return {
            f"{name} of {layout}": digest
            for name, program in named.items()
            if _is_traced(program)
            for (n, layout), digest in program.digests.items()
            if n == n_members
        }

    def accepts(self, model: torch.nn.Module) -> bool:
        """Return whether a model differs from the traced one in nothing but its numbers."""
        return have_same_attributes(attributes(model), self._attributes)

    def trained_of(self, model: torch.nn.Module) -> dict[str, torch.Tensor]:
        """Return a member's trained parameters by name."""
        parameters = dict(model.named_parameters())
        return {name: parameters[name] for name in self._trained}

    def stacked_state_of(self, models: Sequence[torch.nn.Module]) -> dict[str, torch.Tensor]:
        """Return what else the members' models hold, frozen parameters and buffers, stacked."""
        import torch

        if not self._state:
            return {}
        states = [{**dict(m.named_parameters()), **dict(m.named_buffers())} for m in models]
        return {name: torch.stack([s[name].detach() for s in states]) for name in self._state}

    def step(
        self, parameters: Tensors, state: Tensors, inputs: torch.Tensor, targets: torch.Tensor
    ) -> tuple[Sequence[torch.Tensor], torch.Tensor]:
        """Return the gradients of all members and what their minibatch losses are taken from.

        Args:
            parameters: Stacked parameters by name.
            state: Stacked frozen parameters and buffers, which may be updated in place.
            inputs: Shape ``(n_members, batch_size, …)``.
            targets: Shape ``(n_members, batch_size, …)``.

        Returns:
            The gradients in the order of ``parameters``, and the loss of each sample (the outputs
            where the loss is the user's own).
        """
        arguments = (*parameters.values(), *state.values(), inputs, targets)
        *gradients, measured = self._step(*arguments)
        return gradients, measured

    def measure(
        self, parameters: Tensors, state: Tensors, inputs: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """Return the mean loss and metric of each member in eval mode, and the sums of its units.

        Args:
            parameters: Stacked parameters by name.
            state: Stacked frozen parameters and buffers.
            inputs: The same samples for all members, shape ``(n, …)``.
            targets: Their targets, shape ``(n, …)``.

        Returns:
            Losses and metrics, shape ``(2, n_members)``, and per call of an activation that can be
            zero the sum of each unit's magnitudes, shape ``(n_members, n_units)``; none unless
            units are watched.
        """
        arguments = (*parameters.values(), *state.values(), inputs, targets)
        result, *sums = self._evaluation(*arguments)
        if self._has_sample_measures:
            return result, sums
        return mean_measures(result, targets, self._prepared), sums

    def _named(self, arguments: Sequence[torch.Tensor]) -> tuple[Tensors, Tensors]:
        n_trained = len(self._trained)
        trained = dict(zip(self._trained, arguments, strict=False))
        state = dict(zip(self._state, arguments[n_trained:], strict=False))
        return trained, state

    def _flat_step(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        parameters, state = self._named(arguments)
        gradients, measured = self._gradients(parameters, state, *arguments[-2:])
        return (*(gradients[name] for name in self._trained), measured)

    def _flat_evaluation(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the measures (outputs where the user's own code takes them) and units' sums."""
        parameters, state = self._named(arguments)
        inputs, targets = arguments[-2:]
        outputs, *sums = self._forward(parameters, state, inputs)
        if self._has_sample_measures:
            with self._mode():
                return (mean_measures(outputs, targets, self._prepared), *sums)
        return (outputs, *sums)

    def _loss(
        self, parameters: Tensors, state: Tensors, inputs: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        from torch.func import functional_call

        with self._mode(), self.rounding():
            outputs = functional_call(self._training, ({**parameters}, {**state}), (inputs,))
            per_sample = self._prepared.sample_loss_fn
            if per_sample is None:
                return self._prepared.loss_fn(outputs, targets), outputs
            losses = per_sample(outputs, targets)
            if self._prepared.named_loss == "binary_cross_entropy":
                # PyTorch divides by the number of samples here; a mean's gradient multiplies.
                return self._prepared.loss_fn(outputs, targets), losses
            return losses.mean(), losses

    def _outputs(
        self, parameters: Tensors, state: Tensors, inputs: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Return one member's outputs, and the sums of its units if they are watched."""
        from torch.func import functional_call

        units = UnitSums(self._evaluating)
        with self._mode(), units.watching() if self._is_watched else contextlib.nullcontext():
            outputs: torch.Tensor = functional_call(
                self._evaluating, ({**parameters}, {**state}), (inputs,)
            )
        return outputs, *units.take()


def _is_traced(program: Program) -> TypeGuard[TracedFunction]:
    return isinstance(program, TracedFunction)


@contextlib.contextmanager
def _without_notes_on_speed() -> Iterator[None]:
    """Silence PyTorch where it says which operations it batches slowly: speed is measured."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield
