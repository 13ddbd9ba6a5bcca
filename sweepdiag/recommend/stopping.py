"""When each configuration, and the region as a whole, should have stopped training.

Looks back at complete curves, so it may use what no rule could know during training. The criteria
that could have acted then are in ``criteria``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.recommend._curves import finite_or_inf, monitor_name, relative_regret
from sweepdiag.recommend._seeds import ConfigCurve, config_curves, half_window
from sweepdiag.records import Region, StopEpoch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["STOP_TOLERANCE", "region_stop", "stop_epochs"]

STOP_TOLERANCE = 0.01
"""How near to its minimum, relative to it, the smoothed curve counts as there."""

REGION_SHARE = 0.75
"""Share of a region's configurations that have reached their own stop when the region stops."""

# The luckiest of some twenty evaluations is about two standard errors below a flat curve.
_NOISE_FACTOR = 3.0
# Noise widens the tolerance, but stopping must stay cheap even where a curve swings wildly.
_NOISE_CAP = 0.05
# Median of the absolute value of a standard normal variable.
_MAD_OF_NORMAL = 0.6745


def stop_epochs(
    *,
    curves: pd.DataFrame,
    trials: pd.DataFrame,
    configurations: pd.DataFrame,
    monitor: str,
    metric_mode: str | None,
) -> tuple[StopEpoch, ...]:
    """Return for each configuration the earliest epoch that costs next to nothing.

    The monitored value is taken as the median over seeds and smoothed with a mean over 3 to 5
    evaluations. The recommended epoch is the earliest at which it is within
    ``STOP_TOLERANCE`` of its minimum, or within the noise of the smoothed curve if that is more.

    Args:
        curves: Columns of ``curves.parquet``.
        trials: Columns of ``trials.parquet``; only judged trials count.
        configurations: Which configurations to answer for, in this order.
        monitor: ``val_loss`` or ``val_metric``.
        metric_mode: ``max`` or ``min``.

    Returns:
        One record per configuration that has at least one judged trial with a curve.
    """
    sampled = config_curves(curves, trials, configurations, monitor, metric_mode)
    return tuple(_stop_of(curve, monitor) for curve in sampled)


def region_stop(
    *,
    region: Region | None,
    stops: Sequence[StopEpoch],
    curves: pd.DataFrame,
    trials: pd.DataFrame,
    configurations: pd.DataFrame,
    monitor: str,
    metric_mode: str | None,
) -> StopEpoch | None:
    """Return the last epoch to recommend for a whole region.

    It is the epoch by which three quarters of the region's configurations have reached their own
    recommended epoch. Its regret is the median over those configurations at that epoch.

    Args:
        region: The region.
        stops: What ``stop_epochs`` returned.
        curves: Columns of ``curves.parquet``.
        trials: Columns of ``trials.parquet``.
        configurations: Columns of ``configurations.parquet``.
        monitor: ``val_loss`` or ``val_metric``.
        metric_mode: ``max`` or ``min``.

    Returns:
        A record whose ``config_id`` is ``"region"``; ``None`` without a region, or if none of
        its configurations has a curve.
    """
    members = set(region.config_ids) if region is not None else set()
    inside = [stop for stop in stops if stop.config_id in members]
    if not inside:
        return None
    epochs = [stop.epoch for stop in inside]
    epoch = float(np.quantile(epochs, REGION_SHARE, method="higher"))
    budget = max(stop.budget_epochs for stop in inside)
    rows = configurations[configurations["config_id"].isin([stop.config_id for stop in inside])]
    sampled = config_curves(curves, trials, rows, monitor, metric_mode)
    regrets = [_regret(curve, epoch) for curve in sampled]
    return StopEpoch(
        config_id="region",
        epoch=epoch,
        budget_epochs=budget,
        saved_fraction=_saved(epoch, budget),
        regret=_median(np.array(regrets)),
        reason=_region_reason(inside, epoch, budget),
    )


def _region_reason(inside: Sequence[StopEpoch], epoch: float, budget: float) -> str:
    n_at_end = sum(stop.epoch >= stop.budget_epochs for stop in inside)
    of_them = f"{n_at_end} of the region's {len(inside)} configurations"
    if len(inside) == 1:
        return inside[0].reason
    if epoch >= budget:
        return f"{of_them} still improve at epoch {budget:g}: no reason to stop earlier"
    n_done = sum(stop.epoch <= epoch for stop in inside)
    return (
        f"by epoch {epoch:g}, {n_done} of the region's {len(inside)} configurations have reached "
        "their own stop epoch"
    )


def _stop_of(curve: ConfigCurve, monitor: str) -> StopEpoch:
    budget = float(curve.epochs[-1])
    if not np.isfinite(curve.smooth).any():
        return StopEpoch(
            config_id=curve.config_id,
            epoch=budget,
            budget_epochs=budget,
            saved_fraction=0.0,
            regret=float("nan"),
            reason=f"no finite {monitor_name(monitor)}: nothing says when to stop",
        )
    tolerance = _tolerance(curve)
    lowest = _turning_index(curve)
    near = curve.smooth <= curve.smooth.min() + tolerance
    index = min(int(near.argmax()), lowest)
    if _still_improving(curve, tolerance):
        index = curve.epochs.size - 1
    epoch = float(curve.epochs[index])
    return StopEpoch(
        config_id=curve.config_id,
        epoch=epoch,
        budget_epochs=budget,
        saved_fraction=_saved(epoch, budget),
        regret=_regret(curve, epoch),
        reason=_reason(curve, index, lowest, tolerance, monitor),
    )


