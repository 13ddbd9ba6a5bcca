"""Plans of architectures: what this machine remembers if everything is the same, else measured."""

from __future__ import annotations

import dataclasses
import logging
import re
from typing import TYPE_CHECKING, Any

from sweepdiag.training.members import member_of
from sweepdiag.training.memory import MemoryNeed, halve_until_it_fits
from sweepdiag.training.plan_key import digest, plan_facts
from sweepdiag.training.plans import Plan, Tier, Way
from sweepdiag.training.probe import PROBE_MEMBERS, make_fused_model, probe
from sweepdiag.training.programs import make_program
from sweepdiag.training.threads import best_threads, is_long
from sweepdiag.training.timed_trial import CANNOT, compared_places

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sweepdiag.records import PackSettings, TrainingSettings, Trial
    from sweepdiag.training.members import Member, Timetable
    from sweepdiag.training.plan_cache import PlanCache
    from sweepdiag.workloads import PreparedWorkload

__all__ = ["Planner"]

logger = logging.getLogger(__name__)

_NUMBER = re.compile(r"\d+(\.\d+)?")


class Planner:
    """Decides how packs are trained: from what this machine remembers, or by a few real steps."""

    def __init__(
        self,
        *,
        prepared: PreparedWorkload,
        settings: TrainingSettings,
        device: str,
        packing: PackSettings,
        cache: PlanCache,
        room_bytes: Callable[[], float],
    ) -> None:
        """Take what all packs have in common.

        Args:
            prepared: The data, on the device.
            settings: How to train.
            device: Where to train.
            packing: What the user has decided.
            cache: What earlier runs have measured.
            room_bytes: Tells how much memory packs may take now.
        """
        self._prepared = prepared
        self._settings = settings
        self._device = device
        self._packing = packing
        self._cache = cache
        self._room_bytes = room_bytes
        self._told: set[str] = set()

    def plan(
        self, trials: Sequence[Trial], timetable: Timetable, build: Callable[[Trial], Member]
    ) -> Plan:
        """Return how to train trials like these on one thread.

        Args:
            trials: Of one pack.
            timetable: Shared by all.
            build: Builds the member of a trial with a model of its own.

        Returns:
            The plan. Errors of the model itself are raised as they are.
        """
        members = self._members(trials, build)
        key = self._key(members, timetable)
        plan = self._remembered(key, members, timetable)
        if plan is None:
            plan = halve_until_it_fits(
                lambda n: self._probed(
                    members if n == len(members) else self._members(trials[:n], build),
                    timetable,
                    is_all=n == len(members),
                ),
                len(members),
            )
            if key and plan.is_lasting and plan.tier is not Tier.VMAP:
                self._cache.store(key, _entry(plan, len(members)))
        self._warn(plan, len(members))
        return plan

    def _probed(self, members: Sequence[Member], timetable: Timetable, *, is_all: bool) -> Plan:
        """Return the plan that a few real steps suggest; fewer than all members: not for long."""
        plan = probe(
            members,
            prepared=self._prepared,
            timetable=timetable,
            device=self._device,
            numerics=self._settings.numerics,
            record=self._settings.record,
            packing=self._packing,
            room_bytes=self._room_bytes(),
        )
        return dataclasses.replace(plan, is_lasting=plan.is_lasting and is_all)

    def with_threads(
        self,
        plan: Plan,
        trials: Sequence[Trial],
        timetable: Timetable,
        build: Callable[[Trial], Member],
        *,
        most: int,
    ) -> Plan:
        """Return a plan with the threads that it should be trained on.

        More than one is compared with one in each run; only that more do not pay is remembered.

        Args:
            plan: How the trials are trained.
            trials: Of one pack.
            timetable: Shared by all.
            build: Builds the member of a trial with a model of its own.
            most: Threads that the worker may have.
        """
        wanted = self._packing.threads
        n_wanted = most if wanted is None else wanted
        if self._device != "cpu" or n_wanted == 1:
            return plan
        width = plan.width_in(self._room_bytes(), len(trials))
        if wanted is None and not is_long(plan, width):
            return plan
        members = self._members(trials, build)
        is_limited = width < plan.wanted_width(len(trials))
        key = "" if is_limited else self._key(members, timetable, threads=n_wanted)
        if key and self._cache.load(key) == {"threads": 1}:
            return plan
        n_threads, reason = best_threads(
            plan,
            members,
            prepared=self._prepared,
            timetable=timetable,
            numerics=self._settings.numerics,
            width=min(width, len(members)),
            most=n_wanted,
            wanted=wanted,
        )
        if wanted is not None and n_threads != wanted:
            logger.warning("execution.threads=%d is not followed: %s", wanted, reason)
        if n_threads == 1 and key:
            self._cache.store(key, {"threads": 1})
        return dataclasses.replace(plan, threads=n_threads, reason=f"{plan.reason}; {reason}")

    def _members(self, trials: Sequence[Trial], build: Callable[[Trial], Member]) -> list[Member]:
        """Return members to try out; only those that are compared have a model of their own.

        Members cannot touch each other, so it is all one what weights the others have.
        """
        tried = trials[:PROBE_MEMBERS]
        own = {place: build(tried[place]) for place in compared_places(len(tried))}
        shared = own[0].model
        return [
            own.get(place) or member_of(trial, 1, shared, self._settings)
            for place, trial in enumerate(tried)
        ]

    def _key(self, members: Sequence[Member], timetable: Timetable, **further: Any) -> str:
        """Return the key of everything that decides a plan; empty if nothing is remembered."""
        if not self._cache.is_on:
            return ""
        try:
            facts = plan_facts(
                members,
                prepared=self._prepared,
                timetable=timetable,
                device=self._device,
                numerics=self._settings.numerics,
                record=self._settings.record,
                packing=self._packing,
            )
        except Exception as error:  # noqa: BLE001 - the user's objects may raise anything
            logger.debug("a model that cannot be described: %s", error)
            return ""
        return digest({**facts, **further})

    def _remembered(
        self, key: str, members: Sequence[Member], timetable: Timetable
    ) -> Plan | None:
        """Return the plan that an earlier run has made, if the program is still the same."""
        entry = self._cache.load(key) if key else None
        if entry is None:
            return None
        try:
            plan = _plan(entry, members[0].n_parameters)
            if plan.way is None:
                return plan
            width = min(plan.width or len(members), len(members))
            if plan.memory.fitting(width, self._room_bytes()) < width:
                logger.info("a remembered plan takes more memory than there is: measuring again")
                return None
            model = make_fused_model(
                plan.way,
                members[0],
                prepared=self._prepared,
                untrained=plan.untrained,
                record=self._settings.record,
            )
            program = make_program(
                model,
                members[:width],
                prepared=self._prepared,
                timetable=timetable,
                device=self._device,
            )
            # Traces what the training needs anyway.
            program.evaluate().result()
            program.advance(0, 1).result()
        except Exception as error:  # noqa: BLE001 - whatever it is, measuring will tell
            logger.debug("a remembered plan that cannot be used: %s", error)
            return None
        if model.digests(width) != entry["digests"]:
            logger.info("the traced program is not the one that was measured: measuring again")
            return None
        return dataclasses.replace(plan, model=model)

    def _warn(self, plan: Plan, n_members: int) -> None:
        """Say once per cause what the user may want to change."""
        wanted = self._packing.tier
        is_refused = wanted not in {"auto", "unfused"} and n_members > 1
        # The same cause in an architecture of another size.
        cause = _NUMBER.sub("", plan.reason)
        if plan.tier is not Tier.UNFUSED or cause in self._told:
            return
        self._told.add(cause)
        if is_refused:
            message = "execution.tier=%s is not followed, and trained one by one: %s"
            logger.warning(message, wanted, plan.reason)
        elif plan.reason.startswith(CANNOT):
            logger.warning("trained one by one, since the model %s", plan.reason)


