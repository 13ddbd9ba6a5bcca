"""One sweep of a no-op trainer from its plan to its report, measured in a process of its own.

``python -m _bench.scale_child run N FOLDER`` runs N trials, ``scan FOLDER`` reads the journal of a
finished sweep again; both print their figures as JSON.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from _bench.memory import forget_peak, peak_mb, resident_mb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.pipeline import Progress

N_FAKE_GPUS = 8
N_POINTS = 20
GRIDS = {250: (1, 5), 1000: (4, 5), 10_000: (10, 20), 100_000: (40, 50)}
"""Batch sizes and capacities per number of trials; 25 learning rates and 2 seeds each."""

_IMPORTED = (
    "altair", "jinja2", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg",
    "matplotlib.pyplot", "pandas", "pyarrow.parquet", "ray", "scipy.stats", "seaborn",
    "sklearn.datasets", "sweepdiag.cli.app", "sweepdiag.pipeline", "sweepdiag.recommend",
    "sweepdiag.report", "sweepdiag.training", "torch", "vl_convert",
)  # fmt: skip

PLANNING, STARTING, TRAINING = "planning", "starting Ray", "training"


@dataclass
class Stages:
    """Seconds and peak memory of each stage of a run; an observer of the pipeline."""

    seconds: dict[str, float] = field(default_factory=dict)
    core_seconds: dict[str, float] = field(default_factory=dict)
    peaks_mb: dict[str, float] = field(default_factory=dict)
    name: str = PLANNING
    began: float = field(default_factory=time.perf_counter)
    worked: float = field(default_factory=time.process_time)

    def enter(self, name: str) -> None:
        """End one stage and begin the next."""
        now, worked = time.perf_counter(), time.process_time()
        self.seconds[self.name] = now - self.began
        self.core_seconds[self.name] = worked - self.worked
        self.peaks_mb[self.name] = peak_mb()
        self.name, self.began, self.worked = name, now, worked
        forget_peak()

    def started(self, _path: Path, _lines: Sequence[str], _progress: Progress) -> None:
        self.enter(STARTING)

    def progressed(self, _progress: Progress) -> None:
        if self.name == STARTING:
            self.enter(TRAINING)

    def stage(self, name: str) -> None:
        self.enter(name)


def run(n_trials: int, folder: Path) -> dict[str, object]:
    """Run a sweep and return what it took."""
    os.environ["SWEEPDIAG_FAKE_GPUS"] = str(N_FAKE_GPUS)
    _import_everything()
    gc.collect()
    imported_mb = resident_mb()
    from _bench.workers import NoOpWorker, arguments_of
    from sweepdiag.pipeline import resolve_config, run_config, sweep

    resolve = sweep.resolve_sweep

    def without_training(*arguments: object) -> object:
        resolved = resolve(*arguments)  # type: ignore[arg-type]
        return dataclasses.replace(resolved, worker=NoOpWorker(**arguments_of(resolved.worker)))

    sweep.resolve_sweep = without_training  # type: ignore[assignment]
    stages = Stages()
    forget_peak()
    config, workload = resolve_config("digits", options=settings(n_trials, folder))
    assert config.n_trials == n_trials
    run_config(config, workload, observer=stages)
    stages.enter("")
    return {
        "seconds": stages.seconds,
        "core_seconds": stages.core_seconds,
        "peaks_mb": {name: peak - imported_mb for name, peak in stages.peaks_mb.items()},
        "imported_mb": imported_mb,
        "journal_bytes": (folder / "journal.jsonl").stat().st_size,
        "report_bytes": (folder / "report.html").stat().st_size,
    }


def settings(n_trials: int, folder: Path) -> dict[str, object]:
    """Return the settings of a sweep with so many trials."""
    n_batch_sizes, n_capacities = GRIDS[n_trials]
    return {
        "parameters": {
            "lr": {"min": 1e-4, "max": 10.0, "n": 25},
            "batch_size": [8 + 16 * index for index in range(n_batch_sizes)],
            "capacity": [4 + 2 * index for index in range(n_capacities)],
        },
        "seeds": 2,
        "epochs": N_POINTS - 1,
        "execution": {"executor": "ray", "gpus": N_FAKE_GPUS},
        "output": str(folder),
    }


def scan(folder: Path) -> dict[str, object]:
    """Read the journal of a finished sweep, as a resume does, and return what it took."""
    from sweepdiag.store import RunFolder

    gc.collect()
    before_mb = resident_mb()
    forget_peak()
    began, worked = time.perf_counter(), time.process_time()
    history, damages = RunFolder(folder).read_history()
    seconds, core_s = time.perf_counter() - began, time.process_time() - worked
    assert not damages
    assert not history.todo()
    return {"scan_s": seconds, "scan_core_s": core_s, "scan_mb": peak_mb() - before_mb}


def _import_everything() -> None:
    """Import what a run imports on its way, so that it does not count as memory of the sweep."""
    for name in _IMPORTED:
        importlib.import_module(name)


def main() -> None:
    kind, *arguments = sys.argv[1:]
    if kind == "run":
        figures = run(int(arguments[0]), Path(arguments[1]))
    else:
        figures = scan(Path(arguments[0]))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
