"""What a curve and a sweep were found to be."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Finding", "FindingState", "Severity", "Tag", "Verdict", "VerdictClass"]


class VerdictClass(enum.StrEnum):
    """The class of one learning curve, from worst to best."""

    DIVERGING = "diverging"
    NOT_LEARNING = "not_learning"
    UNDERFIT = "underfit"
    OVERFIT = "overfit"
    U_SHAPED = "u_shaped"
    INCONCLUSIVE = "inconclusive"
    HEALTHY = "healthy"


class Tag(enum.StrEnum):
    """What else is true of a curve, beside its class."""

    OSCILLATING = "oscillating"
    NOISY_VALIDATION = "noisy_validation"
    STILL_IMPROVING = "still_improving"
    PLATEAUED = "plateaued"
    VALIDATION_EASIER = "validation_easier"
    SPIKE_RECOVERED = "spike_recovered"
    BLEW_UP = "blew_up"
    NON_FINITE = "non_finite"
    EDGE = "edge"
    STOPPED_EARLY = "stopped_early"
    METRIC_DISAGREES = "metric_disagrees"
    GAP_GROWING = "gap_growing"
    UNSTABLE = "unstable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The class of one curve, and why.

    Attributes:
        trial_id: The trial, or the run's own identifier where the curve came from elsewhere.
        verdict: The class.
        runner_up: The class it would have been otherwise, if one was near.
        tags: What else is true of the curve.
        confidence: Share of resampled curves of the same class, in [0, 1].
        turning_epoch: Epoch of the smoothed validation loss's minimum; NaN if there is none.
        evidence: One sentence with the numbers behind the class.
        margin: How far the curve is from another class, relative to the nearest limit of its own,
            in [0, 1]; for the class of what is left, to those of the others.
        numbers: The features that the evidence speaks of, by name.
        context: ``alone`` (this curve only) or ``sweep`` (its siblings were known).
        reference_id: The sibling that the verdict leans on, if it leans on one.
    """

    trial_id: str
    verdict: VerdictClass
    runner_up: VerdictClass | None
    tags: tuple[Tag, ...]
    confidence: float
    turning_epoch: float
    evidence: str
    context: str
    margin: float = math.nan
    numbers: Mapping[str, float] = field(default_factory=dict)
    reference_id: str | None = None


class FindingState(enum.StrEnum):
    """What a check of the whole sweep came to."""

    FINDING = "finding"
    TIP = "tip"
    PASSED = "passed"
    NOT_APPLICABLE = "not_applicable"


class Severity(enum.StrEnum):
    """How much a finding matters, from least to most."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A statement about the whole sweep.

    Attributes:
        code: Stable code, such as ``SD101``.
        name: Short stable name, such as ``learning-rate-too-high``.
        state: Whether it is a finding, a tip, a passed check, or does not apply.
        severity: How much it matters.
        title: One line.
        evidence: The numbers behind it, or why the check does not apply.
        action: What to do next; empty for passed checks.
        numbers: The same numbers by name.
        explains: Codes of the findings of this sweep that this one is a cause of.
    """

    code: str
    name: str
    state: FindingState
    severity: Severity
    title: str
    evidence: str
    action: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    explains: tuple[str, ...] = ()
