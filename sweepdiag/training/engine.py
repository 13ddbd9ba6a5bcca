"""From a pack to its events: build, choose, train, and turn what goes wrong into states."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import weakref
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from sweepdiag.errors import TrainingError
from sweepdiag.messages import describe_bytes, describe_error, describe_traceback
from sweepdiag.records import Event, State, TrialEnded
from sweepdiag.training.lanes import Lanes, resumed_in
from sweepdiag.training.members import build_member, common_timetable
from sweepdiag.training.memory import halve_until_it_fits, is_out_of_memory
from sweepdiag.training.numerics import float32_products, reproducible_cpu
from sweepdiag.training.pack_run import PackRun
from sweepdiag.training.peak_memory import start_meter
from sweepdiag.training.probe import (
    PROBE_MEMBERS,
    Plan,
    Structure,
    make_program,
    probe,
    structure,
)
from sweepdiag.workloads import pack_room_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    import torch

    from sweepdiag.records import Pack, TrainingSettings, Trial
    from sweepdiag.training.fused_model import FusedModel
    from sweepdiag.training.lanes import Lane
    from sweepdiag.training.members import Member, Timetable
    from sweepdiag.training.pack_run import StopRule
    from sweepdiag.training.peak_memory import PeakMeter
    from sweepdiag.workloads import PreparedWorkload

__all__ = ["PackTrainer"]

_Attempt: TypeAlias = "tuple[Trial, int]"

logger = logging.getLogger(__name__)

_MOST_PLANS = 256
"""Architectures that are remembered; each holds two modules and a traced program or more."""


class PackTrainer:
    """Trains packs of one sweep, and remembers how each architecture is best trained.

    One per worker process. Every trial of a pack ends with exactly one ``TrialEnded``: an error of
    the user's code is the state ``failed`` of that trial, memory that does not suffice the state
    ``out_of_memory``, and the others go on.
    """

    def __init__(
        self,
        *,
        prepared: PreparedWorkload,
        settings: TrainingSettings,
        device: str,
        stop_rule: StopRule | None = None,
        room_bytes: Callable[[], float] | None = None,
    ) -> None:
        """Take what a sweep's packs have in common.

        Args:
            prepared: The data, on the device.
            settings: How to train.
            device: Where to train.
            stop_rule: Says which trainings end early, from their curves so far.
            room_bytes: Tells, before a pack is trained, how much memory it may take; ``None``: its
                share of what is free.
        """
        self._prepared = prepared
        self._settings = settings
        self._device = device
        self._stop_rule = stop_rule
        self._room_bytes = room_bytes or partial(pack_room_bytes, device)
        is_fast = settings.numerics == "fast"
        self._rounding = partial(float32_products, device, is_fast=is_fast)
        self._lanes = Lanes(device)
        self._plans: dict[tuple[Structure, int], Plan] = {}
        self._models: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()

    def estimate_seconds(self, packs: Sequence[Pack]) -> list[float]:
        """Return how long each pack would take here, from a few real steps of its architecture.

        A model that cannot be built or run counts as no time: its trials will fail.
        """
        with reproducible_cpu(), self._rounding():
            return [self._estimate(pack) for pack in packs]

    def plan(self, pack: Pack) -> Plan:
        """Return how a pack would be trained here, and why; the model's own errors are raised."""
        with reproducible_cpu(), self._rounding():
            timetable = common_timetable(pack.trials, self._prepared, self._settings)
            return self._plan(pack, timetable)

    def _estimate(self, pack: Pack) -> float:
        timetable = common_timetable(pack.trials, self._prepared, self._settings)
        try:
            plan = self._plan(pack, timetable)
        except Exception as error:  # noqa: BLE001 - the training itself will report it
            logger.debug("could not time %s: %s", structure(pack), error)
            return 0.0
        n_steps, n_evaluations = timetable.evaluations[-1], len(timetable.evaluations)
        seconds = n_steps * plan.step_s + n_evaluations * plan.evaluation_s
        return len(pack.trials) * seconds

    def _plan(self, pack: Pack, timetable: Timetable) -> Plan:
        """Return how to train packs of this architecture, by trying once and remembering."""
        # What pays for many need not pay for a few; a single training is never fused.
        key = (structure(pack), len(pack.trials).bit_length())
        if key not in self._plans:
            self._plans[key] = halve_until_it_fits(
                lambda n: probe(
                    [self._build(trial, 1) for trial in pack.trials[:n]],
                    prepared=self._prepared,
                    timetable=timetable,
                    device=self._device,
                    numerics=self._settings.numerics,
                    record=self._settings.record,
                    room_bytes=self._room_bytes(),
                ),
                min(len(pack.trials), PROBE_MEMBERS),
            )
            while len(self._plans) > _MOST_PLANS:
                del self._plans[next(iter(self._plans))]
            plan = self._plans[key]
            logger.info("%s: %s (%s)", dict(key[0]), plan.tier, plan.reason)
        return self._plans[key]

    def _build(self, trial: Trial, attempt: int) -> Member:
        """Build a member, and make sure that its weights are its own.

        Raises:
            TrainingError: If ``model`` returns a module that it has returned before.
        """
        member = build_member(
            trial,
            attempt,
            prepared=self._prepared,
            settings=self._settings,
            device=self._device,
        )
        if member.model in self._models:
            message = (
                "model must build a fresh module each time, and returned one for a second time"
            )
            raise TrainingError(message)
        self._models.add(member.model)
        return member

    def train(self, pack: Pack) -> Iterator[list[Event]]:
        """Yield batches of events: one per evaluation of the members that train together.

        Several packs may train at the same time, taking turns in one thread.
        """
        with self._lanes.lent() as lane:
            yield from resumed_in(partial(self._environment, lane), self._train(pack))

    @contextlib.contextmanager
    def _environment(self, lane: Lane) -> Iterator[None]:
        with reproducible_cpu(), self._rounding(), lane.entered():
            yield

    def _train(self, pack: Pack) -> Generator[list[Event]]:
        timetable = common_timetable(pack.trials, self._prepared, self._settings)
        trials = list(zip(pack.trials, pack.attempts, strict=True))
        model, width = self._fused_model(pack, timetable)
        if model is None:
            yield from self._train_one_by_one(trials, timetable)
            return
        n_parts = -(-len(trials) // width)
        for part in range(n_parts):
            yield from self._train_fused(model, trials[part::n_parts], timetable)

    def _fused_model(self, pack: Pack, timetable: Timetable) -> tuple[FusedModel | None, int]:
        """Return the fused model of a pack and how many trials to train with it at a time.

        Without a model they are to be trained alone.
        """
        if len(pack.trials) == 1:
            return None, 1
        try:
            plan = self._plan(pack, timetable)
        except Exception as error:  # noqa: BLE001 - each training will report its own
            logger.debug("probing %s: %s", structure(pack), error)
            return None, 1
        width = self._fitting(plan, plan.width or len(pack.trials))
        return (plan.model, width) if width > 1 else (None, 1)

    def _fitting(self, plan: Plan, width: int) -> int:
        """Return how many of so many trials there is memory for at a time."""
        if plan.memory is None or plan.model is None:
            return width
        room_bytes = self._room_bytes()
        n_fitting = plan.memory.fitting(width, room_bytes)
        if n_fitting < width:
            needed, room = (describe_bytes(n) for n in (plan.memory.of(width), room_bytes))
            logger.info(
                "%d trainings need %s, and %s may be taken: %d are trained at a time",
                width,
                needed,
                room,
                max(n_fitting, 1),
            )
        return n_fitting

    def _train_fused(
        self, model: FusedModel, trials: Sequence[_Attempt], timetable: Timetable
    ) -> Iterator[list[Event]]:
        """Train trials together; in halves where memory does not suffice, else one by one."""
        meter = start_meter(self._device)
        left = {trial.trial_id: (trial, attempt) for trial, attempt in trials}
        is_memory = False
        others: list[_Attempt] = []
        try:
            members, others, failed = self._build_all(model, trials)
            batches = self._run(model, members, timetable, meter) if members else ()
            for events in itertools.chain([failed] if failed else [], batches):
                for event in events:
                    if isinstance(event, TrialEnded):
                        del left[event.trial_id]
                yield events
        except Exception as error:  # noqa: BLE001 - any operation may fail inside the user's model
            is_memory = is_out_of_memory(error)
            told = describe_error(error)
            logger.warning("a pack of %d trainings failed and is split: %s", len(left), told)
        else:
            yield from self._train_one_by_one(others, timetable)
            return
        # Out of the handler, so that what the failed attempt held is free again.
        members.clear()
        again = [(trial, attempt + 1) for trial, attempt in left.values()]
        half = len(again) // 2
        if is_memory and half > 1:
            yield from self._train_fused(model, again[:half], timetable)
            yield from self._train_fused(model, again[half:], timetable)
        else:
            yield from self._train_one_by_one(again, timetable)

    def _build_all(
        self, model: FusedModel, trials: Sequence[_Attempt]
    ) -> tuple[list[Member], list[_Attempt], list[Event]]:
        """Return the members that the model takes, the trials it does not, and those that fail."""
        members: list[Member] = []
        others: list[_Attempt] = []
        failed: list[Event] = []
        for trial, attempt in trials:
            try:
                member = self._build(trial, attempt)
                if model.accepts(member.model):
                    members.append(member)
                else:
                    others.append((trial, attempt))
            except Exception as error:  # the user's code may raise anything
                if is_out_of_memory(error):
                    raise
                failed.append(_failed(trial, attempt, error))
        return members, others, failed

    def _train_one_by_one(
        self, trials: Sequence[_Attempt], timetable: Timetable
    ) -> Iterator[list[Event]]:
        for trial, attempt in trials:
            meter = start_meter(self._device)
            try:
                member = self._build(trial, attempt)
                yield from self._run(None, [member], timetable, meter)
            except Exception as error:  # noqa: BLE001 - the user's code may raise anything
                yield [_failed(trial, attempt, error, peak_memory_mb=meter.peak_mb())]

    def _run(
        self,
        model: FusedModel | None,
        members: Sequence[Member],
        timetable: Timetable,
        meter: PeakMeter,
    ) -> Iterator[list[Event]]:
        program = make_program(
            model,
            members,
            prepared=self._prepared,
            timetable=timetable,
            device=self._device,
            record=self._settings.record,
        )
        run = PackRun(
            program,
            timetable,
            device=self._device,
            stop_rule=self._stop_rule,
            peak_mb=meter.peak_mb,
        )
        return run.events()


def _failed(
    trial: Trial, attempt: int, error: Exception, *, peak_memory_mb: float = math.nan
) -> TrialEnded:
    return TrialEnded(
        trial_id=trial.trial_id,
        attempt=attempt,
        state=State.OUT_OF_MEMORY if is_out_of_memory(error) else State.FAILED,
        reason=describe_traceback(error),
        peak_memory_mb=peak_memory_mb,
    )
