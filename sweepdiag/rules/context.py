"""What a curve is judged against: its start, whether its loss has a floor, its siblings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sweepdiag.features import CurveArrays, FeatureMatrix
    from sweepdiag.records import SweepFacts
    from sweepdiag.rules.base import BoolArray, FloatArray

__all__ = ["ContextKind", "JudgingContext", "build_context", "remove_floor"]

ContextKind: TypeAlias = Literal["alone", "sweep"]


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgingContext:
    """What is known beside each curve itself; all arrays have shape ``(n_curves,)``.

    Attributes:
        kind: ``alone`` or ``sweep``.
        floor: What was subtracted from every loss, so that its floor is 0.
        metric_sign: 1 if a larger metric is better, -1 if a smaller one is, NaN if unknown.
        start_train: Training loss before anything was learned: of the best constant prediction
            where it is known, otherwise the first evaluated one.
        start_val: The same for validation.
        baseline_val: Validation loss of the best constant prediction; NaN where unknown.
        is_start_known: Whether it is that of the best constant prediction.
        has_floor: Whether losses may be compared by ratio.
        reference_train: Training loss of the sibling that reaches lower losses; NaN without.
        reference_val: Its validation loss.
        reference_ids: Its identifier; ``None`` without.
    """

    kind: ContextKind
    floor: float
    metric_sign: float
    start_train: FloatArray
    start_val: FloatArray
    baseline_val: FloatArray
    is_start_known: BoolArray
    has_floor: BoolArray
    reference_train: FloatArray
    reference_val: FloatArray
    reference_ids: tuple[str | None, ...]

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the arrays that ``column`` returns."""
        return (
            "start_train",
            "start_val",
            "baseline_val",
            "is_start_known",
            "has_floor",
            "reference_train",
            "reference_val",
        )

    def column(self, name: str) -> FloatArray:
        """Return one of the arrays as float64."""
        column: FloatArray = np.asarray(getattr(self, name), dtype=np.float64)
        return column

    def take(self, rows: NDArray[np.int64]) -> JudgingContext:
        """Return the context of some curves."""
        arrays: dict[str, Any] = {name: getattr(self, name)[rows] for name in self.column_names}
        ids = tuple(self.reference_ids[i] for i in rows)
        return dataclasses.replace(self, **arrays, reference_ids=ids)

    def select(self, rows: slice, n_repeats: int) -> JudgingContext:
        """Return the context of some curves, each repeated: that of their resamples."""
        arrays: dict[str, Any] = {
            name: np.repeat(getattr(self, name)[rows], n_repeats) for name in self.column_names
        }
        ids = tuple(name for name in self.reference_ids[rows] for _ in range(n_repeats))
        return dataclasses.replace(self, **arrays, reference_ids=ids)


def remove_floor(curves: CurveArrays, facts: SweepFacts | None) -> tuple[CurveArrays, float]:
    """Return the curves with the loss's floor subtracted, and the floor."""
    floor = facts.loss_floor if facts is not None else None
    if floor is None or floor == 0 or not np.isfinite(floor):
        return curves, 0.0
    shifted = dataclasses.replace(
        curves, train_loss=curves.train_loss - floor, val_loss=curves.val_loss - floor
    )
    return shifted, float(floor)


def build_context(
    features: FeatureMatrix, facts: SweepFacts | None, kind: ContextKind, floor: float
) -> JudgingContext:
    """Return the context of curves without their siblings.

    Where nothing is known of the task (``facts=None``) a loss that is never negative is taken to
    have its floor at 0. Facts that say ``loss_floor=None`` mean that there is none.

    Args:
        features: Features of the curves, floor subtracted.
        facts: What is known of the task.
        kind: ``alone`` or ``sweep``.
        floor: What was subtracted.

    Returns:
        The context, without references.
    """
    n_curves = features.n_curves
    first_train, first_val = features.column("train_first"), features.column("val_first")
    lowest = np.fmin(features.column("train_min"), features.column("val_min"))
    may_have_floor = facts is None or facts.loss_floor is not None
    known = facts.baseline_train_loss if facts is not None else None
    known_val = facts.baseline_val_loss if facts is not None else None
    known_val = known if known_val is None else known_val
    is_known = known is not None and bool(np.isfinite(known))
    signs = {"max": 1.0, "min": -1.0}
    return JudgingContext(
        kind=kind,
        floor=floor,
        metric_sign=signs.get((facts.metric_mode if facts else None) or "", np.nan),
        start_train=_start(known, floor, first_train, features),
        start_val=_start(known_val, floor, first_val, features),
        baseline_val=np.full(n_curves, np.nan if known_val is None else known_val - floor),
        is_start_known=np.full(n_curves, is_known),
        has_floor=(lowest >= 0) & may_have_floor,
        reference_train=np.full(n_curves, np.nan),
        reference_val=np.full(n_curves, np.nan),
        reference_ids=(None,) * n_curves,
    )


def _start(
    baseline: float | None, floor: float, first: FloatArray, features: FeatureMatrix
) -> FloatArray:
    """A training that begins below the baseline (a pretrained model) starts where it begins."""
    if baseline is None or not np.isfinite(baseline):
        return first
    is_untrained = features.column("first_epoch") == 0
    return np.where(is_untrained, np.fmin(first, baseline - floor), baseline - floor)
