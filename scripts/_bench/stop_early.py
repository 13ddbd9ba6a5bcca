"""What stopping hopeless trainings early saves on the default sweep, and what it changes.

Each sweep is trained whole and with --stop-early, in turn, over several base seeds. Times are
those of the processor, in training and in judging, so that other programs matter little.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from _bench.results import Results, add_options, cpu_name
from sweepdiag import run_sweep
from sweepdiag.features import CurveArrays
from sweepdiag.pipeline.worker import EarlyStop, SweepWorker
from sweepdiag.rules import judge_curves
from sweepdiag.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from sweepdiag import SweepResult
    from sweepdiag.records import SweepFacts


@dataclass
class Clock:
    """Processor seconds of the sweeps trained so far."""

    in_all_s: float = 0.0
    judging_s: float = 0.0

    @contextlib.contextmanager
    def watches(self) -> Iterator[None]:
        """Add up what workers and the stop rule take from now on."""
        train, judge = SweepWorker.__call__, EarlyStop.__call__

        def timed_training(*arguments: Any, **named: Any) -> Iterator[Any]:
            batches = train(*arguments, **named)
            while True:
                began = time.process_time()
                batch = next(batches, None)
                self.in_all_s += time.process_time() - began
                if batch is None:
                    return
                yield batch

        def timed_judging(*arguments: Any) -> list[str | None]:
            began = time.process_time()
            reasons = judge(*arguments)
            self.judging_s += time.process_time() - began
            return reasons

        SweepWorker.__call__, EarlyStop.__call__ = timed_training, timed_judging  # type: ignore[method-assign]
        try:
            yield
        finally:
            SweepWorker.__call__, EarlyStop.__call__ = train, judge  # type: ignore[method-assign]


@dataclass(kw_only=True)
class Pair:
    """A sweep trained whole and with --stop-early, and the clock of each."""

    whole: SweepResult
    stopped: SweepResult
    facts: SweepFacts | None
    clocks: tuple[Clock, Clock]


def trained(epochs: int, seeds: tuple[int, ...]) -> Pair:
    """Train the default sweep both ways."""
    runs, clocks = [], (Clock(), Clock())
    with tempfile.TemporaryDirectory() as folder:
        for name, clock in zip(("whole", "stopped"), clocks, strict=True):
            with clock.watches():
                run = run_sweep(
                    "digits",
                    output=Path(folder) / name,
                    stop_early=name == "stopped",
                    seeds=seeds,
                    epochs=epochs,
                    execution={"executor": "serial"},
                )
            runs.append(run)
        facts = RunFolder(runs[0].path).read_history()[0].facts
    return Pair(whole=runs[0], stopped=runs[1], facts=facts, clocks=clocks)


def add_figures(results: Results, row: str, pairs: list[Pair]) -> None:
    """Add the figures of all pairs together."""
    n_epochs = np.array([
        [run.curves.groupby("trial_id")["epoch"].max().sum() for run in (pair.whole, pair.stopped)]
        for pair in pairs
    ]).sum(axis=0)  # fmt: skip
    results.add(row, "epochs saved", float(1 - n_epochs[1] / n_epochs[0]), "of all")
    whole_s = sum(pair.clocks[0].in_all_s for pair in pairs)
    judging_s = sum(pair.clocks[1].judging_s for pair in pairs)
    stopped_s = sum(pair.clocks[1].in_all_s for pair in pairs)
    results.add(row, "training", whole_s, "s")
    results.add(row, "training time saved", 1 - (stopped_s - judging_s) / whole_s, "of all")
    results.add(row, "time spent judging", judging_s / whole_s, "of all")
    results.add(row, "time saved net of judging", 1 - stopped_s / whole_s, "of all")
    ids = [list(p.stopped.trials.loc[p.stopped.trials["state"] == "stopped", "trial_id"])
           for p in pairs]  # fmt: skip
    kept = []
    for pair, some in zip(pairs, ids, strict=True):
        before, after = (
            verdicts_alone(run.curves, some, pair.facts) for run in (pair.whole, pair.stopped)
        )
        kept += [before[i] == after[i] for i in some]
    results.add(
        row, "trainings stopped", len(kept), f"of {sum(len(p.whole.trials) for p in pairs)}"
    )
    results.add(row, "verdicts kept", float(np.mean(kept)) if kept else 1.0, "of the stopped")
    results.add(row, "verdicts changed", len(kept) - sum(kept), "trainings")
    equal = [share_of_equal_points(pair.whole.curves, pair.stopped.curves) for pair in pairs]
    results.add(row, "points equal", float(np.mean(equal)), "of all")
    overlaps = [region_overlap(pair.whole, pair.stopped) for pair in pairs]
    results.add(row, "region overlap, least", min(overlaps), "IoU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, quick="one seed, 30 epochs only")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    results = Results(device=f"{cpu_name()}, one core")
    if arguments.quick:
        add_figures(results, "digits default sweep, one seed", [trained(30, (0,))])
    else:
        for base in (0, 100, 200):
            pair = trained(30, (base, base + 1, base + 2))
            add_figures(results, f"digits default sweep, seeds {base} to {base + 2}", [pair])
        add_figures(results, "digits, 100 epochs, one seed", [trained(100, (0,))])
    print(results.table())
    results.write(arguments.json)


def verdicts_alone(
    curves: pd.DataFrame, ids: list[str], facts: SweepFacts | None
) -> dict[str, str]:
    """Return the verdict alone of some trials."""
    some = curves[curves["trial_id"].isin(ids)]
    columns = ("trial_id", "epoch", "train_loss", "val_loss", "val_metric")
    arrays = CurveArrays.from_long(*(some[name].to_numpy() for name in columns))
    return {v.trial_id: str(v.verdict) for v in judge_curves(arrays, facts=facts)}


def share_of_equal_points(whole: pd.DataFrame, stopped: pd.DataFrame) -> float:
    """Return how many of the points of stopped curves are those of the whole ones, bit for bit."""
    both = stopped.merge(whole, on=["trial_id", "step"], how="left", suffixes=("", "_whole"))
    is_equal = [
        np.array_equal(a, b, equal_nan=True)
        for a, b in zip(
            both[["train_loss", "val_loss"]].to_numpy(),
            both[["train_loss_whole", "val_loss_whole"]].to_numpy(),
            strict=True,
        )
    ]
    return float(np.mean(is_equal))


def region_overlap(whole: SweepResult, stopped: SweepResult) -> float:
    """Return the intersection over union of the recommended configurations."""
    regions = [run.recommendation.region for run in (whole, stopped)]
    some, others = (set(region.config_ids) if region else set() for region in regions)
    union = some | others
    return len(some & others) / len(union) if union else 1.0


if __name__ == "__main__":
    main()
