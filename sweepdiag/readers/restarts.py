"""Trainings that were begun anew, or logged by several processes, into the same file."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.readers.columns import LOSSES
from sweepdiag.readers.points import run_codes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sweepdiag.readers.rows import Rows

__all__ = ["split_restarts", "without_copies"]

_START_SHARE = 0.1
"""Share of the epochs so far within which a training that begins anew begins."""
_N_REPEATED = 2
"""Epochs that must be repeated: a single one is a row that was logged again."""
_LEAST_FALL = 0.2
"""Fall of a loss in the first part, relative to its start, from which its end tells from it."""
_REGAINED = 0.3
"""Share of that fall that a loss may lose where a training is continued."""
_CLOSE = 3e-3
"""Relative difference within which processes of one training log the same loss."""
_CLOSE_SHARE = 0.9


def split_restarts(rows: Rows) -> tuple[Rows, list[str]]:
    """Return the rows with a run of its own for each training that was begun anew.

    A training begins anew where, in the order of a file, the epochs of a run go back to about
    where they began and give the same losses a second time, and steps do not go on. One that was
    resumed later than that goes on: of its repeated epochs the last count. Where losses go on
    from where the part before ended, one training was continued, call by call, with epochs that
    count from the start in each: they are counted on.

    Args:
        rows: All rows, in the order of their files.

    Returns:
        The rows, and in words what was done: nothing mostly.
    """
    runs, codes = run_codes(rows.run)
    order = np.lexsort((rows.file, codes))
    has_epochs = bool(np.isfinite(rows.epoch).any())
    # Without epochs, steps that go back say the same.
    axis = rows.epoch if has_epochs else rows.step
    order = order[np.isfinite(axis[order])]
    code, file = codes[order], rows.file[order]
    epoch, step = axis[order], rows.step[order]
    is_same = (code[1:] == code[:-1]) & (file[1:] == file[:-1])
    is_backward = is_same & (epoch[1:] < epoch[:-1]) & ~(step[1:] > step[:-1])
    backward = np.flatnonzero(is_backward) + 1
    if not backward.size:
        return rows, []
    given = np.stack([~missing[order] for missing in rows.missing.values()], axis=1)
    stretch = np.concatenate(([0], np.flatnonzero(~is_same) + 1, [order.size]))
    number = np.ones(order.size, dtype=np.int64)
    counted = axis.copy()
    continued = set()
    for begin, end in itertools.pairwise(stretch.tolist()):
        breaks = backward[np.searchsorted(backward, begin) : np.searchsorted(backward, end)]
        if breaks.size and _repeats(epoch[begin:end], given[begin:end]):
            parts = _numbered(epoch[begin:end], given[begin:end], breaks - begin)
            rows_of_run = order[begin:end]
            # Training losses tell it best: those of validation may rise.
            loss = next(rows.values[name] for name in LOSSES if name in rows.values)
            if parts[-1] > 1 and has_epochs and _goes_on(loss[rows_of_run], parts):
                counted[rows_of_run] = _counted_on(epoch[begin:end], parts)
                continued.add(int(code[begin]))
            else:
                number[begin:end] = parts
    notes = []
    if continued:
        rows = dataclasses.replace(rows, epoch=counted)
        n, name = len(continued), runs[min(continued)]
        notes.append(
            f"the epochs of {_count(n, 'run')} begin anew where losses go on ({name}): trained in "
            "several calls, so they are counted on"
        )
    restarted = set(code[number > 1].tolist())
    if not restarted:
        return rows, notes
    names = rows.run.copy()
    for i, k in zip(order.tolist(), number.tolist(), strict=True):
        if codes[i] in restarted:
            names[i] = f"{runs[codes[i]]}#{k}"
    first = runs[min(restarted)]
    n_begun = len(set(names)) - len(runs) + len(restarted)
    what = "epochs" if has_epochs else "steps"
    note = (
        f"the {what} of {_count(len(restarted), 'run')} begin anew within a file: "
        f"{n_begun} trainings, named {first}#1, {first}#2, … (--columns run=NAME says otherwise)"
    )
    return dataclasses.replace(rows, run=names), [*notes, note]


def without_copies(rows: Rows) -> tuple[Rows, str] | None:
    """Return the rows without those that several processes of one training have logged alike.

    Args:
        rows: All rows.

    Returns:
        The rows, of copies the last, and in words what was done; ``None`` where rows of one epoch
        (and step) differ by more than that.
    """
    _, codes = run_codes(rows.run)
    keys = [codes, rows.file, *(np.nan_to_num(a, nan=-1.0) for a in (rows.epoch, rows.step))]
    given = np.stack([~missing for missing in rows.missing.values()], axis=1)
    keys += list(given.T)
    order = np.lexsort(keys[::-1])
    order = order[given[order].any(axis=1)]
    later, earlier = order[1:], order[:-1]
    is_same = np.all([key[later] == key[earlier] for key in keys], axis=0)
    is_close = is_same.copy()
    for values in rows.values.values():
        is_close &= np.isclose(values[later], values[earlier], rtol=_CLOSE, equal_nan=True)
    n_copies = int(is_close.sum())
    if n_copies == 0 or n_copies < _CLOSE_SHARE * is_same.sum():
        return None
    kept = np.ones(len(rows), dtype=bool)
    kept[earlier[is_close]] = False
    note = (
        f"{n_copies} rows nearly equal others of their epoch, as where several processes of one "
        "training log: the last counts"
    )
    return rows.only(kept), note


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _repeats(epoch: NDArray[np.float64], given: NDArray[np.bool_]) -> bool:
    """Return whether any quantity is given twice at an epoch."""
    return any(np.unique(epoch[own]).size < int(own.sum()) for own in given.T)


def _numbered(
    epoch: NDArray[np.float64], given: NDArray[np.bool_], breaks: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return which training each row is of, from 1; ``breaks`` is where epochs go back."""
    number = np.ones(epoch.size, dtype=np.int64)
    begin = 0
    for at, end in zip(breaks, (*breaks[1:], epoch.size), strict=True):
        before, after = slice(begin, at), slice(at, end)
        low, high = epoch[before].min(), epoch[before].max()
        if epoch[at] <= low + _START_SHARE * (high - low) and any(
            _is_again(epoch[before][given[before, k]], epoch[after][given[after, k]])
            for k in range(given.shape[1])
        ):
            number[at:] += 1
            begin = at
    return number


def _goes_on(loss: NDArray[np.float64], parts: NDArray[np.int64]) -> bool:
    """Return whether a loss begins each part about where it ended the one before.

    Args:
        loss: The loss in the order of the rows.
        parts: Which part each row is of, from 1.
    """
    given = np.isfinite(loss)
    values, part = loss[given], parts[given]
    begins = np.flatnonzero(np.diff(part)) + 1
    if not begins.size or begins.size < parts[-1] - 1:
        return False
    start, before = values[0], values[begins - 1]
    fall = start - before
    is_low = fall >= _LEAST_FALL * abs(start)
    return bool((is_low & (values[begins] - before <= _REGAINED * fall)).all())


def _counted_on(epoch: NDArray[np.float64], parts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return epochs that go on from part to part."""
    counted = epoch.copy()
    for k in range(2, int(parts[-1]) + 1):
        own, last = parts == k, counted[parts == k - 1].max()
        counted[own] += last + 1 - epoch[own].min()
    return counted


def _is_again(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    """Return whether several epochs of one quantity are given again: all, if there is but one."""
    known = np.unique(before)
    n_again = int(np.isin(np.unique(after), known).sum())
    return 0 < n_again >= min(_N_REPEATED, known.size)
