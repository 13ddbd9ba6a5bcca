"""From rows in any order to curves: one point per run and epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.errors import ReaderError
from sweepdiag.readers.columns import QUANTITIES
from sweepdiag.readers.gaps import PointTable, fill_gaps
from sweepdiag.readers.problems import MAX_LEFT_OUT

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from sweepdiag.readers.gaps import BoolArray, FloatArray, IntArray
    from sweepdiag.readers.problems import ProblemList
    from sweepdiag.readers.rows import Rows

__all__ = ["Points", "collect_points", "run_codes", "split_runs_by_file"]

_SEVERAL_SHARE = 0.05
"""Share of epochs with several validation losses from which steps are the better axis."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """Points of all runs, sorted by run (in order of appearance) and epoch.

    Attributes:
        runs: Names of the runs.
        code: Which run a point belongs to.
        epoch: Where it lies: in epochs, or in steps where these are the axis.
        values: Losses and metrics; NaN where there is none.
        axis: ``epoch`` or ``step``.
        notes: What was done beyond sorting, in words.
    """

    runs: tuple[str, ...]
    code: IntArray
    epoch: FloatArray
    values: dict[str, FloatArray]
    axis: str
    notes: tuple[str, ...]

    def table(self) -> pd.DataFrame:
        """Return the points with the columns of ``curves.parquet``."""
        import pandas as pd

        n = self.code.size
        names = np.asarray(self.runs, dtype=object)
        columns = {"trial_id": names[self.code] if n else np.empty(0, dtype=object)}
        columns |= {"epoch": self.epoch}
        columns |= {name: self.values.get(name, np.full(n, np.nan)) for name in QUANTITIES}
        return pd.DataFrame(columns)


def run_codes(names: NDArray[np.object_]) -> tuple[tuple[str, ...], IntArray]:
    """Return the distinct names in order of appearance, and the place of each row's among them."""
    places: dict[str, int] = {}
    codes = [places.setdefault(name, len(places)) for name in names]
    return tuple(places), np.asarray(codes, dtype=np.int64)


def collect_points(rows: Rows, *, has_run_column: bool, problems: ProblemList) -> Points:
    """Return one point per run and epoch.

    Rows of one epoch that hold different quantities (training and validation losses are mostly
    logged apart) become one point. Training losses that were logged several times within an epoch
    are averaged. Of rows that repeat each other the last counts, and the others are listed.

    Args:
        rows: All rows.
        has_run_column: Whether a column names the runs.
        problems: Told of repeated rows.

    Returns:
        The points.
    """
    runs, codes = run_codes(rows.run)
    rows = _with_order(rows, codes, len(runs))
    axis = _choose_axis(rows, codes)
    place = rows.epoch if axis == "epoch" else rows.step
    order = np.lexsort((np.arange(len(rows)), place, codes))
    order = order[np.isfinite(place[order])]
    point, starts = _group(codes[order], place[order])
    merge = _Merge(rows=rows, order=order, point=point, n_points=starts.size, axis=axis)
    values = {name: merge.values_of(name) for name in rows.values}
    merge.list_repeated(runs, codes, place, problems, has_run_column=has_run_column)
    code, epoch = codes[order][starts], place[order][starts]
    notes = list(merge.notes())
    if axis == "step":
        why = "" if not np.isfinite(rows.epoch).any() else ": losses are logged within epochs"
        notes.append(f"steps take the place of epochs{why}")
    table = PointTable(
        code=code,
        epoch=epoch,
        values=values,
        is_given={name: merge.is_given(name) for name in rows.values},
        n_runs=len(runs),
    )
    table, told = fill_gaps(table, is_other=merge.is_other())
    return Points(
        runs=runs,
        code=table.code,
        epoch=table.epoch,
        values=table.values,
        axis=axis,
        notes=(*notes, *told),
    )


