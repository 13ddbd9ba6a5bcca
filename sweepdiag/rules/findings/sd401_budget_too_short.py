"""SD401: trainings that end too early."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.features.late_gain import late_gain, n_late
from sweepdiag.records import Tag, VerdictClass
from sweepdiag.rules.base import percent
from sweepdiag.rules.findings.base import Check, format_value
from sweepdiag.wording import epoch_text, plural

if TYPE_CHECKING:
    import pandas as pd

    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["NEAR_BEST", "BudgetTooShort", "epochs_to_judge", "good_configurations"]

NEAR_BEST = 0.02
"""Share of the best monitored value within which a configuration, or an epoch, is as good."""

_NOT_CONVERGED = (VerdictClass.UNDERFIT.value, VerdictClass.INCONCLUSIVE.value)

_MOSTLY = 0.5
"""Share of the configurations that learn that must still improve where none has converged."""

_SLOWING = 0.5
"""Share of the late improvement that is expected of as many evaluations again."""

_OVERTAKES = 0.05
"""How much better than the best, as a share, another one must be about to become."""


class BudgetTooShort(Check):
    """The good configurations are still improving when the budget ends.

    What it checks: whether the curves of the good configurations still improve at their end.

    Why it matters: what is compared is then speed, not quality; a longer training may rank the
    configurations differently.

    What it needs: configurations that learn. Too few evaluations to judge most of them are a
    finding of its own.

    How it is detected: good are the configurations within two standard deviations between seeds,
    or 2 %, of the best. A straight line through the last fifth of the monitored curve of a trial
    (at least four evaluations) improves by more than 2 % of its level, by more than three of its
    standard errors, and by more than 0.5 % of all that was learned; as many evaluations before lie
    above these by more than half of that; and the line ends near the best value of the curve,
    above the lowest before by less than it falls. More than half of the good configurations do so
    in the median of their seeds. Otherwise it is a finding as well where
    every configuration that learns is ``underfit`` or ``inconclusive`` and at least half of them
    are still improving; or where another configuration, if it gains half as much again in as many
    evaluations, overtakes the best by 5 %. The level of an accuracy is what it lacks of 1, and
    that of a loss without a floor all that was learned.

    Known false alarms: losses that shrink for ever while the metric is long at its best; monitor
    the metric instead. A decaying learning rate flattens curves, so that nothing is found.

    What to do: train longer; the region found now is a good place to start. With too few
    evaluations, evaluate more often within an epoch.

    References:
        Godbole et al., "Deep Learning Tuning Playbook", 2023 (best step in the last 25 %).
    """

    code = "SD401"
    name = "budget-too-short"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether more epochs would help."""
        good, budget = good_configurations(view, thresholds)
        reason = view.lack_of_evaluations(thresholds.min_evaluations)
        if reason:
            n_epochs = epochs_to_judge(view, thresholds)
            return self.finding(
                "Too few evaluations to judge",
                reason,
                f"Train for {plural(n_epochs, 'epoch')}, or set evaluation.every_steps to "
                "evaluate more often.",
                train_epochs=n_epochs,
            )
        if good.empty:
            return self.not_applicable("no configuration learned anything")
        gains = [_late_gain(view, str(config_id), thresholds) for config_id in good["config_id"]]
        n_improving = sum(gain > 0 for gain in gains)
        evidence = (
            f"{plural(len(good), 'configuration')} tied for the best, {n_improving} of them still "
            f"improving at the end of {epoch_text(budget)} epochs"
        )
        n_epochs = math.ceil(2 * budget)
        action = f"Train for {plural(n_epochs, 'epoch')}."
        if 2 * n_improving <= len(good):
            others = _still_underfit(view, budget) or _overtaking(view, good, thresholds)
            if others:
                return self.finding(
                    "The budget is too short",
                    others,
                    action,
                    n_late=n_improving,
                    train_epochs=n_epochs,
                )
            return self.passed("The budget is long enough", evidence, n_late=n_improving)
        gain = float(np.median([gain for gain in gains if gain > 0]))
        return self.finding(
            "The budget is too short",
            f"{evidence}, by {percent(gain)} of {view.share_unit.words} over "
            f"{_late_text(view, good)}",
            action,
            n_late=n_improving,
            n_good=len(good),
            late_gain=gain,
            train_epochs=n_epochs,
        )


