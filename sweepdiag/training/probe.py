"""Which way to train a pack, decided by trying: does fusing keep the curve, and does it pay?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sweepdiag.records import PackSettings
from sweepdiag.training.fused_model import FusedModel
from sweepdiag.training.plans import Plan, Tier, allowed_ways
from sweepdiag.training.suitability import why_unsuitable
from sweepdiag.training.timed_trial import CANNOT, COMPARED, Run, TimedTrial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.training.members import Member, Timetable
    from sweepdiag.training.memory import MemoryNeed
    from sweepdiag.training.plans import Way
    from sweepdiag.workloads import PreparedWorkload

__all__ = ["PROBE_MEMBERS", "probe"]

PROBE_MEMBERS = 64
"""Members that are fused for the trial, at most."""
_SINGLE = "a single training is not fused"
_NO_ROOM = "there is no memory for two at a time"


def probe(
    members: Sequence[Member],
    *,
    prepared: PreparedWorkload,
    timetable: Timetable,
    device: str,
    numerics: str = "exact",
    record: Sequence[str] = (),
    packing: PackSettings | None = None,
    room_bytes: float = math.inf,
) -> Plan:
    """Return how to train members like these.

    A few steps are taken both ways from the same start. On the CPU the fused way is taken only if
    every recorded number and every parameter has the same bits; on a GPU, where rounding differs,
    and where it may differ, if losses and gradients of the first step agree within a tolerance.
    And it is taken only if it is faster, or asked for.

    Args:
        members: What is to be trained; not changed.
        prepared: The data, on the device.
        timetable: Shared by all members.
        device: Where to train.
        numerics: ``exact``, or ``fast`` to allow operations that round otherwise.
        record: What else to record.
        packing: What the user has decided. A tier that cannot be had is left for ``unfused``.
        room_bytes: Memory that they may take; no more of them are tried at a time than fit.

    Returns:
        The choice. Errors of the model itself are raised as they are.
    """
    packing = packing or PackSettings()
    tried = members[: min(packing.width or PROBE_MEMBERS, PROBE_MEMBERS)]
    is_fast = numerics == "fast"
    trial = TimedTrial(
        tried,
        prepared,
        timetable,
        device,
        is_fast=is_fast,
        ends_if_long=packing.tier == "auto",
    )
    alone = trial.run_alone(1)
    reason = _why_alone(trial, alone, tried, prepared, packing.tier)
    if reason:
        return _unfused(alone, reason, tried[0], trial.need_alone(record))
    n_fitting = _n_fitting(trial, len(tried), room_bytes, record)
    is_lasting = n_fitting == len(tried)
    if n_fitting < 2:
        need = trial.need_alone(record)
        return _unfused(alone, _NO_ROOM, tried[0], need, is_lasting=False)
    trial.limit(n_fitting)
    best: tuple[Run, FusedModel, Way] | None = None
    alone = trial.run_alone(COMPARED)
    for way in allowed_ways(device, is_fast=is_fast, wanted=packing.tier):
        if best is not None and (way.tier is Tier.VMAP or not is_fast):
            break
        model = make_fused_model(
            way, tried[0], prepared=prepared, untrained=alone.untrained, record=record
        )
        fused, why_not = trial.compare(model, alone)
        if fused is not None and packing.tier == "auto":
            why_not = trial.why_not_faster(fused, alone)
        reason = why_not or reason
        if fused is None or why_not:
            continue
        if best is None or trial.seconds(fused) < trial.seconds(best[0]):
            best = fused, model, way
    if best is None:
        is_lasting = is_lasting and trial.is_comparable(alone)
        need = trial.need_alone(record)
        return _unfused(alone, reason, tried[0], need, is_lasting=is_lasting)
    fused, model, way = best
    width = packing.width
    if packing.width is None:
        width, fused = trial.best_width(model, fused)
    speedup = trial.seconds(alone) / trial.seconds(fused)
    return Plan(
        tier=way.tier,
        reason=f"{speedup:.1f} times as fast as unfused",
        step_s=fused.step_s,
        evaluation_s=fused.evaluation_s,
        width=width,
        speedup=speedup,
        n_parameters=tried[0].n_parameters,
        memory=trial.need(model, record, width),
        model=model,
        way=way,
        untrained=alone.untrained,
        is_lasting=is_lasting,
    )


def make_fused_model(
    way: Way,
    member: Member,
    *,
    prepared: PreparedWorkload,
    untrained: frozenset[str],
    record: Sequence[str],
) -> FusedModel:
    """Return the fused model of a member's architecture, of which nothing is traced yet."""
    return FusedModel(
        member.model,
        prepared=prepared,
        untrained=untrained,
        is_traced=way.tier is Tier.TRACED,
        is_exact=way.is_exact,
        is_coarse=way.is_coarse,
        is_watched="gradients" in record,
    )


def _why_alone(
    trial: TimedTrial,
    alone: Run,
    members: Sequence[Member],
    prepared: PreparedWorkload,
    wanted: str,
) -> str:
    """Return why nothing else than single trainings is worth trying; nothing if it is."""
    if wanted == "unfused":
        return "as asked"
    if trial.is_arithmetic(alone):
        return f"a step takes {1000 * alone.step_s:.3g} ms, which is arithmetic, not overhead"
    if len(members) == 1:
        return _SINGLE
    why_not = why_unsuitable(members[0].model, prepared.train.examples)
    return "" if why_not is None else f"{CANNOT}: {why_not}"


def _n_fitting(trial: TimedTrial, n_members: int, room_bytes: float, record: Sequence[str]) -> int:
    """Return how many members have room, measured where it is not plenty."""
    n_fitting = trial.most_need_alone().fitting(n_members, room_bytes)
    if n_fitting < n_members:
        n_fitting = trial.need_alone(record).fitting(n_members, room_bytes)
    return n_fitting


def _unfused(
    alone: Run, reason: str, member: Member, need: MemoryNeed, *, is_lasting: bool = True
) -> Plan:
    return Plan(
        tier=Tier.UNFUSED,
        reason=reason,
        step_s=alone.step_s,
        evaluation_s=alone.evaluation_s,
        n_parameters=member.n_parameters,
        memory=need,
        untrained=alone.untrained,
        is_lasting=is_lasting,
    )
