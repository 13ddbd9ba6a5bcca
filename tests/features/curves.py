"""Builds ``CurveArrays`` from plain lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.features import CurveArrays

if TYPE_CHECKING:
    from collections.abc import Sequence


def curve(
    train: Sequence[float],
    val: Sequence[float] | None = None,
    *,
    metric: Sequence[float] | None = None,
    epochs: Sequence[float] | None = None,
    run_id: str = "a",
) -> CurveArrays:
    n = len(train)
    return CurveArrays.from_long(
        [run_id] * n,
        np.arange(n) if epochs is None else epochs,
        train,
        [np.nan] * n if val is None else val,
        metric,
    )


def stack(curves: Sequence[CurveArrays]) -> CurveArrays:
    """Put curves of different lengths into one set, as ``from_long`` would."""
    columns: list[list[object]] = [[], [], [], [], []]
    for one in curves:
        for i, name in enumerate(one.run_ids):
            n = int(one.lengths[i])
            columns[0] += [name] * n
            for column, array in zip(
                columns[1:],
                (one.epochs, one.train_loss, one.val_loss, one.val_metric),
                strict=True,
            ):
                column += list(array[i, :n])
    return CurveArrays.from_long(*columns)  # type: ignore[arg-type]
