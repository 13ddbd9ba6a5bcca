"""Trials of a training loop on Ray Tune: one Tune trial for each trial of the plan."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sweepdiag.errors import ConfigError, LaunchError
from sweepdiag.execution._ray_session import open_session
from sweepdiag.execution._ray_tune_run import TuneRun
from sweepdiag.execution._ray_tune_trial import TrialSource
from sweepdiag.execution.devices import n_fake_gpus
from sweepdiag.messages import describe_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Any, Self

    from sweepdiag.execution.base import PackWorker
    from sweepdiag.records import Event, Pack

__all__ = ["TuneExecutor"]


class TuneExecutor:
    """Trains packs of one trial each as trials of Ray Tune; :mod:`sweepdiag.execution.base`.

    A Tune trial can report only itself, so a pack of several is refused. Of Tune it takes the
    scheduling of trials on processes, which are used again, and the second chance of a trial whose
    process dies. It takes no searcher and no scheduler, since the plan is made and the rules that
    end trials are asked where they train; no files of Tune's are read or left; and nothing is told
    that other executors would not tell.

    Ray starts with the executor, or is joined, as for ``RayExecutor``.

    Args:
        n_workers: Trials at the same time, each in a worker process.
        gpus: 0 for CPU workers with one core each; otherwise the same number as ``n_workers``.
            With ``SWEEPDIAG_FAKE_GPUS`` GPUs are counted, and the workers train on the CPU.
        address: Ray cluster to join; ``None`` and ``local`` start a private Ray.
        join_timeout_s: How long that cluster may take to answer, and then to have room for all
            workers; ``None``: 10 s to answer, and it must have room at once.
        start_timeout_s: How long a run goes on while not a single worker has started.

    Raises:
        ConfigError: If ``n_workers`` or ``gpus`` makes no sense.
    """

    def __init__(
        self,
        n_workers: int,
        *,
        gpus: int = 0,
        address: str | None = None,
        join_timeout_s: float | None = None,
        start_timeout_s: float = 180.0,
    ) -> None:
        if n_workers < 1:
            message = f"n_workers must be at least 1, got {n_workers}"
            raise ConfigError(message)
        if gpus not in {0, n_workers}:
            message = f"gpus must be 0 or n_workers ({n_workers}): one GPU per worker; got {gpus}"
            raise ConfigError(message)
        is_fake = gpus > 0 and n_fake_gpus() is not None
        self._n_workers = n_workers
        self._has_gpu = gpus > 0
        self._device = "cuda:0" if gpus and not is_fake else "cpu"
        self._start_timeout_s = start_timeout_s
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
        """Trials at the same time, at most."""
        return self._n_workers

    def run(self, packs: Sequence[Pack], worker: PackWorker) -> Iterator[list[Event]]:
        """Train the packs; see :mod:`sweepdiag.execution.base`.

        Args:
            packs: Of one trial each, in the order in which they should be begun.
            worker: Trains one pack. It travels to the workers pickled.

        Yields:
            What the trials report as it comes, and the ends of trials whose worker died.

        Raises:
            ConfigError: If a pack has several trials.
            LaunchError: If the executor is closed or already running, the worker cannot be sent to
                another process, or no worker gets anywhere.
        """
        if self._is_closed or self._is_running:
            state = "closed" if self._is_closed else "already running other packs"
            message = f"this executor is {state}; make a new one to run more packs"
            raise LaunchError(message)
        most = max((len(pack.trials) for pack in packs), default=0)
        if most > 1:
            message = f"a Tune trial reports one training, got a pack of {most}: use RayExecutor"
            raise ConfigError(message)
        if not packs:
            return
        self._is_running = True
        try:
            yield from TuneRun(
                TrialSource(
                    packs=tuple(packs),
                    pickled_worker=_send(worker),
                    device=self._device,
                    environment=dict(self._session.actor_environment),
                    search_path=tuple(sys.path),
                    directory=str(Path.cwd()),
                ),
                self._session,
                n_workers=self._n_workers,
                has_gpu=self._has_gpu,
                start_timeout_s=self._start_timeout_s,
            ).events()
        finally:
            self._is_running = False

    def close(self) -> None:
        """End Ray where it was started for this executor, and leave it where it was joined."""
        if not self._is_closed:
            self._is_closed = True
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


def _send(worker: PackWorker) -> Any:
    """Return the worker's reference in Ray's store.

    Raises:
        LaunchError: If it cannot be pickled.
    """
    import ray
    from ray import cloudpickle

    try:
        # Pickled here, since Ray answers what it cannot pickle with a page of guesses.
        pickled = cloudpickle.dumps(worker)  # type: ignore[no-untyped-call]
    except Exception as error:
        message = f"the worker cannot be pickled for other processes: {describe_error(error)}"
        raise LaunchError(message) from error
    return ray.put(pickled)
