"""Parameters that are to be trained and cannot be: no gradient reaches them, or all get the same.

A gradient that is missing in one step may come in the next, as where the last layer begins at
zero or a layer is left out at random. So where any is missing more steps are taken, with a model
that is thrown away.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import torch

    from sweepdiag.workloads.samples import Batch

__all__ = ["N_STEPS", "Minibatches", "idle_parameters"]

N_STEPS = 10
"""Steps in which a parameter must have got no gradient."""

_STEP = 0.01
"""How far the largest number of a parameter is moved between them."""

_SAME = 1e-4
"""Difference of rows of a gradient, relative to its largest number, that is rounding."""


class Minibatches(Protocol):
    """Inputs and targets of steps, by their number."""

    def __len__(self) -> int: ...

    def __getitem__(self, step: int) -> Batch: ...


def idle_parameters(
    model: torch.nn.Module,
    batches: Minibatches,
    loss_fn: Callable[..., Any],
    *,
    n_steps: int = N_STEPS,
) -> dict[str, Any]:
    """Return what is known of gradients after a first backward pass; the model changes.

    Args:
        model: A model in training mode, with the gradients of its first step.
        batches: Minibatches, the first step's first; taken again where they are too few.
        loss_fn: The loss of the workload.
        n_steps: Steps to take where a gradient is missing.

    Returns:
        Fields of ``StepFacts`` by name.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    absent = {name for name, p in trained.items() if p.grad is None}
    zero = {name for name, p in trained.items() if p.grad is not None and _is_zero(p.grad)}
    alike = {name for name, p in trained.items() if _has_same_rows(p) and _moves_alike(p)}
    n_taken = 1
    while (absent or zero or alike) and n_taken < n_steps:
        _step(model, trained, batches[n_taken % len(batches)], loss_fn)
        found = {name for name, p in trained.items() if p.grad is None}
        # What has had a gradient once, and be it zero, is not cut off.
        zero |= absent - found
        absent &= found
        zero = {name for name in zero if _is_zero(trained[name].grad)}
        alike = {name for name in alike if _moves_alike(trained[name])}
        n_taken += 1
    zero = _of_whole_modules(zero, trained)
    frozen = (p.numel() for p in model.parameters() if not p.requires_grad)
    groups = _groups(absent, trained)
    # They have no gradient now, so that other weights show whether the outputs need them.
    needed = [name for name, members in groups.items() if _matters(model, members, batches[0])]
    return {
        "n_trainable": sum(p.numel() for p in trained.values()),
        "n_frozen": sum(frozen),
        "cut_off": tuple(needed),
        "unused": tuple(name for name in groups if name not in needed),
        "zero_gradient": tuple(_groups(zero, trained)),
        "alike": tuple(_groups(alike, trained)),
        "n_steps": n_taken,
    }


def _step(
    model: torch.nn.Module,
    trained: dict[str, torch.nn.Parameter],
    batch: Batch,
    loss_fn: Callable[..., Any],
) -> None:
    """Move each parameter a little against its gradient, and take the next one."""
    import torch

    with torch.no_grad():
        for parameter in trained.values():
            if parameter.grad is not None:
                gradient = parameter.grad.to_dense()
                largest = gradient.abs().max() if gradient.numel() else 0.0
                if 0 < largest < float("inf"):
                    parameter.sub_(_STEP * gradient / largest)
    model.zero_grad(set_to_none=True)
    inputs, targets = batch
    loss = loss_fn(model(inputs), targets)
    loss.backward()


def _is_zero(gradient: torch.Tensor | None) -> bool:
    return gradient is None or not bool(gradient.to_dense().any())


def _has_same_rows(parameter: torch.Tensor) -> bool:
    if parameter.dim() < 2 or len(parameter) < 2 or not parameter[0].numel():
        return False
    first = parameter.detach()
    # The second row tells nearly always, without a look at all of them.
    return bool((first[1] == first[0]).all()) and bool((first == first[:1]).all())


def _moves_alike(parameter: torch.Tensor) -> bool:
    """Return whether all rows of a gradient are the same, and not zero."""
    if parameter.grad is None:
        return False
    gradient = parameter.grad.to_dense()
    largest = float(gradient.abs().max())
    return largest > 0 and float((gradient - gradient[:1]).abs().max()) <= _SAME * largest


def _of_whole_modules(names: set[str], trained: Iterable[str]) -> set[str]:
    """Leave out parameters of which a sibling in the same module gets a gradient.

    A bias may be without one where its weight is not: a norm behind it takes it away.
    """
    alive = {name.rpartition(".")[0] for name in trained if name not in names}
    return {name for name in names if name.rpartition(".")[0] not in alive}


def _groups(
    names: set[str], trained: dict[str, torch.nn.Parameter]
) -> dict[str, list[torch.nn.Parameter]]:
    """Return parameters by the largest module of which all are meant, or by their own name."""
    groups: dict[str, list[torch.nn.Parameter]] = {}
    for name in (name for name in trained if name in names):
        parts = name.split(".")
        prefixes = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
        group = next(prefix for prefix in prefixes if _below(prefix, trained) <= names)
        groups.setdefault(group, []).append(trained[name])
    return groups


def _below(prefix: str, names: Iterable[str]) -> set[str]:
    return {name for name in names if name == prefix or name.startswith(f"{prefix}.")}


def _matters(model: torch.nn.Module, parameters: list[torch.nn.Parameter], batch: Batch) -> bool:
    """Return whether outputs change with these parameters."""
    import torch

    model.eval()
    with torch.no_grad():
        before = model(batch[0])
        with _moved(parameters):
            after = model(batch[0])
    return not torch.equal(before.nan_to_num(), after.nan_to_num())


@contextlib.contextmanager
def _moved(parameters: list[torch.nn.Parameter]) -> Iterator[None]:
    import torch

    kept = [parameter.detach().clone() for parameter in parameters]
    for parameter in parameters:
        parameter.add_(torch.randn_like(parameter))
    yield
    for parameter, values in zip(parameters, kept, strict=True):
        parameter.copy_(values)
