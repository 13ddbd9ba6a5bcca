"""One sequence of packs on its way through Ray workers."""

from __future__ import annotations

import logging
import re
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import LaunchError
from sweepdiag.execution._ray_worker import WorkerActor
from sweepdiag.execution.recovery import HandfulProgress, PackQueue, SlotHealth
from sweepdiag.messages import clean_message
from sweepdiag.records import PointMeasured, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sweepdiag.execution._ray_session import RaySession
    from sweepdiag.execution.stop_requests import StopRequests
    from sweepdiag.records import Deadlines, Event, Pack

__all__ = ["PackRun", "Slot", "Staff"]

_log = logging.getLogger(__name__)

_BATCHES_AHEAD = 16
"""A worker pauses when so many of its batches have not been taken."""

_POLL_S = 0.25
"""How often deadlines, and requests to stop, are looked at while nothing happens."""

_NO_RESULT = "the worker returned without ending this trial"


@dataclass(frozen=True, kw_only=True, slots=True)
class Staff:
    """Starts workers and tells how they died.

    Attributes:
        session: The Ray that they are started on.
        device: What they are told to train on.
        has_gpu: Whether each of them owns a GPU, instead of a CPU core.
        start_timeout_s: How long the run goes on while no worker at all is ready.
        deadlines: How long a worker may send nothing.
    """

    session: RaySession
    device: str
    has_gpu: bool
    start_timeout_s: float
    deadlines: Deadlines

    def start(self) -> Any:
        """Return a new actor; Ray starts its process in the background."""
        import ray

        options: dict[str, Any] = {
            "num_cpus": 0 if self.has_gpu else 1,
            "num_gpus": 1 if self.has_gpu else 0,
            "max_restarts": 0,
            "max_task_retries": 0,
        }
        if self.session.actor_environment:
            options["runtime_env"] = {"env_vars": dict(self.session.actor_environment)}
        return ray.remote(WorkerActor).options(**options).remote(self.device)

    def cause_of_death(self, error: Exception) -> str:
        """Return how a worker process ended, as far as Ray and its last output tell."""
        text = str(error)
        told = re.search(
            r"Worker exit detail: (.+?)(?: Some common causes| There are some|$)", text
        )
        cause = clean_message(told.group(1) if told else text, max_bytes=500)
        if "connection error code 2" in cause:
            cause = "it was killed (perhaps for memory) or crashed"
        pid = re.search(r"\bpid: (\d+)", text)
        last_words = self.session.last_words(int(pid.group(1))) if pid else ""
        return f"{cause}\nIts last output:\n{last_words}" if last_words else cause


@dataclass(slots=True)
class Slot:
    """The place of one worker process at a time.

    Vacant without an actor, starting while it loads, idle with nothing to wait on, busy with some
    packs in progress.
    """

    index: int
    actor: Any = None
    loading: Any = None
    batches: Any = None
    progress: HandfulProgress | None = None
    loaded: Any = None
    active_at: float = 0.0
    n_points: int = 0

    @property
    def pending(self) -> Any:
        """What the slot waits on, if anything."""
        return self.loading if self.batches is None else self.batches

    def load(self, worker_reference: Any) -> None:
        """Have the process fetch the worker that the next packs are for."""
        self.loading = self.actor.load.remote(worker_reference, sys.path)
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


