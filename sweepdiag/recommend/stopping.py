"""When each configuration, and the region as a whole, should have stopped training.

Looks back at complete curves, so it may use what no rule could know during training. The criteria
that could have acted then are in ``criteria``.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.features.late_gain import LEAST_OF_LEARNED, late_gain
from sweepdiag.features.share_unit import monitored_unit
from sweepdiag.messages import monitor_name
from sweepdiag.recommend._curves import cost_sign, finite_or_inf, relative_regret
from sweepdiag.recommend._seeds import ConfigCurve, column_medians, config_curves, half_window
from sweepdiag.records import Region, StopEpoch
from sweepdiag.wording import epoch_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["HIGHEST_COST", "STOP_TOLERANCE", "region_stop", "stop_epochs"]

STOP_TOLERANCE = 0.01
"""How near to its minimum, relative to it, the smoothed curve counts as there."""

HIGHEST_COST = 0.03
"""What stopping early may cost at most, relative, with the best checkpoint kept."""

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
    metric: str | None = None,
    loss_floor: float | None = 0.0,
    least_of_learned: float = LEAST_OF_LEARNED,
) -> tuple[StopEpoch, ...]:
    """Return for each configuration the earliest epoch that costs next to nothing.

    The monitored value is taken as the median over seeds and smoothed with a mean over 3 to 5
    evaluations. The recommended epoch is the earliest at which it is within
    ``STOP_TOLERANCE`` of its minimum, or within the noise of the smoothed curve if that is more;
    if stopping there would cost more than ``HIGHEST_COST``, the earliest that does not. Where the
    seeds still improve at the end, by more than their noise (``late_gain`` in the median), there
    is no reason to stop.

    Args:
        curves: Columns of ``curves.parquet``.
        trials: Columns of ``trials.parquet``; only judged trials count.
        configurations: Which configurations to answer for, in this order.
        monitor: ``val_loss`` or ``val_metric``.
        metric_mode: ``max`` or ``min``.
        metric: Name of the metric, for texts.
        loss_floor: The lowest value the loss can take; ``None`` if there is none.
        least_of_learned: Share of all that was learned that the end must improve by.

    Returns:
        One record per configuration that has at least one judged trial with a curve.
    """
    sampled = config_curves(curves, trials, configurations, monitor, metric_mode)
    name, sign = monitor_name(monitor, metric), cost_sign(monitor, metric_mode)
    unit = monitored_unit(curves, monitor=monitor, metric_mode=metric_mode, loss_floor=loss_floor)

    def is_improving(curve: ConfigCurve) -> bool:
        gains = [
            late_gain(costs, cost_sign=sign, unit=unit, least_of_learned=least_of_learned)
            for costs in curve.costs
        ]
        return bool(np.isfinite(curve.smooth[-1]) and np.median(gains) > 0)

    return tuple(
        _stop_of(curve, name, is_loss=monitor == "val_loss", is_improving=is_improving(curve))
        for curve in sampled
    )


def region_stop(
    *,
    region: Region | None,
    stops: Sequence[StopEpoch],
) -> StopEpoch | None:
    """Return the last epoch to recommend for a region: that of the configuration to start at.

    A region's configurations may need very different epochs, and the slowest of them should not
    decide for all; how far they differ is part of the reason.

    Args:
        region: The region.
        stops: What ``stop_epochs`` returned.

    Returns:
        A record whose ``config_id`` is ``"region"``; ``None`` without a region, or if the
        configuration to start at has no curve.
    """
    if region is None:
        return None
    by_id = {stop.config_id: stop for stop in stops}
    start = by_id.get(region.centre_config_id)
    if start is None:
        return None
    inside = [by_id[config_id].epoch for config_id in region.config_ids if config_id in by_id]
    reason = start.reason
    if min(inside) < max(inside):
        reason += (
            f"; {epoch_text(min(inside))}\N{EN DASH}{epoch_text(max(inside))} across the region"
        )
    if start.epoch < start.budget_epochs:
        reason += "; keep the best checkpoint"
    return dataclasses.replace(start, config_id="region", reason=reason)


def _stop_of(curve: ConfigCurve, name: str, *, is_loss: bool, is_improving: bool) -> StopEpoch:
    budget = float(curve.epochs[-1])
    if not np.isfinite(curve.smooth).any():
        return StopEpoch(
            config_id=curve.config_id,
            epoch=budget,
            budget_epochs=budget,
            saved_fraction=0.0,
            regret=float("nan"),
            reason=f"there is no finite {name}, so nothing says when to stop",
        )
    tolerance = _tolerance(curve)
    lowest = _turning_index(curve)
    near = curve.smooth <= curve.smooth.min() + tolerance
    index = min(int(near.argmax()), lowest)
    if is_improving:
        end = epoch_text(curve.epochs[-1])
        reason = f"still improving at epoch {end}: no reason to stop earlier"
        return _stop_at(curve, curve.epochs.size - 1, reason, is_improving=True)
    affordable = _affordable(_regrets(curve), index)
    if affordable > index:
        return _stop_at(curve, affordable, _cost_reason(curve, index, affordable))
    return _stop_at(curve, index, _reason(curve, index, lowest, tolerance, name, is_loss=is_loss))


def _stop_at(
    curve: ConfigCurve, index: int, reason: str, *, is_improving: bool = False
) -> StopEpoch:
    epoch, budget = float(curve.epochs[index]), float(curve.epochs[-1])
    return StopEpoch(
        config_id=curve.config_id,
        epoch=epoch,
        budget_epochs=budget,
        saved_fraction=_saved(epoch, budget),
        regret=float(_regrets(curve)[index]),
        reason=reason,
        is_improving=is_improving,
    )


def _affordable(regrets: NDArray[np.float64], index: int) -> int:
    """Return the first evaluation from ``index`` on at which stopping costs little enough."""
    is_cheap = ~(regrets[index:] > HIGHEST_COST)  # an unknown cost postpones nothing
    return index + int(is_cheap.argmax()) if is_cheap.any() else regrets.size - 1


def _cost_reason(curve: ConfigCurve, index: int, affordable: int) -> str:
    epoch = float(curve.epochs[index])
    cost = float(_regrets(curve)[index])
    size = f"{100.0 * cost:.2g} %" if cost < 1.0 else f"{cost:.3g} times the best"
    text = f"stopping at epoch {epoch_text(epoch)} would cost {size}"
    limit = f"{100 * HIGHEST_COST:g} %"
    if affordable == curve.epochs.size - 1:
        end = epoch_text(curve.epochs[-1])
        return f"{text}, and more than {limit} at any other epoch before {end}"
    return f"{text}, at epoch {epoch_text(curve.epochs[affordable])} at most {limit}"


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


def _reason(
    curve: ConfigCurve, index: int, lowest: int, tolerance: float, name: str, *, is_loss: bool
) -> str:
    epochs, smooth = curve.epochs, curve.smooth
    last = epochs.size - 1
    end = f"epoch {epoch_text(epochs[-1])}"
    if last == 0:
        return f"only one evaluation, at {end}"
    if not np.isfinite(smooth[-1]):
        first_bad = int(np.flatnonzero(~np.isfinite(smooth[lowest:]))[0]) + lowest
        return (
            f"{name} is not finite at epoch {epoch_text(epochs[first_bad])}; "
            f"it is best near epoch {epoch_text(epochs[lowest])}"
        )
    if lowest == 0:
        return f"{name} is never better than at epoch {epoch_text(epochs[0])}"
    rise = float(smooth[-1] - smooth.min())
    if rise > 2.0 * tolerance:
        worse = _worse(curve, rise, is_loss=is_loss)
        turn = f"{name} turns at epoch {epoch_text(epochs[lowest])} and is {worse} at {end}"
        if index < lowest:
            turn += f"; epoch {epoch_text(epochs[index])} is as good within noise"
        return turn
    if index == last:
        return f"{name} is best at {end}"
    limit = _gain_limit(curve, tolerance)
    return f"{name} improves by less than {limit} after epoch {epoch_text(epochs[index])}"


def _worse(curve: ConfigCurve, rise: float, *, is_loss: bool) -> str:
    lowest = float(curve.smooth.min())
    if is_loss and lowest > 0:
        return f"{100.0 * rise / lowest:.3g} % higher"
    # A loss without a floor has no percentages, and a metric may be better when higher.
    return f"{rise:.3g} {'higher' if is_loss else 'worse'}"


def _gain_limit(curve: ConfigCurve, tolerance: float) -> str:
    size = abs(float(curve.smooth.min()))
    return f"{100.0 * tolerance / size:.2g} %" if size > 0 else f"{tolerance:.2g}"


def _regrets(curve: ConfigCurve) -> NDArray[np.float64]:
    """Return, per evaluation, the median over seeds of what stopping after it loses, relative."""
    best_so_far = np.minimum.accumulate(finite_or_inf(curve.costs), axis=1)
    regrets = relative_regret(best_so_far, best_so_far[:, -1:])
    regrets = np.where(np.isfinite(regrets), regrets, np.nan)
    return regrets[0] if len(regrets) == 1 else column_medians(regrets)


def _saved(epoch: float, budget: float) -> float:
    return 1.0 - epoch / budget if budget > 0 else 0.0
