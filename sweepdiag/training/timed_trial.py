"""A few real steps of some members, in one way or another: their numbers and what they cost."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
import re
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from sweepdiag.training.agreement import (
    fused_gradients,
    gradients_agree,
    have_same_bits,
    single_gradients,
)
from sweepdiag.training.memory import is_out_of_memory, measure_need, most_need
from sweepdiag.training.peak_memory import give_back, start_meter
from sweepdiag.training.programs import FusedProgram, make_program
from sweepdiag.workloads import StreamedSamples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from sweepdiag.training.fused_model import FusedModel
    from sweepdiag.training.measures import Evaluation
    from sweepdiag.training.members import Member, Timetable
    from sweepdiag.training.memory import MemoryNeed
    from sweepdiag.training.programs import Program
    from sweepdiag.workloads import PreparedWorkload

__all__ = ["CANNOT", "COMPARED", "Run", "TimedTrial", "compared_places", "own_model"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

COMPARED = 3
"""How many of the members that are fused for the trial are trained alone as well."""
CANNOT = "cannot be fused"
_BLOCKS = (0, 1, 3, 5)
"""Steps between which time is taken; the first one warms up."""
_ENOUGH_S = 0.05
"""Steps that take longer than this together are timed well enough."""
_TOLERANCE = 1e-3
_COARSE_TOLERANCE = 2e-2
"""Of gradients, where products are rounded to 8 or 11 binary digits, alone as well: in bfloat16,
gradients of MLPs differed by 3e-3 to 1.3e-2 (and by up to 0.12 from those of float32)."""
_LONG_STEP_S = 5e-3
_LEAST_S = 1e-9
_LEAST_WIDTH = 8
_SHARE_FOR_WIDTH = 0.01
"""Of a pack's training, what looking for a better width may cost."""
_CLEARLY_LESS = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Numbers of some steps, one row per member, and what they cost per member.

    Attributes:
        numbers: Mean losses of the first and the last steps, evaluations and parameters.
        start: Mean losses of the first step, and losses of the evaluation before it, if any.
        step_s: Seconds per step and member.
        evaluation_s: Seconds per evaluation and member.
        untrained: Parameters without a gradient.
        run_s: Seconds that the run took, all members together, without tracing.
    """

    numbers: tuple[np.ndarray, ...]
    start: tuple[np.ndarray, ...]
    step_s: float
    evaluation_s: float
    untrained: frozenset[str] = frozenset()
    run_s: float = 0.0


class TimedTrial:
    """A few steps of the same members, in one way or the other."""

    def __init__(
        self,
        members: Sequence[Member],
        prepared: PreparedWorkload,
        timetable: Timetable,
        device: str,
        *,
        is_fast: bool = False,
        ends_if_long: bool = False,
        n_threads: int = 1,
    ) -> None:
        """Take the members.

        Args:
            members: Not changed.
            prepared: The data, on the device.
            timetable: Shared by all members.
            device: Where to train.
            is_fast: Whether operations may round otherwise than alone.
            ends_if_long: Whether steps that are long on the CPU end the trial.
            n_threads: Threads of the CPU that the runs may take.
        """
        self._keeps_bits = device == "cpu" and not is_fast
        is_coarse = is_fast and device != "cpu"
        self._tolerance = _COARSE_TOLERANCE if is_coarse else _TOLERANCE
        # At rates that move every parameter: at tiny ones a wrong gradient would not show.
        self._members = [
            dataclasses.replace(member, lr=lr)
            for member, lr in zip(members, _probe_rates(len(members)), strict=True)
        ]
        self._timetable = dataclasses.replace(timetable, factors=np.ones_like(timetable.factors))
        self._device = device
        self._where: dict[str, Any] = {
            "prepared": prepared, "timetable": self._timetable, "device": device
        }  # fmt: skip
        # A long step on streamed data may be spent on reading, which fused members share.
        is_streamed = isinstance(prepared.train, StreamedSamples)
        self._ends_if_long = ends_if_long and device == "cpu" and not is_streamed
        self._is_one_thread = device == "cpu" and n_threads == 1 and not is_streamed
        n_steps = timetable.evaluations[-1]
        self._blocks = sorted({min(step, n_steps) for step in _BLOCKS})
        self._alone: list[Run] = []
        self._first_bytes = math.nan

    def run_alone(self, n: int) -> Run:
        """Train copies of up to ``n`` members for a few steps, one by one.

        Those that an earlier call has trained are not trained again. The very first one decides
        how many steps are worth their time.
        """
        places = compared_places(len(self._members))
        for place in places[len(self._alone) : n]:
            is_first = not self._alone
            meter = None
            if is_first:
                give_back(self._device)
                meter = start_meter(self._device)
            own = own_model(self._members[place])
            # Bits are compared at the end only, and the first run has warmed up for the others.
            begins = is_first or not self._keeps_bits
            self._alone.append(self.run(None, [own], is_first=is_first, evaluates_start=begins))
            if meter is not None:
                self._first_bytes = meter.grown_bytes()
        runs = self._alone
        return Run(
            numbers=_joined([run.numbers for run in runs]),
            start=_joined([run.start for run in runs]),
            step_s=min(run.step_s for run in runs),
            evaluation_s=min(run.evaluation_s for run in runs),
            untrained=frozenset.intersection(*(run.untrained for run in runs)),
            run_s=sum(run.run_s for run in runs),
        )

    def limit(self, n_members: int) -> None:
        """Try no more members than so many, those that are compared among them."""
        places = compared_places(len(self._members))
        compared = [self._members[place] for place in places]
        others = (m for place, m in enumerate(self._members) if place not in places)
        own = dict(zip(compared_places(n_members), compared, strict=False))
        self._members = [own.get(place) or next(others) for place in range(n_members)]

    def most_need_alone(self) -> MemoryNeed:
        """Return the memory that a member takes alone at most, once a run has warmed up."""
        return most_need(self._first_bytes, self._members[0], timetable=self._timetable)

    def need_alone(self, record: Sequence[str]) -> MemoryNeed:
        """Return the memory that a member takes alone, once a run has warmed up."""
        return self._need(None, [own_model(self._members[0])], record)

    def need(self, model: FusedModel, record: Sequence[str], width: int | None) -> MemoryNeed:
        """Return the memory that members take in a program that has run before."""
        return self._need(model, self._members[:width], record)

    def _need(
        self, model: FusedModel | None, members: Sequence[Member], record: Sequence[str]
    ) -> MemoryNeed:
        return measure_need(
            lambda some: make_program(model, some, record=record, **self._where),
            members,
            timetable=self._timetable,
            device=self._device,
        )

    def is_arithmetic(self, alone: Run) -> bool:
        """Return whether steps alone are so long that fusing has nothing to save."""
        return self._ends_if_long and alone.step_s > _LONG_STEP_S

    def compare(self, model: FusedModel, alone: Run) -> tuple[Run | None, str]:
        """Return the fused run if it may be used, and why not."""
        try:
            fused = self.run(model, self._members)
        except Exception as error:  # whatever an operation says, it cannot be fused
            if is_out_of_memory(error):
                raise
            return None, f"{CANNOT}: {_plainly(error)}"
        if not self.is_comparable(alone):
            return None, "every loss is NaN, so nothing can be compared"
        places = compared_places(len(self._members))
        if not self._keeps_bits:
            if not self._agree(model, fused, alone, places):
                return None, "fusing changes the gradients"
        elif not have_same_bits([numbers[places] for numbers in fused.numbers], alone.numbers):
            return None, "fusing changes the curve's bits"
        return fused, ""

    def is_comparable(self, run: Run) -> bool:
        """Return whether there is any loss that is a number."""
        return all(np.isfinite(numbers).any() for numbers in run.numbers[:2])

    def why_not_faster(self, run: Run, than: Run) -> str:
        """Return why one way does not pay over another; nothing if it does."""
        speedup = self.seconds(than) / self.seconds(run)
        if speedup * _CLEARLY_LESS < 1.0:
            return f"fusing does not pay ({speedup:.2f} times as fast)"
        return ""

    def seconds(self, run: Run) -> float:
        """Return what a whole training costs, evaluations included."""
        evaluations = self._timetable.evaluations
        return max(evaluations[-1] * run.step_s + len(evaluations) * run.evaluation_s, _LEAST_S)

    def best_width(self, model: FusedModel, fused: Run) -> tuple[int | None, Run]:
        """Return how many members to train together (``None``: all), and what that costs.

        What all members hold should fit into the cache; where fewer at a time are faster, halves
        are tried, as long as the training is long enough to make up for trying.
        """
        width = len(self._members)
        n_members = width
        while width >= 2 * _LEAST_WIDTH and self._pays_to_halve(model, fused):
            half = -(-width // 2)
            try:
                narrower = self.run(model, self._members[:half])
            except Exception as error:  # noqa: BLE001 - what works is kept
                logger.debug("no narrower pack: %s", error)
                break
            if self.seconds(narrower) > _CLEARLY_LESS * self.seconds(fused):
                break
            width, fused = half, narrower
        return (width if width < n_members else None), fused

    def _pays_to_halve(self, model: FusedModel, fused: Run) -> bool:
        cost_s = fused.run_s / 2 + model.layout_s
        return cost_s < _SHARE_FOR_WIDTH * len(self._members) * self.seconds(fused)

    def run(
        self,
        model: FusedModel | None,
        members: Sequence[Member],
        *,
        is_first: bool = False,
        evaluates_start: bool = True,
    ) -> Run:
        """Take a few steps between two evaluations.

        Args:
            model: The fused model; ``None`` for one member alone.
            members: Who is trained; a member alone is trained in place.
            is_first: Whether this run decides how many steps are taken. If it also ends the
                trial, it does without a second evaluation.
            evaluates_start: Whether there is a first evaluation.
        """
        clock = self._clock()
        started = clock()
        made_before_s = model.made_s if model else 0.0
        program = make_program(model, members, **self._where)
        before: list[tuple[Evaluation, Evaluation]] = []
        evaluation_s = math.nan
        if evaluates_start:  # which warms up
            before, evaluation_s = _timed(clock, lambda: program.evaluate().result())
        first_losses = program.advance(0, 1).result()  # pays for warming up, and is not timed
        losses, step_s = self._advance(program, clock, is_first=is_first)
        evaluations = before
        if not (is_first and self._ends_if_long and step_s > _LONG_STEP_S):
            evaluations, evaluation_s = _timed(clock, lambda: program.evaluate().result())
        run_s = clock() - started
        return Run(
            numbers=(
                np.array(first_losses),
                np.array(losses or first_losses),
                np.array([[t.loss, t.metric, v.loss, v.metric] for t, v in evaluations]),
                _parameters(program),
            ),
            start=(
                np.array(first_losses),
                np.array([[t.loss, v.loss] for t, v in before]).reshape(-1, 2),
            ),
            step_s=step_s / len(members),
            evaluation_s=evaluation_s / len(members),
            untrained=frozenset() if model else _untrained(members[0].model),
            run_s=run_s - ((model.made_s if model else 0.0) - made_before_s),
        )

    def _clock(self) -> Callable[[], float]:
        """Return what tells the time: that of this thread where it does all the work.

        Whatever else a busy machine does then counts for nothing.
        """
        return time.thread_time if self._is_one_thread else time.perf_counter

    def _advance(
        self, program: Program, clock: Callable[[], float], *, is_first: bool
    ) -> tuple[list[float], float]:
        """Take the timed steps; return the mean losses of the last block, and seconds per step.

        The fastest block counts: whatever else the machine does only adds to the others. A
        training that is over before anything could be timed costs nothing worth knowing.
        """
        losses: list[float] = []
        spent_s, fastest_s = 0.0, math.inf
        for place in range(2, len(self._blocks)):
            step, stop = self._blocks[place - 1 : place + 1]
            losses, block_s = _timed(clock, partial(_advanced, program, step, stop))
            spent_s += block_s
            fastest_s = min(fastest_s, block_s / (stop - step))
            if is_first and spent_s > _ENOUGH_S:
                self._blocks = self._blocks[: place + 1]
                break
        return losses, (fastest_s if losses else 0.0)

    def _agree(self, model: FusedModel, fused: Run, alone: Run, places: Sequence[int]) -> bool:
        """Return whether losses and gradients at the start are the same up to rounding."""
        for found, expected in zip(fused.start, alone.start, strict=True):
            bounds = {"rtol": self._tolerance, "atol": self._tolerance}
            if not np.allclose(found[places], expected, equal_nan=True, **bounds):
                return False
        of_members = fused_gradients(model, self._members, **self._where)
        return all(
            gradients_agree(
                of_members[place],
                single_gradients(self._members[place], rounding=model.rounding, **self._where),
                tolerance=self._tolerance,
            )
            for place in places
        )


def own_model(member: Member) -> Member:
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


_IN_PLAIN_WORDS = (
    (
        re.compile(r"data-dependent|\.item\(\)"),
        "what it computes is data-dependent (.item(), an if on a tensor, packed sequences)",
    ),
    (
        re.compile(r"(aten::(lstm|gru|rnn)\w*)"),
        "LSTM, GRU and RNN layers have no form for several members ({})",
    ),
)
"""What PyTorch's errors come from, where that is known."""


def _plainly(error: Exception) -> str:
    """Return why a model cannot be fused, in the user's terms where they are known."""
    lines = str(error).strip().splitlines()
    for pattern, words in _IN_PLAIN_WORDS:
        found = pattern.search(str(error))
        if found is not None:
            return words.format(found.group())
    return lines[0] if lines else type(error).__name__


def compared_places(n_members: int) -> list[int]:
    """Return the places of the members that are compared, the first and the last among them."""
    last = n_members - 1
    return sorted({round(place) for place in np.linspace(0, last, min(COMPARED, n_members))})


def _timed(clock: Callable[[], float], function: Callable[[], T]) -> tuple[T, float]:
    started = clock()
    result = function()
    return result, clock() - started


def _advanced(program: Program, step: int, stop: int) -> list[float]:
    return program.advance(step, stop).result()
