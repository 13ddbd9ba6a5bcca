"""Packs on Ray workers: one process per GPU or per CPU core, here or on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweepdiag.execution._ray_base import RayBase
from sweepdiag.execution._ray_run import PackRun
from sweepdiag.execution._ray_staff import Slot, Staff
from sweepdiag.execution.stop_requests import StopRequests
from sweepdiag.records import Deadlines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sweepdiag.execution.base import PackWorker
    from sweepdiag.records import Event, Pack

__all__ = ["RayExecutor"]


class RayExecutor(RayBase):
    """Trains packs in Ray actors; see :mod:`sweepdiag.execution.base` for what it promises.

    Nothing is left to Ray's own retries: a training that Ray repeats half-way would splice two
    different curves into one.

    Args:
        n_workers: See :class:`RayBase`, as for ``gpus``, ``address`` and ``join_timeout_s``.
        gpus: Likewise.
        packs_per_worker: Packs that take turns in one worker, at most.
        address: Likewise.
        join_timeout_s: Likewise.
        start_timeout_s: How long a run goes on while not a single worker is ready.
        deadlines: How long a worker may send nothing before it is killed. What it had under way is
            halved until the silent trial is alone, which ends as ``TIMED_OUT``.

    Raises:
        ConfigError: If ``n_workers`` or ``gpus`` makes no sense.
    """

    def __init__(
        self,
        n_workers: int,
        *,
        gpus: int = 0,
        packs_per_worker: int = 1,
        address: str | None = None,
        join_timeout_s: float | None = None,
        start_timeout_s: float = 180.0,
        deadlines: Deadlines | None = None,
    ) -> None:
        super().__init__(n_workers, gpus=gpus, address=address, join_timeout_s=join_timeout_s)
        self._slots = [Slot(index) for index in range(n_workers)]
        self._packs_per_worker = packs_per_worker
        self._staff = Staff(
            session=self._session,
            device=self.device,
            has_gpu=self.has_gpu,
            start_timeout_s=start_timeout_s,
            deadlines=deadlines or Deadlines(),
        )

    def run(self, packs: Sequence[Pack], worker: PackWorker) -> Iterator[list[Event]]:
        """Train the packs; see :mod:`sweepdiag.execution.base`.

        Args:
            packs: What to train, in the order in which it should be begun.
            worker: Trains one pack. It travels to the workers pickled.

        Yields:
            The workers' batches as they come, and the ends of trials whose worker failed.

        A ``LaunchError`` says that the executor is closed or already running, that the worker
        cannot be sent to another process, or that no worker gets anywhere.
        """
        with self._running():
            try:
                with StopRequests() as stops:
                    with stops.held():
                        reference = self._send(worker)
                    yield from PackRun(
                        self._slots,
                        packs,
                        reference,
                        self._staff,
                        stops,
                        packs_per_worker=self._packs_per_worker,
                    ).events()
            finally:
                for slot in self._slots:
                    # Nobody will take what an abandoned pack still sends.
                    if slot.pending is not None:
                        slot.vacate()

    def _end_workers(self) -> None:
        for slot in self._slots:
            slot.vacate()
