"""What to run next: the ``parameters`` block of the next sweep's file, and its reasons."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from sweepdiag.recommend._candidates import Candidates, Fate
from sweepdiag.recommend._words import LEARNING_RATES, axis_name, sentence, value_text
from sweepdiag.recommend._zoom import (
    AxisPlan,
    continuous_block,
    n_values,
    thinner,
    unchanged_block,
    zoomed_axis,
)
from sweepdiag.recommend.region import RegionCause, RegionOutcome
from sweepdiag.records import Axis, AxisValue, Region, Scale, StopEpoch, SweepFacts
from sweepdiag.space import TRAINING_LENGTHS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    import pandas as pd

__all__ = ["Budget", "Cause", "NextSweep", "next_sweep"]

_FEWEST_SEEDS, _MOST_SEEDS = 3, 10
_RESCUE_DECADES = 3
_RESCUE_POINTS = 7
# How many times the trials of the sweep that ran the next one may have, beyond a few.
_MOST_GROWTH = 2
_FEWEST_TRIALS = 200
# A higher learning rate than this has no use; then the cause is elsewhere.
_HIGHEST_LR = 100.0


class Budget(NamedTuple):
    """How long a finding says to train, and its title."""

    epochs: int
    title: str


class Cause(NamedTuple):
    """What a finding says is wrong that no settings can mend, and what to do about it.

    An error makes every curve doubtful, also where a region was found.
    """

    code: str
    title: str
    action: str
    is_error: bool = False


class NextSweep(NamedTuple):
    """What the next sweep's file should say.

    Attributes:
        parameters: The ``parameters`` block, by axis.
        settings: Other settings that change (``epochs``, ``seeds``).
        reasons: One sentence per change.
    """

    parameters: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]
    reasons: tuple[str, ...]


def next_sweep(
    *,
    axes: tuple[Axis, ...],
    outcome: RegionOutcome,
    configurations: pd.DataFrame,
    stop: StopEpoch | None,
    facts: SweepFacts,
    epochs: int | None,
    n_seeds: int,
    stops: Sequence[StopEpoch] = (),
    budget: Budget | None = None,
    cause: Cause | None = None,
    n_configurations: int | None = None,
) -> NextSweep:
    """Return a sweep that zooms into the region, or goes where it has to be looked for.

    Continuous axes reach half a step beyond the region; where points were drawn, half of what they
    lie apart. An axis whose best value is the last one tried is widened by two steps (a learning
    rate by a decade upwards at most), except where the value beyond cannot exist. Where nothing
    trains, the learning rate goes down (all diverge), up
    (none learns) or between the two. If the findings know a cause that no settings can mend, the
    sweep stays as it is.

    A grid of more than twice the trials of the sweep that ran is thinned as far as each axis
    bears it. Where points are drawn, fewer are.

    Args:
        axes: The axes of the sweep that ran.
        outcome: What ``recommend_region`` returned for it.
        configurations: Columns of ``configurations.parquet``.
        stop: What ``region_stop`` returned.
        facts: What is known of the task.
        epochs: Budget of each training; ``None`` if it was not counted in epochs.
        n_seeds: Seeds planned per configuration.
        stops: What ``stop_epochs`` returned.
        budget: What the findings say about the epochs, if they do: that holds.
        cause: What the findings say is wrong that no settings can mend; it counts where there is
            no region, or if it is an error.
        n_configurations: Points that were drawn; ``None`` if the sweep was a grid.

    Returns:
        Parameters, settings and reasons.
    """
    if not axes:
        return NextSweep({}, {}, ())
    if cause is not None and (outcome.region is None or cause.is_error):
        return _same_again(axes, cause, is_drawn=n_configurations is not None)
    settings, reasons = _settings(outcome, stop, stops, budget, epochs, n_seeds)
    if outcome.region is not None:
        shares = _drawn_shares(outcome.candidates, is_drawn=n_configurations is not None)
        plans = _zoomed(axes, outcome, outcome.region, facts.n_train, shares)
    else:
        plans = _rescued(axes, outcome)
    n_next_seeds = settings.get("seeds", n_seeds)
    most_trials = max(_MOST_GROWTH * len(configurations) * n_seeds, _FEWEST_TRIALS)
    if n_configurations is not None:
        plans = {name: _drawn(plan) for name, plan in plans.items()}
        fewer, thinned = _fewer_points(n_configurations, n_next_seeds, most_trials)
        settings |= fewer
        reasons = (*reasons, *thinned)
    elif outcome.region is not None:
        plans, thinned = _within_budget(plans, n_seeds=n_next_seeds, most_trials=most_trials)
        reasons = (*reasons, *thinned)
    texts = [text for plan in plans.values() for text in plan.reasons]
    return NextSweep(
        parameters={name: plan.block for name, plan in plans.items()},
        settings=settings,
        reasons=tuple(sentence(text) for text in (*texts, *reasons)),
    )


def _zoomed(
    axes: tuple[Axis, ...],
    outcome: RegionOutcome,
    region: Region,
    n_train: int | None,
    drawn_shares: Mapping[int, float],
) -> dict[str, AxisPlan]:
    candidates = outcome.candidates
    best = {outcome.best_config_id, region.centre_config_id}
    equals: Set[str | None] = set(outcome.equals)

    def values_at(config_ids: Set[str | None], index: int) -> list[AxisValue]:
        rows = zip(candidates.config_ids, candidates.values, strict=True)
        return [values[index] for config_id, values in rows if config_id in config_ids]

    plans = _unchanged(axes)
    for index, side in enumerate(region.axes):
        if side.name not in plans:
            continue
        plans[side.name] = zoomed_axis(
            candidates.axes[index],
            side,
            [values[index] for values in candidates.values],
            values_at(best, index),
            equals=values_at(equals, index),
            is_tie=outcome.cause is RegionCause.TIE,
            n_train=n_train,
            drawn_share=drawn_shares.get(index),
        )
    return plans


def _drawn_shares(candidates: Candidates, *, is_drawn: bool) -> dict[int, float]:
    """Return, per axis whose values were drawn, how far points lie apart on it.

    Points that were drawn have no value in common. So have those of a grid, but on one axis only.

    Returns:
        By index of the axis, the distance as a share of the span: n points on k such axes lie as
        far apart as those of a grid with the k-th root of n values each.
    """
    n_points = len(candidates.values)
    columns = list(zip(*candidates.values, strict=True))
    drawn = [index for index, column in enumerate(columns) if len(set(column)) == n_points]
    if n_points < 2 or not (is_drawn or len(drawn) > 1):
        return {}
    share = n_points ** (-1.0 / len(drawn)) if drawn else 1.0
    return dict.fromkeys(drawn, share)


def _unchanged(axes: tuple[Axis, ...]) -> dict[str, AxisPlan]:
    """Return the axes as they were; how long to train is a setting of the sweep and no axis."""
    return {
        axis.name: AxisPlan(block=unchanged_block(axis), reasons=())
        for axis in axes
        if axis.name not in TRAINING_LENGTHS
    }


def _same_again(axes: tuple[Axis, ...], cause: Cause, *, is_drawn: bool) -> NextSweep:
    """Return the same sweep: what it says counts once the cause is mended."""
    plans = _unchanged(axes)
    if is_drawn:
        plans = {name: _drawn(plan) for name, plan in plans.items()}
    text = f"the axes stay as they are: run them again once {cause.code} is mended"
    return NextSweep({name: plan.block for name, plan in plans.items()}, {}, (sentence(text),))


def _drawn(plan: AxisPlan) -> AxisPlan:
    """Return a plan for an axis on which points are drawn: its range has no number of values."""
    block = {key: value for key, value in plan.block.items() if key != "n"}
    return dataclasses.replace(plan, block=block)


def _fewer_points(
    n_configurations: int, n_seeds: int, most_trials: int
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the setting of how many points to draw, if all of them would be too many."""
    affordable = max(1, most_trials // n_seeds)
    if n_configurations <= affordable:
        return {}, ()
    text = f"fewer configurations: {n_configurations} with {n_seeds} seeds each are too many"
    return {"n_configurations": affordable}, (text,)


def _within_budget(
    plans: dict[str, AxisPlan], *, n_seeds: int, most_trials: int
) -> tuple[dict[str, AxisPlan], tuple[str, ...]]:
    """Thin the axes with most values until the grid is affordable; return what to say of it."""

    def n_trials(plans: dict[str, AxisPlan]) -> int:
        return n_seeds * math.prod(n_values(plan.block) for plan in plans.values())

    n_before = n_trials(plans)
    while n_trials(plans) > most_trials:
        thinned = {name: thinner(plan) for name, plan in plans.items()}
        able = {name: plan for name, plan in thinned.items() if plan is not None}
        if not able:
            break
        name = max(able, key=lambda name: n_values(plans[name].block))
        plans = {**plans, name: able[name]}
    n_after = n_trials(plans)
    if n_after == n_before:
        return plans, ()
    return plans, (f"the grid is thinned from {n_before} trials to {n_after}",)


def _rescued(axes: tuple[Axis, ...], outcome: RegionOutcome) -> dict[str, AxisPlan]:
    """Leave every axis as it was, and move the learning rate to where training may begin."""
    plans = _unchanged(axes)
    rates = [
        (index, axis)
        for index, axis in enumerate(outcome.candidates.axes)
        if axis.name in LEARNING_RATES and axis.scale is not Scale.CATEGORICAL
    ]
    if rates:
        index, axis = rates[0]
        plans[axis.name] = _moved_rate(axis, index, outcome) or plans[axis.name]
    return plans


def _moved_rate(axis: Axis, index: int, outcome: RegionOutcome) -> AxisPlan | None:
    candidates = outcome.candidates
    tried = [float(values[index]) for values in candidates.values]
    name = axis_name(axis.name)
    if outcome.cause is RegionCause.ALL_DIVERGING:
        high = min(tried) / 2.0
        text = f"{name} is widened downwards: every configuration diverges down to "
        return _rate_plan(axis, high / 10**_RESCUE_DECADES, high, text + value_text(min(tried)))
    if outcome.cause is RegionCause.ALL_NOT_LEARNING:
        low = max(tried) * 2.0
        high = min(low * 10**_RESCUE_DECADES, _HIGHEST_LR)
        text = f"{name} is widened upwards: nothing learns up to {value_text(max(tried))}"
        if low < high:
            return _rate_plan(axis, low, high, text)
        too_high = f"{text}, so look for an error in labels, loss or model before another sweep"
        return AxisPlan(block=unchanged_block(axis), reasons=(too_high,))
    if outcome.cause is RegionCause.NOTHING_GENERALISES:
        text = f"{name} stays as it is: check labels and the split before another sweep"
        return AxisPlan(block=unchanged_block(axis), reasons=(text,))
    if outcome.cause is RegionCause.NOTHING_TRAINS:
        return _rate_between(axis, tried, candidates)
    return None


def _rate_between(axis: Axis, tried: list[float], candidates: Candidates) -> AxisPlan | None:
    """Return the gap between the rates that are too low and those that are too high."""
    exploding = {Fate.DIVERGING, Fate.UNSTABLE}
    too_high = [lr for lr, fate in zip(tried, candidates.fates, strict=True) if fate in exploding]
    too_low = [
        lr for lr, fate in zip(tried, candidates.fates, strict=True) if fate is Fate.NOT_LEARNING
    ]
    if not too_high or not too_low:
        return None
    low, high = max(too_low), min(too_high)
    lowest = min(tried)
    if lowest == high:
        # The lowest rate diverges already; what learned nothing above it died of its rate.
        text = f"{axis_name(axis.name)} is widened downwards: {value_text(lowest)} diverges"
        return _rate_plan(axis, lowest / 10**_RESCUE_DECADES, lowest / 2.0, text)
    if low >= high:
        # Where the edge lies depends on another axis: look on both sides of it.
        low, high = high / 3.0, low * 3.0
    name = axis_name(axis.name)
    text = f"{name} is looked at between what does not learn and what diverges"
    return _rate_plan(axis, low, high, text)


def _rate_plan(axis: Axis, low: float, high: float, text: str) -> AxisPlan:
    return AxisPlan(block=continuous_block(axis, low, high, _RESCUE_POINTS), reasons=(text,))


def _settings(
    outcome: RegionOutcome,
    stop: StopEpoch | None,
    stops: Sequence[StopEpoch],
    budget: Budget | None,
    epochs: int | None,
    n_seeds: int,
) -> tuple[dict[str, int], tuple[str, ...]]:
    settings: dict[str, int] = {}
    reasons: list[str] = []
    ids = set(outcome.region.config_ids) if outcome.region else set()
    inside = [other for other in stops if other.config_id in ids]
    for setting, change in (
        ("epochs", _epochs_change(inside, stop, budget, epochs)),
        ("seeds", _seeds_change(outcome, n_seeds) if outcome.region else None),
    ):
        if change is not None:
            settings[setting], reason = change
            reasons.append(reason)
    return settings, tuple(reasons)


def _epochs_change(
    inside: Sequence[StopEpoch],
    stop: StopEpoch | None,
    budget: Budget | None,
    epochs: int | None,
) -> tuple[int, str] | None:
    if epochs is None:
        return None
    if budget is not None:
        change = "more" if budget.epochs > epochs else "fewer"
        title = budget.title[:1].lower() + budget.title[1:]
        return None if budget.epochs == epochs else (budget.epochs, f"{change} epochs: {title}")
    # Where to start decides.
    if stop is None or not stop.is_improving:
        return None
    n_going_on = sum(other.is_improving for other in inside)
    if len(inside) > 1 and 2 * n_going_on >= len(inside):
        who = f"{n_going_on} of the region's {len(inside)} configurations still improve"
    else:
        who = "the configuration to start at still improves"
    return 2 * epochs, f"more epochs: {who} at epoch {epochs}"


def _seeds_change(outcome: RegionOutcome, n_seeds: int) -> tuple[int, str] | None:
    if n_seeds < 2:
        return _FEWEST_SEEDS, "more seeds: with one, nobody knows how much a run varies"
    more = min(2 * n_seeds, _MOST_SEEDS)
    if outcome.cause is RegionCause.TIE and more > n_seeds:
        return more, "more seeds: the configurations tie within seed noise"
    if outcome.is_noise_too_large and more > n_seeds:
        return more, "more seeds: seed noise is too large to separate the configurations"
    return None
