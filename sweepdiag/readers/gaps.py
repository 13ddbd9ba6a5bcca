"""Points that lack a value: what was not measured there, and what was no number.

Cells are empty for both reasons, and only the rows around them tell which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sweepdiag.readers.columns import LOSSES
from sweepdiag.wording import plural

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BoolArray", "FloatArray", "IntArray", "PointTable", "fill_gaps"]

_DENSE = 2.0
"""Training losses per validation loss from which they are averaged between validations."""
_LACKING_SHARE = 0.1
_N_BACK = 2
"""How often a loss has to come back from 0 for its zeros, half of it or more, to be none."""
_CURVE = 3
"""Training losses from which they are a curve without validation losses."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class PointTable:
    """Points sorted by run and epoch.

    Attributes:
        code: Which run a point belongs to.
        epoch: Where it lies.
        values: Losses and metrics.
        is_given: Which of them were logged, be it as NaN.
        n_runs: Number of runs.
    """

    code: IntArray
    epoch: FloatArray
    values: dict[str, FloatArray]
    is_given: dict[str, BoolArray]
    n_runs: int

    @property
    def losses(self) -> list[str]:
        """The losses that occur in some run."""
        return [name for name in self.values if name in LOSSES]

    def select(self, kept: BoolArray) -> PointTable:
        """Return some of the points."""
        return PointTable(
            code=self.code[kept],
            epoch=self.epoch[kept],
            values={name: column[kept] for name, column in self.values.items()},
            is_given={name: column[kept] for name, column in self.is_given.items()},
            n_runs=self.n_runs,
        )

    def any_given(self, names: Iterable[str]) -> BoolArray:
        """Return which points have one of these quantities."""
        columns = [self.is_given[name] for name in names]
        return np.any(columns, axis=0) if columns else np.zeros(self.code.size, dtype=bool)

    def count(self, is_counted: BoolArray) -> IntArray:
        """Return how many such points each run has."""
        return np.bincount(self.code[is_counted], minlength=self.n_runs)


def fill_gaps(table: PointTable, *, is_other: BoolArray) -> tuple[PointTable, list[str]]:
    """Return points whose losses are NaN or infinite only where they were no numbers.

    Args:
        table: Points as they were logged; its losses may be written to.
        is_other: Which points are of things beside the curve, such as a test after training.

    Returns:
        The points that are kept, and what was done in words.
    """
    _mark_never_finite(table)
    table = table.select(_is_worth_keeping(table, is_other))
    table = table.select(~_is_of_other_things(table))
    table, notes = _without_closing_test(table)
    n_placeholders = _clear_placeholders(table)
    if n_placeholders:
        notes.append(
            f"val_loss of {plural(n_placeholders, 'run')} is 0 between other values: no "
            "validation took place there"
        )
    table, n_aligned = _align(table)
    if n_aligned:
        notes.append(
            f"training losses of {plural(n_aligned, 'run')} were logged at other places than "
            "validation losses: each point has the mean since the validation before"
        )
    table, told = _end_where_measured(table)
    return table, [*notes, *told]


def _clear_placeholders(table: PointTable) -> int:
    """Take zeros between losses above 0 for epochs without validation; return in how many runs.

    Args:
        table: The points; its validation losses are written to.
    """
    if "val_loss" not in table.values:
        return 0
    values, is_given = table.values["val_loss"], table.is_given["val_loss"]
    n_runs = 0
    for run in np.unique(table.code[is_given & (values == 0)]).tolist():
        places = np.flatnonzero((table.code == run) & is_given)
        is_zero = values[places] == 0
        n_back = int((is_zero[:-1] & ~is_zero[1:]).sum())
        is_placeholder = 2 * is_zero.sum() >= places.size and (values[places] >= 0).all()
        if n_back >= _N_BACK and is_placeholder:
            values[places[is_zero]], is_given[places[is_zero]] = np.nan, False
            n_runs += 1
    return n_runs


def _mark_never_finite(table: PointTable) -> None:
    """Write infinity for losses that were logged as NaN from the first to the last.

    A loss that is NaN everywhere otherwise stands for one that was never measured.
    """
    for name in table.losses:
        values = table.values[name]
        is_never = (table.count(np.isfinite(values)) == 0)[table.code]
        values[table.is_given[name] & np.isnan(values) & is_never] = np.inf


def _is_worth_keeping(table: PointTable, is_other: BoolArray) -> BoolArray:
    """Return which points to keep: those with a value, and gaps that stand for NaN.

    Programs write NaN as an empty cell, so that a diverged run ends in rows without losses. But
    loggers also write rows that hold other things than losses. A run whose rows have either all
    of its losses or none is taken for the former, but for rows of things beside the curve.
    """
    code, n_runs = table.code, table.n_runs
    given = np.stack(list(table.is_given.values()), axis=1)
    n_given = given.sum(axis=1)
    has_any = n_given > 0
    occurs = np.zeros((n_runs, given.shape[1]), dtype=bool)
    np.logical_or.at(occurs, code, given)
    is_partial = has_any & (n_given < occurs.sum(axis=1)[code])
    is_regular = (table.count(is_partial) == 0) & occurs.any(axis=1)
    kept: BoolArray = has_any | (is_regular[code] & ~is_other)
    return kept


def _is_of_other_things(table: PointTable) -> BoolArray:
    """Return which points have only metrics that the run logs nowhere beside its losses.

    Where it does, a row with metrics and without losses stands for losses that were no number.
    """
    has_loss = table.any_given(table.losses)
    is_beside = np.zeros(table.code.size, dtype=bool)
    for name in table.values.keys() - set(table.losses):
        occurs_beside = table.count(table.is_given[name] & has_loss) > 0
        is_beside |= table.is_given[name] & occurs_beside[table.code]
    has_any = table.any_given(table.values)
    is_other: BoolArray = has_any & ~has_loss & ~is_beside
    return is_other & (table.count(has_loss) > 0)[table.code]


