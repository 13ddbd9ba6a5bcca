"""What a model's outputs are, and what a loss makes of them.

A softmax before a loss that takes one itself raises no error: the loss then stops far above its
floor. Both sides are found by trying, not by names: outputs are looked at with other weights, and
a loss of the user's own is called with outputs whose loss is known.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from sweepdiag.workloads import PreparedWorkload

__all__ = ["check_pairing", "expected_outputs", "ignored_classes", "kind_of_outputs"]

_N_DRAWS = 16
"""Other weights that outputs are looked at with. One logit is not negative with all of them once
in 2 ** 16 times."""

_FEWEST_DRAWS = 8
"""Draws whose outputs are finite and differ from each other, below which nothing is known."""

_NOISE = 2.0
"""Size of the noise of other weights, relative to the weights; of biases in itself."""

_TOLERANCE = 1e-4
_EXPECTED_OF_NAMED = {"cross_entropy": "logits", "binary_cross_entropy": "logits", "mse": None}
_N_SHIFTS = 3
_MOST_CLASSES = 2048
"""Classes that are looked at; a sample of each has an output for each."""


def kind_of_outputs(
    model: torch.nn.Module, inputs: torch.Tensor, outputs: torch.Tensor
) -> str | None:
    """Return what outputs keep to, with these weights and any others.

    Args:
        model: The model; its weights are put back.
        inputs: Some samples.
        outputs: What it returns for them, shape ``(n, …)``.

    Returns:
        See ``StepFacts.outputs``; ``None`` where too few other weights gave finite outputs.
    """
    import torch

    told = [kind for kind, holds in _KINDS.items() if holds(outputs.detach())]
    n_looked_at, n_zeros = 0, int((outputs == 0).sum())
    for _ in range(_N_DRAWS):
        if not told:
            return "free"
        with torch.no_grad(), _other_weights(list(model.parameters())):
            others = model(inputs)
        if not others.isfinite().all() or (others == others.flatten()[0]).all():
            continue
        n_looked_at += 1
        n_zeros += int((others == 0).sum())
        told = [kind for kind in told if _KINDS[kind](others)]
    if n_looked_at < _FEWEST_DRAWS:
        return None
    # Softplus is never negative either, and leaves every output its gradient.
    told = [kind for kind in told if kind != "not_negative" or n_zeros]
    return told[0] if told else "free"


@contextlib.contextmanager
def _other_weights(parameters: list[torch.nn.Parameter]) -> Iterator[None]:
    """Add noise to all weights for a block; called without gradients."""
    import torch

    kept = [parameter.detach().clone() for parameter in parameters]
    try:
        for parameter in parameters:
            if parameter.is_floating_point() and parameter.numel():
                parameter.add_(_noise_size(parameter) * torch.randn_like(parameter))
        yield
    finally:
        for parameter, values in zip(parameters, kept, strict=True):
            parameter.copy_(values)


def _noise_size(parameter: torch.Tensor) -> float:
    if parameter.dim() < 2:
        return _NOISE
    size = float(parameter.square().mean().sqrt())
    return _NOISE * max(size, 1 / math.sqrt(max(parameter[0].numel(), 1)))


def _are_probabilities(outputs: torch.Tensor) -> bool:
    if outputs.dim() < 2 or outputs.shape[1] < 2 or not bool((outputs >= 0).all()):
        return False
    return bool(((outputs.sum(dim=1) - 1).abs() < _TOLERANCE).all())


def _are_log_probabilities(outputs: torch.Tensor) -> bool:
    if outputs.dim() < 2 or outputs.shape[1] < 2:
        return False
    return bool((outputs.logsumexp(dim=1).abs() < _TOLERANCE).all())


_KINDS: dict[str, Callable[[torch.Tensor], bool]] = {
    "probabilities": _are_probabilities,
    "log_probabilities": _are_log_probabilities,
    "unit": lambda outputs: bool(((outputs >= 0) & (outputs <= 1)).all()),
    "signed_unit": lambda outputs: bool((outputs.abs() <= 1).all()),
    "not_negative": lambda outputs: bool((outputs >= 0).all()),
}
"""The narrowest first."""


def expected_outputs(
    prepared: PreparedWorkload, outputs: torch.Tensor, targets: torch.Tensor
) -> str | None:
    """Return what the loss takes outputs for: ``StepFacts.loss_expects``.

    Args:
        prepared: The workload, with its loss.
        outputs: Of the model, for their shape.
        targets: Of the same samples.
    """
    import torch

    if prepared.named_loss is not None:
        return _EXPECTED_OF_NAMED.get(prepared.named_loss)
    with torch.no_grad():
        if prepared.facts.task == "classification":
            return _expected_classes(prepared.loss_fn, torch.randn_like(outputs), targets)
        if prepared.facts.task == "binary" and outputs.numel() == targets.numel():
            return _expected_binary(prepared.loss_fn, outputs, torch.zeros_like(targets))
    return None


def _expected_classes(
    loss_fn: Callable[..., Any], scores: torch.Tensor, targets: torch.Tensor
) -> str | None:
    """Tell a cross-entropy by what it does to scores that are all the same, moved or doubled."""
    if scores.dim() != 2 or targets.dim() != 1:
        return None
    even, drawn, moved, doubled = (
        _value(loss_fn, outputs, targets)
        for outputs in (0 * scores, scores, scores + 3, 2 * scores)
    )
    if _near(even, math.log(scores.shape[1])) and _near(moved, drawn):
        return "logits"
    if _near(even, 0) and _near(moved, drawn - 3) and _near(doubled, 2 * drawn):
        return "log_probabilities"
    return None


def _expected_binary(
    loss_fn: Callable[..., Any], outputs: torch.Tensor, zeros: torch.Tensor
) -> str | None:
    """Tell a logistic loss, and one of probabilities, by its values where each target is 0."""
    import torch

    def at(value: float) -> float:
        return _value(loss_fn, torch.full_like(outputs, value), zeros)

    if _near(at(0.0), math.log(2)) and _near(at(-20.0), 0.0) and _near(at(20.0), 20.0):
        return "logits"
    if _near(at(0.5), math.log(2)) and _near(at(0.9), -math.log(0.1)):
        return "probabilities"
    return None


def ignored_classes(
    prepared: PreparedWorkload, outputs: torch.Tensor, targets: torch.Tensor
) -> tuple[int, ...]:
    """Return the classes that occur in training and never count in a loss of the user's own.

    A sample of each class is given to the loss: those that do not count have no gradient.

    Args:
        prepared: The workload, with its loss, which is a cross-entropy.
        outputs: Of the model, for their shape.
        targets: Of the same samples.
    """
    import torch

    if prepared.named_loss is not None or outputs.dim() != 2 or targets.dim() != 1:
        return ()
    n_classes = outputs.shape[1]
    if not 2 <= n_classes <= _MOST_CLASSES:
        return ()
    scores = torch.zeros(n_classes, n_classes, dtype=outputs.dtype, requires_grad=True)
    try:
        loss: Any = prepared.loss_fn(scores, torch.arange(n_classes, dtype=targets.dtype))
        loss.backward()
    except Exception:  # noqa: BLE001 - a loss of the user's own may need other samples
        return ()
    if scores.grad is None:
        return ()
    counts = scores.grad.ne(0).any(dim=1)
    occurring: list[int] = torch.unique(prepared.train.targets).tolist()
    return tuple(label for label in occurring if not counts[label])


def check_pairing(
    loss_fn: Callable[..., Any], outputs: torch.Tensor, targets: torch.Tensor
) -> str:
    """Return why a loss compares each output with every target; empty if it does not.

    Outputs ``(n, 1)`` and targets ``(n,)`` are broadcast to ``(n, n)`` without an error, and the
    best that can be learned then is the mean. It is known for certain where the loss stays the
    same for any order of the targets, and is another one for outputs of the targets' shape.

    Args:
        loss_fn: A loss of the user's own.
        outputs: Of the model.
        targets: Of the same samples.
    """
    import torch

    shapes = tuple(outputs.shape), tuple(targets.shape)
    is_suspect = shapes[0] == (*shapes[1], 1) or shapes[1] == (*shapes[0], 1)
    if not is_suspect or len(targets) <= _N_SHIFTS or bool((targets == targets[0]).all()):
        return ""
    with torch.no_grad():
        drawn = torch.randn_like(outputs)
        value = _value(loss_fn, drawn, targets)
        shifted = [
            _value(loss_fn, drawn, targets.roll(shift, 0)) for shift in range(1, 1 + _N_SHIFTS)
        ]
        in_pairs = _value(loss_fn, drawn.reshape(targets.shape), targets)
    is_broadcast = all(_near(other, value, scale=value) for other in shifted)
    if not is_broadcast or math.isnan(in_pairs) or _near(in_pairs, value, scale=value):
        return ""
    longer = "outputs" if len(shapes[0]) > len(shapes[1]) else "targets"
    return (
        "these shapes are broadcast, so that every output is compared with all targets, and only "
        f"the mean can be learned: give both one shape, as by {longer}.squeeze(-1) in the loss"
    )


def _value(loss_fn: Callable[..., Any], outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the loss; NaN where it cannot be called so."""
    try:
        return float(loss_fn(outputs.clone(), targets.clone()))
    except Exception:  # noqa: BLE001 - a loss of the user's own may need other outputs
        return math.nan


def _near(value: float, expected: float, *, scale: float = 1.0) -> bool:
    return abs(value - expected) <= _TOLERANCE * max(abs(scale), 1e-12)