class PackRun:
    """Hands packs to slots, takes what they send, and replaces workers that die.

    Args:
        slots: Places for workers, some with one that an earlier run has left there.
        packs: What to train.
        worker_reference: The pickled pack worker in Ray's store.
        staff: Starts workers.
        stops: Holds requests to stop back while Ray's own code runs.
        packs_per_worker: Packs that take turns in one of them, at most.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        packs: Sequence[Pack],
        worker_reference: Any,
        staff: Staff,
        stops: StopRequests,
        *,
        packs_per_worker: int = 1,
    ) -> None:
        self._slots = list(slots)
        self._queue = PackQueue(packs)
        self._health = SlotHealth()
        self._worker_reference = worker_reference
        self._staff = staff
        self._stops = stops
        self._packs_per_worker = packs_per_worker
        self._ready_at = time.monotonic()

    def events(self) -> Iterator[list[Event]]:
        """Yield batches until every trial has ended."""
        while self._queue or any(slot.progress for slot in self._slots):
            with self._stops.held():
                self._hand_out()
            for batch in self._collect():
                handed_at = time.monotonic()
                yield batch
                self._forgive(time.monotonic() - handed_at)

    def _hand_out(self) -> None:
        """Give idle slots packs, and start workers while packs are left over for them."""
        n_starting = sum(slot.loading is not None for slot in self._slots)
        for slot in self._slots:
            if slot.pending is not None:
                continue
            if slot.actor is not None and slot.loaded is self._worker_reference:
                if self._queue:
                    share = -(-len(self._queue) // len(self._slots))
                    slot.train(self._queue.take(min(share, self._packs_per_worker)))
            elif n_starting < len(self._queue):
                slot.actor = slot.actor or self._staff.start()
                slot.load(self._worker_reference)
                n_starting += 1

    def _collect(self) -> Iterator[list[Event]]:
        """Wait until a slot has something, and yield what all of them have."""
        with self._stops.held():
            ready = self._wait()
        for slot in self._slots.copy():
            is_ready = id(slot.pending) in ready
            with self._stops.held():
                events = self._take(slot) if is_ready else self._check_silence(slot)
            if events:
                yield events
        self._check_start()

    def _wait(self) -> set[int]:
        """Return the identities of what slots wait on and can be had now."""
        import ray

        pending = [slot.pending for slot in self._slots if slot.pending is not None]
        if not ray.wait(pending, num_returns=1, timeout=_POLL_S)[0]:
            return set()
        # The first call stops at the first one in the list; all that are ready get their turn.
        return {id(item) for item in ray.wait(pending, num_returns=len(pending), timeout=0)[0]}

    def _forgive(self, seconds: float) -> None:
        """Leave the time that the caller took for a batch out of every worker's silence."""
        self._ready_at += seconds
        for slot in self._slots:
            slot.active_at += seconds

    def _take(self, slot: Slot) -> list[Event]:
        """Return what a slot has, or what has to be said in its place."""
        import ray
        from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

        slot.active_at = time.monotonic()
        try:
            if slot.progress is None:
                ray.get(slot.loading)
                slot.loaded, slot.loading = self._worker_reference, None
                self._health.started(slot.index)
                return []
            return self._record(slot, slot.progress, ray.get(next(slot.batches)))
        except StopIteration:
            return self._end(slot, _NO_RESULT)
        except RayTaskError as error:
            return self._raised(slot, error)
        except RayError as error:
            is_memory = isinstance(error, OutOfMemoryError)
            return self._died(slot, self._staff.cause_of_death(error), is_memory=is_memory)

    def _record(self, slot: Slot, progress: HandfulProgress, events: list[Event]) -> list[Event]:
        """Take note of a batch, and of a worker that has shown to work."""
        progress.record(events)
        slot.n_points += sum(isinstance(event, PointMeasured) for event in events)
        if progress.has_results:
            self._health.finished_trial(slot.index)
        return events

    def _end(self, slot: Slot, reason: str) -> list[Event]:
        """Free a slot; return the ends of the trials that its worker did not end."""
        progress, slot.batches, slot.progress = slot.progress, None, None
        return [] if progress is None else progress.end_unfinished(State.FAILED, reason)

    def _raised(self, slot: Slot, error: Exception) -> list[Event]:
        """Return the events for an exception that reached the end of the worker's code.

        Raises:
            LaunchError: If that was while the worker was unpickled.
        """
        # The process has put what was raised there into words; see WorkerActor.
        reason = str(getattr(error, "cause", None) or error)
        if slot.progress is None:
            message = f"the worker cannot be loaded in a process of its own: {reason}"
            raise LaunchError(message) from error
        return self._end(slot, reason)

    def _died(self, slot: Slot, cause: str, *, is_memory: bool) -> list[Event]:
        """Return the events for a worker process that is gone."""
        progress = slot.progress
        slot.vacate()
        _log.warning("a worker process died: %s", cause.partition("\n")[0])
        if progress is not None:
            self._health.died_training(slot.index, cause)
            return self._queue.worker_died(progress, cause, is_memory=is_memory)
        if not self._health.died_starting(slot.index, cause):
            self._retire(slot, self._health.why_none_starts(slot.index))
        return []

    def _check_silence(self, slot: Slot) -> list[Event]:
        """Give up a worker that has a pack in hand and has been silent for too long."""
        progress, deadlines = slot.progress, self._staff.deadlines
        limit_s = deadlines.after(slot.n_points)
        if progress is None or limit_s is None or time.monotonic() - slot.active_at <= limit_s:
            return []
        slot.vacate()
        return self._queue.worker_hung(progress, deadlines.missed(slot.n_points))

    def _check_start(self) -> None:
        """Give up if no worker is ready for too long.

        A worker that waits for room, on a Ray that others use as well, holds nobody up as long as
        another one trains: it may still get its turn.

        Raises:
            LaunchError: If all of them have waited for too long.
        """
        limit_s = self._staff.start_timeout_s
        if any(slot.actor is not None and slot.loading is None for slot in self._slots):
            self._ready_at = time.monotonic()
        elif time.monotonic() - self._ready_at > limit_s:
            message = f"no worker can be started: none was ready within {limit_s:g} s"
            raise LaunchError(message)

    def _retire(self, slot: Slot, cause: str) -> None:
        """Go on without a slot on which no worker starts.

        Raises:
            LaunchError: If it was the last one.
        """
        self._slots.remove(slot)
        if not self._slots:
            message = f"no worker can be started: {cause}"
            raise LaunchError(message)
        _log.warning("going on with %d workers: %s", len(self._slots), cause)
