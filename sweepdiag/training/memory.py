"""What trainings of an architecture take in memory, measured, and how many fit at a time."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sweepdiag.training.peak_memory import give_back, start_meter
from sweepdiag.training.programs import steps_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sweepdiag.training.members import Member, Timetable
    from sweepdiag.training.programs import Program

__all__ = ["MemoryNeed", "halve_until_it_fits", "is_out_of_memory", "measure_need", "most_need"]

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_INDEX_BYTES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryNeed:
    """Most memory that trainings of an architecture take, beside data and libraries.

    Attributes:
        shared_bytes: However many are trained together.
        member_bytes: For each of them: its model, gradients, optimizer, minibatch and activations,
            and its part of what the allocator keeps.
    """

    shared_bytes: float
    member_bytes: float

    @classmethod
    def from_peaks(cls, peaks: Mapping[int, float]) -> MemoryNeed:
        """Return the need that explains these peaks.

        Args:
            peaks: Most bytes taken, by number of members, for one number or two.
        """
        (few, few_bytes), (many, many_bytes) = min(peaks.items()), max(peaks.items())
        rise = (many_bytes - few_bytes) / (many - few) if many > few else 0.0
        shared = many_bytes - many * rise
        if rise <= 0 or shared < 0:  # one number only, or nothing but noise
            rise, shared = many_bytes / many, 0.0
        return cls(shared_bytes=shared, member_bytes=rise)

    def of(self, n_members: int) -> float:
        """Return what so many take together, in bytes."""
        return self.shared_bytes + n_members * self.member_bytes

    def fitting(self, n_members: int, room_bytes: float) -> int:
        """Return how many fit into the room: ``n_members`` or fewer, and 0 if not even one."""
        # An unknown need fits: what does not will say so.
        if not self.of(n_members) > room_bytes:
            return n_members
        n_fitting = (room_bytes - self.shared_bytes) // max(self.member_bytes, 1.0)
        return max(0, min(n_members, int(n_fitting)))


def measure_need(
    make: Callable[[Sequence[Member]], Program],
    members: Sequence[Member],
    *,
    timetable: Timetable,
    device: str,
) -> MemoryNeed:
    """Return what trainings take, from the peak of a real step and an evaluation.

    On a GPU of all members and of half of them, since libraries take work space there that
    members share.

    Args:
        make: Makes the program of some of the members. What it traces has been traced before, and
            libraries have run it, so that neither shows in what is measured.
        members: Who is trained; not changed where ``make`` copies what it trains.
        timetable: Shared by all members.
        device: Where to train.
    """
    n_members = len(members)
    numbers = {n_members, max(1, n_members // 2)} if device.startswith("cuda") else {n_members}
    peaks = {
        n: _peak_bytes(make, members[:n], timetable=timetable, device=device)
        for n in sorted(numbers, reverse=True)
    }
    return MemoryNeed.from_peaks(peaks)


def _peak_bytes(
    make: Callable[[Sequence[Member]], Program],
    members: Sequence[Member],
    *,
    timetable: Timetable,
    device: str,
) -> float:
    is_cuda = device.startswith("cuda")
    give_back(device)
    meter = start_meter(device)
    program = make(members)
    program.advance(0, 1).result()
    stepping_bytes = meter.grown_bytes()
    # Captured steps keep their memory, so evaluations take theirs on top of it.
    evaluating = start_meter(device) if is_cuda else meter
    program.evaluate().result()
    evaluating_bytes = evaluating.grown_bytes()
    if is_cuda:
        return _models_bytes(members) + stepping_bytes + evaluating_bytes
    unseen_bytes = _models_bytes(members) + _ahead_bytes(len(members), timetable)
    return unseen_bytes + max(stepping_bytes, evaluating_bytes)


def most_need(grown_bytes: float, member: Member, *, timetable: Timetable) -> MemoryNeed:
    """Return what a training alone needs at most, from how much the first run of one took.

    It took what libraries and programs do once as well, so that this is far too much. Where so
    much fits, nothing has to be measured.
    """
    unseen_bytes = _models_bytes([member]) + _ahead_bytes(1, timetable)
    return MemoryNeed.from_peaks({1: unseen_bytes + grown_bytes})


def _models_bytes(members: Sequence[Member]) -> int:
    models = (member.model for member in members)
    return sum(t.nbytes for model in models for t in (*model.parameters(), *model.buffers()))


def _ahead_bytes(n_members: int, timetable: Timetable) -> int:
    """Return what the numbers of the samples of all further steps take that are laid out at once.

    They are known exactly: of each seed, and put together for all members.
    """
    interval = max(after - before for before, after in itertools.pairwise(timetable.evaluations))
    n_steps = min(interval, steps_ahead(n_members, timetable.batch_size))
    return 2 * _INDEX_BYTES * (n_steps - 1) * n_members * timetable.batch_size


def halve_until_it_fits(attempt: Callable[[int], _T], n: int) -> _T:
    """Return what an attempt with ``n`` returns, or with the most it has memory for.

    Args:
        attempt: May run out of memory, which is raised if it does even with 1.
        n: The number to begin with.
    """
    while True:
        try:
            return attempt(n)
        except Exception as error:  # whatever the user's model raises
            if n == 1 or not is_out_of_memory(error):
                raise
            logger.info("no memory for %d trainings at a time: %s", n, error)
        n //= 2  # out of the handler, so that what the attempt held is free again


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that there was not enough memory."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # The CPU's allocator, and CUDA where something else than the allocator ran out of it.
    signs = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)
