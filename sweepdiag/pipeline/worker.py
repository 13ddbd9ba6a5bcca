"""What a worker process runs: it builds the workload once, then trains pack after pack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import WorkloadError
from sweepdiag.records import Deadlines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sweepdiag.features import CurveArrays
    from sweepdiag.features.curves import FloatArray
    from sweepdiag.records import (
        Event,
        Pack,
        PackSettings,
        SplitSettings,
        SweepFacts,
        TrainingSettings,
    )
    from sweepdiag.rules import Thresholds
    from sweepdiag.training import PackTrainer
    from sweepdiag.workloads import PreparedWorkload, TrainLoop, Workload

__all__ = ["EarlyStop", "SweepWorker"]


@dataclass(frozen=True, kw_only=True)
class EarlyStop:
    """The report's own rules, asked during training; picklable."""

    facts: SweepFacts
    thresholds: Thresholds

    def __call__(self, curves: CurveArrays, epochs: FloatArray) -> list[str | None]:
        """Return why each training should end now; see ``rules.stop_reasons``."""
        from sweepdiag.rules import stop_reasons

        return stop_reasons(curves, epochs=epochs, facts=self.facts, thresholds=self.thresholds)


@dataclass(kw_only=True)
class SweepWorker:
    """Trains the packs of one sweep; picklable.

    Attributes:
        reference: The workload's reference, from which every process builds its own; ``None`` for
            a workload made in Python, which then travels itself.
        parameters: Arguments of the workload's function.
        workload: The workload in this process; left behind when there is a reference.
        split: Which samples validate.
        settings: How to train.
        data_memory_gb: Memory that samples may take on a device, in GB; ``None``: measured.
        pack_memory_gb: Memory that trainings may take at a time, in GB; ``None``: measured.
        n_workers: Processes that share the memory of a host; ``None``: one per core of it.
        fingerprint: Of the data that the plan was made with; ``None`` for a user's own loop.
        stop_rule: Says which trainings end early; ``None``: none does.
        packing: How packs are trained where that is not left to measurement.
        most_threads: Threads of the CPU that each worker may train on.
        deadlines: For trials of a user's own loop; packs are ended from outside.
    """

    reference: str | None
    parameters: Mapping[str, Any]
    workload: Workload | TrainLoop | None
    split: SplitSettings
    settings: TrainingSettings
    data_memory_gb: float | None = None
    pack_memory_gb: float | None = None
    n_workers: int | None = None
    fingerprint: str | None = None
    stop_rule: EarlyStop | None = None
    packing: PackSettings | None = None
    most_threads: int = 1
    deadlines: Deadlines = field(default_factory=Deadlines)
    prepared: PreparedWorkload | None = field(default=None, repr=False)
    _trainers: dict[str, PackTrainer] = field(default_factory=dict, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what a worker builds for itself."""
        state = {**self.__dict__, "prepared": None, "_trainers": {}}
        if self.reference is not None:
            state["workload"] = None
        return state

    def __call__(self, pack: Pack, *, device: str) -> Iterator[list[Event]]:
        """Train a pack; see ``execution.PackWorker``."""
        from sweepdiag.training import LoopSource, run_user_loop
        from sweepdiag.workloads import TrainLoop

        workload = self._load()
        if isinstance(workload, TrainLoop):
            source = LoopSource(
                reference=self.reference, parameters=self.parameters, loop=workload
            )
            return run_user_loop(
                pack,
                source=source,
                settings=self.settings,
                device=device,
                deadlines=self.deadlines,
                stop_rule=self.stop_rule,
            )
        return self.trainer(device).train(pack)

    def estimate_seconds(self, packs: Sequence[Pack], *, device: str) -> list[float] | None:
        """Return how long each pack takes on one worker; ``None`` for a user's own loop."""
        from sweepdiag.workloads import TrainLoop

        if isinstance(self._load(), TrainLoop):
            return None
        return self.trainer(device).estimate_seconds(packs)

    def _load(self) -> Workload | TrainLoop:
        from sweepdiag.workloads import load_workload

        if self.workload is None:
            if self.reference is None:
                message = "a workload made in Python did not reach the worker"
                raise WorkloadError(message)
            self.workload = load_workload(self.reference, self.parameters)
        return self.workload

    def trainer(self, device: str) -> PackTrainer:
        """Return what trains packs in this process; see ``training.PackTrainer``.

        Raises:
            WorkloadError: If this is a training loop of the user's own, or its data have changed.
        """
        from sweepdiag.training import PackTrainer
        from sweepdiag.workloads import Workload, prepare

        if device not in self._trainers:
            if self.prepared is None:
                workload = self._load()
                if not isinstance(workload, Workload):
                    message = f"expected a Workload, got {type(workload).__name__}"
                    raise WorkloadError(message)
                self.prepared = prepare(
                    workload,
                    self.split,
                    loss=self.settings.loss,
                    memory_gb=self.data_memory_gb,
                )
                if self.prepared.fingerprint != self.fingerprint:
                    message = (
                        f"workload {workload.name!r} gives other data each time it is built: seed "
                        "what it draws at random"
                    )
                    raise WorkloadError(message)
            self._trainers[device] = PackTrainer(
                prepared=self.prepared.to(device, memory_gb=self.data_memory_gb),
                settings=self.settings,
                device=device,
                stop_rule=self.stop_rule,
                packing=self.packing,
                room_bytes=lambda: self.room_bytes(device),
            )
        self._trainers[device].most_threads = self.most_threads
        return self._trainers[device]

    def room_bytes(self, device: str) -> float:
        """Return how much memory the trainings of a pack may take now, in bytes."""
        from sweepdiag.workloads import pack_room_bytes

        return pack_room_bytes(device, self.pack_memory_gb, n_workers=self.n_workers)
