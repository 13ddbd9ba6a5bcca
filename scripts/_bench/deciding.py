"""The share of a sweep's training that goes into deciding how to train, on one core.

The default sweep of digits is trained in this process twice: with nothing remembered, and with
what the first time has left. Time is that of the processor, so that other work on the machine
counts for nothing. Tracing is told apart: it makes the programs that the trainings then run.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")

from _bench.results import Results, add_options, cpu_name
from sweepdiag.pipeline import resolve_config, resolve_sweep
from sweepdiag.space import plan_packs
from sweepdiag.training import PackTrainer, Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.pipeline import ResolvedSweep
    from sweepdiag.records import Pack
    from sweepdiag.training.members import Timetable


class TimedTrainer(PackTrainer):
    """Adds up what deciding and the tracing within it take."""

    planning_s = 0.0
    tracing_s = 0.0

    def _plan(self, pack: Pack, timetable: Timetable) -> Plan:
        started, n_plans = time.process_time(), len(self._plans)
        plan = super()._plan(pack, timetable)
        self.planning_s += time.process_time() - started
        if len(self._plans) > n_plans and plan.model is not None:
            self.tracing_s += plan.model.made_s
        return plan


def trainer(sweep: ResolvedSweep) -> TimedTrainer:
    """Return a trainer that has decided nothing yet."""
    prepared = sweep.worker.prepared
    assert prepared is not None
    return TimedTrainer(prepared=prepared.to("cpu"), settings=sweep.worker.settings, device="cpu")


def train(sweep: ResolvedSweep, packs: Sequence[Pack], row: str, results: Results) -> None:
    """Train all packs and add a row."""
    gc.collect()  # the programs of the row before, which no row is to pay for
    timed, started = trainer(sweep), time.process_time()
    for pack in packs:
        for _ in timed.train(pack):
            pass
    total_s = time.process_time() - started
    deciding_s = timed.planning_s - timed.tracing_s
    results.add(row, "training", total_s, "s")
    results.add(row, "tracing", timed.tracing_s, "s")
    results.add(row, "deciding", deciding_s, "s")
    results.add(row, "deciding_over_training", 100 * deciding_s / total_s, "%")


def main() -> None:
    """Print a row per number of epochs, nothing or everything remembered."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_options(parser, quick="the default budget only")
    arguments = parser.parse_args()
    results = Results(device=f"{cpu_name()}, one core")
    for n_epochs in (30,) if arguments.quick else (30, 120):
        config, workload = resolve_config("digits", options={"epochs": n_epochs})
        sweep = resolve_sweep(config, workload)
        packs = plan_packs(sweep.plan.trials, axes=sweep.plan.axes, pack_size=64, attempts={})
        with tempfile.TemporaryDirectory() as folder:
            os.environ["SWEEPDIAG_CACHE_DIR"] = "off"
            trainer(sweep).plan(packs[0])  # what any training imports is not counted
            os.environ["SWEEPDIAG_CACHE_DIR"] = folder
            for remembered in ("nothing", "all"):
                row = f"{n_epochs} epochs, {remembered} remembered"
                train(sweep, packs, row, results)
    print(results.table())
    results.write(arguments.json)


if __name__ == "__main__":
    main()