def _still_underfit(view: SweepView, budget: float) -> str:
    """Return the evidence that none that learns has converged; empty if some has.

    The best one may be a rate that is nearly too high, so that its own curve says nothing.
    """
    usable = view.usable
    if not usable["verdict"].isin(_NOT_CONVERGED).all():
        return ""
    improves = usable["tags"].map(lambda tags: Tag.STILL_IMPROVING.value in list(tags))
    if improves.astype(bool).mean() < _MOSTLY:
        return ""
    return (
        f"no configuration has converged, and {int(improves.sum())} of {len(usable)} that learn "
        f"are still improving at the end of {epoch_text(budget)} epochs"
    )


def _overtaking(view: SweepView, good: pd.DataFrame, thresholds: Thresholds) -> str:
    """Return the evidence that another configuration is about to overtake the best.

    One that improves at the end is expected to gain half as much again in as many evaluations.
    """
    best = float(good["best_monitor"].iloc[0])
    limit = view.cost_sign * best - _OVERTAKES * view.share_unit.at(best)
    ranked, are_good = view.ranked(), set(good["config_id"])
    for config_id, value in zip(ranked["config_id"], ranked["best_monitor"], strict=True):
        if config_id in are_good:
            continue
        gain = _late_gain(view, str(config_id), thresholds)
        cost = view.cost_sign * float(value)
        expected = _SLOWING * gain * view.share_unit.at(float(value))
        if gain > 0 and cost - expected < limit:
            return (
                f"a configuration with {view.monitor} {format_value(float(value))} "
                f"improves by {percent(gain)} of {view.share_unit.words} over "
                f"{_late_text(view, good)} and is about to overtake the best, {format_value(best)}"
            )
    return ""


def good_configurations(view: SweepView, thresholds: Thresholds) -> tuple[pd.DataFrame, float]:
    """Return the configurations tied with the best and the last epoch that any curve reached.

    Args:
        view: The sweep.
        thresholds: ``seed_noise`` says how far seeds reach.

    Returns:
        Rows of ``configurations``, best first, and the budget in epochs.
    """
    good = view.tied(thresholds.seed_noise, least_share=NEAR_BEST)
    budget = float(view.curves["epoch"].max()) if len(view.curves) else 0.0
    return good, budget


def epochs_to_judge(view: SweepView, thresholds: Thresholds) -> int:
    """Return after how many epochs, evaluated as often as now, curves can be judged.

    Args:
        view: The sweep.
        thresholds: ``min_evaluations`` says how many a verdict needs.
    """
    epochs = view.curves.groupby("trial_id", observed=True)["epoch"]
    last = epochs.max()
    budget = float(last.max()) if len(last) else 0.0
    if not budget > 0:
        return math.ceil(thresholds.min_evaluations)
    complete = view.curves[view.curves["trial_id"].isin(last.index[last == budget])]
    n_before = int((complete["epoch"] <= 0).groupby(complete["trial_id"]).sum().min())
    n_after = int((complete["epoch"] > 0).groupby(complete["trial_id"]).sum().min())
    return math.ceil(budget * (thresholds.min_evaluations - n_before) / n_after)


def _late_gain(view: SweepView, config_id: str, thresholds: Thresholds) -> float:
    """Return the median over seeds of the late improvement as a share; 0 where it is none."""
    gains = [
        late_gain(
            costs,
            cost_sign=view.cost_sign,
            unit=view.share_unit,
            least_of_learned=thresholds.tag_improving_share,
        )
        for _, costs in view.monitored_costs(config_id)
    ]
    return float(np.median(gains)) if gains else 0.0


def _late_text(view: SweepView, good: pd.DataFrame) -> str:
    """Return which part of the curves was looked at, as it is for the best configuration."""
    sizes = [len(costs) for _, costs in view.monitored_costs(str(good["config_id"].iloc[0]))]
    return f"the last {n_late(max(sizes, default=0))} evaluations"
