"""One sequence of packs on its way through Ray workers."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import LaunchError, WorkersLostError
from sweepdiag.execution.places import PlaceHealth
from sweepdiag.execution.recovery import HandfulProgress, PackQueue, SlotHealth
from sweepdiag.records import PointMeasured, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sweepdiag.execution._ray_staff import Slot, Staff
    from sweepdiag.execution.places import Place
    from sweepdiag.execution.stop_requests import StopRequests
    from sweepdiag.records import Event, Pack

__all__ = ["PackRun"]

_log = logging.getLogger(__name__)

_POLL_S = 0.25
"""How often deadlines, and requests to stop, are looked at while nothing happens."""

_FETCH_S = 60.0
"""How long a batch that is there may take to arrive; it may be on a node that has just gone."""

_STARTS_WITHIN_S = 20.0
"""How long a worker may take to start before another one may start for the same pack."""

_NO_ROOM_S = 30.0
"""How long nodes that have all gone may take to be replaced."""

_NO_RESULT = "the worker returned without ending this trial"


class PackRun:
    """Hands packs to slots, takes what they send, and replaces workers that die.

    Args:
        slots: Seats for workers, some with one that an earlier run has left there.
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
        self._places = PlaceHealth()
        self._worker_reference = worker_reference
        self._staff = staff
        self._stops = stops
        self._packs_per_worker = packs_per_worker
        self._ready_at = time.monotonic()
        self._was_ready = False

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
        self._fill_slots(self._in_doubt(), is_choosy=True)
        if self._queue and all(slot.pending is None for slot in self._slots):
            # Each waits for another place than those that there are.
            self._fill_slots(set(), is_choosy=False)

    def _fill_slots(self, in_doubt: set[str], *, is_choosy: bool) -> None:
        n_starting = sum(map(_is_starting, self._slots))
        n_usable = max(sum(not self._is_aside(slot) for slot in self._slots), 1)
        for slot in self._slots:
            if slot.pending is not None or self._is_aside(slot) or _is_at(slot, in_doubt):
                continue
            if slot.actor is not None and slot.loaded is self._worker_reference:
                share = -(-len(self._queue) // n_usable)
                at = self._place_of_many(slot) if is_choosy else None
                n_packs = min(share, self._packs_per_worker)
                packs = self._queue.take(n_packs, at=at, in_doubt=in_doubt)
                if packs:
                    slot.train(packs)
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
        with self._stops.held():
            self._check_workers()

    def _wait(self) -> set[int]:
        """Return the identities of what slots wait on and can be had now."""
        import ray

        pending = [slot.pending for slot in self._slots if slot.pending is not None]
        if not pending:
            time.sleep(_POLL_S)
            return set()
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
        from ray.exceptions import RayError, RayTaskError

        slot.active_at = time.monotonic()
        try:
            if slot.progress is None:
                slot.place = ray.get(slot.loading)
                slot.loaded, slot.loading = self._worker_reference, None
                self._health.started(slot.index)
                return []
            batch = ray.get(next(slot.batches), timeout=_FETCH_S)
            return self._record(slot, slot.progress, batch)
        except StopIteration:
            return self._end(slot, _NO_RESULT)
        except RayTaskError as error:
            return self._raised(slot, error)
        except RayError as error:
            return self._died(slot, error)

    def _record(self, slot: Slot, progress: HandfulProgress, events: list[Event]) -> list[Event]:
        """Take note of a batch, and of what it says about workers, this one and others."""
        progress.record(events)
        slot.n_points += sum(isinstance(event, PointMeasured) for event in events)
        if progress.has_results:
            self._health.finished_trial(slot.index)
        if slot.place is not None:
            for name in self._places.record(slot.place, events):
                _log.warning(
                    "%s gets no more work: workers died there with packs that others train", name
                )
        return events

    def _end(self, slot: Slot, reason: str) -> list[Event]:
        """Free a slot; return the ends of the trials that its worker did not end."""
        progress, slot.batches, slot.progress = slot.progress, None, None
        if slot.place is not None:
            self._places.trained(slot.place)
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

    def _died(self, slot: Slot, error: Exception) -> list[Event]:
        """Return the events for a worker process that is gone."""
        from ray.exceptions import OutOfMemoryError

        progress, place = slot.progress, slot.place
        cause = self._staff.cause_of_death(error)
        slot.vacate()
        if self._is_lost(place, error):
            if progress is None:
                return []
            return self._given_up(self._queue.worker_lost(progress, cause, at=_names(place)))
        _log.warning("a worker process died: %s", cause.partition("\n")[0])
        if progress is not None:
            others_train = any(
                other.n_points and other.progress and not self._health.has_died(other.index)
                for other in self._slots
            )
            self._health.died_training(slot.index, cause, others_train=others_train)
            is_memory = isinstance(error, OutOfMemoryError)
            self._suspect(place, progress)
            return self._given_up(
                self._queue.worker_died(progress, cause, is_memory=is_memory, at=_names(place))
            )
        if not self._health.died_starting(slot.index, cause):
            self._retire(slot, self._health.why_none_starts(slot.index))
        return []

    def _is_lost(self, place: Place | None, error: Exception) -> bool:
        """Return whether a worker has gone with its node, and tell of a node once."""
        is_known = place is None or place.node in self._staff.gone_nodes
        is_gone = self._staff.is_node_gone(place, error)
        if is_gone and place is not None and not is_known:
            _log.warning("%s has gone: what it trained begins again elsewhere", place.node_name)
        return is_gone

    def _check_silence(self, slot: Slot) -> list[Event]:
        """Give up a worker that has a pack in hand and has been silent for too long."""
        progress, place, deadlines = slot.progress, slot.place, self._staff.deadlines
        limit_s = deadlines.after(slot.n_points)
        if progress is None or limit_s is None or time.monotonic() - slot.active_at <= limit_s:
            return []
        slot.vacate()
        self._suspect(place, progress)
        reason = deadlines.missed(slot.n_points)
        return self._given_up(self._queue.worker_hung(progress, reason, at=_names(place)))

    def _suspect(self, place: Place | None, progress: HandfulProgress) -> None:
        """Take note that either a place is bad, or what was trained there."""
        if place is not None:
            packs = (of_pack.unfinished() for of_pack in progress.unfinished())
            self._places.died(place, (trial.trial_id for pack in packs for trial in pack.trials))

    def _given_up(self, events: list[Event]) -> list[Event]:
        self._places.given_up(events)
        return events

    def _is_aside(self, slot: Slot) -> bool:
        return slot.place is not None and self._places.is_aside(slot.place)

    def _in_doubt(self) -> set[str]:
        """Return the devices to be given no work until it is known whether they or packs are bad.

        None if there is no other that could find out.
        """
        in_doubt = self._places.in_doubt()
        can_find_out = any(
            _is_starting(slot)
            or (slot.place and not self._is_aside(slot) and not _is_at(slot, in_doubt))
            for slot in self._slots
        )
        return in_doubt if can_find_out else set()

    def _place_of_many(self, slot: Slot) -> str | None:
        """Return which node a slot is on, or which device if there are no workers on other nodes.

        One that is about to be ready may be on another node. ``None`` if there is no other device.
        """
        ready = [s.place for s in self._slots if s.place is not None and not self._is_aside(s)]
        if slot.place is None:
            return None
        if len({place.node_name for place in ready}) > 1 or any(map(_is_starting, self._slots)):
            return slot.place.node_name
        is_alone = len({place.device_name for place in ready}) == 1
        return None if is_alone else slot.place.device_name

    def _check_workers(self) -> None:
        """Give up if no worker is left, or none gets ready for too long.

        A worker that waits for room, on a Ray that others use as well, holds nobody up as long as
        another one trains: it may still get its turn.

        Raises:
            WorkersLostError: If there have been workers, and they are gone or aside; if none was
                ever ready, another LaunchError.
        """
        limit_s = self._staff.start_timeout_s
        if any(slot.loaded is not None and not self._is_aside(slot) for slot in self._slots):
            self._ready_at, self._was_ready = time.monotonic(), True
            return
        waited_s = time.monotonic() - self._ready_at
        if all(self._is_aside(slot) for slot in self._slots):
            message = "no worker is left: all of them sit on devices that get no more work"
            raise WorkersLostError(message)
        if self._was_ready and waited_s > _NO_ROOM_S and not self._staff.has_room():
            message = (
                f"no worker is left: the nodes with a {self._staff.resource} have gone, and no "
                f"other one came within {_NO_ROOM_S:g} s"
            )
            raise WorkersLostError(message)
        if waited_s > limit_s:
            message = f"no worker can be started: none was ready within {limit_s:g} s"
            kind = WorkersLostError if self._was_ready else LaunchError
            raise kind(message)

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


def _is_starting(slot: Slot) -> bool:
    """Return whether a worker will be ready soon; one that waits for long has no room."""
    return slot.loading is not None and time.monotonic() - slot.active_at < _STARTS_WITHIN_S


def _is_at(slot: Slot, devices: set[str]) -> bool:
    return slot.place is not None and slot.place.device_name in devices


def _names(place: Place | None) -> tuple[str, ...]:
    return () if place is None else (place.device_name, place.node_name)
