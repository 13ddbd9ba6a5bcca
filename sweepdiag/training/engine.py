"""From a pack to its events: build, choose, train, and turn what goes wrong into states."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import weakref
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from sweepdiag.errors import TrainingError
from sweepdiag.messages import describe_bytes, describe_error, describe_traceback
from sweepdiag.records import Event, PackSettings, State, TrialEnded
from sweepdiag.training.lanes import Lanes, resumed_in
from sweepdiag.training.members import build_member, common_timetable
from sweepdiag.training.memory import is_out_of_memory
from sweepdiag.training.numerics import float32_products, reproducible_cpu
from sweepdiag.training.openmp import on_threads
from sweepdiag.training.pack_run import PackRun
from sweepdiag.training.peak_memory import give_back, start_meter
from sweepdiag.training.plan_cache import PlanCache, cache_folder
from sweepdiag.training.planning import Planner
from sweepdiag.training.plans import Plan, Structure, structure
from sweepdiag.training.programs import make_program
from sweepdiag.workloads import pack_room_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    import torch

    from sweepdiag.records import Pack, TrainingSettings, Trial
    from sweepdiag.training.fused_model import FusedModel
    from sweepdiag.training.lanes import Lane
    from sweepdiag.training.members import Member, Timetable
    from sweepdiag.training.peak_memory import PeakMeter
    from sweepdiag.training.stopping import StopRule
    from sweepdiag.workloads import PreparedWorkload

__all__ = ["PackTrainer"]

_Attempt: TypeAlias = "tuple[Trial, int]"

logger = logging.getLogger(__name__)

_MOST_ESTIMATED = 32
"""Architectures that are tried to tell how long a sweep will take."""
_MOST_PLANS = 256
"""Architectures that are remembered; each holds two modules and a traced program or more."""

_WORTH_PROBING = 180
"""Steps of which those of a probe are a twentieth."""


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
        packing: PackSettings | None = None,
        room_bytes: Callable[[], float] | None = None,
    ) -> None:
        """Take what a sweep's packs have in common.

        Args:
            prepared: The data, on the device.
            settings: How to train.
            device: Where to train.
            stop_rule: Says which trainings end early, from their curves so far.
            packing: How packs are trained where that is not left to measurement.
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
        self._planner = Planner(
            prepared=prepared,
            settings=settings,
            device=device,
            packing=packing or PackSettings(),
            cache=PlanCache(cache_folder()),
            room_bytes=self._room_bytes,
        )
        self._has_threads = packing is not None and packing.threads is not None
        self.most_threads = 1
        """Threads that this worker may train on; may change at any time."""
        self._plans: dict[tuple[Structure, int], Plan] = {}
        self._threads: dict[tuple[Structure, int, int], Plan] = {}
        self._trained: Structure | None = None
        self._models: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()

    def estimate_seconds(self, packs: Sequence[Pack]) -> list[float]:
        """Return how long each pack would take here, from a few real steps of its architecture.

        A model that cannot be built or run counts as no time: its trials will fail. Of very many
        architectures some are tried, and the others are taken to be like them.
        """
        buckets = list(dict.fromkeys(_bucket(pack) for pack in packs))
        places = np.linspace(0, len(buckets) - 1, min(_MOST_ESTIMATED, len(buckets)))
        tried = {buckets[round(place)] for place in places}
        with reproducible_cpu(), self._rounding():
            known = [self._estimate(pack) if _bucket(pack) in tried else None for pack in packs]
        if None not in known:
            return [seconds for seconds in known if seconds is not None]
        steps = [self._n_steps(pack) for pack in packs]
        told = [(s, n) for s, n in zip(known, steps, strict=True) if s is not None]
        step_s = sum(s for s, _ in told) / sum(n for _, n in told)
        return [n * step_s if s is None else s for s, n in zip(known, steps, strict=True)]

    def _n_steps(self, pack: Pack) -> int:
        timetable = common_timetable(pack.trials, self._prepared, self._settings)
        return len(pack.trials) * timetable.evaluations[-1]

    def plan(self, pack: Pack) -> Plan:
        """Return how a pack would be trained here, and why; the model's own errors are raised."""
        with reproducible_cpu(), self._rounding():
            timetable = common_timetable(pack.trials, self._prepared, self._settings)
            return self._plan_with_threads(pack, timetable)

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
        key = _bucket(pack)
        if key not in self._plans:
            build = partial(self._build, attempt=1)
            self._plans[key] = self._planner.plan(pack.trials, timetable, build)
            while len(self._plans) > _MOST_PLANS:
                del self._plans[next(iter(self._plans))]
        return self._plans[key]

    def _plan_with_threads(self, pack: Pack, timetable: Timetable) -> Plan:
        """Return how to train packs of this architecture on the threads that there are."""
        key = (*_bucket(pack), self.most_threads)
        if key not in self._threads:
            plan = self._planner.with_threads(
                self._plan(pack, timetable),
                pack.trials,
                timetable,
                partial(self._build, attempt=1),
                most=self.most_threads,
            )
            self._threads[key] = plan
            while len(self._threads) > _MOST_PLANS:
                del self._threads[next(iter(self._threads))]
            logger.info("%s: %s", _described(key[0]), plan)
        return self._threads[key]

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
        model, width, n_threads = self._fused_model(pack, timetable)
        if structure(pack) != self._trained:
            # What an unlike architecture took would show in the peaks of this one; what a like one
            # took is about to be taken again.
            give_back(self._device)
            self._trained = structure(pack)
        batches = self._train_in_parts(pack, timetable, model, width)
        # Inside of the environment of the pack, which says one thread each time it is entered.
        yield from resumed_in(partial(on_threads, n_threads), batches)

    def _train_in_parts(
        self, pack: Pack, timetable: Timetable, model: FusedModel | None, width: int
    ) -> Generator[list[Event]]:
        trials = list(zip(pack.trials, pack.attempts, strict=True))
        if model is None:
            yield from self._train_one_by_one(trials, timetable)
            return
        n_parts = -(-len(trials) // width)
        for part in range(n_parts):
            yield from self._train_fused(model, trials[part::n_parts], timetable)

    def _fused_model(self, pack: Pack, timetable: Timetable) -> tuple[FusedModel | None, int, int]:
        """Return the fused model of a pack, how many trials it takes at a time, and the threads.

        Without a model they are to be trained alone.
        """
        if len(pack.trials) == 1 and not self._may_take_threads(timetable):
            return None, 1, 1
        try:
            plan = self._plan_with_threads(pack, timetable)
        except Exception as error:  # noqa: BLE001 - each training will report its own
            logger.debug("probing %s: %s", structure(pack), error)
            return None, 1, 1
        width = self._fitting(plan, len(pack.trials))
        return (plan.model if width > 1 else None), width, plan.threads

    def _may_take_threads(self, timetable: Timetable) -> bool:
        """Return whether threads are worth a few steps, where there is nothing to be fused."""
        n_steps = timetable.evaluations[-1]
        return self._has_threads or (self.most_threads > 1 and n_steps > _WORTH_PROBING)

    def _fitting(self, plan: Plan, n_trials: int) -> int:
        """Return how many of so many trials are trained at a time."""
        width = plan.wanted_width(n_trials)
        room_bytes = self._room_bytes()
        n_fitting = plan.width_in(room_bytes, n_trials)
        if n_fitting < width:
            needed, room = (describe_bytes(n) for n in (plan.memory.of(width), room_bytes))
            logger.info(
                "%d trainings need %s, and %s may be taken: %d are trained at a time",
                width,
                needed,
                room,
                n_fitting,
            )
        return n_fitting

    def _train_fused(
        self, model: FusedModel, trials: Sequence[_Attempt], timetable: Timetable
    ) -> Iterator[list[Event]]:
        """Train trials together; in halves where memory does not suffice, else one by one."""
        meter = start_meter(self._device)
        left = {trial.trial_id: (trial, attempt) for trial, attempt in trials}
        is_memory = False
        members: list[Member] = []
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
        give_back(self._device)
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


def _bucket(pack: Pack) -> tuple[Structure, int]:
    """Return what packs share a plan: what pays for many trials need not pay for a few."""
    return structure(pack), len(pack.trials).bit_length()


def _described(common: Structure) -> str:
    return ", ".join(f"{name} {value}" for name, value in common) or "all trials"


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