def split_runs_by_file(rows: Rows) -> Rows | None:
    """Return the rows with their file in the run's name, if runs of one name are several.

    A run may be spread over files (one with training, one with validation losses). Where two files
    give the same quantity of the same run at the same place, these are two runs.

    Args:
        rows: Rows of all files.

    Returns:
        The rows; ``None`` where names can stay as they are.
    """
    import dataclasses
    from pathlib import PurePosixPath

    if len(rows.files) < 2:
        return None
    _, codes = run_codes(rows.run)
    place = np.where(np.isfinite(rows.epoch), rows.epoch, -1.0)
    step = np.where(np.isfinite(rows.step), rows.step, -1.0)
    for missing in rows.missing.values():
        used = np.flatnonzero(~missing)
        order = used[np.lexsort((rows.file[used], step[used], place[used], codes[used]))]
        is_same = codes[order][1:] == codes[order][:-1]
        is_same &= (place[order][1:] == place[order][:-1]) & (step[order][1:] == step[order][:-1])
        if (is_same & (rows.file[order][1:] != rows.file[order][:-1])).any():
            stems = [PurePosixPath(file).with_suffix("").as_posix() for file in rows.files]
            names = [
                name if name == stems[file] else f"{stems[file]}/{name}"
                for name, file in zip(rows.run, rows.file, strict=True)
            ]
            return dataclasses.replace(rows, run=np.asarray(names, dtype=object))
    return None


def _with_order(rows: Rows, codes: IntArray, n_runs: int) -> Rows:
    """Return rows with their order for steps, in runs that log training within an epoch without.

    These are runs without steps whose epochs never go back, and give at most one validation loss
    each, but several training losses.
    """
    import dataclasses

    if not {"train_loss", "val_loss"} <= rows.values.keys():
        return rows
    order = np.argsort(codes, kind="stable")
    code, epoch = codes[order], rows.epoch[order]
    is_same = code[1:] == code[:-1]
    is_out = np.zeros(n_runs, dtype=bool)
    is_out[code[1:][is_same & ~(epoch[1:] >= epoch[:-1])]] = True
    is_out[codes[np.isfinite(rows.step)]] = True
    is_out |= _repeats(codes, rows.epoch, ~rows.missing["val_loss"], n_runs)
    is_out |= ~_repeats(codes, rows.epoch, ~rows.missing["train_loss"], n_runs)
    has_val = np.bincount(codes[~rows.missing["val_loss"]], minlength=n_runs) > 0
    is_numbered = (has_val & ~is_out)[codes]
    steps = np.where(is_numbered, np.arange(len(rows), dtype=np.float64), rows.step)
    return dataclasses.replace(rows, step=steps) if is_numbered.any() else rows


def _repeats(codes: IntArray, epoch: FloatArray, is_given: BoolArray, n_runs: int) -> BoolArray:
    """Return which runs give a quantity several times at an epoch."""
    pairs = np.stack([codes[is_given].astype(np.float64), epoch[is_given]], axis=1)
    unique, counts = np.unique(pairs, axis=0, return_counts=True)
    repeats = np.zeros(n_runs, dtype=bool)
    repeats[unique[counts > 1, 0].astype(np.int64)] = True
    return repeats


def _choose_axis(rows: Rows, codes: IntArray) -> str:
    """Return ``step`` where there are no epochs, or validation comes several times in one."""
    is_epoch, is_step = np.isfinite(rows.epoch), np.isfinite(rows.step)
    if not is_epoch.any():
        return "step"
    key = "val_loss" if "val_loss" in rows.values else next(iter(rows.values))
    used = np.flatnonzero(~rows.missing[key] & is_epoch & is_step)
    if not used.size or not is_step[~rows.missing[key]].all():
        return "epoch"
    steps = _distinct(codes[used], rows.epoch[used], rows.step[used])
    cell, _ = _group(steps[:, 0], steps[:, 1])
    several = np.bincount(cell) > 1
    return "step" if several.mean() > _SEVERAL_SHARE else "epoch"


def _distinct(*columns: NDArray[np.float64] | IntArray) -> FloatArray:
    """Return the distinct rows, sorted."""
    table = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)
    unique: FloatArray = np.unique(table, axis=0)
    return unique


