"""Which packs are still to be trained, and what becomes of those whose worker failed.

No process is started here: the rules are plain functions of what happened, so that they can be
tested without any.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from typing import TYPE_CHECKING

from sweepdiag.errors import LaunchError
from sweepdiag.messages import clean_message
from sweepdiag.records import Event, Pack, State, TrialEnded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["MAX_DEATHS_IN_A_ROW", "HandfulProgress", "PackProgress", "PackQueue", "SlotHealth"]

MAX_DEATHS_IN_A_ROW = 5
"""After so many dead workers in a row, the fault is not sought in the next one."""

_MAX_LONE_DEATHS = 2


class PackProgress:
    """A pack under training and which of its trials have ended."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self._ended: set[str] = set()
        self._attempts = {
            trial.trial_id: attempt
            for trial, attempt in zip(pack.trials, pack.attempts, strict=True)
        }

    def record(self, events: Iterable[Event]) -> None:
        """Take note of the trials that these events end, and of attempts that workers begin."""
        for event in events:
            self._attempts[event.trial_id] = max(self._attempts[event.trial_id], event.attempt)
            if isinstance(event, TrialEnded):
                self._ended.add(event.trial_id)

    @property
    def has_results(self) -> bool:
        """Whether any trial of the pack has ended."""
        return bool(self._ended)

    def unfinished(self) -> Pack:
        """Return the part of the pack that has not ended; possibly without trials."""
        pack = Pack(
            trials=self.pack.trials,
            attempts=tuple(self._attempts[trial.trial_id] for trial in self.pack.trials),
        )
        return _select(
            pack,
            [
                index
                for index, trial in enumerate(self.pack.trials)
                if trial.trial_id not in self._ended
            ],
        )

    def end_unfinished(self, state: State, reason: str) -> list[Event]:
        """Return the events that end every trial that has not ended yet.

        Args:
            state: What they end as.
            reason: Why; cleaned and shortened here.

        Returns:
            One event per unfinished trial, in the pack's order.
        """
        rest = self.unfinished()
        events = _ended(rest, state, reason)
        self.record(events)
        return events


class HandfulProgress:
    """Packs that take turns in one worker, and which of their trials have ended.

    Attributes:
        of_packs: The progress of each.
    """

    def __init__(self, packs: Sequence[Pack]) -> None:
        self.of_packs = [PackProgress(pack) for pack in packs]
        self._of_trial = {
            trial.trial_id: progress
            for progress in self.of_packs
            for trial in progress.pack.trials
        }

    def record(self, events: Iterable[Event]) -> None:
        """Take note of what has happened to trials; see :meth:`PackProgress.record`."""
        for event in events:
            self._of_trial[event.trial_id].record([event])

    @property
    def has_results(self) -> bool:
        """Whether any trial has ended."""
        return any(progress.has_results for progress in self.of_packs)

    def unfinished(self) -> list[PackProgress]:
        """Return those of the packs that have trials which have not ended."""
        return [progress for progress in self.of_packs if progress.unfinished().trials]

    def end_unfinished(self, state: State, reason: str) -> list[Event]:
        """Return the events that end every trial that has not ended yet."""
        ends = (progress.end_unfinished(state, reason) for progress in self.of_packs)
        return list(itertools.chain.from_iterable(ends))


