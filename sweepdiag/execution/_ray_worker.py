"""What runs inside a Ray worker process."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from sweepdiag.errors import LaunchError, TrainingError
from sweepdiag.execution.places import Place
from sweepdiag.execution.turns import train_in_turns
from sweepdiag.messages import describe_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sweepdiag.execution.base import PackWorker
    from sweepdiag.records import Event, Pack

__all__ = ["WorkerActor"]


class WorkerActor:
    """One long-lived process that trains one handful of packs at a time.

    Whatever is raised here leaves as an error of sweepdiag's with the cleaned message: many
    exceptions of other libraries can be pickled but not unpickled.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._worker: PackWorker | None = None

    def load(self, pickled_worker: bytes, search_path: Sequence[str], directory: str) -> Place:
        """Unpickle the worker that the next packs are for, and tell where this process is.

        Args:
            pickled_worker: Pickled by the caller, who is trusted: it started this process.
            search_path: The caller's ``sys.path``; what it can import must be importable here.
            directory: Where the caller runs, which names of files are relative to.

        Raises:
            LaunchError: If it cannot be unpickled here.
        """
        from ray import cloudpickle

        # The workers of a cluster that is joined are elsewhere; not all nodes need have the place.
        with contextlib.suppress(OSError):
            os.chdir(directory)
        sys.path.extend(path for path in search_path if path not in sys.path)
        try:
            self._worker = cloudpickle.loads(pickled_worker)
        except Exception as error:
            raise LaunchError(describe_error(error)) from error
        return _own_place()

    def train(self, packs: Sequence[Pack]) -> Iterator[list[Event]]:
        """Yield the worker's batches of events for packs that take turns.

        What a worker raises ends the trials of its pack, here.

        Raises:
            TrainingError: If no worker has been loaded.
        """
        if self._worker is None:
            message = "a process trains before it has loaded its worker"
            raise TrainingError(message)
        yield from train_in_turns(packs, self._worker, device=self._device, n_at_once=len(packs))


def _own_place() -> Place:
    import ray

    gpus = ",".join(str(index) for index in ray.get_gpu_ids())
    node = ray.get_runtime_context().get_node_id()
    host: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return Place(node=node, host=host, gpu=gpus)
