"""What a rule is, and the arithmetic of margins.

A margin says how far a curve is on this side (>= 0) or the other (< 0) of a condition, relative to
its limit and cut to [-1, 1]. Conditions that must all hold have the smallest of their margins,
alternatives the largest. So a rule matches exactly where its margin is not negative, and a curve's
distance to the classes it does not belong to comes for free.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sweepdiag import wording
from sweepdiag.features import smoothing_windows

if TYPE_CHECKING:
    from sweepdiag.features import FeatureMatrix
    from sweepdiag.records import VerdictClass
    from sweepdiag.rules.context import JudgingContext
    from sweepdiag.rules.thresholds import Thresholds

__all__ = [
    "BoolArray",
    "CurveRow",
    "FloatArray",
    "Rule",
    "all_of",
    "any_of",
    "at_least",
    "at_most",
    "averaged",
    "percent",
    "smoothing_window",
    "standard_error",
    "times",
    "where_true",
]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveRow(Mapping[str, float]):
    """The features and the context of one curve by name, for sentences about it.

    Attributes:
        features: The features of the curve alone, so that rules can be asked about it.
        context: What is known beside them.
        thresholds: The limits.
        told: What has been asked for so far: the numbers behind a sentence.
    """

    features: FeatureMatrix
    context: JudgingContext
    thresholds: Thresholds
    told: dict[str, float] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float:
        source = self.context if name in self.context.column_names else self.features
        self.told[name] = source.column(name).item()
        return self.told[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.features.names
        yield from self.context.column_names

    def __len__(self) -> int:
        return len(self.features.names) + len(self.context.column_names)

    @property
    def reference_id(self) -> str | None:
        """The sibling that reaches lower losses, if there is one."""
        return self.context.reference_ids[0]


@runtime_checkable
class Rule(Protocol):
    """One class of curve and how it is told.

    Rules are tried in ascending ``priority``; the first that matches gives the verdict. They look
    at all curves at once and never at one curve to judge another, except through the references
    that the context holds. Rules of other packages load from the entry point group
    ``sweepdiag.rules`` (an instance, or a class without arguments).

    Attributes:
        verdict: The class given where the rule matches.
        priority: Place in the order; the built-in rules have 10, 20, … 70.
    """

    verdict: VerdictClass
    priority: int

    def margin(
        self, features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
    ) -> FloatArray:
        """Return how far each curve is inside the class, in [-1, 1]; >= 0 is inside."""
        ...

    def matches(
        self, features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
    ) -> BoolArray:
        """Return which curves are of the class: those whose margin is not negative."""
        ...

    def evidence(self, row: CurveRow) -> str:
        """Return one sentence with the numbers that put the curve into the class."""
        ...


class MarginRule:
    """A rule that matches where its margin is not negative: the base of the built-in rules."""

    def margin(
        self, features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
    ) -> FloatArray:
        """Return how far each curve is inside the class, in [-1, 1]; >= 0 is inside."""
        raise NotImplementedError

    def matches(
        self, features: FeatureMatrix, thresholds: Thresholds, context: JudgingContext
    ) -> BoolArray:
        """Return which curves are of the class: those whose margin is not negative."""
        return self.margin(features, thresholds, context) >= 0


def at_least(value: FloatArray, limit: FloatArray | float) -> FloatArray:
    """Return the margin of ``value >= limit``; -1 where either is NaN."""
    with np.errstate(all="ignore"):
        difference = value - limit
        scale = np.where(np.asarray(limit) != 0, np.abs(limit), 1.0)
        margin = np.where(value == limit, 0.0, difference / scale)
    # Maximum and minimum: np.clip and np.nan_to_num take five times as long for a few curves.
    clipped: FloatArray = np.minimum(np.maximum(margin, -1.0), 1.0)
    return np.where(np.isnan(margin), -1.0, clipped)


def at_most(value: FloatArray, limit: FloatArray | float) -> FloatArray:
    """Return the margin of ``value <= limit``; -1 where either is NaN."""
    return at_least(-value, -limit)


def where_true(condition: BoolArray) -> FloatArray:
    """Return the margin of a yes-or-no condition: 1 or -1."""
    return np.where(condition, 1.0, -1.0)


def all_of(*margins: FloatArray) -> FloatArray:
    """Return the margin of conditions that must all hold."""
    lowest: FloatArray = np.minimum.reduce(margins)
    return lowest


def any_of(*margins: FloatArray) -> FloatArray:
    """Return the margin of conditions of which one is enough."""
    highest: FloatArray = np.maximum.reduce(margins)
    return highest


def standard_error(features: FeatureMatrix, prefix: str) -> FloatArray:
    """Return the noise of a smoothed loss: that of single values over the root of its window.

    A loss that never turns round has none: what is measured there is how it bends.

    Args:
        features: The features.
        prefix: ``train`` or ``val``.

    Returns:
        In the loss's unit; 0 where curves are too short to tell, or monotone.
    """
    noise = np.nan_to_num(features.column(f"{prefix}_noise"), posinf=np.inf)
    noise = np.where(features.column(f"{prefix}_sign_changes") == 0, 0.0, noise)
    return noise / np.sqrt(smoothing_window(features, prefix))


def smoothing_window(features: FeatureMatrix, prefix: str) -> FloatArray:
    """Return how many evaluations the smoothed loss of each curve spans.

    Args:
        features: The features.
        prefix: ``train`` or ``val``.

    Returns:
        5, 3 or 1.
    """
    counts = features.column(f"{prefix}_n_finite")
    return smoothing_windows(counts).astype(np.float64)


def percent(share: float) -> str:
    """Return a share as a person writes it: ``18 %``, ``0.4 %``, and factors from ten on."""
    if not np.isfinite(share):
        return "without limit"
    if abs(share) >= 10:
        return f"{times(1 + share)}"
    return wording.percent(share)


def averaged(row: CurveRow, prefix: str, words: str = "mean of the last") -> str:
    """Return a remark that a smoothed loss is quoted, in brackets; empty where none is smoothed.

    Args:
        row: The curve.
        prefix: ``train`` or ``val``.
        words: What the mean is taken of, up to the number of evaluations.

    Returns:
        Such as `` (mean of the last 5 evaluations)``, with a leading space.
    """
    window = int(smoothing_windows(np.asarray([row[f"{prefix}_n_finite"]]))[0])
    return f" ({words} {window} evaluations)" if window > 1 else ""


def times(factor: float) -> str:
    """Return a factor: ``x 12``, ``x 3e+08``."""
    return f"x {factor:.3g}"
