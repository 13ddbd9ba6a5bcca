"""Rounds that boosting libraries print."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sweepdiag.readers.columns import ColumnMap, find_columns
from sweepdiag.readers.printed_rows import LEAST_ROWS, PrintedRows

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["rounds_of_lines"]

_ROUND = re.compile(r"\s*(?:\[(\d+)\]:?|(\d+):)\s+(?=\S)")
"""How a line of XGBoost, LightGBM (``[3]``) or CatBoost (``3:``) begins."""
_SCORE = re.compile(
    r"(?P<name>[A-Za-z][\w' @-]*?)\s*:\s*(?P<value>[-+]?(?:\d[\w.+-]*|nan|inf))(?:\s|$)"
)


def rounds_of_lines(lines: Sequence[str]) -> PrintedRows | None:
    """Return the rounds that a boosting library has printed; ``None`` if there are none.

    ``[3]  train-rmse:0.5  eval-rmse:0.6`` is such (XGBoost), with a loss for each part.
    """
    rounds = []
    for number, line in enumerate(lines, start=1):
        begin = _ROUND.match(line)
        if begin:
            found = _SCORE.finditer(line, begin.end())
            scores = {match["name"].replace("'s", ""): match["value"] for match in found}
            # CatBoost names no loss: learn: 0.5  test: 0.6  best: 0.6 (2)  total: 1s
            scores = {f"{n} loss" if n in {"learn", "test"} else n: v for n, v in scores.items()}
            rounds.append((number, begin[1] or begin[2], scores))
    columns = find_columns(list(rounds[0][2]), {}) if rounds else ColumnMap()
    if len(rounds) < LEAST_ROWS or not (columns.train_loss and columns.val_loss):
        return None
    names = ("iteration", *rounds[0][2])
    return PrintedRows(
        names=names,
        rows=[(at, *(scores.get(name) for name in names[1:])) for _, at, scores in rounds],
        lines=[number for number, _, _ in rounds],
        note=f"{len(rounds)} rounds of boosting",
    )