def _entry(plan: Plan, n_members: int) -> dict[str, Any]:
    """Return what is remembered of a plan."""
    width = min(plan.width or n_members, n_members)
    return {
        "tier": plan.tier.name,
        "reason": plan.reason,
        "step_s": plan.step_s,
        "evaluation_s": plan.evaluation_s,
        "width": plan.width,
        "speedup": plan.speedup,
        "memory": dataclasses.asdict(plan.memory),
        "untrained": sorted(plan.untrained),
        "is_exact": plan.way is not None and plan.way.is_exact,
        "is_coarse": plan.way is not None and plan.way.is_coarse,
        "digests": {} if plan.model is None else plan.model.digests(width),
    }


def _plan(entry: dict[str, Any], n_parameters: int) -> Plan:
    """Return a plan without its model.

    Raises:
        ValueError: If the width is none. What else is not a plan raises errors of other kinds.
    """
    tier, width = Tier[entry["tier"]], entry["width"]
    if width is not None and (type(width) is not int or width < 1):
        message = f"a width of {width!r}"
        raise ValueError(message)
    memory = entry["memory"]
    way = None
    if tier is not Tier.UNFUSED:
        way = Way(
            tier=tier, is_exact=entry["is_exact"] is True, is_coarse=entry["is_coarse"] is True
        )
    return Plan(
        tier=tier,
        reason=str(entry["reason"]),
        step_s=float(entry["step_s"]),
        evaluation_s=float(entry["evaluation_s"]),
        width=width,
        speedup=float(entry["speedup"]),
        n_parameters=n_parameters,
        memory=MemoryNeed(
            shared_bytes=float(memory["shared_bytes"]), member_bytes=float(memory["member_bytes"])
        ),
        way=way,
        untrained=frozenset(map(str, entry["untrained"])),
        is_remembered=True,
    )