def _without_closing_test(table: PointTable) -> tuple[PointTable, list[str]]:
    """Return the points without the only validation loss of a run, where it is of its end.

    Loggers write a test after training as one more row. It is no curve, and training losses would
    be averaged over all of the run to stand beside it.

    Returns:
        The points, and what was done in words.
    """
    if set(table.losses) != set(LOSSES):
        return table, []
    has_train, has_val = table.is_given["train_loss"], table.is_given["val_loss"]
    last = _last_place(table, has_train)
    is_closing = (table.count(has_val) == 1) & (table.count(has_train) >= _CURVE)
    is_closing &= _last_place(table, has_val) >= last
    if not is_closing.any():
        return table, []
    is_dropped = has_val & is_closing[table.code]
    table.values["val_loss"] = np.where(is_dropped, np.nan, table.values["val_loss"])
    table.is_given["val_loss"] = has_val & ~is_dropped
    n_runs = plural(int(is_closing.sum()), "run")
    note = f"val_loss of {n_runs} is left out: it was logged once, at the end"
    return table.select(has_train | ~is_dropped), [note]


def _align(table: PointTable) -> tuple[PointTable, int]:
    """Put training losses on the points of validation losses, in runs where they lie apart.

    Returns:
        The points, and the number of runs in which that was done.
    """
    values, is_given, code = table.values, table.is_given, table.code
    if "train_loss" not in values or "val_loss" not in values:
        return table, 0
    has_train, has_val = is_given["train_loss"], is_given["val_loss"]
    n_val = table.count(has_val)
    is_before = _next_anchor(code, has_val) >= 0  # not behind the last validation
    n_train = table.count(has_train & is_before)
    n_lacking = table.count(has_val & ~has_train)
    # Validation before the first step has no training loss in any logger.
    is_apart = (n_lacking - 1 > _LACKING_SHARE * n_val) | (n_train >= _DENSE * n_val)
    is_apart &= (n_val > 0) & (n_train > 0)
    if not is_apart.any():
        return table, 0
    is_anchor = has_val | ~is_apart[code] | _bad_end(code, values["train_loss"], has_val)
    target = _next_anchor(code, is_anchor)
    n_anchors = int(is_anchor.sum())
    result = table.select(is_anchor)
    is_moved = is_apart[result.code]
    for name in (name for name in values if name.startswith("train")):
        used = is_given[name] & (target >= 0)
        counts = np.bincount(target[used], minlength=n_anchors)
        with np.errstate(all="ignore"):
            sums = np.bincount(target[used], values[name][used], minlength=n_anchors)
            means = np.where(counts > 0, sums / counts, np.nan)
        result.values[name] = np.where(is_moved, means, result.values[name])
        result.is_given[name] = np.where(is_moved, counts > 0, result.is_given[name])
    return result, int(is_apart.sum())


def _end_where_measured(table: PointTable) -> tuple[PointTable, list[str]]:
    """Let each run end where all of its losses were logged, or do without one logged too seldom.

    An empty cell at the end of a curve would read as a loss that is no number. Where another loss
    goes on without it, it was just not logged there: what costs fewer values is left out, those
    points or all of that loss.

    Returns:
        The points, and what was done in words.
    """
    notes = []
    for name in table.losses:
        others = np.zeros(table.code.size, dtype=bool)
        for other in set(table.losses) - {name}:
            others |= np.isfinite(table.values[other])
        last = _last_place(table, table.is_given[name])
        is_known = last >= 0
        is_known[is_known] = np.isfinite(table.values[name][last[is_known]])
        is_behind = (np.arange(table.code.size) > last[table.code]) & is_known[table.code]
        n_lacking = table.count(is_behind & others)
        is_seldom = n_lacking > table.count(table.is_given[name])
        if is_seldom.any():
            is_dropped = is_seldom[table.code]
            table.values[name] = np.where(is_dropped, np.nan, table.values[name])
            table.is_given[name] = table.is_given[name] & ~is_dropped
            notes.append(
                f"{name} of {plural(int(is_seldom.sum()), 'run')} is left out: it ends long "
                "before the other loss"
            )
        is_cut = (n_lacking > 0) & ~is_seldom
        if is_cut.any():
            table = table.select(~(is_behind & is_cut[table.code]))
            notes.append(
                f"{plural(int(is_cut.sum()), 'run')} ended early: the last points have no {name}"
            )
    return table, notes


def _last_place(table: PointTable, is_counted: BoolArray) -> IntArray:
    """Return the place of each run's last such point; -1 where there is none."""
    last = np.full(table.n_runs, -1, dtype=np.int64)
    places = np.flatnonzero(is_counted)
    last[table.code[places]] = places  # of several the last
    return last


def _bad_end(code: IntArray, train: FloatArray, has_val: BoolArray) -> BoolArray:
    """Return the last point of runs that end, after the last validation, with no number."""
    is_last = np.ones(code.size, dtype=bool)
    is_last[:-1] = code[1:] != code[:-1]
    return is_last & ~has_val & ~np.isfinite(train)


def _next_anchor(code: IntArray, is_anchor: BoolArray) -> IntArray:
    """Return, per point, which anchor of its run comes next (itself counts); -1 if none does."""
    places = np.flatnonzero(is_anchor)
    following = np.searchsorted(places, np.arange(code.size))
    # Behind the last anchor comes one of no run.
    owners = np.append(code[places], -1)
    return np.where(owners[following] == code, following, -1)
