"""Where to train, and when to stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sweepdiag.records.plans import AxisValue

__all__ = ["AxisRange", "Recommendation", "Region", "StopEpoch"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AxisRange:
    """One side of a region's box.

    Attributes:
        name: The axis.
        low: Lowest recommended value (``None`` when categorical).
        high: Highest recommended value (``None`` when categorical).
        values: The planned values inside.
        centre: Where to start.
        low_reason: What lies below the lower end ("no value below was tried", "underfits").
        high_reason: What lies above the upper end.
    """

    name: str
    low: float | None
    high: float | None
    values: tuple[AxisValue, ...]
    centre: AxisValue
    low_reason: str
    high_reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """A box on the axes inside which every tried configuration is worth training."""

    axes: tuple[AxisRange, ...]
    config_ids: tuple[str, ...]
    centre_config_id: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StopEpoch:
    """When one configuration should have stopped.

    Attributes:
        config_id: The configuration.
        epoch: Recommended last epoch.
        budget_epochs: Epochs it was trained for.
        saved_fraction: Share of the budget that stopping there saves.
        regret: Best monitored value until then against the best of the whole curve, relative.
        reason: Why, in words.
        is_improving: Whether the curve still falls where it ends: longer training may help.
    """

    config_id: str
    epoch: float
    budget_epochs: float
    saved_fraction: float
    regret: float
    reason: str
    is_improving: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendation:
    """Where to train, when to stop, what to run next.

    Attributes:
        answer: One or two sentences, also when there is no region.
        region: The box, or ``None`` if nothing is worth recommending.
        stop_epochs: Per configuration that was judged.
        region_stop: For the region as a whole.
        next_parameters: The ``parameters`` block of the next sweep's file.
        next_settings: Further settings that the next sweep should change (``epochs``, …).
        next_reasons: Why the next sweep looks like that.
    """

    answer: str
    region: Region | None
    stop_epochs: tuple[StopEpoch, ...]
    region_stop: StopEpoch | None
    next_parameters: Mapping[str, Mapping[str, Any]]
    next_settings: Mapping[str, Any]
    next_reasons: tuple[str, ...]
