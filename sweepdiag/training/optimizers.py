"""Optimizers: one update for all members of a pack, and PyTorch's own for a single model.

The fused forms follow the order of operations of ``torch.optim`` with ``foreach=False``, with
every number that depends on the member (rate, momentum, weight decay, bias correction) computed in
float64 and cast once, as PyTorch does with its Python numbers. ``addcmul`` and ``addcdiv`` then
round exactly as PyTorch's ``add(…, alpha=…)`` and ``addcdiv(…, value=…)``: the bits are the same.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sweepdiag.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    import torch

    from sweepdiag.records import OptimizerSettings
    from sweepdiag.training.step_tables import StepTable

    Rows = Mapping[torch.dtype, torch.Tensor]

__all__ = ["FusedOptimizer", "make_fused_optimizer", "make_torch_optimizer"]


class FusedOptimizer(Protocol):
    """Updates the parameters of all members at once, in place.

    Parameters, gradients and state are rows: one tensor per type of number, of shape
    ``(n_members, n)``.
    """

    def plan(self, rates: np.ndarray, dtypes: Iterable[torch.dtype]) -> None:
        """Take the learning rates of the next steps, all of which are then taken.

        Args:
            rates: Learning rate of each member at each of the steps, shape
                ``(n_steps, n_members)``, float64.
            dtypes: Types of number among the parameters.
        """

    def keep(self, places: torch.Tensor) -> None:
        """Forget all members but some; the next steps have to be planned anew.

        Args:
            places: Rows that stay, in their new order, int64.
        """

    def step(self, rows: Rows, gradient_rows: Rows) -> None:
        """Update every member at the next of the planned rates.

        Args:
            rows: The parameters.
            gradient_rows: Their gradients, which are overwritten.
        """


def make_fused_optimizer(
    settings: Sequence[OptimizerSettings], *, device: str, new_table: Callable[[], StepTable]
) -> FusedOptimizer:
    """Return the optimizer of a pack.

    Args:
        settings: One per member; they may differ in momentum and weight decay only.
        device: Where the parameters are.
        new_table: Makes what holds the numbers that differ from step to step.

    Returns:
        The optimizer, with no state yet.

    Raises:
        ConfigError: If there is no optimizer of that name.
    """
    name = settings[0].name
    if name == "sgd":
        return _FusedSGD(settings, device, new_table)
    if name in {"adam", "adamw"}:
        return _FusedAdam(settings, device, new_table)
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


class _FusedBase(abc.ABC):
    """What fused optimizers have in common: numbers per member, and rates planned ahead."""

    def __init__(
        self,
        settings: Sequence[OptimizerSettings],
        device: str,
        new_table: Callable[[], StepTable],
    ) -> None:
        self._settings = settings[0]
        self._momentum = np.array([s.momentum for s in settings])
        self._weight_decay = np.array([s.weight_decay for s in settings])
        self._device = device
        self._new_table = new_table
        self._tables: dict[torch.dtype, StepTable] = {}
        # What is remembered from step to step: a row per member, as the parameters have.
        self._state: dict[torch.dtype, tuple[torch.Tensor, ...]] = {}
        self._constants: dict[Hashable, torch.Tensor] = {}
        self._n_steps = 0

    def plan(self, rates: np.ndarray, dtypes: Iterable[torch.dtype]) -> None:
        import torch

        coefficients = self._coefficients_of(rates)
        self._n_steps += len(rates)
        for dtype in dtypes:
            # Computed in float64 and rounded once, as PyTorch rounds its Python numbers.
            columns = {
                name: torch.from_numpy(values).to(dtype).unsqueeze(-1)
                if values.ndim > 1
                else torch.from_numpy(values)
                for name, values in coefficients.items()
            }
            self._tables.setdefault(dtype, self._new_table()).load(columns)

    def keep(self, places: torch.Tensor) -> None:
        of_members = places.cpu().numpy()
        self._momentum = self._momentum[of_members]
        self._weight_decay = self._weight_decay[of_members]
        self._state = {
            dtype: tuple(rows.index_select(0, places) for rows in of_dtype)
            for dtype, of_dtype in self._state.items()
        }
        self._constants = {}

    @abc.abstractmethod
    def _coefficients_of(self, rates: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the update needs at each step, by name.

        Each has the shape ``(n_steps, n_members)``, or ``(n_steps,)`` if all members share it.
        """

    def _column(self, values: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
        """Return a number per member as a column on the device, the same one each time."""
        import torch

        return self._fixed(
            (dtype, values.tobytes()),
            lambda: torch.from_numpy(values).to(dtype).to(self._device).unsqueeze(-1),
        )

    def _fixed(self, key: Hashable, make: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return a tensor that is made once: copying to the device at each step would wait."""
        if key not in self._constants:
            self._constants[key] = make()
        return self._constants[key]

    def _with_decay(self, gradients: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Return the gradients with an L2 penalty's on top, where there is one."""
        if not self._weight_decay.any():
            return gradients
        without = self._members_without(self._weight_decay)
        kept = None if without is None else gradients[without]
        gradients.addcmul_(parameters, self._column(self._weight_decay, parameters.dtype))
        if without is not None and kept is not None:
            gradients[without] = kept
        return gradients

    def _members_without(self, numbers: np.ndarray) -> torch.Tensor | None:
        """Return the members whose number is 0, if others have one.

        For them nothing must be added: 0 times infinity is no number.
        """
        import torch

        if numbers.all() or not numbers.any():
            return None
        return self._fixed(
            ("without", numbers.tobytes()),
            lambda: torch.from_numpy(np.flatnonzero(numbers == 0)).to(self._device),
        )


class _FusedSGD(_FusedBase):
    def step(self, rows: Rows, gradient_rows: Rows) -> None:
        for dtype, parameters in rows.items():
            direction = self._with_decay(gradient_rows[dtype], parameters)
            if self._momentum.any():
                direction = self._with_momentum(dtype, direction)
            parameters.addcmul_(direction, self._tables[dtype].take()["minus_rate"])

    def _coefficients_of(self, rates: np.ndarray) -> dict[str, np.ndarray]:
        return {"minus_rate": -rates}

    def _with_momentum(self, dtype: torch.dtype, gradients: torch.Tensor) -> torch.Tensor:
        is_common = bool((self._momentum == self._momentum[0]).all())
        # A Python number is rounded as a column is, and costs less.
        momentum = float(self._momentum[0]) if is_common else self._column(self._momentum, dtype)
        if dtype not in self._state:
            self._state[dtype] = (gradients.clone(),)
        else:
            self._state[dtype][0].mul_(momentum).add_(gradients)
        (buffer,) = self._state[dtype]
        without = self._members_without(self._momentum)
        if without is not None:
            buffer[without] = gradients[without]
        if not self._settings.nesterov:
            return buffer
        kept = None if without is None else gradients[without]
        gradients.addcmul_(buffer, self._column(self._momentum, dtype))
        if without is not None and kept is not None:
            gradients[without] = kept
        return gradients


class _FusedAdam(_FusedBase):
    def __init__(
        self,
        settings: Sequence[OptimizerSettings],
        device: str,
        new_table: Callable[[], StepTable],
    ) -> None:
        super().__init__(settings, device, new_table)
        self._is_decoupled = self._settings.name == "adamw"

    def _coefficients_of(self, rates: np.ndarray) -> dict[str, np.ndarray]:
        steps = range(self._n_steps + 1, self._n_steps + 1 + len(rates))
        # Python's power, as PyTorch takes it: NumPy's rounds some of them otherwise.
        corrections1 = [1.0 - self._settings.beta1**n for n in steps]
        corrections2 = [1.0 - self._settings.beta2**n for n in steps]
        coefficients = {
            "minus_step_size": -(rates / np.array(corrections1)[:, None]),
            "correction2_sqrt": np.array([correction**0.5 for correction in corrections2]),
        }
        if self._is_decoupled:
            coefficients["kept"] = 1.0 - rates * self._weight_decay
        return coefficients

    def step(self, rows: Rows, gradient_rows: Rows) -> None:
        import torch

        beta1, beta2 = self._settings.beta1, self._settings.beta2
        for dtype, parameters in rows.items():
            columns = self._tables[dtype].take()
            gradients = gradient_rows[dtype]
            if self._weight_decay.any():
                if self._is_decoupled:
                    parameters.mul_(columns["kept"])
                else:
                    gradients = self._with_decay(gradients, parameters)
            if dtype not in self._state:
                zeros = torch.zeros_like(parameters)
                self._state[dtype] = (zeros, zeros.clone())
            mean, square = self._state[dtype]
            mean.lerp_(gradients, 1.0 - beta1)
            square.mul_(beta2).addcmul_(gradients, gradients, value=1.0 - beta2)
            # The gradients are not needed any more: their rows hold the denominators.
            denominators = torch.sqrt(square, out=gradients)
            denominators.div_(columns["correction2_sqrt"]).add_(self._settings.eps)
            parameters.addcdiv_(mean * columns["minus_step_size"], denominators)
