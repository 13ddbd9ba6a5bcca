"""Packs one after the other, in this process."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from sweepdiag.errors import LaunchError
from sweepdiag.execution.recovery import PackProgress
from sweepdiag.messages import describe_error
from sweepdiag.records import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from sweepdiag.execution.base import PackWorker
    from sweepdiag.records import Event, Pack

__all__ = ["SerialExecutor"]

_log = logging.getLogger(__name__)


class SerialExecutor:
    """Trains one pack after the other in the caller's process and thread.

    Starts nothing and costs nothing, and a debugger sees into it. In exchange a crash of the
    process ends the sweep, which then has to be resumed.

    Attributes:
        device: Passed on to the worker.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self._is_closed = False

    @property
    def n_workers(self) -> int:
        """Always 1."""
        return 1

    def run(self, packs: Sequence[Pack], worker: PackWorker) -> Iterator[list[Event]]:
        """Train the packs in order; see :mod:`sweepdiag.execution.base`.

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
        for pack in packs:
            yield from self._train(pack, worker)

    def _train(self, pack: Pack, worker: PackWorker) -> Iterator[list[Event]]:
        progress = PackProgress(pack)
        reason = "the worker returned without ending this trial"
        try:
            with _closing(worker(pack, device=self.device)) as batches:
                for batch in filter(None, batches):
                    progress.record(batch)
                    yield batch
        except (Exception, SystemExit) as error:  # noqa: BLE001 - user code may raise anything
            _log.debug("a pack of %d trials failed", len(pack.trials), exc_info=True)
            reason = describe_error(error, with_place=True)
        rest = progress.end_unfinished(State.FAILED, reason)
        if rest:
            yield rest

    def close(self) -> None:
        """Refuse further runs."""
        self._is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@contextlib.contextmanager
def _closing(batches: Iterator[list[Event]]) -> Iterator[Iterator[list[Event]]]:
    """Close the worker's generator at once, also when the consumer stops half-way."""
    try:
        yield batches
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()