class PackQueue:
    """Packs waiting for a worker, and those under suspicion of killing theirs."""

    def __init__(self, packs: Iterable[Pack]) -> None:
        self._waiting = deque(packs)
        self._suspects: deque[_Suspect] = deque()
        self._lone_failures: dict[str, int] = {}
        self._lost: set[str] = set()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._suspects)

    def take(
        self, n_packs: int = 1, *, at: str | None = None, in_doubt: Collection[str] = ()
    ) -> list[Pack]:
        """Return the packs that are next, and remove them.

        Packs that never harmed anyone are trained first. A suspect is trained alone, so that it
        takes no other pack with it, and its guilt is its own. So that it is not the place's, a
        trial's last chance is elsewhere. Where that place is in doubt, its suspects come before
        all others: if they train well, the place is known to be bad.

        Args:
            n_packs: How many, at most.
            at: The place where they are to be trained; ``None``: there is no other.
            in_doubt: Places that may be at fault for the deaths of workers.

        Returns:
            The packs; none if there is none for this place.
        """
        # Those from elsewhere first.
        suspects = sorted(self._suspects, key=lambda suspect: at in suspect.was_at)
        for suspect in suspects:
            is_urgent = not set(in_doubt).isdisjoint(suspect.was_at)
            if is_urgent and at not in suspect.was_at:
                return self._take_suspect(suspect)
        if self._waiting:
            return [self._waiting.popleft() for _ in range(min(n_packs, len(self._waiting)))]
        for suspect in suspects:
            is_elsewhere = at is None or at not in suspect.was_at
            if is_elsewhere or not self._is_last_chance(suspect.pack):
                return self._take_suspect(suspect)
        return []

    def _take_suspect(self, suspect: _Suspect) -> list[Pack]:
        self._suspects.remove(suspect)
        return [suspect.pack]

    def _is_last_chance(self, pack: Pack) -> bool:
        return len(pack.trials) == 1 and pack.trials[0].trial_id in self._lone_failures

    def worker_died(
        self,
        progress: HandfulProgress,
        cause: str,
        *,
        is_memory: bool = False,
        at: Sequence[str] = (),
    ) -> list[Event]:
        """Queue what a dead worker left unfinished, or give its only trial up.

        A pack that was alone is halved. They all go to the end of the queue, where a trial's last
        chance is likely to be on another worker.

        Args:
            progress: The dead worker's packs.
            cause: How it died, for the reason of a trial that is given up.
            is_memory: Whether it is known to have been ended for its memory.
            at: Names of the worker's place, such as its device and its node.

        Returns:
            The event that ends the trial that is given up, if one is.
        """
        state = State.OUT_OF_MEMORY if is_memory else State.FAILED
        reason = f"worker process died twice: {cause}"
        return self._search(progress.unfinished(), state, reason, _MAX_LONE_DEATHS, at)

    def worker_lost(
        self, progress: HandfulProgress, cause: str, *, at: Sequence[str] = ()
    ) -> list[Event]:
        """Queue what was under way on a node that has gone, which is not the packs' fault.

        They begin again at once and in one piece. Those that lose a second node are suspects.

        Args:
            progress: The packs of the worker that went with its node.
            cause: What became of it, for the reason of a trial that is given up.
            at: Names of the worker's place, such as its device and its node.

        Returns:
            The event that ends the trial that is given up, if one is.
        """
        unfinished = [of_pack.unfinished() for of_pack in progress.unfinished()]
        trial_ids = {trial.trial_id for pack in unfinished for trial in pack.trials}
        if trial_ids & self._lost:
            return self.worker_died(progress, cause, at=at)
        self._lost |= trial_ids
        self._waiting.extendleft(_next_attempt(pack) for pack in reversed(unfinished))
        return []

    def worker_hung(
        self, progress: HandfulProgress, reason: str, *, at: Sequence[str] = ()
    ) -> list[Event]:
        """Queue what a silent worker left unfinished, or give its only trial up.

        As for a worker that died, but for a second chance: it would cost the deadline again.

        Args:
            progress: The packs of the worker, which has been ended.
            reason: Why; of a trial that is given up.
            at: Names of the worker's place, such as its device and its node.

        Returns:
            The event that ends the trial that is given up, if one is.
        """
        return self._search(progress.unfinished(), State.TIMED_OUT, reason, 1, at)

    def _search(
        self,
        unfinished: Sequence[PackProgress],
        state: State,
        reason: str,
        n_chances: int,
        at: Sequence[str],
    ) -> list[Event]:
        """Put packs under suspicion, or end the only trial that is left to be suspected."""
        if len(unfinished) != 1:
            packs = [_next_attempt(of_pack.unfinished()) for of_pack in unfinished]
            self._suspects.extend(_Suspect(pack, at) for pack in packs)
            return []
        (progress,) = unfinished
        rest = progress.unfinished()
        if len(rest.trials) == 1:
            trial_id = rest.trials[0].trial_id
            failures = self._lone_failures.get(trial_id, 0) + 1
            self._lone_failures[trial_id] = failures
            if failures >= n_chances:
                return progress.end_unfinished(state, reason)
        self._suspects.extend(_Suspect(half, at) for half in _halves(_next_attempt(rest)))
        return []


