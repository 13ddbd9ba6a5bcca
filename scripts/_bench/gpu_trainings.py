"""Trainings per second on a GPU: the grid of trainings.py by what people use there.

The most telling figures come first, and each is written as soon as it is known: what fails or is
cut off takes no other with it. Without a GPU the same is run on the CPU, without CUDA graphs.

sweepdiag_cold    a new process, from its start to its last trial: imports, probes and traces
sweepdiag_warm    the same packs again in that process, one after the other
…_N_packs         the same with N packs that take turns on the device
plain_loop        what an expert writes: tensors on the device, nothing read back but once an epoch
loop_cuda_graph   the plain loop with its step captured as a CUDA graph
step_…, copy_…    what the largest pack's step moves and computes, against a copy and a product
jax, jax_cold     jit(vmap(scan)) over whole trainings, without and with compiling
tutorial_vmap     PyTorch's tutorial on model ensembling
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from _bench.gpu import WHY_NO_HFTA, train_by_captured_loop, utilization
from _bench.jax_sweep import train_by_jax, why_not
from _bench.results import Results, add_options, device_name
from _bench.trainings import (
    CASES,
    MOMENTUM,
    Case,
    Curve,
    device,
    difference,
    evaluate_by_loop,
    fastest_form,
    loss_gap,
    make_trainer,
    optimizer_of,
    packs_of,
    settings_of,
    timed,
    train_by_loop,
    train_by_sweepdiag,
    train_by_tutorial,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sweepdiag.workloads import PreparedWorkload

    Figures: TypeAlias = Iterator[tuple[str, float, str]]

_PACKS_AT_ONCE = (1, 2, 4, 8)
_N_LOOPS = 8
"""Trials of the grid that are trained one by one; these take the same time in any number."""


class Row:
    """A case's figures, and what later ones are compared with."""

    def __init__(self, case: Case, results: Results) -> None:
        self.case = replace(case, n_sampled=_N_LOOPS)
        self.results = results
        self.packs = packs_of(case)
        self.n_trials = len(case.trials())
        self.data: PreparedWorkload = case.prepared().to(device())
        self.warm_s = float("nan")

    def parts(self) -> list[Callable[[], Figures]]:
        """Return what to measure, in this order."""
        return [
            self.sweepdiag, self.loops, self.utilization, self.agreement, self.jax, self.tutorial
        ]  # fmt: skip

    def sweepdiag(self) -> Figures:
        began = time.time()
        command = [sys.executable, "-m", "_bench.gpu_trainings", "--child"]
        done = subprocess.run(
            command,
            input=json.dumps(vars(self.case)),
            env={**os.environ, "SWEEPDIAG_CACHE_DIR": "off"},  # nothing is remembered from before
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr[-2000:])
        found = json.loads(done.stdout.splitlines()[-1])
        yield "sweepdiag_cold", self.n_trials / (found["cold_ended"] - began), "trials/s"
        for n_at_once, seconds in zip(_PACKS_AT_ONCE, found["warm_s"], strict=True):
            name = "sweepdiag_warm" if n_at_once == 1 else f"sweepdiag_warm_{n_at_once}_packs"
            yield name, self.n_trials / seconds, "trials/s"
        self.warm_s = min(found["warm_s"]) / self.n_trials
        yield "sweepdiag_memory", found["memory_gb"], "GB"

    def loops(self) -> Figures:
        case, data = self.case, self.data
        form, sampled = fastest_form(case, data), case.sampled(_N_LOOPS)
        loop_s = timed(lambda: [train_by_loop(t, data, case.epochs, form) for t in sampled])
        yield "plain_loop", _N_LOOPS / loop_s, "trials/s"
        yield "warm_over_plain_loop", loop_s / _N_LOOPS / self.warm_s, "x"
        if not torch.cuda.is_available():
            self.results.skip(case.name, "loop_cuda_graph", "no CUDA graphs on this device")
        make = optimizer_of(form)
        graph_s = timed(
            lambda: [
                train_by_captured_loop(t, data, case.epochs, make, evaluate_by_loop)
                for t in sampled
            ]
        )
        if torch.cuda.is_available():
            yield "loop_cuda_graph", _N_LOOPS / graph_s, "trials/s"
            yield "warm_over_loop_cuda_graph", graph_s / _N_LOOPS / self.warm_s, "x"

    def utilization(self) -> Figures:
        trainer = make_trainer(self.case, self.data)
        for name, pack in (("small", self.packs[0]), ("large", self.packs[-1])):
            for column, value, unit in utilization(
                trainer, pack, self.data, settings_of(self.case)
            ):
                yield f"{name}_{column}", value, unit

    def agreement(self) -> Figures:
        # Where rates are high, rounding alone drives curves apart: compared is the lower half.
        calm = sorted(self.case.sampled(2 * _N_LOOPS), key=lambda t: float(t.axes["lr"]))
        yield "curve_difference", difference(self.case, self.data, calm[:_N_LOOPS]), "relative"

    def jax(self) -> Figures:
        case, data = self.case, self.data
        self.results.skip(case.name, "hfta", WHY_NO_HFTA)
        reason = why_not(data, case.capacities[0])
        if reason:
            self.results.skip(case.name, "jax", reason)
            return
        found: dict[str, Curve] = {}

        def train_all() -> None:
            for pack in self.packs:
                found.update(train_by_jax(pack, data, case.epochs, MOMENTUM))

        cold_s, warm_s = (timed(train_all) / self.n_trials for _ in range(2))
        yield "jax_cold", 1.0 / cold_s, "trials/s"
        yield "jax", 1.0 / warm_s, "trials/s"
        yield "warm_over_jax", warm_s / self.warm_s, "x"
        calm = sorted(case.sampled(_N_LOOPS), key=lambda t: float(t.axes["lr"]))[: _N_LOOPS // 2]
        gaps = [
            loss_gap(found[t.trial_id], train_by_loop(t, data, case.epochs, "single"))
            for t in calm
        ]
        yield "jax_curve_difference", max(gaps), "relative"

    def tutorial(self) -> Figures:
        vmap_s = timed(
            lambda: [train_by_tutorial(p, self.data, self.case.epochs) for p in self.packs]
        )
        yield "tutorial_vmap", self.n_trials / vmap_s, "trials/s"
        yield "warm_over_tutorial_vmap", vmap_s / self.n_trials / self.warm_s, "x"


def child() -> None:
    """Train a case's packs cold, then warm with packs one after the other and in turns."""
    fields: dict[str, Any] = json.loads(sys.stdin.read())
    case = Case(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
    data, packs = case.prepared().to(device()), packs_of(case)
    trainer = make_trainer(case, data)
    train_by_sweepdiag(trainer, packs)
    cold_ended = time.time()

    def in_turns(n_at_once: int) -> float:
        """Return the lesser of two times; the first takes memory for new streams."""
        return min(
            timed(lambda: train_by_sweepdiag(trainer, packs, n_at_once=n_at_once))
            for _ in range(2)
        )

    warm_s = [in_turns(n_at_once) for n_at_once in _PACKS_AT_ONCE]
    is_cuda = torch.cuda.is_available()
    memory_gb = torch.cuda.max_memory_reserved() / 1e9 if is_cuda else 0.0
    print(json.dumps({"cold_ended": cold_ended, "warm_s": warm_s, "memory_gb": memory_gb}))


def tiny(case: Case) -> Case:
    """Return a case that only shows that everything runs."""
    lrs = (*case.lrs[:2], 4)
    places = {"batch_sizes": case.batch_sizes[-1:], "capacities": case.capacities[:2]}
    return replace(case, lrs=lrs, n_seeds=2, epochs=2, **places)  # type: ignore[arg-type]


def measure(row: Row, results: Results, path: str | None) -> int:
    """Add a row's figures as they come; return how many of its parts failed."""
    n_failed = 0
    for part in row.parts():
        began = time.perf_counter()
        try:
            for column, value, unit in part():
                results.add(row.case.name, column, value, unit)
                results.write(path)
                print(results.last(), flush=True)
        except Exception as error:  # noqa: BLE001 - the next figures are worth having
            n_failed += 1
            traceback.print_exc()
            results.skip(row.case.name, part.__name__, f"{type(error).__name__}: {error}")
            results.write(path)
        print(f"  {part.__name__} took {time.perf_counter() - began:.1f} s", flush=True)
    return n_failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser, quick="a tiny grid, to see that all runs")
    rows = [case.name for case in CASES]
    parser.add_argument(
        "--row", action="append", choices=rows, help="only this row; may be repeated"
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if arguments.child:
        child()
        return
    cases = {case.name: tiny(case) if arguments.quick else case for case in CASES}
    results = Results(device=f"{device_name()}, torch {torch.__version__}")
    n_failed = 0
    for name in arguments.row or cases:
        n_failed += measure(Row(cases[name], results), results, arguments.json)
    print(results.table())
    sys.exit(min(n_failed, 1))


if __name__ == "__main__":
    main()
