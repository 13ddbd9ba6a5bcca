"""How much the parts of a driver carry, each alone: Ray, the journal, verdicts."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from _bench.scale_child import N_FAKE_GPUS, settings
from _bench.workers import NoOpWorker, arguments_of

if TYPE_CHECKING:
    from _bench.results import Results
    from sweepdiag.pipeline import ResolvedSweep
    from sweepdiag.records import Event, Pack

ROW = "rates"
_N_TRIALS = 1000


def add_rates(results: Results) -> None:
    """Add points per second through Ray, into the journal and out of it, and curves judged."""
    from sweepdiag.pipeline import resolve_config, resolve_sweep
    from sweepdiag.space import plan_packs

    config, workload = resolve_config("digits", options=settings(_N_TRIALS, Path("unused")))
    sweep = resolve_sweep(config, workload)
    packs = plan_packs(sweep.plan.trials, axes=sweep.plan.axes, pack_size=64, attempts={})
    batches = _through_ray(results, sweep, packs)
    _into_journal(results, sweep, batches)
    _judged(results)


def _through_ray(
    results: Results, sweep: ResolvedSweep, packs: tuple[Pack, ...]
) -> list[list[Event]]:
    from sweepdiag.execution import make_executor, resolve_devices

    os.environ["SWEEPDIAG_FAKE_GPUS"] = str(N_FAKE_GPUS)
    worker = NoOpWorker(**arguments_of(sweep.worker))
    with make_executor(
        "ray", devices=resolve_devices(N_FAKE_GPUS), n_workers=N_FAKE_GPUS
    ) as executor:
        list(executor.run(packs[:N_FAKE_GPUS], worker))  # all workers have started by then
        began = time.perf_counter()
        batches = list(executor.run(packs, worker))
        seconds = time.perf_counter() - began
    n_events = sum(map(len, batches))
    results.add(ROW, "events through Ray", n_events / seconds, "1/s")
    results.add(ROW, "batches through Ray", len(batches) / seconds, "1/s")
    return batches


def _into_journal(results: Results, sweep: ResolvedSweep, batches: list[list[Event]]) -> None:
    from sweepdiag.store import History, RunFolder

    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name))
        history = History()
        history.add_plan(sweep.plan)
        with folder.open_journal() as journal:
            began = time.perf_counter()
            for events in batches:
                journal.append(history.add_events(events))
            seconds = time.perf_counter() - began
        n_bytes = (folder.path / "journal.jsonl").stat().st_size
        began = time.perf_counter()
        folder.read_history()
        read_s = time.perf_counter() - began
    n_events = sum(map(len, batches))
    results.add(ROW, "events into the journal", n_events / seconds, "1/s")
    results.add(ROW, "journal, bytes per event", n_bytes / n_events, "bytes")
    results.add(ROW, "events out of the journal", n_events / read_s, "1/s")


def _judged(results: Results) -> None:
    from sweepdiag.features import CurveArrays
    from sweepdiag.rules import judge_curves
    from sweepdiag.testing import simulate_sweep

    lrs: Any = tuple(np.geomspace(1e-4, 10, 50).tolist())
    simulated = simulate_sweep(lrs=lrs, epochs=19)
    columns = ("trial_id", "epoch", "train_loss", "val_loss", "val_metric")
    curves = CurveArrays.from_long(*(simulated.curves[name].to_numpy() for name in columns))
    began = time.perf_counter()
    judge_curves(curves, facts=simulated.facts)
    seconds = time.perf_counter() - began
    results.add(ROW, "curves judged", curves.n_curves / seconds, "1/s")
