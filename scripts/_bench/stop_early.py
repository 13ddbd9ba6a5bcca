"""What stopping hopeless trainings early saves on the default sweep, and what it changes."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from _bench.results import Results, cpu_name
from sweepdiag import run_sweep
from sweepdiag.features import CurveArrays
from sweepdiag.rules import judge_curves
from sweepdiag.store import RunFolder

if TYPE_CHECKING:
    import pandas as pd

    from sweepdiag import SweepResult
    from sweepdiag.records import SweepFacts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two seeds instead of three")
    parser.add_argument("--json", metavar="PATH", help="where to write the figures")
    arguments = parser.parse_args()
    results = Results(device=cpu_name())
    with tempfile.TemporaryDirectory() as folder:
        whole, stopped = (
            run_sweep(
                "digits",
                output=Path(folder) / name,
                stop_early=name == "stopped",
                seeds=2 if arguments.quick else 3,
                execution={"executor": "serial"},
            )
            for name in ("whole", "stopped")
        )
        facts = RunFolder(whole.path).read_history()[0].facts
        add_figures(results, whole, stopped, facts)
    print(results.table())
    results.write(arguments.json)


def add_figures(
    results: Results, whole: SweepResult, stopped: SweepResult, facts: SweepFacts | None
) -> None:
    row = "digits default sweep"
    n_epochs = [run.curves.groupby("trial_id")["epoch"].max() for run in (whole, stopped)]
    results.add(row, "epochs saved", 1 - n_epochs[1].sum() / n_epochs[0].sum(), "of all")
    seconds = [run.trials["seconds"].sum() for run in (whole, stopped)]
    results.add(row, "training time saved", 1 - seconds[1] / seconds[0], "of all")
    ids = stopped.trials.loc[stopped.trials["state"] == "stopped", "trial_id"]
    results.add(row, "trainings stopped", len(ids) / len(stopped.trials), "of all")
    verdicts = [verdicts_alone(run.curves, ids, facts) for run in (whole, stopped)]
    kept = np.mean([verdicts[0][i] == verdicts[1][i] for i in ids]) if len(ids) else 1.0
    results.add(row, "verdicts kept", float(kept), "of the stopped")
    results.add(row, "points equal", share_of_equal_points(whole.curves, stopped.curves), "of all")
    results.add(row, "region overlap", region_overlap(whole, stopped), "IoU")


def verdicts_alone(
    curves: pd.DataFrame, ids: pd.Series[str], facts: SweepFacts | None
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
