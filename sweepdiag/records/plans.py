"""What is to be trained: axes, trials, the plan, packs."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Axis", "AxisValue", "Pack", "Plan", "Scale", "Trial"]

AxisValue: TypeAlias = float | int | str | bool


class Scale(enum.StrEnum):
    """How distances along an axis are measured."""

    LOG = "log"
    LINEAR = "linear"
    CATEGORICAL = "categorical"


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One hyperparameter and the values planned for it.

    Attributes:
        name: Column name in every table.
        values: The planned values in ascending order (in the given order when categorical).
        scale: How distances along it are measured.
        is_structural: Whether two values need two different programs (``batch_size``,
            ``capacity``, every argument of ``model``); otherwise members of one pack may differ
            in it (``lr``).
    """

    name: str
    values: tuple[AxisValue, ...]
    scale: Scale
    is_structural: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One configuration with one seed: one training, one learning curve."""

    trial_id: str
    config_id: str
    axes: Mapping[str, AxisValue]
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All trials of a sweep, recorded before the first of them trains."""

    axes: tuple[Axis, ...]
    trials: tuple[Trial, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    """Trials that are trained together; ``attempts[i]`` counts from 1 for ``trials[i]``."""

    trials: tuple[Trial, ...]
    attempts: tuple[int, ...]