@dataclasses.dataclass(slots=True, eq=False)
class _Suspect:
    """A pack whose worker died, and where that was."""

    pack: Pack
    was_at: Sequence[str]


class SlotHealth:
    """How often the workers of each slot died without getting anywhere.

    A slot is the place of one worker at a time. A pack that kills its worker is no fault of the
    slot once any worker has brought a trial to its end; a worker that cannot even start always is.
    """

    def __init__(self, limit: int = MAX_DEATHS_IN_A_ROW) -> None:
        self._limit = limit
        self._starting = _DeathsInARow()
        self._training = _DeathsInARow()
        self._has_result = False

    def started(self, slot: int) -> None:
        """Take note that a slot's worker is ready."""
        self._starting.forget(slot)

    def finished_trial(self, slot: int) -> None:
        """Take note that a slot's worker ended a trial."""
        self._has_result = True
        self._training.forget(slot)

    def has_died(self, slot: int) -> bool:
        """Return whether the last worker of a slot that had a pack in hand died."""
        return self._training.has(slot)

    def died_training(self, slot: int, cause: str, *, others_train: bool = False) -> None:
        """Take note that a slot's worker died with a pack in hand.

        Args:
            slot: Number of the slot.
            cause: How it died.
            others_train: Whether workers of other slots get somewhere.

        Raises:
            LaunchError: If workers of this slot keep dying, and no trial has ever ended nor is
                any on its way.
        """
        deaths = self._training.add(slot, cause)
        if deaths >= self._limit and not self._has_result and not others_train:
            message = (
                f"{deaths} workers in a row died before any trial ended; "
                f"the first: {self._training.first_cause(slot)}"
            )
            raise LaunchError(message)

    def died_starting(self, slot: int, cause: str) -> bool:
        """Take note that a slot's worker died before it was ready.

        Args:
            slot: Number of the slot.
            cause: How it died.

        Returns:
            Whether another start is worth trying.
        """
        return self._starting.add(slot, cause) < self._limit

    def why_none_starts(self, slot: int) -> str:
        """Return how the first of the workers died that died in a row while they started."""
        return self._starting.first_cause(slot)


class _DeathsInARow:
    """Deaths per slot since something went well there, and the cause of the first of them."""

    def __init__(self) -> None:
        self._deaths: dict[int, tuple[int, str]] = {}

    def add(self, slot: int, cause: str) -> int:
        n_before, first_cause = self._deaths.get(slot, (0, clean_message(cause)))
        self._deaths[slot] = (n_before + 1, first_cause)
        return n_before + 1

    def has(self, slot: int) -> bool:
        return slot in self._deaths

    def forget(self, slot: int) -> None:
        self._deaths.pop(slot, None)

    def first_cause(self, slot: int) -> str:
        return self._deaths[slot][1]


def _select(pack: Pack, indices: Iterable[int]) -> Pack:
    chosen = list(indices)
    return Pack(
        trials=tuple(pack.trials[index] for index in chosen),
        attempts=tuple(pack.attempts[index] for index in chosen),
    )


def _next_attempt(pack: Pack) -> Pack:
    return dataclasses.replace(pack, attempts=tuple(number + 1 for number in pack.attempts))


def _halves(pack: Pack) -> list[Pack]:
    n_trials = len(pack.trials)
    middle = (n_trials + 1) // 2
    parts = [_select(pack, range(middle)), _select(pack, range(middle, n_trials))]
    return [part for part in parts if part.trials]


def _ended(pack: Pack, state: State, reason: str) -> list[Event]:
    text = clean_message(reason)
    return [
        TrialEnded(trial_id=trial.trial_id, attempt=attempt, state=state, reason=text)
        for trial, attempt in zip(pack.trials, pack.attempts, strict=True)
    ]
