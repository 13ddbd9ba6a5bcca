"""The tried configurations as points: where they lie, how good they are, what went wrong."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sweepdiag.recommend._curves import cost_sign
from sweepdiag.records import Axis, AxisValue, Scale, Tag, VerdictClass

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = [
    "Candidates",
    "Fate",
    "read_candidates",
]

# A configuration generalises if its validation loss is so much below the constant prediction's.
_LEAST_BELOW_BASELINE = 0.02

_Costs: TypeAlias = "NDArray[np.float64]"


class Fate(enum.StrEnum):
    """What became of a configuration. Only the first may be inside a region."""

    TRAINS = "trains"
    NO_VALUE = "no value"
    FAILED = "failed"
    DOES_NOT_GENERALISE = "does not generalise"
    NOT_LEARNING = "not learning"
    UNSTABLE = "unstable"
    DIVERGING = "diverging"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """Every tried configuration, one per index.

    Attributes:
        axes: The axes that the table has a column for and at least one value in.
        config_ids: Shape ``(n_points,)``.
        values: Axis values as they were, per configuration.
        coords: Shape ``(n_points, n_axes)``, in [0, 1]: even steps are even distances.
        fates: What became of each.
        verdicts: Majority verdict, or an empty string.
        best: Median over seeds of the monitored value, as a cost; infinite where there is none.
        worst: The same of the worst seed.
        n_judged: Seeds behind each.
        n_failed: Seeds that could not be trained.
    """

    axes: tuple[Axis, ...]
    config_ids: tuple[str, ...]
    values: tuple[tuple[AxisValue, ...], ...]
    coords: NDArray[np.float64]
    fates: tuple[Fate, ...]
    verdicts: tuple[str, ...]
    best: _Costs
    worst: _Costs
    n_judged: NDArray[np.int64]
    n_failed: NDArray[np.int64]

    @property
    def trains(self) -> NDArray[np.bool_]:
        """Return which configurations may be recommended as far as their verdict goes."""
        return np.array([fate is Fate.TRAINS for fate in self.fates], dtype=bool)

    def robust_best(self) -> int:
        """Return the index of the configuration whose worst seed is best."""
        order = np.lexsort((self.best, np.where(self.trains, self.worst, np.inf)))
        return int(order[0])


def read_candidates(
    axes: tuple[Axis, ...],
    configurations: pd.DataFrame,
    monitor: str,
    metric_mode: str | None,
    baseline_val_loss: float | None = None,
) -> Candidates:
    """Return the tried configurations of a table.

    Rows that were neither judged nor failed were not tried and are left out, as are rows without
    a value on one of the axes.
    """
    sign = cost_sign(monitor, metric_mode)
    known = tuple(
        axis
        for axis in axes
        if axis.name in configurations.columns and configurations[axis.name].notna().any()
    )
    names = [axis.name for axis in known]
    was_tried = (configurations["n_judged"] > 0) | (configurations["n_failed"] > 0)
    rows = configurations[was_tried & configurations[names].notna().all(axis=1)]
    best = _finite(sign * rows["best_monitor"].to_numpy(dtype=float))
    worst = _finite(sign * rows["worst_monitor"].to_numpy(dtype=float))
    records = rows.to_dict("records")
    highest = _highest_useful(baseline_val_loss)
    fates = tuple(
        _fate(
            {str(name): value for name, value in row.items()},
            has_value=bool(np.isfinite(cost)),
            highest_val_loss=highest,
        )
        for row, cost in zip(records, worst, strict=True)
    )
    values = tuple(tuple(_scalar(row[name]) for name in names) for row in records)
    goodness = np.where([fate is Fate.TRAINS for fate in fates], worst, np.inf)
    columns = [
        _coordinates(axis, [row[index] for row in values], goodness)
        for index, axis in enumerate(known)
    ]
    return Candidates(
        axes=known,
        config_ids=tuple(str(config_id) for config_id in rows["config_id"]),
        values=values,
        coords=np.array(columns, dtype=float).reshape(len(known), len(rows)).T,
        fates=fates,
        verdicts=tuple(_text(row["verdict"]) for row in records),
        best=best,
        worst=worst,
        n_judged=rows["n_judged"].to_numpy(dtype=np.int64),
        n_failed=rows["n_failed"].to_numpy(dtype=np.int64),
    )


def _highest_useful(baseline_val_loss: float | None) -> float:
    """Return the validation loss from which on a constant prediction is about as good."""
    if baseline_val_loss is None or not np.isfinite(baseline_val_loss):
        return float("inf")
    return baseline_val_loss - _LEAST_BELOW_BASELINE * abs(baseline_val_loss)


def _fate(row: dict[str, Any], *, has_value: bool, highest_val_loss: float) -> Fate:
    verdict = _text(row["verdict"])
    if row["n_judged"] < 1:
        return Fate.FAILED
    if verdict == VerdictClass.DIVERGING:
        return Fate.DIVERGING
    if Tag.UNSTABLE in _tags(row["tags"]):
        return Fate.UNSTABLE
    if verdict == VerdictClass.NOT_LEARNING:
        return Fate.NOT_LEARNING
    if has_value and row["best_val_loss"] > highest_val_loss:
        return Fate.DOES_NOT_GENERALISE
    return Fate.TRAINS if has_value else Fate.NO_VALUE


def _tags(value: Any) -> set[str]:
    return {str(tag) for tag in value} if isinstance(value, list | tuple | np.ndarray) else set()


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str) else ""


def _finite(costs: _Costs) -> _Costs:
    return np.where(np.isfinite(costs), costs, np.inf)


def _scalar(value: Any) -> AxisValue:
    scalar: AxisValue = value.item() if isinstance(value, np.generic) else value
    return scalar


def _coordinates(axis: Axis, values: list[AxisValue], goodness: _Costs) -> NDArray[np.float64]:
    """Return positions in [0, 1] along one axis."""
    if axis.scale is Scale.CATEGORICAL:
        raw = _category_ranks(values, goodness)
    else:
        raw = np.array([float(value) for value in values])
        if axis.scale is Scale.LOG:
            # A log axis may have been given a 0 ("no weight decay"): count steps instead.
            steps = np.searchsorted(np.unique(raw), raw).astype(float)
            raw = np.log(raw) if (raw > 0).all() else steps
    lowest, span = float(raw.min(initial=np.inf)), float(np.ptp(raw)) if raw.size else 0.0
    return (raw - lowest) / span if span > 0 else np.zeros(raw.size)


def _category_ranks(values: list[AxisValue], goodness: _Costs) -> NDArray[np.float64]:
    """Return the rank of each value's category, the one with the best configuration first.

    Categories have no order of their own. Ranked so, a box reaches from the best category to
    ever worse ones, which is all that a box can mean there.
    """
    keys = [(type(value).__name__, value) for value in values]
    best_of: dict[tuple[str, AxisValue], float] = {}
    for key, cost in zip(keys, goodness, strict=True):
        best_of[key] = min(cost, best_of.get(key, np.inf))
    ranked = sorted(best_of, key=lambda key: best_of[key])
    return np.array([ranked.index(key) for key in keys], dtype=float)
