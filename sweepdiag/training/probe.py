"""Which way to train a pack, decided by trying: does fusing keep the curve, and does it pay?"""

from __future__ import annotations

import copy
import dataclasses
import enum
import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from sweepdiag.space import MEMBER_AXES
from sweepdiag.training.programs import FusedProgram, UnfusedProgram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.records import AxisValue, Pack
    from sweepdiag.training.members import Member, Timetable
    from sweepdiag.training.programs import Program
    from sweepdiag.workloads import PreparedWorkload

__all__ = [
    "PROBE_MEMBERS",
    "ProbeResult",
    "Structure",
    "Tier",
    "make_program",
    "probe",
    "structure",
]

logger = logging.getLogger(__name__)

_TIMED_STEPS = 4
_PROBE_STEPS = 1 + 3 * _TIMED_STEPS
PROBE_MEMBERS = 16
"""Members that are tried together."""

Structure: TypeAlias = "tuple[tuple[str, AxisValue], ...]"
"""What the trials of a pack have in common: every axis but the per-member ones."""
_CUDA_TOLERANCE = 1e-3
_LONG_STEP_S = 5e-3


class Tier(enum.StrEnum):
    """How the members of a pack are trained, fastest first."""

    FUSED = "fused"
    FUSED_SMALL_PRODUCTS = "fused, small products one by one"
    UNFUSED = "unfused"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeResult:
    """What was chosen for an architecture, why, and what it costs.

    Attributes:
        tier: How to train.
        reason: Why, in words.
        step_s: Seconds per step and member.
        evaluation_s: Seconds per evaluation and member.
    """

    tier: Tier
    reason: str
    step_s: float
    evaluation_s: float


def make_program(
    tier: Tier,
    members: Sequence[Member],
    *,
    prepared: PreparedWorkload,
    timetable: Timetable,
    device: str,
) -> Program:
    """Return the program that trains these members (exactly one if unfused)."""
    if tier is Tier.UNFUSED:
        return UnfusedProgram(members[0], prepared=prepared, timetable=timetable, device=device)
    return FusedProgram(
        members,
        prepared=prepared,
        timetable=timetable,
        device=device,
        exact_small_products=tier is Tier.FUSED_SMALL_PRODUCTS,
    )


