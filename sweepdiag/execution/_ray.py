"""Packs on Ray workers: one process per GPU or per CPU core, here or on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweepdiag.errors import ConfigError, LaunchError
from sweepdiag.execution._ray_run import PackRun
from sweepdiag.execution._ray_session import open_session
from sweepdiag.execution._ray_staff import Slot, Staff
from sweepdiag.execution.devices import n_fake_gpus
from sweepdiag.execution.stop_requests import StopRequests
from sweepdiag.messages import describe_error
from sweepdiag.records import Deadlines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from sweepdiag.execution.base import PackWorker
    from sweepdiag.records import Event, Pack

__all__ = ["RayExecutor"]


class RayExecutor:
    """Trains packs in Ray actors; see :mod:`sweepdiag.execution.base` for what it promises.

    Ray starts with the executor. If the process already uses Ray, that one serves, and goes on
    when the executor is closed; with ``address`` a running cluster is joined. A Ray that is
    started for the executor listens on loopback only and asks for a token that only this user can
    read.

    Nothing is left to Ray's own retries: a training that Ray repeats half-way would splice two
    different curves into one.

    Args:
        n_workers: Worker processes.
        gpus: 0 for CPU workers with one core each; otherwise the same number as ``n_workers``, for
            workers with one GPU each. With ``SWEEPDIAG_FAKE_GPUS`` GPUs are counted, and the
            workers train on the CPU.
        packs_per_worker: Packs that take turns in one worker, at most.
        address: Ray cluster to join; ``None`` and ``local`` start a private Ray.
        join_timeout_s: How long that cluster may take to answer, and then to have room for all
            workers; ``None``: 10 s to answer, and it must have room at once.
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
        if n_workers < 1:
            message = f"n_workers must be at least 1, got {n_workers}"
            raise ConfigError(message)
        if gpus not in {0, n_workers}:
            message = f"gpus must be 0 or n_workers ({n_workers}): one GPU per worker; got {gpus}"
            raise ConfigError(message)
        is_fake = gpus > 0 and n_fake_gpus() is not None
        self._slots = [Slot(index) for index in range(n_workers)]
        self._packs_per_worker = packs_per_worker
        self._sent: tuple[PackWorker, Any] | None = None
        self._is_running = False
        self._is_closed = False
        self._session = open_session(
            n_workers=n_workers,
            gpus=gpus,
            is_fake=is_fake,
            address=None if address == "local" else address,
            join_timeout_s=join_timeout_s,
        )
        self._staff = Staff(
            session=self._session,
            device="cuda:0" if gpus and not is_fake else "cpu",
            has_gpu=gpus > 0,
            start_timeout_s=start_timeout_s,
            deadlines=deadlines or Deadlines(),
        )

    @property
    def n_workers(self) -> int:
        """Worker processes, at most."""
        return len(self._slots)

    def run(self, packs: Sequence[Pack], worker: PackWorker) -> Iterator[list[Event]]:
        """Train the packs; see :mod:`sweepdiag.execution.base`.

        Args:
            packs: What to train, in the order in which it should be begun.
            worker: Trains one pack. It travels to the workers pickled.

        Yields:
            The workers' batches as they come, and the ends of trials whose worker failed.

        Raises:
            LaunchError: If the executor is closed or already running, the worker cannot be sent to
                another process, or no worker gets anywhere.
        """
        if self._is_closed or self._is_running:
            state = "closed" if self._is_closed else "already running other packs"
            message = f"this executor is {state}; make a new one to run more packs"
            raise LaunchError(message)
        self._is_running = True
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
            self._is_running = False
            for slot in self._slots:
                # Nobody will take what an abandoned pack still sends.
                if slot.pending is not None:
                    slot.vacate()

    def close(self) -> None:
        """End the workers, and Ray where it was started for them."""
        if self._is_closed:
            return
        self._is_closed = True
        self._sent = None
        try:
            for slot in self._slots:
                slot.vacate()
        finally:
            self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _send(self, worker: PackWorker) -> Any:
        """Return the worker's reference in Ray's store, where it is put once.

        Raises:
            LaunchError: If it cannot be pickled.
        """
        import ray
        from ray import cloudpickle

        if self._sent is None or self._sent[0] is not worker:
            try:
                # Pickled here, since Ray answers what it cannot pickle with a page of guesses.
                pickled = cloudpickle.dumps(worker)  # type: ignore[no-untyped-call]
                self._sent = (worker, ray.put(pickled))
            except Exception as error:
                message = (
                    f"the worker cannot be pickled for other processes: {describe_error(error)}"
                )
                raise LaunchError(message) from error
        return self._sent[1]
