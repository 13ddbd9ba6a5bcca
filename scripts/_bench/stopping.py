"""What early-stopping criteria save and lose, on real curves that others have published.

Each criterion is replayed on every curve: the share of the epochs that it uses, and its regret,
how far the best validation loss until then is above the best of the whole curve (relative, at
most 100 %). A family of criteria has a knob; the means over the curves for all its settings are
its front. ``siblings`` is sweepdiag's own criterion, which asks the other curves of the same sweep
(the same task and schedule) and never the curve itself.

Its constants were chosen on the simulated curves, deepobs_baselines and taskset_dpl, whole and in
small sweeps, and on sweeps of our own; OverfitGuard's 40 real curves had no part in it. Curves
whose validation loss is finite throughout and gets 2 % better than after the first epoch are
graded: elsewhere there is nothing to stop.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from _bench.curve_sources import open_folder
from _bench.results import Results, add_options, cpu_name
from sweepdiag.recommend.criteria import (
    generalization_loss,
    patience,
    progress_quotient,
    smoothed_generalization_loss,
    successive_rises,
)
from sweepdiag.recommend.lookahead import sibling_lookahead

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from _bench.curve_sources import Source
    from sweepdiag.recommend.criteria import Criterion

Point: TypeAlias = tuple[float, float]
"""Mean share of the epochs used, and mean regret."""

OWN = "siblings"
_LEAST_IMPROVEMENT = 0.02
_LEAST_POINTS = 20
_LARGEST_REGRET = 1.0
_NEGLIGIBLE = 5e-4
"""Differences in regret that do not count: 0.05 %."""
_SMALL_SWEEP = (8, 20)
"""Fewest and most curves of a small sweep."""
_SHOWN = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def families() -> dict[str, dict[str, Criterion]]:
    """Return the settings of each family of criteria, by name."""
    return {
        "patience": {
            f"{k}": partial(patience, k=k)
            for k in (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 40, 50, 70, 100, 150, 200, 300)
        },
        "GL": {
            f"{a:g}": partial(generalization_loss, alpha=a)
            for a in (0.1, 0.2, 0.5, 1, 2, 3, 5, 8, 12, 20, 40, 80)
        },
        "smoothed GL": {
            f"{a:g}": partial(smoothed_generalization_loss, alpha=a)
            for a in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 8, 12, 20, 40, 80)
        },
        "PQ": {
            f"{a:g}": partial(progress_quotient, alpha=a)
            for a in (0.05, 0.1, 0.25, 0.5, 0.75, 1, 2, 3, 5, 10, 20)
        },
        "UP": {f"{s}": partial(successive_rises, s=s) for s in (1, 2, 3, 4, 5, 6, 8, 12)},
        OWN: {
            f"{100 * p:g} %": partial(sibling_lookahead, price=p)
            for p in (
                0.0,
                0.0005,
                0.001,
                0.002,
                0.005,
                0.01,
                0.02,
                0.03,
                0.05,
                0.07,
                0.1,
                0.15,
                0.2,
                0.3,
                0.5,
                1.0,
            )
        },
    }


@dataclass(frozen=True)
class Replay:
    """Curves without their evaluation before training, where each ends, and which are graded.

    The others are siblings all the same, as in any sweep.
    """

    name: str
    val: np.ndarray
    train: np.ndarray
    lengths: np.ndarray
    sweeps: np.ndarray
    is_graded: np.ndarray
    is_overfit: np.ndarray | None

    def outcomes(self, criterion: Criterion) -> tuple[np.ndarray, np.ndarray]:
        """Return the share of the epochs used and the regret of each curve."""
        stops = np.empty(len(self.val), dtype=np.int64)
        for sweep in np.unique(self.sweeps):
            rows = np.flatnonzero(self.sweeps == sweep)
            n = int(self.lengths[rows].max())
            stops[rows] = criterion(self.val[rows, :n], self.train[rows, :n])
        rows, last = np.arange(len(self.val)), self.lengths - 1
        stops = np.minimum(stops, last)
        best = np.minimum.accumulate(np.where(np.isfinite(self.val), self.val, np.inf), axis=1)
        with np.errstate(invalid="ignore"):
            regret = best[rows, stops] / best[rows, last] - 1
        return (stops + 1) / self.lengths, np.minimum(regret, _LARGEST_REGRET)

    def parts(self) -> dict[str, np.ndarray]:
        """Return the curves that are reported together, by name."""
        if self.is_overfit is None:
            return {self.name: self.is_graded}
        return {
            f"{self.name}: overfit": self.is_graded & self.is_overfit,
            f"{self.name}: others": self.is_graded & ~self.is_overfit,
        }


def replay_of(source: Source) -> Replay:
    curves = source.curves
    first = int((curves.epochs[:, 0] == 0).all() and source.is_overfit is None)
    val, train = curves.val_loss[:, first:], curves.train_loss[:, first:]
    lengths = curves.lengths - first
    is_data = np.arange(val.shape[1]) < lengths[:, None]
    best = np.where(np.isfinite(val), val, np.inf).min(axis=1)
    is_graded = (
        (np.isfinite(val) | ~is_data).all(axis=1)
        & (lengths >= _LEAST_POINTS)
        & (best > 0)
        & (best <= (1 - _LEAST_IMPROVEMENT) * val[:, 0])
    )
    return Replay(
        name=source.name,
        val=val,
        train=train,
        lengths=lengths,
        sweeps=source.sweeps,
        is_graded=is_graded,
        is_overfit=source.is_overfit,
    )


def in_small_sweeps(replay: Replay) -> Replay:
    """Return the same curves with each sweep divided at random into small ones."""
    rng = np.random.default_rng(0)
    fewest, most = _SMALL_SWEEP
    sweeps = np.empty(len(replay.sweeps), dtype=np.intp)
    n_sweeps = 0
    for sweep in np.unique(replay.sweeps):
        rows = rng.permutation(np.flatnonzero(replay.sweeps == sweep))
        while rows.size:
            n_curves = rows.size
            if n_curves > most:  # enough are left over for one more
                n_curves = int(rng.integers(fewest, min(most, n_curves - fewest) + 1))
            sweeps[rows[:n_curves]] = n_sweeps
            n_sweeps += 1
            rows = rows[n_curves:]
    return replace(replay, name=f"{replay.name}, {fewest} to {most} a sweep", sweeps=sweeps)


def fronts(replay: Replay) -> dict[str, dict[str, dict[str, Point]]]:
    """Return by part, family and setting what a criterion uses and loses."""
    found: dict[str, dict[str, dict[str, Point]]] = {}
    for family, settings in families().items():
        for setting, criterion in settings.items():
            used, regret = replay.outcomes(criterion)
            for part, rows in replay.parts().items():
                point = float(used[rows].mean()), float(regret[rows].mean())
                found.setdefault(part, {}).setdefault(family, {})[setting] = point
    return found


def regret_at(points: Sequence[Point], used: float) -> float:
    """Return the least regret of settings that use no more than a share of the epochs.

    Between two settings it is what choosing one of both at random would give.
    """
    front: list[Point] = []
    for point in sorted(points):
        if front and point[1] >= front[-1][1]:
            continue
        # Points above the line between their neighbours are no choice.
        while len(front) > 1 and _is_above(front[-2], front[-1], point):
            front.pop()
        front.append(point)
    shares, regrets = zip(*front, strict=True)
    if used < shares[0]:
        return float("nan")
    return float(np.interp(used, shares, regrets))


def _is_above(left: Point, middle: Point, right: Point) -> bool:
    share = (middle[0] - left[0]) / max(right[0] - left[0], 1e-12)
    return middle[1] >= left[1] + share * (right[1] - left[1])


def add_results(part: str, found: Mapping[str, Mapping[str, Point]], results: Results) -> None:
    for family, settings in found.items():
        points = list(settings.values())
        for share in _SHOWN:
            regret = regret_at(points, share)
            column = f"{family} at {100 * share:.0f} %"
            if np.isnan(regret):
                results.skip(part, column, "no setting uses so little")
            else:
                results.add(part, column, 100 * regret, "% regret")


def compare(part: str, found: Mapping[str, Mapping[str, Point]]) -> str:
    """Return at which shares of the epochs another family's front is lower than our own."""
    own = list(found[OWN].values())
    words = []
    for family, settings in found.items():
        if family == OWN:
            continue
        points = list(settings.values())
        lower = [
            percent
            for percent in range(20, 100)
            if regret_at(points, percent / 100) < regret_at(own, percent / 100) - _NEGLIGIBLE
        ]
        if lower:
            words.append(f"{family} {lower[0]} to {lower[-1]} % ({len(lower)} points)")
    return f"{part}: lower than {OWN}: {', '.join(words) or 'none'}"