def _turning_index(curve: ConfigCurve) -> int:
    """Return the index of the minimum, read off the unsmoothed curve near the smoothed minimum.

    Smoothing shifts the minimum towards the flatter side.
    """
    lowest = int(curve.smooth.argmin())
    half = half_window(curve.smooth.size)
    first = max(lowest - half, 0)
    return first + int(finite_or_inf(curve.median[first : lowest + half + 1]).argmin())


def _tolerance(curve: ConfigCurve) -> float:
    """Return the difference that does not count, in the unit of the monitored value.

    It is relative to the minimum, but never more than that share of the whole improvement: so a
    constant added to every loss cannot make it large.
    """
    finite = curve.smooth[np.isfinite(curve.smooth)]
    improvement = float(finite[0] - finite.min())
    size = min(abs(float(finite.min())), improvement)
    noise = _NOISE_FACTOR * _noise_of_mean(curve)
    return max(STOP_TOLERANCE * size, min(noise, _NOISE_CAP * size))


def _noise_of_mean(curve: ConfigCurve) -> float:
    """Return the standard error of the smoothed curve, from second differences."""
    finite = curve.median[np.isfinite(curve.median)]
    if finite.size < 8:
        return 0.0
    # The second half bends less, so that its second differences are noise and not shape.
    bends = np.diff(finite[finite.size // 2 :], n=2)
    if bends.size == 0:
        return 0.0
    spread = float(np.median(np.abs(bends))) / _MAD_OF_NORMAL / np.sqrt(6.0)
    return float(spread / np.sqrt(2.0 * half_window(curve.median.size) + 1.0))


def _still_improving(curve: ConfigCurve, tolerance: float) -> bool:
    """Return whether the last fifth of the curve still falls by more than the tolerance."""
    smooth = curve.smooth
    n_last = max(smooth.size // 5, 2)
    if smooth.size < 3 or not np.isfinite(smooth[-n_last:]).all():
        return False
    is_lowest_at_end = smooth[-1] <= smooth.min() + 0.5 * tolerance
    return bool(is_lowest_at_end and smooth[-n_last] - smooth[-1] > tolerance)


def _reason(curve: ConfigCurve, index: int, lowest: int, tolerance: float, monitor: str) -> str:
    name, epochs, smooth = monitor_name(monitor), curve.epochs, curve.smooth
    last = epochs.size - 1
    end = f"epoch {epochs[-1]:g}"
    if last == 0:
        return f"only one evaluation, at {end}"
    if not np.isfinite(smooth[-1]):
        first_bad = int(np.flatnonzero(~np.isfinite(smooth[lowest:]))[0]) + lowest
        return (
            f"{name} is not finite at epoch {epochs[first_bad]:g}; "
            f"it is best near epoch {epochs[lowest]:g}"
        )
    if lowest == 0:
        return f"{name} is never better than at epoch {epochs[0]:g}"
    rise = float(smooth[-1] - smooth.min())
    if rise > 2.0 * tolerance:
        worse = _worse(curve, rise, monitor)
        turn = f"{name} turns at epoch {epochs[lowest]:g} and is {worse} at {end}"
        if index < lowest:
            turn += f"; epoch {epochs[index]:g} is as good within noise"
        return turn
    if index == last:
        return f"still improving at {end}: no reason to stop earlier"
    limit = _gain_limit(curve, tolerance)
    return f"{name} improves by less than {limit} after epoch {epochs[index]:g}"


def _worse(curve: ConfigCurve, rise: float, monitor: str) -> str:
    lowest = float(curve.smooth.min())
    if monitor == "val_loss" and lowest > 0:
        return f"{100.0 * rise / lowest:.3g} % higher"
    # A loss without a floor has no percentages, and a metric may be better when higher.
    return f"{rise:.3g} {'higher' if monitor == 'val_loss' else 'worse'}"


def _gain_limit(curve: ConfigCurve, tolerance: float) -> str:
    size = abs(float(curve.smooth.min()))
    return f"{100.0 * tolerance / size:.2g} %" if size > 0 else f"{tolerance:.2g}"


def _regret(curve: ConfigCurve, epoch: float) -> float:
    """Return the median over seeds of what stopping after ``epoch`` loses, relative."""
    costs = finite_or_inf(curve.costs)
    until = curve.epochs <= epoch
    if not until.any():
        return float("nan")
    return _median(relative_regret(costs[:, until].min(axis=1), costs.min(axis=1)))


def _median(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


def _saved(epoch: float, budget: float) -> float:
    return 1.0 - epoch / budget if budget > 0 else 0.0
