"""What large sweeps cost apart from training, and what Ray costs in a real one.

Sweeps of 1,000, 10,000 and 100,000 trials of 20 points are planned, run by a worker that trains
nothing on 8 fake GPUs under Ray, recorded, diagnosed and reported, each in a process of its own.
Seconds are those of a clock; core-seconds are those of the driver alone, so that other programs
matter less. Memory is the highest of the driver above what it has after its imports.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from _bench.overhead import add_overhead
from _bench.rates import add_rates
from _bench.results import Results, add_options, cpu_name
from _bench.scale_child import GRIDS, N_FAKE_GPUS, N_POINTS

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES = (1000, 10_000, 100_000)
N_SCANS = 3
"""How often the journal is read; the fastest time counts, as other work only adds to it."""
GROWING = (
    "in all",
    "core-s of the driver",
    "memory above imports",
    "journal",
    "reading the journal",
    "report",
)
"""Columns of which is told how they grow."""


def measure(n_trials: int) -> dict[str, Any]:
    """Run a sweep and read its journal again, each time in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "sweep")
        began = time.perf_counter()
        figures = _child("run", str(n_trials), path)
        figures["process_s"] = time.perf_counter() - began
        scans = [_child("scan", path) for _ in range(N_SCANS)]
        return figures | min(scans, key=lambda scan: float(scan["scan_s"]))


def _child(*arguments: str) -> Any:
    command = [sys.executable, "-m", "_bench.scale_child", *arguments]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def add_figures(results: Results, n_trials: int, figures: dict[str, Any]) -> None:
    """Add a row for one size."""
    row = _row(n_trials)
    for stage, seconds in figures["seconds"].items():
        results.add(row, stage, seconds, "s")
        results.add(row, f"{stage}, driver", figures["core_seconds"][stage], "core-s")
        results.add(row, f"{stage}, memory", figures["peaks_mb"][stage], "MB")
    results.add(row, "in all", sum(figures["seconds"].values()), "s")
    results.add(row, "in all, with imports", figures["process_s"], "s")
    results.add(row, "core-s of the driver", sum(figures["core_seconds"].values()), "core-s")
    results.add(row, "imports", figures["imported_mb"], "MB")
    results.add(row, "memory above imports", max(figures["peaks_mb"].values()), "MB")
    results.add(row, "journal", figures["journal_bytes"] / 1e6, "MB")
    results.add(row, "reading the journal", figures["scan_s"], "s")
    results.add(row, "reading the journal, driver", figures["scan_core_s"], "core-s")
    results.add(row, "reading the journal, memory", figures["scan_mb"], "MB")
    results.add(row, "report", figures["report_bytes"] / 1e6, "MB")


def add_growth(results: Results, sizes: tuple[int, ...]) -> None:
    """Add the exponents with which figures grow from one size to the next; 1 is linear."""
    values = {
        (str(entry["row"]), str(entry["column"])): float(str(entry["value"]))
        for entry in results.rows
        if "value" in entry
    }
    for small, large in itertools.pairwise(sizes):
        for column in GROWING:
            factor = values[_row(large), column] / values[_row(small), column]
            exponent = math.log(factor) / math.log(large / small)
            results.add(f"growth, {small:,} to {large:,} trials", column, exponent, "exponent")


def _row(n_trials: int) -> str:
    return f"{n_trials:,} trials of {N_POINTS} points"


def chosen_sizes(trials: Sequence[int] | None, *, is_quick: bool) -> tuple[int, ...]:
    """Return the numbers of trials to measure, each once and from small to large."""
    return tuple(sorted(set(trials or (SIZES[:1] if is_quick else SIZES))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser, quick="1,000 trials only")
    parser.add_argument("--trials", type=int, nargs="+", choices=GRIDS, help="other sizes")
    arguments = parser.parse_args()
    sizes = chosen_sizes(arguments.trials, is_quick=arguments.quick)
    n_cores = len(os.sched_getaffinity(0))
    results = Results(device=f"{cpu_name()}, {n_cores} cores, {N_FAKE_GPUS} fake GPUs")
    for n_trials in sizes:
        add_figures(results, n_trials, measure(n_trials))
    add_growth(results, sizes)
    if not arguments.quick:
        add_rates(results)
        add_overhead(results, epochs=30, n_repeats=3)
    print(results.table())
    results.write(arguments.json)


if __name__ == "__main__":
    main()
