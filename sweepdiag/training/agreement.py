"""Whether a fused step does what single steps do: by its bits, or up to rounding by its gradients.

After some steps numbers that differ in the last place may lie apart by more than any tolerance
(Adam's first step is the sign of the gradient). The gradients of one step do not.
"""

from __future__ import annotations

import contextlib
import copy
import math
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.training.flat import FlatParameters
from sweepdiag.training.seeds import seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    import torch

    from sweepdiag.training.fused_model import FusedModel
    from sweepdiag.training.members import Member, Timetable
    from sweepdiag.workloads import PreparedWorkload

    Gradients = dict[str, torch.Tensor]

__all__ = ["fused_gradients", "gradients_agree", "have_same_bits", "single_gradients"]


def have_same_bits(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> bool:
    """Return whether all numbers are the same, NaN included."""
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(found, expected, strict=True))


def gradients_agree(found: Gradients, expected: Gradients, *, tolerance: float) -> bool:
    """Return whether the gradients of one member are the same up to rounding.

    Args:
        found: By parameter.
        expected: By parameter.
        tolerance: Length of the difference over that of the gradient, per parameter. A parameter
            whose gradient is shorter than others', perhaps nothing but rounding, as that of a bias
            before a normalization, is held to their average length.
    """
    if found.keys() != expected.keys():
        return False
    lengths = {name: float(gradient.double().norm()) for name, gradient in expected.items()}
    average = math.hypot(*lengths.values()) / math.sqrt(max(len(lengths), 1))
    return all(
        float((found[name].double() - gradient.double()).norm())
        <= tolerance * max(lengths[name], average)
        for name, gradient in expected.items()
    )


def single_gradients(
    member: Member,
    *,
    prepared: PreparedWorkload,
    timetable: Timetable,
    device: str,
    rounding: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
) -> Gradients:
    """Return the gradients of a member's first step as ``backward`` gives them.

    Args:
        member: Not changed.
        prepared: The data, on the device.
        timetable: The member's steps.
        device: Where to compute.
        rounding: Makes what the forward pass runs in.
    """
    model = copy.deepcopy(member.model).train()
    samples = timetable.indices(member.trial.seed, 0, 1)[0].to(device)
    with seeded(member.trial.seed, "forward/0", device=device):
        inputs, targets = prepared.train.take(samples)
        with rounding():
            loss = prepared.loss_fn(model(inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def fused_gradients(
    model: FusedModel,
    members: Sequence[Member],
    *,
    prepared: PreparedWorkload,
    timetable: Timetable,
    device: str,
) -> list[Gradients]:
    """Return the gradients of the members' first steps as the fused step gives them."""
    import torch

    parameters = FlatParameters([model.trained_of(member.model) for member in members])
    state = model.stacked_state_of([member.model for member in members])
    seeds = [member.trial.seed for member in members]
    samples = [timetable.indices(seed, 0, 1)[0].to(device) for seed in seeds]
    model.noise.seed(seeds, "forward/0")
    with torch.no_grad():
        batches = [prepared.train.take(of_member) for of_member in samples]
        inputs, targets = (torch.stack(parts) for parts in zip(*batches, strict=True))
        gradients, _ = model.step(parameters.views, state, inputs, targets)
    by_member = zip(*(gradient.unbind() for gradient in gradients), strict=True)
    return [dict(zip(parameters.views, of_member, strict=True)) for of_member in by_member]
