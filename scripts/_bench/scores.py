"""Scores of verdicts: against labels, facts, and other verdicts on the same training."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from sweepdiag.records import VerdictClass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.features import CurveArrays
    from sweepdiag.records import Verdict

__all__ = [
    "OVERFITTING",
    "Fact",
    "calibration_error",
    "consequence",
    "facts_of",
    "macro_f1",
    "named",
    "prefix",
    "reliability",
    "wilson",
]

Bins: TypeAlias = list[tuple[float, float, int]]

OVERFITTING = frozenset({VerdictClass.U_SHAPED, VerdictClass.OVERFIT})
_DEAD = frozenset({VerdictClass.DIVERGING, VerdictClass.NOT_LEARNING})
_EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


def wilson(n_hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson interval of a share, 95 % by default."""
    if n == 0:
        return 0.0, 1.0
    share, square = n_hits / n, z * z
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = z / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def macro_f1(expected: np.ndarray, found: np.ndarray) -> float:
    """Return the mean of the F1 scores of both answers."""
    scores = []
    for answer in (True, False):
        n_both = int(((expected == answer) & (found == answer)).sum())
        n_either = int((expected == answer).sum() + (found == answer).sum())
        scores.append(2 * n_both / n_either if n_either else 1.0)
    return sum(scores) / 2


def named(verdict: Verdict) -> VerdictClass:
    """Return the class that a verdict's confidence speaks of: the runner-up where it is open."""
    if verdict.verdict is VerdictClass.INCONCLUSIVE and verdict.runner_up is not None:
        return verdict.runner_up
    return verdict.verdict


def consequence(verdict: VerdictClass) -> str:
    """Return what a class means for what to do next."""
    if verdict in _DEAD:
        return "does not train"
    return "overfits" if verdict in OVERFITTING else str(verdict)


# --- facts that need no judgement ---


@dataclass(frozen=True)
class Fact:
    """What arithmetic alone says of some curves, and the classes that it leaves.

    Attributes:
        name: Of the fact.
        holds: Of which curves it is true, shape ``(n_curves,)``.
        allowed: Classes that agree with it.
    """

    name: str
    holds: np.ndarray
    allowed: frozenset[VerdictClass]


_ALL = frozenset(VerdictClass)


def facts_of(curves: CurveArrays) -> tuple[Fact, ...]:
    """Return the facts of curves, none of which any rule has been made from."""
    rows = np.arange(curves.n_curves)
    n = curves.lengths
    is_data = np.arange(curves.n_points) < n[:, None]
    train, val = curves.train_loss, curves.val_loss
    with np.errstate(all="ignore"):
        ends_finite = np.isfinite(train[rows, n - 1]) & np.isfinite(val[rows, n - 1])
        is_finite = (np.isfinite(train) & np.isfinite(val) | ~is_data).all(axis=1)
        first, last = train[:, 0], _last(train, n, 3)
        moved = np.nanmax(np.abs(train / first[:, None] - 1), axis=1, initial=0.0)
        # Not from the start on: much of that is lost by learning to predict the mean.
        later = np.fmin(first, train[:, 1])
        learned = is_finite & (last <= 0.5 * later) & (last <= 1.1 * _least(train))
        rise = _last(val, n, 5) / _least(_smooth(val)) - 1
    return (
        Fact("ends as no number", ~ends_finite, frozenset({VerdictClass.DIVERGING})),
        Fact(
            "ends 1.5 times above its start",
            is_finite & (last >= 1.5 * first),
            frozenset({VerdictClass.DIVERGING}),
        ),
        Fact("never moves by 1 %", is_finite & (moved < 0.01), _DEAD - {VerdictClass.DIVERGING}),
        Fact("halves its loss after epoch 1", learned, _ALL - _DEAD),
        Fact("the same, validation ends 10 % up", learned & (rise >= 0.1), OVERFITTING),
        Fact(
            "the same, validation ends lowest",
            learned & (rise <= 0.005),
            _ALL - _DEAD - {VerdictClass.U_SHAPED},
        ),
    )


def _last(losses: np.ndarray, lengths: np.ndarray, n: int) -> np.ndarray:
    rows = np.arange(len(losses))[:, None]
    places = lengths[:, None] - 1 - np.arange(n)
    means: np.ndarray = losses[rows, np.maximum(places, 0)].mean(axis=1)
    return means


def _least(losses: np.ndarray) -> np.ndarray:
    least: np.ndarray = np.fmin.reduce(losses, axis=1)
    return least


def _smooth(losses: np.ndarray, n: int = 5) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(losses, min(n, losses.shape[1]), axis=1)
    means: np.ndarray = windows.mean(axis=2)
    return means


# --- verdicts against verdicts ---


def prefix(curves: CurveArrays, share: float) -> CurveArrays:
    """Return the first part of every curve, at least one evaluation."""
    lengths = np.maximum(np.ceil(share * curves.lengths), 1).astype(np.int64)
    n_points = int(lengths.max(initial=1))
    is_data = np.arange(n_points) < lengths[:, None]
    parts = {
        name: np.where(is_data, getattr(curves, name)[:, :n_points], np.nan)
        for name in ("epochs", "train_loss", "val_loss", "val_metric")
    }
    return type(curves)(run_ids=curves.run_ids, lengths=lengths, **parts)


def reliability(confidences: np.ndarray, agreement: np.ndarray) -> Bins:
    """Return mean confidence, mean agreement and number of verdicts by bins of confidence."""
    bins: Bins = []
    for low, high in itertools.pairwise(_EDGES):
        is_last = high == _EDGES[-1]
        inside = (confidences >= low) & ((confidences < high) | is_last & (confidences <= high))
        if inside.any():
            mean = float(confidences[inside].mean())
            bins.append((mean, float(agreement[inside].mean()), int(inside.sum())))
    return bins


def calibration_error(bins: Sequence[tuple[float, float, int]]) -> float:
    """Return the mean distance of confidence from agreement, weighted by verdicts."""
    total = sum(n for _, _, n in bins)
    return sum(abs(c - a) * n for c, a, n in bins) / max(total, 1)
