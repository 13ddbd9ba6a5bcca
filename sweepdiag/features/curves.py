"""Many learning curves as arrays: what every feature is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

__all__ = ["CurveArrays", "FloatArray"]

FloatArray: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveArrays:
    """Learning curves of different lengths in rectangular arrays.

    Row ``i`` holds ``lengths[i]`` evaluations, sorted by epoch; behind them the rows are padded
    with NaN. A NaN before ``lengths[i]`` is data: a loss that was not a number, or a quantity that
    was not evaluated at that epoch.

    Attributes:
        run_ids: One name per curve.
        epochs: Epochs trained at each evaluation, float64, shape ``(n_curves, n_points)``.
        train_loss: Training loss in the loss's own unit, same shape.
        val_loss: Validation loss, same shape; all NaN where a run had no validation.
        val_metric: Validation metric, same shape; all NaN where there is none.
        lengths: Evaluations per curve, int64, shape ``(n_curves,)``.
    """

    run_ids: tuple[str, ...]
    epochs: FloatArray
    train_loss: FloatArray
    val_loss: FloatArray
    val_metric: FloatArray
    lengths: NDArray[np.int64]

    def __post_init__(self) -> None:
        shape = (len(self.run_ids), self.epochs.shape[1] if self.epochs.ndim == 2 else -1)
        for name in ("epochs", "train_loss", "val_loss", "val_metric"):
            if getattr(self, name).shape != shape:
                message = f"{name} must have shape {shape}, got {getattr(self, name).shape}"
                raise ValueError(message)
        if self.lengths.shape != (shape[0],) or (self.lengths > shape[1]).any():
            message = f"lengths must be {shape[0]} numbers in [0, {shape[1]}]"
            raise ValueError(message)

    @property
    def n_curves(self) -> int:
        """Number of curves."""
        return len(self.run_ids)

    @property
    def n_points(self) -> int:
        """Number of evaluations of the longest curve."""
        return int(self.epochs.shape[1])

    @classmethod
    def from_long(
        cls,
        run_ids: ArrayLike,
        epochs: ArrayLike,
        train_loss: ArrayLike,
        val_loss: ArrayLike,
        val_metric: ArrayLike | None = None,
    ) -> CurveArrays:
        """Return the curves of flat columns, one row per evaluation.

        Args:
            run_ids: Name of the run that each row belongs to; rows may come in any order.
            epochs: Epochs trained, one per row.
            train_loss: Training loss, one per row.
            val_loss: Validation loss, one per row; NaN where it was not evaluated.
            val_metric: Validation metric, one per row; ``None`` if there is none.

        Returns:
            Curves in the order in which their runs first appear, each sorted by epoch. Rows of
            one run at the same epoch keep their order.

        Raises:
            ValueError: If the columns differ in length.
        """
        ids = np.asarray(run_ids, dtype=object)
        columns = [
            np.asarray(column, dtype=np.float64) for column in (epochs, train_loss, val_loss)
        ]
        metric = np.full(ids.shape, np.nan) if val_metric is None else val_metric
        columns.append(np.asarray(metric, dtype=np.float64))
        if any(column.shape != ids.shape for column in columns) or ids.ndim != 1:
            sizes = [ids.shape, *(column.shape for column in columns)]
            message = f"all columns must be flat and of one length, got shapes {sizes}"
            raise ValueError(message)
        names, codes = _encode(ids)
        order = np.lexsort((columns[0], codes))
        lengths = np.bincount(codes, minlength=len(names)).astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        positions = np.arange(ids.size) - np.repeat(starts, lengths)
        padded = np.full((4, len(names), int(lengths.max(initial=0))), np.nan)
        for target, column in zip(padded, columns, strict=True):
            target[codes[order], positions] = column[order]
        return cls(
            run_ids=names,
            epochs=padded[0],
            train_loss=padded[1],
            val_loss=padded[2],
            val_metric=padded[3],
            lengths=lengths,
        )

    def select(self, rows: slice | NDArray[np.int64] | Sequence[int]) -> CurveArrays:
        """Return some of the curves.

        Args:
            rows: A slice, or indices in the order wanted.

        Returns:
            Those curves; arrays are views where ``rows`` is a slice.
        """
        index = np.arange(self.n_curves)[rows]
        return CurveArrays(
            run_ids=tuple(self.run_ids[i] for i in index),
            epochs=self.epochs[rows],
            train_loss=self.train_loss[rows],
            val_loss=self.val_loss[rows],
            val_metric=self.val_metric[rows],
            lengths=self.lengths[rows],
        )


def _encode(ids: NDArray[np.object_]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the distinct names in order of appearance, and each row's place among them.

    Names are looked up once per stretch of equal ones, since rows of one run mostly follow each
    other.
    """
    if ids.size == 0:
        return (), np.empty(0, dtype=np.int64)
    is_start = np.ones(ids.size, dtype=bool)
    is_start[1:] = ids[1:] != ids[:-1]
    starts = np.flatnonzero(is_start)
    places: dict[object, int] = {}
    codes = [places.setdefault(name, len(places)) for name in ids[starts]]
    stretch_lengths = np.diff(np.append(starts, ids.size))
    names = tuple(str(name) for name in places)
    return names, np.repeat(np.asarray(codes, dtype=np.int64), stretch_lengths)
