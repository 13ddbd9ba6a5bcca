"""The largest box around one point that holds good points only.

Points are configurations in coordinates of ``[0, 1]`` per axis. Nothing here knows what an axis
means or why a point is bad.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

__all__ = ["inside", "largest_box"]

_Coords: TypeAlias = "NDArray[np.float64]"
_Mask: TypeAlias = "NDArray[np.bool_]"
Box: TypeAlias = "tuple[NDArray[np.float64], NDArray[np.float64]]"
"""Lower and upper corner, both inside."""

# Beyond these sizes, or where most cells of the grid are empty, the box is grown instead.
_MOST_CELLS = 200_000
_MOST_BOXES = 4_000_000
_LEAST_FILLED = 0.5


def inside(coords: _Coords, box: Box) -> _Mask:
    """Return which points lie in a box, corners included."""
    low, high = box
    return np.asarray(((coords >= low) & (coords <= high)).all(axis=1))


def largest_box(coords: _Coords, is_good: _Mask, start: int) -> Box:
    """Return the box around a good point that holds most good points and no bad one.

    On a grid every box is looked at, so the result is the largest there is; of equal ones, the
    one that spans more of the axes. Scattered points are too many for that: the box grows from
    the start to its neighbours in several orders, and the best of these is kept.

    Args:
        coords: Shape ``(n_points, n_axes)``.
        is_good: Which points may be inside; all others may not.
        start: Index of a good point that the box must hold.

    Returns:
        Lower and upper corner, each at the coordinates of some point.
    """
    levels = [np.unique(coords[:, axis]) for axis in range(coords.shape[1])]
    n_cells = float(np.prod([float(level.size) for level in levels]))
    is_grid = n_cells <= _MOST_CELLS and len(coords) >= _LEAST_FILLED * n_cells
    if is_grid:
        pairs = [
            _intervals(level.size, int(np.searchsorted(level, coords[start, axis])))
            for axis, level in enumerate(levels)
        ]
        if np.prod([float(len(lows)) for lows, _ in pairs]) <= _MOST_BOXES:
            return _largest_grid_box(coords, is_good, levels, pairs)
    return _grown_box(coords, is_good, start)


def _intervals(size: int, place: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return all intervals of ``range(size)`` that hold ``place``, as first and last index."""
    both = list(itertools.product(range(place + 1), range(place, size)))
    lows, highs = np.array(both, dtype=np.intp).T
    return lows, highs


def _largest_grid_box(
    coords: _Coords,
    is_good: _Mask,
    levels: list[NDArray[np.float64]],
    pairs: list[tuple[NDArray[np.intp], NDArray[np.intp]]],
) -> Box:
    shape = tuple(level.size for level in levels)
    cells = tuple(np.searchsorted(level, coords[:, axis]) for axis, level in enumerate(levels))
    good = _counts_in_boxes(shape, cells, is_good, pairs)
    bad = _counts_in_boxes(shape, cells, ~is_good, pairs)
    score = np.where(bad == 0, good, -1)
    largest = np.flatnonzero(score == score.max())
    choices = np.unravel_index(largest, score.shape)
    spans = sum(
        level[highs[choice]] - level[lows[choice]]
        for level, (lows, highs), choice in zip(levels, pairs, choices, strict=True)
    )
    winner = int(np.argmax(spans))
    corners = [
        (level[lows[choice[winner]]], level[highs[choice[winner]]])
        for level, (lows, highs), choice in zip(levels, pairs, choices, strict=True)
    ]
    low, high = np.array(corners).T
    return low, high


def _counts_in_boxes(
    shape: tuple[int, ...],
    cells: tuple[NDArray[np.intp], ...],
    counted: _Mask,
    pairs: list[tuple[NDArray[np.intp], NDArray[np.intp]]],
) -> NDArray[np.int64]:
    """Count points in every box at once, one axis after the other, from cumulative sums."""
    counts = np.zeros(shape, dtype=np.int64)
    np.add.at(counts, cells, counted.astype(np.int64))
    for axis, (lows, highs) in enumerate(pairs):
        margin = [(1, 0) if other == axis else (0, 0) for other in range(len(shape))]
        sums = np.pad(counts.cumsum(axis=axis), margin)
        counts = sums.take(highs + 1, axis=axis) - sums.take(lows, axis=axis)
    return counts


def _grown_box(coords: _Coords, is_good: _Mask, start: int) -> Box:
    boxes = [_grow(coords, is_good, start, order) for order in _orders(coords, is_good, start)]

    def size(box: Box) -> tuple[int, float]:
        return int((inside(coords, box) & is_good).sum()), float((box[1] - box[0]).sum())

    return max(boxes, key=size)


def _orders(coords: _Coords, is_good: _Mask, start: int) -> Iterator[NDArray[np.intp]]:
    """Yield orders in which to try the good points: nearest first, by several distances."""
    away = np.abs(coords - coords[start])
    distances = [away.max(axis=1), away.sum(axis=1)]
    for axis in range(coords.shape[1]):
        # Stretching one axis makes the box grow along it later than along the others.
        stretched = away.copy()
        stretched[:, axis] *= 4.0
        distances.append(stretched.max(axis=1))
    for distance in distances:
        order = np.argsort(distance, kind="stable")
        yield order[is_good[order]]


def _grow(coords: _Coords, is_good: _Mask, start: int, order: Iterable[np.intp]) -> Box:
    low, high = coords[start].copy(), coords[start].copy()
    bad = coords[~is_good]
    for index in order:
        wider = np.minimum(low, coords[index]), np.maximum(high, coords[index])
        if not inside(bad, wider).any():
            low, high = wider
    return low, high
