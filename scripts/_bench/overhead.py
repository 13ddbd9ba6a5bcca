"""What Ray costs in a real sweep: core-seconds of the default sweep, with Ray over without.

All processes of a run share one core. With one worker what is left is the work that Ray adds; two
take turns on the core as well, and empty each other's caches. ``python -m _bench.overhead WORKERS
EPOCHS FOLDER`` trains one sweep, without Ray for 0 workers, and prints its figures as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _bench.processes import core_seconds
from _bench.workers import MARKS_VARIABLE, MarkedWorker, arguments_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _bench.results import Results
    from sweepdiag.pipeline import Progress

NUMBERS_OF_WORKERS = (1, 2)
ROW = "Ray over serial, default sweep"


class Accounts:
    """Core-seconds of all processes when training begins, at the first batch, and at the last."""

    def __init__(self) -> None:
        self.planned: dict[int, float] = {}
        self.first: dict[int, float] = {}
        self.last: dict[int, float] = {}

    def started(self, _path: Path, _lines: Sequence[str], _progress: Progress) -> None:
        self.planned = core_seconds()

    def progressed(self, progress: Progress) -> None:
        if not self.first:
            self.first = core_seconds()
        if progress.n_done == progress.n_trials:
            self.last = core_seconds()

    def stage(self, _name: str) -> None:
        """Nothing of the diagnosis is measured."""

    def figures(self, marks: Path) -> dict[str, float]:
        """Return the core-seconds of training and orchestration, with and without starting up.

        Starting up ends for a worker when it is ready for its first pack, for others at the first
        batch.
        """
        begun = {int(mark.name): float(mark.read_text()) for mark in marks.iterdir()}
        after = sum(
            seconds - begun.get(process, self.first.get(process, 0.0))
            for process, seconds in self.last.items()
        )
        return {"all_s": sum(self.last.values()) - sum(self.planned.values()), "after_s": after}


def train(n_workers: int, epochs: int, folder: Path) -> dict[str, float]:
    """Train the default sweep in workers, or in this process (0), and return what it took."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    marks = folder.with_suffix(".marks")
    marks.mkdir()
    os.environ[MARKS_VARIABLE] = str(marks)
    from sweepdiag.pipeline import resolve_config, run_config, sweep

    resolve = sweep.resolve_sweep

    def marked(*arguments: Any) -> Any:
        resolved = resolve(*arguments)
        worker = MarkedWorker(**arguments_of(resolved.worker))
        return dataclasses.replace(resolved, worker=worker)

    sweep.resolve_sweep = marked
    execution: dict[str, Any] = {"executor": "serial", "gpus": 0}
    if n_workers:
        execution |= {"executor": "ray", "workers": n_workers}
    config, workload = resolve_config(
        "digits", options={"epochs": epochs, "execution": execution, "output": str(folder)}
    )
    accounts = Accounts()
    run_config(config, workload, observer=accounts)
    return accounts.figures(marks)


def add_overhead(results: Results, *, epochs: int, n_repeats: int) -> None:
    """Train the default sweep both ways in turn, and add what Ray costs; minima are compared."""
    runs: dict[int, list[dict[str, float]]] = {n: [] for n in (0, *NUMBERS_OF_WORKERS)}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "SWEEPDIAG_CACHE_DIR": f"{folder}/cache"}
        # The first run decides how to train; what it remembers serves all others.
        _child(0, epochs, Path(folder) / "first", environment)
        for repeat in range(n_repeats):
            for n_workers, found in runs.items():
                path = Path(folder) / f"{n_workers}-{repeat}"
                found.append(_child(n_workers, epochs, path, environment))
    least = {
        n: {key: min(run[key] for run in found) for key in ("all_s", "after_s")}
        for n, found in runs.items()
    }
    serial_s = least[0]["after_s"]
    results.add(ROW, "serial", serial_s, "core-s")
    for n in NUMBERS_OF_WORKERS:
        name = "1 worker" if n == 1 else f"{n} workers"
        for key, suffix in (("after_s", ""), ("all_s", ", with start-up")):
            seconds = least[n][key]
            results.add(ROW, f"Ray, {name}{suffix}", seconds, "core-s")
            results.add(ROW, f"overhead, {name}{suffix}", 100 * (seconds / serial_s - 1), "%")


def _child(n_workers: int, epochs: int, folder: Path, environment: dict[str, str]) -> Any:
    command = [sys.executable, "-m", "_bench.overhead", str(n_workers), str(epochs), str(folder)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    n_workers, epochs, folder = sys.argv[1:]
    print(json.dumps(train(int(n_workers), int(epochs), Path(folder))))


if __name__ == "__main__":
    main()
