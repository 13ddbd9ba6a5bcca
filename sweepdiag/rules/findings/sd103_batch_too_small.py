"""SD103: batches that are too small for every rate that was tried with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.records import Tag
from sweepdiag.rules.base import percent
from sweepdiag.rules.findings.base import BAD_CLASSES, Check, format_value, format_values

if TYPE_CHECKING:
    import pandas as pd

    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["BatchTooSmall"]

_MOSTLY = 0.5
"""Share of the common settings at which a small batch must do badly."""

_WORSE = 0.1
"""How much worse the best value with a small batch must be than with the largest, as a share."""

_UNSTEADY = {Tag.OSCILLATING.value, Tag.NOISY_VALIDATION.value, Tag.UNSTABLE.value}


class BatchTooSmall(Check):
    """With small batches no learning rate that was tried trains well; with large ones they do.

    What it checks: each batch size against the largest one at the same learning rates, capacities
    and further settings.

    Why it matters: gradients of few samples are noisy, and the noise of a step grows with the
    learning rate over the batch size. A rate that suits a large batch shakes a small one.

    What it needs: a ``batch_size`` axis with at least two values, enough evaluations, and settings
    at which the largest batch trains.

    How it is detected: at half or more of the settings at which the largest batch trains, the
    small one diverges, learns nothing, oscillates, or ends 10 % worse, provided that the largest
    trains at half of the settings; and its best value over all
    settings is 10 % worse than that of the largest batch, and beyond the noise between seeds.

    Known false alarms: none known where the lr axis reaches low enough for the small batch: then
    its best rate is about as good, and nothing is found.

    What to do: lower the learning rates for these batch sizes (in proportion to the batch, or to
    its square root), or leave the batch sizes out. Batch size itself is chosen for speed.

    References:
        McCandlish et al., "An Empirical Model of Large-Batch Training", 2018; Goyal et al.,
        "Accurate, Large Minibatch SGD", 2017.
    """

    code = "SD103"
    name = "batch-too-small"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return which batch sizes are too small for the rates of the sweep."""
        if view.axis("batch_size") is None:
            return self.not_applicable("there is no batch_size axis with at least two values")
        reason = view.lack_of_evaluations(thresholds.min_evaluations)
        if reason:
            return self.not_applicable(reason)
        sizes = sorted({float(value) for value in view.judged["batch_size"]})
        if len(sizes) < 2 or view.ranked().empty:
            return self.not_applicable("fewer than two batch sizes were trained, or none learns")
        largest = view.judged[view.judged["batch_size"].astype(float) == sizes[-1]]
        shares = {}
        for size in sizes[:-1]:
            rows = view.judged[view.judged["batch_size"].astype(float) == size]
            shares[size] = _share_of_bad(view, rows, largest)
        if all(np.isnan(share) for share in shares.values()):
            return self.not_applicable(
                "the largest batch trains at too few settings of the others"
            )
        small = [
            size
            for size, share in shares.items()
            if share >= _MOSTLY and self._is_worse(view, size, sizes[-1], thresholds)
        ]
        listed = ", ".join(
            f"{percent(share)} at batch {format_value(size)}"
            for size, share in shares.items()
            if not np.isnan(share)
        )
        evidence = (
            f"of the settings at which batch {format_value(sizes[-1])} trains, a smaller one is "
            f"unsteady, worse by 10 % or does not train at: {listed}"
        )
        if not small:
            return self.passed("No batch size is too small", evidence, bad_share=shares)
        return self.finding(
            f"Batch size {format_values(small)} is too small for these learning rates",
            evidence,
            "Lower the learning rates with the batch size, or leave these batch sizes out.",
            too_small=small,
            bad_share=shares,
        )

    @staticmethod
    def _is_worse(view: SweepView, size: float, largest: float, thresholds: Thresholds) -> bool:
        ranked = view.ranked()
        sizes = ranked["batch_size"].astype(float)
        best = ranked.loc[sizes == largest, "best_monitor"]
        own = ranked.loc[sizes == size, "best_monitor"]
        if best.empty or own.empty:
            return bool(len(best))
        margin = max(
            view.seed_margin(float(best.iloc[0]), thresholds.seed_noise) or 0.0,
            _WORSE * view.share_unit.at(float(best.iloc[0])),
        )
        return bool(view.cost_sign * (float(own.iloc[0]) - float(best.iloc[0])) > margin)


def _share_of_bad(view: SweepView, rows: pd.DataFrame, largest: pd.DataFrame) -> float:
    """Return at which share of the settings where the largest batch trains these rows do badly."""
    others = view.other_axes("batch_size")
    if others:
        pairs = largest.merge(rows, on=others, suffixes=("_large", ""))
    else:
        pairs = largest.merge(rows, how="cross", suffixes=("_large", ""))
    trains = ~pairs["verdict_large"].isin(BAD_CLASSES)
    # Where the largest batch fails as well, the rates are the cause.
    if pairs.empty or trains.mean() < _MOSTLY:
        return float("nan")
    pairs = pairs[trains]
    is_unsteady = pairs["tags"].map(lambda tags: bool(_UNSTEADY & set(tags)))
    was_unsteady = pairs["tags_large"].map(lambda tags: bool(_UNSTEADY & set(tags)))
    costs = view.cost_sign * pairs["best_monitor"], view.cost_sign * pairs["best_monitor_large"]
    levels = view.share_unit.at(pairs["best_monitor_large"].to_numpy(dtype=float))
    is_worse = costs[0] - costs[1] > _WORSE * levels
    is_bad = pairs["verdict"].isin(BAD_CLASSES) | (is_unsteady & ~was_unsteady) | is_worse
    return float(is_bad.mean())
