"""What every executor promises, and what it asks of the code that it runs.

Contract of an executor

* **What is delivered.** :meth:`Executor.run` yields batches of events. The events of one attempt
  at a trial arrive in the order in which the worker sent them, each exactly once; batches of
  packs that train at the same time are interleaved in any order. When ``run`` ends by itself,
  every trial of every pack has got exactly one :class:`~sweepdiag.records.TrialEnded`.
* **Order.** Packs are handed to free workers in the order given; which comes first is the caller's
  business (the longest first keeps all workers busy until the end).
* **A worker that raises.** Its pack's unfinished trials end as ``FAILED`` with the message of the
  exception; other packs are untouched. A worker that returns without ending a trial counts as
  having failed that trial.
* **Several packs per worker.** A worker may have several packs under way, which take turns in its
  thread. What one of them raises ends the trials of that pack only.
* **A worker whose process dies** (killed, out of memory, a crash in native code). What it had
  delivered stays delivered. Several packs that it had under way are trained again one by one. The
  trials of a pack that it had to itself and that had not ended are split into two halves and
  trained again under the next attempt number, so that a trial that kills its process ends up
  alone; a trial that kills its process twice while alone ends as ``FAILED``, or as
  ``OUT_OF_MEMORY`` where the process is known to have been ended for its memory. An executor that
  trains in the caller's own process cannot survive this.
* **A worker that falls silent** for longer than its deadline is ended, and its trials are sought
  through like those of one that died; a trial that is silent while alone ends as ``TIMED_OUT``. An
  executor that trains in the caller's own process knows no deadlines.
* **A node that goes** takes its workers along. What they had under way begins again in one piece
  under the next attempt number; a pack that loses a second node is sought through.
* **A device or node that kills packs which others train** is given no more work. A trial's last
  chance is elsewhere, as long as there is an elsewhere.
* **Workers that never get anywhere.** If no worker can be started, or workers die again and again
  before any trial has ended, ``run`` raises :class:`~sweepdiag.errors.LaunchError` with the first
  cause; :class:`~sweepdiag.errors.WorkersLostError` if there have been some, and none is left.
  Everything delivered until then stays valid.
* **Liveness.** Batches are delivered as they come. A caller that takes them slowly slows the
  workers down instead of filling the memory.
* **Ownership.** Whoever makes an executor closes it (``with`` does). Workers outlive ``run``, so
  that the next ``run`` finds what they have loaded. Closing the generator returned by ``run``, or
  an exception such as ``KeyboardInterrupt`` in it, stops the trainings it had under way;
  :meth:`Executor.close` leaves no process behind and may be called twice.
* **Threads.** An executor belongs to the thread that made it, and runs one sequence of packs at a
  time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from sweepdiag.records import Event, Pack

__all__ = ["Executor", "PackWorker"]


class PackWorker(Protocol):
    """Trains one pack; the callable that an executor sends to its processes.

    It can be pickled, builds what it needs (data, model) once per process when it is first called,
    and keeps it for later packs. It reports its own failures as events where it can: a training
    that raises should cost one trial, not its pack.
    """

    def __call__(self, pack: Pack, *, device: str) -> Iterator[list[Event]]:
        """Train the pack's trials and yield batches of events while training.

        Args:
            pack: What to train; events carry its trials' ids and attempt numbers.
            device: Where to train, in torch's terms: ``cpu`` or ``cuda:0``. A worker process that
                owns one GPU of many sees only that one, as ``cuda:0``.

        Returns:
            Batches of events, closed by one ``TrialEnded`` per trial.
        """
        ...


@runtime_checkable
class Executor(Protocol):
    """Runs packs somewhere and streams back what happens; see the contract above."""

    @property
    def n_workers(self) -> int:
        """Workers that train at the same time."""
        ...

    def run(self, packs: Sequence[Pack], worker: PackWorker) -> Iterator[list[Event]]:
        """Train the packs and yield batches of events as they come.

        Args:
            packs: What to train, in the order in which it should be begun.
            worker: Trains one pack. The same object may be given to several runs; it is sent to
                each process once.

        Returns:
            An iterator that does the work while it is iterated, and stops it when it is closed.
        """
        ...

    def close(self) -> None:
        """Stop every worker and release what they held. May be called twice."""
        ...

    def __enter__(self) -> Self:
        """Return the executor itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the executor."""
        self.close()
