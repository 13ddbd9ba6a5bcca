"""Several packs in one process: they take turns, and the failure of one is its own."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from sweepdiag.execution.recovery import PackProgress
from sweepdiag.messages import describe_error
from sweepdiag.records import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sweepdiag.execution.base import PackWorker
    from sweepdiag.records import Event, Pack

__all__ = ["train_in_turns"]

_log = logging.getLogger(__name__)

_NO_END = "the worker returned without ending this trial"


def train_in_turns(
    packs: Sequence[Pack], worker: PackWorker, *, device: str, n_at_once: int
) -> Iterator[list[Event]]:
    """Train packs in this process and thread, some of them side by side.

    Those under way are asked for a batch in turn. When one is over, the next one begins.

    Args:
        packs: What to train, in the order in which it is begun.
        worker: Trains one pack.
        device: Passed on to the worker.
        n_at_once: Packs under way, at most.

    Yields:
        The worker's batches, and the ends of trials that it did not end itself.
    """
    waiting = deque(packs)
    under_way: deque[_Training] = deque()
    try:
        while waiting or under_way:
            if waiting and len(under_way) < n_at_once:
                under_way.append(_Training(waiting.popleft(), worker, device))
            else:
                under_way.rotate(-1)
            training = under_way[-1]
            batch = training.next_batch()
            if training.is_over:
                under_way.pop()
            if batch:
                yield batch
    finally:
        for training in under_way:
            training.close()


class _Training:
    """A pack under way.

    Attributes:
        is_over: Whether every trial has ended, and there is nothing more to come.
    """

    def __init__(self, pack: Pack, worker: PackWorker, device: str) -> None:
        self.is_over = False
        self._progress = PackProgress(pack)
        self._worker = worker
        self._device = device
        self._batches: Iterator[list[Event]] | None = None

    def next_batch(self) -> list[Event]:
        """Return the next batch; at the end, or after an error, the ends of what is unfinished."""
        try:
            if self._batches is None:
                self._batches = iter(self._worker(self._progress.pack, device=self._device))
            batch = next(self._batches)
        except StopIteration:
            return self._end(_NO_END)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - user code may raise anything
            n_trials = len(self._progress.pack.trials)
            _log.debug("a pack of %d trials failed", n_trials, exc_info=True)
            return self._end(describe_error(error, with_place=True))
        self._progress.record(batch)
        return batch

    def close(self) -> None:
        """Close the worker's generator at once, also when the consumer stops half-way."""
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()

    def _end(self, reason: str) -> list[Event]:
        self.is_over = True
        self.close()
        return self._progress.end_unfinished(State.FAILED, reason)
