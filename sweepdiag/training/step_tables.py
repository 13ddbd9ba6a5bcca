"""Numbers that differ from step to step, laid out ahead for some steps.

A step takes the next row of its tables. On the CPU the host counts the steps. In a step that is
replayed (:mod:`sweepdiag.training.capture`) the device does, since Python is not asked again, and
the tables stay where they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from sweepdiag.training.transfers import pinned, upload

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

__all__ = ["DeviceTable", "HostTable", "Row", "StepTable"]

Row: TypeAlias = "dict[str, Any]"
"""Tensors, and Python numbers where all members share one, by name."""


class StepTable(Protocol):
    """Named numbers for each of the next steps."""

    def load(self, columns: Mapping[str, torch.Tensor]) -> None:
        """Take the numbers of the next steps.

        Args:
            columns: By name, on the CPU, the first dimension being the steps.
        """

    def take(self) -> Row:
        """Return this step's numbers and go on to the next.

        What has no other dimension than the steps is a number, which all members share.
        """


class HostTable:
    """Rows picked by the host."""

    def __init__(self, device: str) -> None:
        """Take the device that the numbers are used on."""
        self._device = device
        self._rows: dict[str, tuple[torch.Tensor, ...] | list[float]] = {}
        self._next = 0

    def load(self, columns: Mapping[str, torch.Tensor]) -> None:
        """Take the numbers of the next steps."""
        self._next = 0
        self._rows = {
            # A Python number is rounded as late as possible, as torch.optim's are.
            name: column.tolist() if column.dim() == 1 else upload(column, self._device).unbind()
            for name, column in columns.items()
        }

    def take(self) -> Row:
        """Return this step's numbers and go on to the next."""
        row: Row = {name: rows[self._next] for name, rows in self._rows.items()}
        self._next += 1
        return row


class DeviceTable:
    """Rows picked by a counter on the device, from tables that never move."""

    def __init__(self, device: str, *, n_rows: int) -> None:
        """Take how many steps are loaded at a time, at most."""
        self._device = device
        self._n_rows = n_rows
        self._tables: dict[str, torch.Tensor] = {}
        self._position: torch.Tensor | None = None

    def load(self, columns: Mapping[str, torch.Tensor]) -> None:
        """Take the numbers of the next steps, ``n_rows`` or fewer.

        Tables move only if the rest of their shape, the number of members, changes.
        """
        import torch

        if self._position is None:
            self._position = torch.zeros(1, dtype=torch.int64, device=self._device)
        self._position.zero_()
        for name, column in columns.items():
            table, shape = self._tables.get(name), (self._n_rows, *column.shape[1:])
            if table is None or table.shape != shape:
                table = torch.empty(shape, dtype=column.dtype, device=self._device)
                self._tables[name] = table
            # Queued behind the steps that still read what stands there.
            table[: len(column)].copy_(pinned(column, self._device), non_blocking=True)

    def take(self) -> Row:
        """Return this step's numbers and go on to the next."""
        position = self._position
        if position is None:
            return {}
        row: Row = {
            name: table.index_select(0, position)[0] for name, table in self._tables.items()
        }
        position.add_(1)
        return row
