"""Real learning curves that others have published, as the benchmarks of the diagnosis read them.

A folder holds one subfolder per source, with tidy Parquet tables and what is known of the runs:

overfitguard       github.com/asgaardlab/OverfitGuard at 446af060: 419 simulated and 40 real
                   trainings, labelled overfit or not by the authors; no licence file
deepobs_baselines  github.com/fsschneider/DeepOBS_Baselines at 3da285ab (MIT): learning rates from
                   1e-5 to 100 for three optimizers on eight problems
taskset_dpl        github.com/releaunifreiburg/DPL at de44b740 (Apache-2.0), from Google's TaskSet:
                   12 text classifications with 1,000 settings of Adam each

None of them is part of this project; docs/diagnosis-benchmark.md says how the tables are made.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sweepdiag.features import CurveArrays

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Source", "open_folder"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Curves, and what is known of them.

    Attributes:
        name: Row of the printed table.
        curves: The curves.
        is_overfit: The published labels; ``None`` if there are none.
        groups: Curves that differ in their seed only, as places among the curves.
        sweeps: Which curves are trainings of one task with one schedule, shape ``(n_curves,)``.
    """

    name: str
    curves: CurveArrays
    sweeps: np.ndarray
    is_overfit: np.ndarray | None = None
    groups: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class CurveFolder:
    """The sources in one folder."""

    path: Path

    def simulated(self, most: int | None = None) -> Source:
        """Return OverfitGuard's simulated curves, the set to develop on."""
        labels = _evenly(self._labels("train_simulated"), most)
        table = pd.read_parquet(self.path / "overfitguard/train_simulated.parquet")
        return _labelled("overfitguard simulated", table, labels, labels.problem)

    def real(self) -> Source:
        """Return OverfitGuard's real curves as they are shipped."""
        labels = self._labels("test_real")
        table = pd.read_parquet(self.path / "overfitguard/test_real.parquet")
        return _labelled("overfitguard real", table, labels, labels.source)

    def real_mended(self) -> Source:
        """Return the real curves with the held-out validation series where the other is broken.

        The monitored series of two trainings on Tiny ImageNet end below chance.
        """
        labels = self._labels("test_real")
        table = pd.read_parquet(self.path / "overfitguard/test_real.parquet")
        held_out = pd.read_csv(self.path / "overfitguard/test_real_alleviate_heldout_val.csv")
        table = table.merge(held_out, on=["run_id", "epoch"], how="left")
        is_broken = table.run_id.isin(labels.run_id[labels.series_problem.notna()])
        table.loc[is_broken, "val_loss"] = table.loc[is_broken, "val_loss_heldout"]
        return _labelled("overfitguard real, mended", table, labels, labels.source)

    def deepobs(self, most: int | None = None) -> Source:
        """Return DeepOBS's runs without those on a quadratic form."""
        folder = self.path / "deepobs_baselines"
        runs = pd.read_csv(folder / "runs.csv")
        runs = _evenly(runs[runs.testproblem != "quadratic_deep"], most)
        curves = _curves(pd.read_parquet(folder / "curves.parquet"), runs.run_id)
        settings = runs[["testproblem", "optimizer", "lr"]].reset_index(drop=True)
        seeds = settings.groupby(list(settings), sort=False).indices.values()
        groups = tuple(np.asarray(places) for places in seeds if len(places) > 1)
        sweeps = (settings.testproblem + "|" + settings.optimizer).to_numpy()
        return Source(name="deepobs_baselines", curves=curves, groups=groups, sweeps=sweeps)

    def taskset(self, most: int | None = None) -> Source:
        """Return TaskSet's runs; some settings differ in what hardly matters, none in a seed."""
        folder = self.path / "taskset_dpl"
        runs = _evenly(pd.read_csv(folder / "runs.csv"), most)
        curves = _curves(pd.read_parquet(folder / "curves.parquet"), runs.run_id)
        return Source(name="taskset_dpl", curves=curves, sweeps=runs.task.to_numpy())

    def _labels(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.path / f"overfitguard/{name}_labels.csv")


def open_folder(path: str) -> CurveFolder:
    """Return the sources below a folder; ends the program with exit code 2 if one is missing."""
    folder = Path(path)
    wanted = (
        "overfitguard/test_real.parquet",
        "overfitguard/train_simulated.parquet",
        "deepobs_baselines/curves.parquet",
        "taskset_dpl/curves.parquet",
    )
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        print(f"--curves: no {', '.join(missing)} in {path!r}", file=sys.stderr)
        sys.exit(2)
    return CurveFolder(folder)


def _labelled(
    name: str, table: pd.DataFrame, labels: pd.DataFrame, sweeps: pd.Series[str]
) -> Source:
    return Source(
        name=name,
        curves=_curves(table, labels.run_id),
        is_overfit=labels.overfit.to_numpy() == 1,
        sweeps=sweeps.to_numpy(),
    )


def _curves(table: pd.DataFrame, run_ids: Sequence[str]) -> CurveArrays:
    """Return some of a table's curves, in the order of their ids."""
    table = table[table.run_id.isin(set(run_ids))]
    curves = CurveArrays.from_long(
        table.run_id.to_numpy(dtype=object), table.epoch, table.train_loss, table.val_loss
    )
    places = {run_id: place for place, run_id in enumerate(curves.run_ids)}
    return curves.select([places[run_id] for run_id in run_ids])


def _evenly(runs: pd.DataFrame, most: int | None) -> pd.DataFrame:
    if most is None or len(runs) <= most:
        return runs
    return runs.iloc[np.linspace(0, len(runs) - 1, most).round().astype(int)]
