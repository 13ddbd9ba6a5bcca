"""The parameters of all members of a pack in one tensor per type of number.

Each member is a row. A parameter is a view into it of shape ``(n_members, …)``, and an optimizer
updates whole rows: three operations for a model of any depth, instead of three per parameter.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

__all__ = ["FlatParameters"]


class FlatParameters:
    """Trained parameters of members of one architecture, and room for their gradients.

    Attributes:
        rows: Per type of number, the parameters of all members, shape ``(n_members, n)``.
        gradient_rows: The gradients, laid out alike.
        views: Parameters by name, shape ``(n_members, …)``; they share memory with ``rows``.
    """

    def __init__(self, models: Sequence[Mapping[str, torch.Tensor]]) -> None:
        """Copy the parameters of the members.

        Args:
            models: Per member, its parameters by name, in the same order.
        """
        import torch

        first = models[0]
        names: dict[torch.dtype, list[str]] = {}
        for name, parameter in first.items():
            names.setdefault(parameter.dtype, []).append(name)
        self._names = names
        self._shapes = {name: tuple(parameter.shape) for name, parameter in first.items()}
        self.rows = {
            dtype: torch.stack(
                [
                    torch.cat([model[name].detach().reshape(-1) for name in of_dtype])
                    for model in models
                ]
            )
            for dtype, of_dtype in names.items()
        }
        self.gradient_rows = {dtype: torch.zeros_like(rows) for dtype, rows in self.rows.items()}
        self.views = self._views()

    def _views(self) -> dict[str, torch.Tensor]:
        views = {}
        for dtype, of_dtype in self._names.items():
            rows, start = self.rows[dtype], 0
            for name in of_dtype:
                size = math.prod(self._shapes[name])
                part = rows[:, start : start + size]
                views[name] = part.view(len(rows), *self._shapes[name])
                start += size
        return {name: views[name] for name in self._shapes}

    def keep(self, places: torch.Tensor) -> None:
        """Drop all members but some.

        Args:
            places: Rows that stay, in their new order, int64.
        """
        import torch

        self.rows = {dtype: rows.index_select(0, places) for dtype, rows in self.rows.items()}
        self.gradient_rows = {dtype: torch.zeros_like(rows) for dtype, rows in self.rows.items()}
        self.views = self._views()

    def set_gradients(self, gradients: Sequence[torch.Tensor]) -> None:
        """Copy gradients into their rows.

        Args:
            gradients: One per parameter, in the order of ``views``, shape ``(n_members, …)``.
        """
        import torch

        n_members = len(gradients[0])
        by_name = dict(zip(self._shapes, gradients, strict=True))
        for dtype, of_dtype in self._names.items():
            parts = [by_name[name].reshape(n_members, -1) for name in of_dtype]
            torch.cat(parts, dim=1, out=self.gradient_rows[dtype])