def draw(found: Mapping[str, Mapping[str, Mapping[str, Point]]], path: Path) -> None:
    import matplotlib.pyplot as plt
    import seaborn as sns

    sns.set_theme(style="whitegrid")
    n_columns = 2
    n_rows = -(-len(found) // n_columns)
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=(11, 3.6 * n_rows), layout="constrained", squeeze=False
    )
    for ax, (part, of_part) in zip(axes.flat, found.items(), strict=False):
        for family, settings in of_part.items():
            points = np.array(sorted(settings.values()))
            style = {"linewidth": 2.5, "color": "black"} if family == OWN else {"alpha": 0.8}
            ax.plot(*(100 * points.T), marker="o", markersize=4, label=family, **style)
        ax.set(xlabel="epochs used, %", ylabel="mean regret, %", xlim=(0, 101))
        ax.set_yscale("symlog", linthresh=0.1)
        ax.set_ylim(bottom=0)
        ax.set_title(part, fontsize=10)
    for ax in axes.flat[len(found) :]:
        ax.set_axis_off()
    axes[0, 0].legend(fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--curves", required=True, help="folder of the published curves")
    add_options(parser, quick="fewer curves of each source")
    parser.add_argument("--figures", help="draw the fronts into this folder")
    arguments = parser.parse_args()
    folder = open_folder(arguments.curves)
    most = 150 if arguments.quick else None
    deepobs = folder.deepobs(most)
    sources = (
        folder.simulated(most), folder.real(), folder.real_mended(), deepobs,
        folder.taskset(300 if arguments.quick else None),
    )  # fmt: skip
    results = Results(f"{cpu_name()}, one core")
    found: dict[str, dict[str, dict[str, Point]]] = {}
    for replay in (*map(replay_of, sources), in_small_sweeps(replay_of(deepobs))):
        for part, rows in replay.parts().items():
            results.add(part, "curves", float(rows.sum()), "curves")
        of_source = fronts(replay)
        for part, of_part in of_source.items():
            add_results(part, of_part, results)
        found |= of_source
    print(results.table())
    for part, of_part in found.items():
        print(compare(part, of_part))
    results.write(arguments.json)
    if arguments.figures is not None:
        Path(arguments.figures).mkdir(parents=True, exist_ok=True)
        draw(found, Path(arguments.figures) / "stopping-fronts.png")


if __name__ == "__main__":
    main()
