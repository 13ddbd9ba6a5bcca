"""Optimizers: one update for all members of a pack, and PyTorch's own for a single model.

The fused forms follow the order of operations of ``torch.optim`` with ``foreach=False``, with
every number that depends on the member (rate, momentum, weight decay, bias correction) computed in
float64 and cast once, as PyTorch does with its Python numbers. ``addcmul`` and ``addcdiv`` then
round exactly as PyTorch's ``add(…, alpha=…)`` and ``addcdiv(…, value=…)``: the bits are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from sweepdiag.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from sweepdiag.records import OptimizerSettings

    Tensors = Mapping[str, torch.Tensor]

__all__ = ["FusedOptimizer", "make_fused_optimizer", "make_torch_optimizer"]


class FusedOptimizer(Protocol):
    """Updates the stacked parameters of all members at once, in place."""

    def step(self, parameters: Tensors, gradients: Tensors, rates: np.ndarray) -> None:
        """Update every member.

        Args:
            parameters: Stacked parameters by name, each of shape ``(n_members, …)``.
            gradients: Their gradients, of the same shapes.
            rates: Learning rate of each member at this step, shape ``(n_members,)``, float64.
        """


def make_fused_optimizer(settings: Sequence[OptimizerSettings], *, device: str) -> FusedOptimizer:
    """Return the optimizer of a pack.

    Args:
        settings: One per member; they may differ in momentum and weight decay only.
        device: Where the parameters are.

    Returns:
        The optimizer, with no state yet.

    Raises:
        ConfigError: If there is no optimizer of that name.
    """
    name = settings[0].name
    if name == "sgd":
        return _FusedSGD(settings, device)
    if name in {"adam", "adamw"}:
        return _FusedAdam(settings, device)
    raise ConfigError(unknown_name("optimizer", name, ("sgd", "adam", "adamw")))


def make_torch_optimizer(
    model: torch.nn.Module, settings: OptimizerSettings, *, lr: float
) -> torch.optim.Optimizer:
    """Return PyTorch's own optimizer for one model.

    Raises:
        ConfigError: If there is no optimizer of that name.
    """
    import torch

    parameters = [p for p in model.parameters() if p.requires_grad]
    if settings.name == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=lr,
            momentum=settings.momentum,
            nesterov=settings.nesterov and settings.momentum > 0,
            weight_decay=settings.weight_decay,
            foreach=False,
        )
    adams: dict[str, type[torch.optim.Adam]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    if settings.name not in adams:
        raise ConfigError(unknown_name("optimizer", settings.name, ("sgd", *adams)))
    return adams[settings.name](
        parameters,
        lr=lr,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        foreach=False,
    )


class _PerMember:
    """Turns one float64 number per member into a column that broadcasts over a parameter."""

    def __init__(self, device: str) -> None:
        self._device = device

    def __call__(self, values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
        import torch

        column = torch.from_numpy(np.asarray(values, dtype=np.float64)).to(like.dtype)
        return column.to(self._device).view(-1, *[1] * (like.dim() - 1))


class _FusedSGD:
    def __init__(self, settings: Sequence[OptimizerSettings], device: str) -> None:
        self._column = _PerMember(device)
        self._momentum = np.array([s.momentum for s in settings])
        self._weight_decay = np.array([s.weight_decay for s in settings])
        self._nesterov = settings[0].nesterov
        self._buffers: dict[str, torch.Tensor] = {}

    def step(self, parameters: Tensors, gradients: Tensors, rates: np.ndarray) -> None:
        for name, parameter in parameters.items():
            gradient = gradients[name]
            if self._weight_decay.any():
                decay = self._column(self._weight_decay, parameter)
                gradient = gradient.addcmul(parameter, decay)
            if self._momentum.any():
                gradient = self._with_momentum(name, gradient)
            parameter.addcmul_(gradient, self._column(-rates, parameter))

    def _with_momentum(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        momentum = self._column(self._momentum, gradient)
        if name not in self._buffers:
            self._buffers[name] = gradient.clone()
        else:
            self._buffers[name].mul_(momentum).add_(gradient)
        buffer = self._buffers[name]
        return gradient.addcmul(buffer, momentum) if self._nesterov else buffer


class _FusedAdam:
    def __init__(self, settings: Sequence[OptimizerSettings], device: str) -> None:
        self._column = _PerMember(device)
        self._settings = settings[0]
        self._weight_decay = np.array([s.weight_decay for s in settings])
        self._is_decoupled = settings[0].name == "adamw"
        self._averages: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._n_steps = 0

    def step(self, parameters: Tensors, gradients: Tensors, rates: np.ndarray) -> None:
        import torch

        self._n_steps += 1
        beta1, beta2 = self._settings.beta1, self._settings.beta2
        correction1 = 1.0 - beta1**self._n_steps
        correction2_sqrt = (1.0 - beta2**self._n_steps) ** 0.5
        for name, parameter in parameters.items():
            gradient = self._with_decay(parameter, gradients[name], rates)
            if name not in self._averages:
                self._averages[name] = (torch.zeros_like(parameter), torch.zeros_like(parameter))
            mean, square = self._averages[name]
            mean.lerp_(gradient, 1.0 - beta1)
            square.mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
            denominator = (square.sqrt() / correction2_sqrt).add_(self._settings.eps)
            step_size = self._column(-(rates / correction1), parameter)
            parameter.addcdiv_(mean * step_size, denominator)

    def _with_decay(
        self, parameter: torch.Tensor, gradient: torch.Tensor, rates: np.ndarray
    ) -> torch.Tensor:
        if not self._weight_decay.any():
            return gradient
        if self._is_decoupled:
            parameter.mul_(self._column(1.0 - rates * self._weight_decay, parameter))
            return gradient
        return gradient.addcmul(parameter, self._column(self._weight_decay, parameter))
