"""What runs inside the worker processes of Ray Tune: one pack of one trial at a time."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sweepdiag.execution.turns import train_in_turns
from sweepdiag.messages import describe_error
from sweepdiag.records import TrialEnded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sweepdiag.execution.base import PackWorker
    from sweepdiag.records import Event, Pack

__all__ = ["TrialSource", "make_trainable"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialSource:
    """What every worker process needs; it travels with the class of the trials.

    Attributes:
        packs: Of one trial each. Tune's own configuration is only a place in here.
        pickled_worker: Reference of the pickled pack worker in Ray's store.
        device: Where to train.
        environment: Variables that a Ray of somebody else's has to be told.
        search_path: The caller's ``sys.path``; what it can import must be importable there.
        directory: The caller's current one, from which loops are found and find their files.
    """

    packs: Sequence[Pack]
    pickled_worker: Any
    device: str
    environment: Mapping[str, str]
    search_path: Sequence[str]
    directory: str


class _SweepTrial:
    """A Tune trial that takes one step per batch of events.

    Tune uses the process again for the next trial. A step never raises for what a training does:
    that is told in events, as everywhere.
    """

    source: ClassVar[TrialSource]

    def setup(self, config: Mapping[str, Any]) -> None:
        """Load the worker; what hinders that is told by the first step."""
        os.environ.update(self.source.environment)
        # The workers of a cluster that is joined are elsewhere; not all nodes need have the place.
        with contextlib.suppress(OSError):
            os.chdir(self.source.directory)
        sys.path.extend(path for path in self.source.search_path if path not in sys.path)
        self._worker: PackWorker | None = None
        self._obstacle = ""
        try:
            self._worker = _unpickled(self.source.pickled_worker)
        except Exception as error:  # noqa: BLE001 - user code may raise anything, in any words
            self._obstacle = describe_error(error)
        self.reset_config(config)

    def reset_config(self, config: Mapping[str, Any]) -> bool:
        """Begin another trial in this process; the one before has ended."""
        pack = self.source.packs[config["place"]]
        self._is_introduced = False
        self._batches: Iterator[list[Event]] = iter(())
        if self._worker is not None:
            self._batches = train_in_turns(
                [pack], self._worker, device=self.source.device, n_at_once=1
            )
        return True

    def step(self) -> dict[str, Any]:
        """Return the next batch, and whether it ends the trial."""
        from ray import get_runtime_context

        if self._obstacle:
            return {"obstacle": self._obstacle, "done": True}
        events = next(self._batches)
        is_over = any(isinstance(event, TrialEnded) for event in events)
        if is_over:
            self.cleanup()
        told = {"events": events, "done": is_over}
        if not self._is_introduced:
            self._is_introduced = True
            told["actor"] = get_runtime_context().current_actor
        return told

    def cleanup(self) -> None:
        """Close the worker's generator."""
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()


def make_trainable(source: TrialSource, *, has_gpu: bool) -> Any:
    """Return the class that Tune makes its workers of.

    Args:
        source: What its trials are made of.
        has_gpu: Whether each worker owns a GPU, instead of a CPU core.
    """
    from ray import tune

    # Made here, so that it is pickled with its source, and Ray imported only where it is used.
    trainable = type("SweepTrial", (_SweepTrial, tune.Trainable), {"source": source})
    return tune.with_resources(trainable, {"cpu": int(not has_gpu), "gpu": int(has_gpu)})


def _unpickled(reference: Any) -> PackWorker:
    import ray
    from ray import cloudpickle

    worker: PackWorker = cloudpickle.loads(ray.get(reference))
    return worker