def _group(*columns: NDArray[np.float64] | IntArray) -> tuple[IntArray, IntArray]:
    """Return, of sorted columns, the group of each row and where each group starts."""
    n = columns[0].size
    is_start = np.ones(n, dtype=bool)
    if n:
        is_start[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return np.cumsum(is_start) - 1, np.flatnonzero(is_start)


@dataclass(frozen=True, kw_only=True)
class _Merge:
    """Rows in the order of points, and the point of each."""

    rows: Rows
    order: IntArray
    point: IntArray
    n_points: int
    axis: str

    def is_given(self, name: str) -> BoolArray:
        """Return which points have a value, be it NaN."""
        given: BoolArray = self._count(self._is_used(name)) > 0
        return given

    def is_other(self) -> BoolArray:
        """Return which points have only rows of things beside the curve."""
        is_other: BoolArray = self._count(~self.rows.is_other[self.order]) == 0
        return is_other

    def values_of(self, name: str) -> FloatArray:
        """Return one value per point: the last one, or the mean of those of different steps."""
        values, is_used = self.rows.values[name][self.order], self._is_used(name)
        result = np.full(self.n_points, np.nan)
        result[self.point[is_used]] = values[is_used]  # of several the last
        if name.startswith("train"):
            is_several = self._has_steps(is_used)
            n_values = self._count(is_used)
            with np.errstate(all="ignore"):
                sums = np.bincount(self.point[is_used], values[is_used], minlength=self.n_points)
                result = np.where(is_several, sums / n_values, result)
        return result

    def notes(self) -> list[str]:
        """Return that training losses were averaged, if they were."""
        return [
            f"{name} is the mean of what was logged within an epoch"
            for name in self.rows.values
            if name.startswith("train") and self._has_steps(self._is_used(name)).any()
        ]

    def list_repeated(
        self,
        runs: tuple[str, ...],
        codes: IntArray,
        place: FloatArray,
        problems: ProblemList,
        *,
        has_run_column: bool,
    ) -> None:
        """List the rows that a later row of the same run and epoch replaces.

        Raises:
            ReaderError: If there are so many that they must be other runs.
        """
        is_replaced = np.zeros(self.order.size, dtype=bool)
        for name in self.rows.values:
            is_used = self._is_used(name)
            is_single = ~self._has_steps(is_used)
            used = np.flatnonzero(is_used & is_single[self.point])
            is_last = np.ones(used.size, dtype=bool)
            is_last[:-1] = self.point[used][1:] != self.point[used][:-1]
            is_replaced[used[~is_last]] = True
        n_replaced = int(is_replaced.sum())
        if n_replaced > MAX_LEFT_OUT * self.order.size:
            first = self.order[is_replaced][0]
            cause = f"runs seem to share the name {runs[codes[first]]!r}"
            if not has_run_column:
                cause = "it seems to hold several runs, but no column is named like a run"
            message = (
                f"{self.rows.files[int(self.rows.file[first])]} repeats its {self.axis}s in "
                f"{n_replaced} of {self.order.size} rows: {cause}. Say what names a run: "
                "--columns run=NAME, or several columns together: --columns run=lr+seed"
            )
            raise ReaderError(message)
        for i in self.order[is_replaced]:
            what = f"{runs[codes[i]]}, {self.axis} {place[i]:g}"
            problems.add(
                self.rows.files[int(self.rows.file[i])],
                self.rows.line[i],
                f"run, {self.axis}",
                what,
                "row left out: a later row is the same point",
            )

    def _is_used(self, name: str) -> BoolArray:
        is_used: BoolArray = ~self.rows.missing[name][self.order]
        return is_used

    def _count(self, is_used: BoolArray) -> IntArray:
        return np.bincount(self.point[is_used], minlength=self.n_points)

    def _has_steps(self, is_used: BoolArray) -> BoolArray:
        """Return which points are of an epoch in which several steps were logged."""
        step = self.rows.step[self.order]
        used = np.flatnonzero(is_used & np.isfinite(step))
        if self.axis == "step" or not used.size or self._count(is_used).max() < 2:
            return np.zeros(self.n_points, dtype=bool)
        pairs = _distinct(self.point[used], step[used])
        n_steps = np.bincount(pairs[:, 0].astype(np.int64), minlength=self.n_points)
        several: BoolArray = n_steps > 1
        return several
