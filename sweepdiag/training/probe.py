"""Which way to train a pack, decided by trying: does fusing keep the curve, and does it pay?"""

from __future__ import annotations

import copy
import dataclasses
import enum
import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sweepdiag.space import MEMBER_AXES
from sweepdiag.training.agreement import (
    fused_gradients,
    gradients_agree,
    have_same_bits,
    single_gradients,
)
from sweepdiag.training.fused_model import FusedModel
from sweepdiag.training.memory import MemoryNeed, is_out_of_memory, measure_need
from sweepdiag.training.programs import FusedProgram, UnfusedProgram
from sweepdiag.training.suitability import why_unsuitable
from sweepdiag.workloads import StreamedSamples

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from sweepdiag.records import AxisValue, Pack
    from sweepdiag.training.members import Member, Timetable
    from sweepdiag.training.programs import Program
    from sweepdiag.workloads import PreparedWorkload

__all__ = [
    "PROBE_MEMBERS",
    "Plan",
    "Structure",
    "Tier",
    "make_program",
    "probe",
    "structure",
]

logger = logging.getLogger(__name__)

_TIMED_STEPS = 4
_PROBE_STEPS = 1 + 2 * _TIMED_STEPS
PROBE_MEMBERS = 64
"""Members that are fused for the trial, at most."""
_COMPARED = 3
"""Of these, how many are trained alone as well."""

Structure: TypeAlias = "tuple[tuple[str, AxisValue], ...]"
"""What the trials of a pack have in common: every axis but the per-member ones."""
_TOLERANCE = 1e-3
_COARSE_TOLERANCE = 2e-2
"""Of gradients, where products are rounded to 8 or 11 binary digits, alone as well: in bfloat16,
gradients of MLPs differed by 3e-3 to 1.3e-2 (and by up to 0.12 from those of float32)."""
_LONG_STEP_S = 5e-3
_LEAST_S = 1e-9
_LEAST_WIDTH = 8
_LONG_PACK_S = 2.0
"""Tracing for another width costs a tenth of a second, and wins a tenth or two of the time."""
_CLEARLY_LESS = 0.95
_CANNOT = "cannot be fused"


