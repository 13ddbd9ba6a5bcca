"""What executors on Ray have in common: when it starts and ends, and how workers get there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import ConfigError, LaunchError
from sweepdiag.execution._ray_session import open_session
from sweepdiag.execution.base import Executor
from sweepdiag.execution.devices import n_fake_gpus
from sweepdiag.messages import describe_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sweepdiag.execution.base import PackWorker

__all__ = ["RayBase"]


class RayBase(Executor):
    """Starts or joins a Ray, and ends what it has started.

    If the process already uses Ray, that one serves, and goes on when the executor is closed; with
    ``address`` a running cluster is joined. A Ray that is started for the executor listens on
    loopback only and asks for a token that only this user can read.

    Args:
        n_workers: Worker processes.
        gpus: 0 for CPU workers with one core each; otherwise the same number as ``n_workers``, for
            workers with one GPU each. With ``SWEEPDIAG_FAKE_GPUS`` GPUs are counted, and the
            workers train on the CPU.
        address: Ray cluster to join; ``None`` and ``local`` start a private Ray.
        join_timeout_s: How long that cluster may take to answer, and then to have room for all
            workers; ``None``: 10 s to answer, and it must have room at once.

    Attributes:
        device: Where a worker trains, in its own terms.
        has_gpu: Whether a worker takes a GPU, real or counted.

    Raises:
        ConfigError: If ``n_workers`` or ``gpus`` makes no sense.
    """

    def __init__(
        self, n_workers: int, *, gpus: int, address: str | None, join_timeout_s: float | None
    ) -> None:
        if n_workers < 1:
            message = f"n_workers must be at least 1, got {n_workers}"
            raise ConfigError(message)
        if gpus not in {0, n_workers}:
            message = f"gpus must be 0 or n_workers ({n_workers}): one GPU per worker; got {gpus}"
            raise ConfigError(message)
        is_fake = gpus > 0 and n_fake_gpus() is not None
        self._n_workers = n_workers
        self.has_gpu = gpus > 0
        self.device = "cuda:0" if gpus and not is_fake else "cpu"
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

    @property
    def n_workers(self) -> int:
        """Worker processes, at most."""
        return self._n_workers

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Run packs within a block, one sequence at a time.

        Raises:
            LaunchError: If the executor is closed or already running.
        """
        if self._is_closed or self._is_running:
            state = "closed" if self._is_closed else "already running other packs"
            message = f"this executor is {state}; make a new one to run more packs"
            raise LaunchError(message)
        self._is_running = True
        try:
            yield
        finally:
            self._is_running = False

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
            except Exception as error:
                reason = describe_error(error)
                message = f"the worker cannot be pickled for other processes: {reason}"
                raise LaunchError(message) from error
            self._sent = (worker, ray.put(pickled))
        return self._sent[1]

    def close(self) -> None:
        """End the workers, and Ray where it was started for them."""
        if self._is_closed:
            return
        self._is_closed = True
        self._sent = None
        try:
            self._end_workers()
        finally:
            self._session.close()

    def _end_workers(self) -> None:
        """End what a Ray that goes on would not."""