def probe(
    members: Sequence[Member], *, prepared: PreparedWorkload, timetable: Timetable, device: str
) -> ProbeResult:
    """Return how to train members like these.

    A few steps are taken both ways from the same start. On the CPU the fused way is taken only if
    every recorded number and every parameter has the same bits; on a GPU, where rounding differs,
    if they agree within a tolerance. And it is taken only if it is faster.

    Args:
        members: What is to be trained; not changed.
        prepared: The data, on the device.
        timetable: Shared by all members.
        device: Where to train.

    Returns:
        The choice. Errors of the model itself are raised as they are.
    """
    alone = _Trial(members[:1], prepared, timetable, device).run(Tier.UNFUSED)
    if device == "cpu" and alone.step_s > _LONG_STEP_S:
        reason = f"a step takes {1000 * alone.step_s:.3g} ms, which is arithmetic, not overhead"
        return _result(Tier.UNFUSED, alone, reason)
    trial = _Trial(members[:PROBE_MEMBERS], prepared, timetable, device)
    alone = trial.run(Tier.UNFUSED)
    reason = "a single training is not fused"
    if len(members) > 1:
        for tier in (Tier.FUSED, Tier.FUSED_SMALL_PRODUCTS):
            fused, reason = trial.compare(tier, alone)
            if fused is not None:
                return _result(tier, fused, reason)
    return _result(Tier.UNFUSED, alone, reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    numbers: tuple[np.ndarray, ...]
    step_s: float
    evaluation_s: float


class _Trial:
    """A few steps of the same members, in one way or the other."""

    def __init__(
        self,
        members: Sequence[Member],
        prepared: PreparedWorkload,
        timetable: Timetable,
        device: str,
    ) -> None:
        self._members = members
        self._prepared = prepared
        self._timetable = dataclasses.replace(timetable, factors=np.ones_like(timetable.factors))
        self._device = device
        self._n_steps = min(_PROBE_STEPS, timetable.evaluations[-1])

    def run(self, tier: Tier) -> _Run:
        """Train copies of the members for a few steps."""
        members = [
            # At rates that move every parameter: at tiny ones a wrong gradient would not show.
            dataclasses.replace(member, model=copy.deepcopy(member.model), lr=lr)
            for member, lr in zip(self._members, _probe_rates(len(self._members)), strict=True)
        ]
        groups = [[member] for member in members] if tier is Tier.UNFUSED else [members]
        runs = [self._run_group(tier, group) for group in groups]
        parts_of_all = zip(*(run.numbers for run in runs), strict=True)
        return _Run(
            numbers=tuple(np.concatenate(parts) for parts in parts_of_all),
            step_s=sum(run.step_s for run in runs) / len(members),
            evaluation_s=sum(run.evaluation_s for run in runs) / len(members),
        )

    def compare(self, tier: Tier, alone: _Run) -> tuple[_Run | None, str]:
        """Return the fused run if it may be used, and why or why not."""
        try:
            fused = self.run(tier)
        except Exception as error:  # noqa: BLE001 - whatever an operation says, it cannot be fused
            reason = f"cannot be fused: {_first_line(error)}"
            if tier is Tier.FUSED:
                logger.warning("trained one by one, since the model %s", reason)
            return None, reason
        if not all(np.isfinite(numbers).any() for numbers in alone.numbers[:2]):
            return None, "every loss is NaN, so nothing can be compared"
        if not self._agree(fused, alone):
            return None, "fusing changes the curve's bits"
        speedup = (alone.step_s + 1e-9) / (fused.step_s + 1e-9)
        if speedup < 1.0:
            return None, f"fusing does not pay ({speedup:.2f} times as fast)"
        return fused, f"{speedup:.1f} times as fast as unfused"

    def _run_group(self, tier: Tier, members: Sequence[Member]) -> _Run:
        program = make_program(
            tier,
            members,
            prepared=self._prepared,
            timetable=self._timetable,
            device=self._device,
        )
        first_losses = program.advance(0, 1)  # pays for warming up, and is not timed
        started = time.perf_counter()
        losses = first_losses
        step_s = [math.inf]
        for step in range(1, self._n_steps - _TIMED_STEPS + 1, _TIMED_STEPS):
            step_started = time.perf_counter()
            losses = program.advance(step, step + _TIMED_STEPS)
            step_s.append((time.perf_counter() - step_started) / _TIMED_STEPS)
        stepped = time.perf_counter()
        evaluations = program.evaluate()
        ended = time.perf_counter()
        return _Run(
            numbers=(
                np.array(first_losses),
                np.array(losses),
                np.array([[t.loss, t.metric, v.loss, v.metric] for t, v in evaluations]),
                _parameters(program),
            ),
            # The fastest steps: whatever else the machine does only adds to the others. A training
            # that is over before anything could be timed costs nothing worth knowing.
            step_s=min(*step_s, stepped - started),
            evaluation_s=ended - stepped,
        )

    def _agree(self, fused: _Run, alone: _Run) -> bool:
        is_cpu = self._device == "cpu"
        return all(
            np.array_equal(a, b, equal_nan=True)
            if is_cpu
            else np.allclose(a, b, rtol=_CUDA_TOLERANCE, atol=_CUDA_TOLERANCE, equal_nan=True)
            for a, b in zip(fused.numbers, alone.numbers, strict=True)
        )


def _parameters(program: Program) -> np.ndarray:
    """Return the parameters of all members, shape ``(n_members, n_parameters)``."""
    if isinstance(program, FusedProgram):
        tensors = [p.flatten(1) for p in program.parameters.values()]
    else:
        model = program.members[0].model
        tensors = [p.detach().reshape(1, -1) for p in model.parameters() if p.requires_grad]
    return np.concatenate([tensor.cpu().numpy() for tensor in tensors], axis=1)


def _probe_rates(n_members: int) -> list[float]:
    return [float(rate) for rate in np.geomspace(0.003, 0.1, n_members)]


def _result(tier: Tier, run: _Run, reason: str) -> ProbeResult:
    return ProbeResult(tier=tier, reason=reason, step_s=run.step_s, evaluation_s=run.evaluation_s)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def structure(pack: Pack) -> Structure:
    """Return what the trials of a pack have in common: every axis but the per-member ones."""
    axes = pack.trials[0].axes
    return tuple((name, value) for name, value in sorted(axes.items()) if name not in MEMBER_AXES)
