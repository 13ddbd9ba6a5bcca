"""Packs in this process, one after the other or in turns."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from sweepdiag.errors import LaunchError
from sweepdiag.execution.base import Executor
from sweepdiag.execution.processes import RUN_ID_VARIABLE, end_processes
from sweepdiag.execution.turns import train_in_turns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sweepdiag.execution.base import PackWorker
    from sweepdiag.records import Event, Pack

__all__ = ["SerialExecutor"]

_PATIENCE_S = 1.0
"""How long they may take to end by themselves."""


class SerialExecutor(Executor):
    """Trains packs in the caller's process and thread.

    Starts nothing and costs nothing, and a debugger sees into it. In exchange a crash of the
    process ends the sweep, which then has to be resumed. Processes that trainings start carry a
    mark in their environment, by which :meth:`close` finds what is left of them.

    Attributes:
        device: Passed on to the worker.
        n_at_once: Packs under way at the same time, at most; they take turns.
    """

    def __init__(self, device: str = "cpu", *, n_at_once: int = 1) -> None:
        self.device = device
        self.n_at_once = n_at_once
        self._is_closed = False
        self._run_id = secrets.token_hex(8)

    @property
    def n_workers(self) -> int:
        """Always 1."""
        return 1

    def run(self, packs: Sequence[Pack], worker: PackWorker) -> Iterator[list[Event]]:
        """Train the packs, begun in order; see :mod:`sweepdiag.execution.base`.

        Args:
            packs: What to train.
            worker: Trains one pack.

        Yields:
            The worker's batches, and the ends of trials that it did not end itself.

        Raises:
            LaunchError: If the executor has been closed.
        """
        if self._is_closed:
            message = "this executor is closed; make a new one to run more packs"
            raise LaunchError(message)
        before = os.environ.get(RUN_ID_VARIABLE)
        os.environ[RUN_ID_VARIABLE] = self._run_id
        try:
            yield from train_in_turns(packs, worker, device=self.device, n_at_once=self.n_at_once)
        finally:
            if before is None:
                os.environ.pop(RUN_ID_VARIABLE, None)
            else:
                os.environ[RUN_ID_VARIABLE] = before

    def close(self) -> None:
        """Refuse further runs, and end the processes that trainings have left behind."""
        if not self._is_closed:
            self._is_closed = True
            end_processes(self._run_id, patience_s=_PATIENCE_S)