class Tier(enum.StrEnum):
    """How the members of a pack are trained, fastest first."""

    TRACED = "fused and traced"
    VMAP = "fused"
    UNFUSED = "unfused"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What was chosen for an architecture, why, and what it costs.

    Attributes:
        tier: How to train.
        reason: Why, in words.
        step_s: Seconds per step and member.
        evaluation_s: Seconds per evaluation and member.
        width: Most members that are trained together; ``None``: as many as there are.
        speedup: Time of trainings one by one over that of the chosen way.
        n_parameters: Trainable numbers of one member.
        memory: What the members take; ``None`` if it has not been measured.
        model: The fused step and evaluation; ``None`` if unfused.
    """

    tier: Tier
    reason: str
    step_s: float
    evaluation_s: float
    width: int | None = None
    speedup: float = 1.0
    n_parameters: int = 0
    memory: MemoryNeed | None = None
    model: FusedModel | None = None


def make_program(
    model: FusedModel | None,
    members: Sequence[Member],
    *,
    prepared: PreparedWorkload,
    timetable: Timetable,
    device: str,
    record: Sequence[str] = (),
) -> Program:
    """Return the program that trains these members; exactly one where there is no fused model."""
    if model is None:
        return UnfusedProgram(
            members[0], prepared=prepared, timetable=timetable, device=device, record=record
        )
    return FusedProgram(
        members,
        model=model,
        prepared=prepared,
        timetable=timetable,
        device=device,
        record=record,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Way:
    """A way to train members together."""

    tier: Tier
    is_exact: bool
    is_coarse: bool = False


def _ways(device: str, *, is_fast: bool) -> tuple[_Way, ...]:
    """Return the ways to fuse that are allowed; later ones matter where earlier ones fail.

    Where equal bits are promised, only a traced step keeps them. Where speed is wanted, the traced
    ones compete.
    """
    is_cpu = device == "cpu"
    traced = _Way(tier=Tier.TRACED, is_exact=is_cpu)
    untraced = _Way(tier=Tier.VMAP, is_exact=False)
    if not is_fast:
        return (traced,) if is_cpu else (traced, untraced)
    other = _Way(tier=Tier.TRACED, is_exact=False, is_coarse=not is_cpu)
    return (traced, other, untraced)


def probe(
    members: Sequence[Member],
    *,
    prepared: PreparedWorkload,
    timetable: Timetable,
    device: str,
    numerics: str = "exact",
    record: Sequence[str] = (),
    room_bytes: float = math.inf,
) -> Plan:
    """Return how to train members like these.

    A few steps are taken both ways from the same start. On the CPU the fused way is taken only if
    every recorded number and every parameter has the same bits; on a GPU, where rounding differs,
    and where it may differ, if losses and gradients of the first step agree within a tolerance.
    And it is taken only if it is faster.

    Args:
        members: What is to be trained; not changed.
        prepared: The data, on the device.
        timetable: Shared by all members.
        device: Where to train.
        numerics: ``exact``, or ``fast`` to allow operations that round otherwise.
        record: What else to record.
        room_bytes: Memory that they may take; no more of them are tried at a time than fit.

    Returns:
        The choice. Errors of the model itself are raised as they are.
    """
    is_fast = numerics == "fast"
    trial = _Trial(members[:PROBE_MEMBERS], prepared, timetable, device, is_fast=is_fast)
    alone = trial.run_alone(1)
    need = trial.need_alone(record)
    # A long step on streamed data may be spent on reading, which members that are fused share.
    is_streamed = isinstance(prepared.train, StreamedSamples)
    if device == "cpu" and alone.step_s > _LONG_STEP_S and not is_streamed:
        reason = f"a step takes {1000 * alone.step_s:.3g} ms, which is arithmetic, not overhead"
        return _unfused(alone, reason, members[0], need)
    if len(members) == 1:
        return _unfused(alone, "a single training is not fused", members[0], need)
    why_not = why_unsuitable(members[0].model, prepared.train.examples)
    if why_not is not None:
        logger.warning("trained one by one, since the model %s: %s", _CANNOT, why_not)
        return _unfused(alone, f"{_CANNOT}: {why_not}", members[0], need)
    n_fitting = need.fitting(len(members[:PROBE_MEMBERS]), room_bytes)
    if n_fitting < 2:
        return _unfused(alone, "there is no memory for two at a time", members[0], need)
    trial.limit(n_fitting)
    alone = trial.run_alone(_COMPARED)
    best: tuple[_Run, Tier, FusedModel] | None = None
    reason = ""
    for way in _ways(device, is_fast=is_fast):
        if best is not None and (way.tier is Tier.VMAP or not is_fast):
            break
        model = FusedModel(
            members[0].model,
            prepared=prepared,
            untrained=alone.untrained,
            is_traced=way.tier is Tier.TRACED,
            is_exact=way.is_exact,
            is_coarse=way.is_coarse,
            is_watched="gradients" in record,
        )
        fused, reason = trial.compare(model, alone)
        if fused is not None and (best is None or trial.seconds(fused) < trial.seconds(best[0])):
            best = fused, way.tier, model
    if best is not None:
        fused, tier, model = best
        width, fused = trial.best_width(model, fused)
        speedup = trial.seconds(alone) / trial.seconds(fused)
        return Plan(
            tier=tier,
            reason=f"{speedup:.1f} times as fast as unfused",
            step_s=fused.step_s,
            evaluation_s=fused.evaluation_s,
            width=width,
            speedup=speedup,
            n_parameters=members[0].n_parameters,
            memory=trial.need(model, record, width),
            model=model,
        )
    if reason.startswith(_CANNOT):
        logger.warning("trained one by one, since the model %s", reason)
    return _unfused(alone, reason, members[0], need)


def _unfused(alone: _Run, reason: str, member: Member, need: MemoryNeed) -> Plan:
    return Plan(
        tier=Tier.UNFUSED,
        reason=reason,
        step_s=alone.step_s,
        evaluation_s=alone.evaluation_s,
        n_parameters=member.n_parameters,
        memory=need,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """Numbers of some steps, one row per member, and what they cost per member.

    Attributes:
        numbers: Mean losses of the first and the last steps, evaluations and parameters.
        start: Mean losses of the first step, and losses of the evaluation before it.
        step_s: Seconds per step and member.
        evaluation_s: Seconds per evaluation and member.
        untrained: Parameters without a gradient.
    """

    numbers: tuple[np.ndarray, ...]
    start: tuple[np.ndarray, ...]
    step_s: float
    evaluation_s: float
    untrained: frozenset[str] = frozenset()


class _Trial:
    """A few steps of the same members, in one way or the other."""

    def __init__(
        self,
        members: Sequence[Member],
        prepared: PreparedWorkload,
        timetable: Timetable,
        device: str,
        *,
        is_fast: bool = False,
    ) -> None:
        self._keeps_bits = device == "cpu" and not is_fast
        is_coarse = is_fast and device != "cpu"
        self._tolerance = _COARSE_TOLERANCE if is_coarse else _TOLERANCE
        # At rates that move every parameter: at tiny ones a wrong gradient would not show.
        self._members = [
            dataclasses.replace(member, lr=lr)
            for member, lr in zip(members, _probe_rates(len(members)), strict=True)
        ]
        self._prepared = prepared
        self._timetable = dataclasses.replace(timetable, factors=np.ones_like(timetable.factors))
        self._device = device
        self._n_steps = min(_PROBE_STEPS, timetable.evaluations[-1])

    def _compared(self, n: int) -> list[int]:
        """Return the places of up to ``n`` members, the first and the last among them."""
        last = len(self._members) - 1
        return sorted({round(place) for place in np.linspace(0, last, min(n, last + 1))})

    def run_alone(self, n: int) -> _Run:
        """Train copies of up to ``n`` members for a few steps, one by one."""
        runs = [self._run(None, [_own(self._members[place])]) for place in self._compared(n)]
        return _Run(
            numbers=_joined([run.numbers for run in runs]),
            start=_joined([run.start for run in runs]),
            step_s=min(run.step_s for run in runs),
            evaluation_s=min(run.evaluation_s for run in runs),
            untrained=frozenset.intersection(*(run.untrained for run in runs)),
        )

    def limit(self, n_members: int) -> None:
        """Try no more members than so many."""
        self._members = self._members[:n_members]

    def need_alone(self, record: Sequence[str]) -> MemoryNeed:
        """Return the memory that a member takes alone, once a run has warmed up."""
        return self._need(None, [_own(self._members[0])], record)

    def need(self, model: FusedModel, record: Sequence[str], width: int | None) -> MemoryNeed:
        """Return the memory that members take in a program that has run before."""
        return self._need(model, self._members[:width], record)

    def _need(
        self, model: FusedModel | None, members: Sequence[Member], record: Sequence[str]
    ) -> MemoryNeed:
        common: Any = {
            "prepared": self._prepared, "timetable": self._timetable, "device": self._device
        }  # fmt: skip
        return measure_need(
            lambda some: make_program(model, some, record=record, **common),
            members,
            timetable=self._timetable,
            device=self._device,
        )

    def compare(self, model: FusedModel, alone: _Run) -> tuple[_Run | None, str]:
        """Return the fused run if it may be used, and why or why not."""
        try:
            fused = self._run(model, self._members)
        except Exception as error:  # whatever an operation says, it cannot be fused
            if is_out_of_memory(error):
                raise
            return None, f"{_CANNOT}: {_first_line(error)}"
        if not all(np.isfinite(numbers).any() for numbers in alone.numbers[:2]):
            return None, "every loss is NaN, so nothing can be compared"
        places = self._compared(len(alone.numbers[0]))
        if not self._keeps_bits:
            if not self._agree(model, fused, alone, places):
                return None, "fusing changes the gradients"
        elif not have_same_bits([numbers[places] for numbers in fused.numbers], alone.numbers):
            return None, "fusing changes the curve's bits"
        speedup = self.seconds(alone) / self.seconds(fused)
        if speedup * _CLEARLY_LESS < 1.0:
            return None, f"fusing does not pay ({speedup:.2f} times as fast)"
        return fused, ""

    def seconds(self, run: _Run) -> float:
        """Return what a whole training costs, evaluations included."""
        evaluations = self._timetable.evaluations
        return max(evaluations[-1] * run.step_s + len(evaluations) * run.evaluation_s, _LEAST_S)

    def best_width(self, model: FusedModel, fused: _Run) -> tuple[int | None, _Run]:
        """Return how many members to train together (``None``: all), and what that costs.

        What all members hold should fit into the cache; where fewer at a time are faster, halves
        are tried, as long as the training is long enough to make up for trying.
        """
        width = len(self._members)
        n_members = width
        while width >= 2 * _LEAST_WIDTH and width * self.seconds(fused) > _LONG_PACK_S:
            half = -(-width // 2)
            try:
                narrower = self._run(model, self._members[:half])
            except Exception as error:  # noqa: BLE001 - what works is kept
                logger.debug("no narrower pack: %s", error)
                break
            if self.seconds(narrower) > _CLEARLY_LESS * self.seconds(fused):
                break
            width, fused = half, narrower
        return (width if width < n_members else None), fused

    def _run(self, model: FusedModel | None, members: Sequence[Member]) -> _Run:
        program = make_program(
            model,
            members,
            prepared=self._prepared,
            timetable=self._timetable,
            device=self._device,
        )
        before = program.evaluate().result()  # warms up as well
        first_losses = program.advance(0, 1).result()  # pays for warming up, and is not timed
        started = time.perf_counter()
        losses = first_losses
        step_s = [math.inf]
        for step in range(1, self._n_steps, _TIMED_STEPS):
            stop = min(step + _TIMED_STEPS, self._n_steps)
            step_started = time.perf_counter()
            losses = program.advance(step, stop).result()
            step_s.append((time.perf_counter() - step_started) / (stop - step))
        stepped = time.perf_counter()
        evaluation_started = time.perf_counter()
        evaluations = program.evaluate().result()
        ended = time.perf_counter()
        return _Run(
            numbers=(
                np.array(first_losses),
                np.array(losses),
                np.array([[t.loss, t.metric, v.loss, v.metric] for t, v in evaluations]),
                _parameters(program),
            ),
            start=(np.array(first_losses), np.array([[t.loss, v.loss] for t, v in before])),
            # The fastest steps: whatever else the machine does only adds to the others. A training
            # that is over before anything could be timed costs nothing worth knowing.
            step_s=min(*step_s, stepped - started) / len(members),
            evaluation_s=(ended - evaluation_started) / len(members),
            untrained=frozenset() if model else _untrained(members[0].model),
        )

    def _agree(self, model: FusedModel, fused: _Run, alone: _Run, places: Sequence[int]) -> bool:
        """Return whether losses and gradients at the start are the same up to rounding."""
        for found, expected in zip(fused.start, alone.start, strict=True):
            bounds = {"rtol": self._tolerance, "atol": self._tolerance}
            if not np.allclose(found[places], expected, equal_nan=True, **bounds):
                return False
        where: Any = {
            "prepared": self._prepared, "timetable": self._timetable, "device": self._device
        }  # fmt: skip
        of_members = fused_gradients(model, self._members, **where)
        return all(
            gradients_agree(
                of_members[place],
                single_gradients(self._members[place], rounding=model.rounding, **where),
                tolerance=self._tolerance,
            )
            for place in places
        )


def _own(member: Member) -> Member:
    """Return the member with a model of its own, which may be trained."""
    return dataclasses.replace(member, model=copy.deepcopy(member.model))


def _joined(of_runs: Sequence[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    return tuple(np.concatenate(parts) for parts in zip(*of_runs, strict=True))


def _untrained(model: torch.nn.Module) -> frozenset[str]:
    """Return the parameters that the last step gave no gradient: no optimizer touches them."""
    return frozenset(
        name for name, p in model.named_parameters() if p.requires_grad and p.grad is None
    )


def _parameters(program: Program) -> np.ndarray:
    """Return the parameters of all members, shape ``(n_members, n_parameters)``."""
    if isinstance(program, FusedProgram):
        n_members = len(program.members)
        tensors = [p.reshape(n_members, -1) for p in program.parameters.views.values()]
    else:
        model = program.members[0].model
        left = _untrained(model)
        tensors = [
            p.detach().reshape(1, -1)
            for name, p in model.named_parameters()
            if p.requires_grad and name not in left
        ]
    return np.concatenate([tensor.cpu().double().numpy() for tensor in tensors], axis=1)


def _probe_rates(n_members: int) -> list[float]:
    return [float(rate) for rate in np.geomspace(0.003, 0.1, n_members)]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def structure(pack: Pack) -> Structure:
    """Return what the trials of a pack have in common: every axis but the per-member ones."""
    axes = pack.trials[0].axes
    return tuple((name, value) for name, value in sorted(axes.items()) if name not in MEMBER_AXES)
