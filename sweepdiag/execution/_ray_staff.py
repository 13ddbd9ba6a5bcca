"""Worker processes on Ray: starting them, their seats, and what became of those that are gone."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepdiag.execution._ray_address import answers
from sweepdiag.execution._ray_deaths import cause_of_death
from sweepdiag.execution._ray_worker import WorkerActor
from sweepdiag.execution.recovery import HandfulProgress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.execution._ray_session import RaySession
    from sweepdiag.execution.places import Place
    from sweepdiag.records import Deadlines, Pack

__all__ = ["Slot", "Staff"]

_BATCHES_AHEAD = 16
"""A worker pauses when so many of its batches have not been taken."""

_OUT_OF_REACH = "it cannot be reached any more: its node has gone, or the way there"


@dataclass(frozen=True, kw_only=True, slots=True)
class Staff:
    """Starts workers and tells how they died.

    Attributes:
        session: The Ray that they are started on.
        device: What they are told to train on.
        has_gpu: Whether each of them owns a GPU, instead of a CPU core.
        start_timeout_s: How long the run goes on while no worker at all is ready.
        deadlines: How long a worker may send nothing.
        gone_nodes: Ids of nodes that were found to be gone.
    """

    session: RaySession
    device: str
    has_gpu: bool
    start_timeout_s: float
    deadlines: Deadlines
    gone_nodes: set[str] = field(default_factory=set)

    def start(self) -> Any:
        """Return a new actor; Ray starts its process in the background."""
        import ray

        options: dict[str, Any] = {
            "num_cpus": 0 if self.has_gpu else 1,
            "num_gpus": 1 if self.has_gpu else 0,
            "max_restarts": 0,
            "max_task_retries": 0,
            # Over all nodes, so that the loss of one costs little.
            "scheduling_strategy": "SPREAD",
        }
        if self.session.actor_environment:
            options["runtime_env"] = {"env_vars": dict(self.session.actor_environment)}
        return ray.remote(WorkerActor).options(**options).remote(self.device)

    def has_room(self) -> bool:
        """Return whether any node has what a worker needs, in use or not."""
        import ray

        # Ray leaves this function without annotations.
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        return resources.get(self.resource, 0.0) >= 1.0

    @property
    def resource(self) -> str:
        """What a worker needs one of."""
        return "GPU" if self.has_gpu else "CPU"

    def is_node_gone(self, place: Place | None, error: Exception) -> bool:
        """Return whether a worker was lost with its node, and not by its own doing.

        Ray takes some 15 s to declare a node dead, and until then calls its actors unavailable,
        which it also does with some that have died alone. So the node itself is asked.

        Args:
            place: Where the worker was; ``None`` for one that had not told.
            error: What Ray raised in its place.
        """
        import ray
        from ray.exceptions import ActorDiedError

        if place is not None and place.node in self.gone_nodes:
            return True
        if place is None or isinstance(error, ActorDiedError):
            is_gone = "its node has died" in str(error)
        else:
            # Ray leaves this function without annotations.
            listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
            nodes = {node["NodeID"]: node for node in listed}
            node = nodes.get(place.node)
            is_gone = (
                node is None
                or not node["Alive"]
                or not answers(node["NodeManagerAddress"], node["NodeManagerPort"])
            )
        if is_gone and place is not None:
            self.gone_nodes.add(place.node)
        return is_gone

    def cause_of_death(self, error: Exception) -> str:
        """Return how a worker process ended, as far as Ray and its last output tell."""
        from ray.exceptions import ActorUnavailableError

        if isinstance(error, ActorUnavailableError):
            return _OUT_OF_REACH
        return cause_of_death(str(error), self.session)


@dataclass(slots=True)
class Slot:
    """The seat of one worker process at a time.

    Vacant without an actor, starting while it loads, idle with nothing to wait on, busy with some
    packs in progress.
    """

    index: int
    actor: Any = None
    loading: Any = None
    batches: Any = None
    progress: HandfulProgress | None = None
    loaded: Any = None
    place: Place | None = None
    active_at: float = 0.0
    n_points: int = 0

    @property
    def pending(self) -> Any:
        """What the slot waits on, if anything."""
        return self.loading if self.batches is None else self.batches

    def load(self, worker_reference: Any) -> None:
        """Have the process fetch the worker that the next packs are for."""
        self.loading = self.actor.load.remote(worker_reference, sys.path, str(Path.cwd()))
        self.active_at = time.monotonic()

    def train(self, packs: Sequence[Pack]) -> None:
        """Begin some packs, which take turns."""
        self.progress = HandfulProgress(packs)
        self.n_points = 0
        self.batches = self.actor.train.options(
            num_returns="streaming", _generator_backpressure_num_objects=_BATCHES_AHEAD
        ).remote(packs)
        self.active_at = time.monotonic()

    def vacate(self) -> None:
        """End the worker process, if there is one."""
        import ray

        if self.actor is not None and ray.is_initialized():
            ray.kill(self.actor, no_restart=True)
        self.actor = self.loading = self.batches = self.progress = self.loaded = None
        self.place = None
