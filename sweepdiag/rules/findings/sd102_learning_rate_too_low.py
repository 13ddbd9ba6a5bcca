"""SD102: rates that are too low for the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweepdiag.records import Tag, VerdictClass
from sweepdiag.rules.findings.base import (
    BAD_CLASSES,
    Check,
    format_value,
    format_values,
    in_words,
)
from sweepdiag.rules.findings.edges import find_edges
from sweepdiag.rules.findings.sd901_nothing_learned import only_starts_to_fall
from sweepdiag.wording import plural

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["LearningRateTooLow"]

_MOSTLY = 0.9
"""Share of a rate's configurations that must be slow for the rate to be too low."""

_MOVING = 1 / 3
"""Share of these that must be idle or still improving: noise hides the improvement of others."""

_FEWEST_RATES = 3
_MOSTLY_IMPROVING = 0.5
"""Rates, and share of the configurations tied for the best, for the highest rate to be too low."""

_FEWEST_STEPS = 100
"""Optimizer steps below which more of them are wanted before higher rates."""

_NEAR_BEST = 0.1
"""Distance from the best monitored value, as a share, within which a rate is good enough."""


class LearningRateTooLow(Check):
    """The lowest learning rates learn too slowly for the budget.

    What it checks: from the lowest rate upwards, the rates at which most configurations learn
    nothing, or underfit, while some higher rate does better.

    Why it matters: epochs at these rates are spent on curves that never arrive. Where all rates
    are of this kind the best one is not in the sweep.

    What it needs: an ``lr`` axis with at least two values, enough evaluations, and configurations
    that neither all diverge nor all stay flat.

    How it is detected: at least 90 % of the judged configurations of a rate are ``not_learning``
    or ``underfit``, of which at least a third do not move at all or are still improving. A rate at
    which some configuration comes within 10 % of the best of the sweep is not too low. All rates
    are too low as well where the highest of at least three is the best, is still improving at the
    end, and no rate fails.

    Known false alarms: a network too small for the task underfits at every rate; SD201 looks for
    that, and a plateau alone does not count here.

    What to do: drop these rates, or, where all rates are too low, extend the axis upwards. A
    longer budget helps only those that are still improving.

    References:
        Godbole et al., "Deep Learning Tuning Playbook", 2023.
    """

    code = "SD102"
    name = "learning-rate-too-low"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return which of the lowest rates are too low."""
        reason = _why_not(view, thresholds)
        if reason:
            return self.not_applicable(reason)
        rates = sorted({float(value) for value in view.judged["lr"]})
        if _highest_still_improves(view, rates, thresholds):
            return self.finding(
                "The highest learning rate is still too low",
                f"the best configurations have the highest rate, {format_value(rates[-1])}, still "
                "improve at the end, and no higher rate was seen to fail",
                "Raise the learning rates by a factor of 10 before training longer.",
                too_low=rates,
            )
        slow = _lowest_slow(view)
        if not slow:
            return self.passed("The lowest learning rate is not too low", _lowest(view, rates[0]))
        rows = view.judged[view.judged["lr"].isin(slow)]
        evidence = f"at lr {format_values(slow, noun='rates')}: {_count_classes(rows)}"
        rest = view.judged[~view.judged["lr"].isin(slow)]
        if (~rest["verdict"].isin(BAD_CLASSES)).any():
            return self.tip(
                "The lowest learning rates are too low",
                evidence,
                f"Start the lr axis above {format_value(slow[-1])}.",
                too_low=slow,
            )
        return self.finding(
            "All learning rates that do not diverge are too low",
            evidence,
            "Add learning rates between the highest of these and the stability edge, or train "
            "longer."
            if len(rest)
            else "Raise the learning rates, or train longer.",
            too_low=slow,
        )


def _highest_still_improves(view: SweepView, rates: list[float], thresholds: Thresholds) -> bool:
    """Return whether what ties with the best has the highest rate and is still improving."""
    n_steps = view.curves["step"].max() if "step" in view.curves else _FEWEST_STEPS
    if len(rates) < _FEWEST_RATES or n_steps < _FEWEST_STEPS:
        return False
    if any(e.lowest_diverging is not None for e in find_edges(view)):
        return False
    tied = view.tied(thresholds.seed_noise)
    if tied.empty or not (tied["lr"].astype(float) == rates[-1]).all():
        return False
    improves = tied["tags"].map(lambda tags: Tag.STILL_IMPROVING.value in list(tags)).astype(bool)
    return bool(improves.mean() >= _MOSTLY_IMPROVING)


def _why_not(view: SweepView, thresholds: Thresholds) -> str:
    """Return why nothing can be said; empty if something can."""
    if view.axis("lr") is None:
        return "there is no lr axis with at least two values"
    if view.judged.empty:
        return "no trial was judged"
    classes = view.judged["verdict"]
    if (classes == VerdictClass.DIVERGING.value).all():
        return "no configuration trains: all diverge"
    is_idle = classes == VerdictClass.NOT_LEARNING.value
    if is_idle.all() and not only_starts_to_fall(view):
        return "no configuration trains, and the curves are flat rather than slow"
    return view.lack_of_evaluations(thresholds.min_evaluations)


def _lowest(view: SweepView, rate: float) -> str:
    is_lowest = view.judged["lr"] == rate
    if (is_lowest & _is_near_best(view)).any():
        return f"at lr {format_value(rate)} a configuration comes within 10 % of the best"
    return f"at lr {format_value(rate)}: {_count_classes(view.judged[is_lowest])}"


def _count_classes(rows: pd.DataFrame) -> str:
    return ", ".join(
        f"{plural(count, 'configuration')} {in_words(str(verdict))}"
        for verdict, count in rows["verdict"].value_counts().to_dict().items()
    )


def _lowest_slow(view: SweepView) -> list[float]:
    """Return the lowest rates, up to the first at which training is not too slow."""
    table = view.judged
    moves = table["tags"].map(lambda tags: Tag.STILL_IMPROVING.value in list(tags)).astype(bool)
    is_idle = table["verdict"] == VerdictClass.NOT_LEARNING.value
    is_slow = is_idle | (table["verdict"] == VerdictClass.UNDERFIT.value)
    counts = table[["lr"]].astype(float)
    counts["n"] = 1
    counts["slow"] = is_slow
    counts["moving"] = is_slow & (moves | is_idle)
    counts["good"] = _is_near_best(view)
    by_rate = counts.groupby("lr", sort=True).sum()
    is_too_low = (
        (by_rate["slow"] >= _MOSTLY * by_rate["n"])
        & (by_rate["good"] == 0)
        & (by_rate["slow"] > 0)
        & (by_rate["moving"] >= _MOVING * by_rate["slow"])
    )
    return [float(rate) for rate in by_rate.index[is_too_low.cumprod().astype(bool)]]


def _is_near_best(view: SweepView) -> NDArray[np.bool_]:
    """Return which judged configurations are usable and about as good as the best."""
    ranked = view.ranked()
    best = float(ranked["best_monitor"].iloc[0]) if len(ranked) else float("nan")
    distance = view.cost_sign * (ranked["best_monitor"] - best)
    near = ranked.index[distance <= _NEAR_BEST * view.share_unit.at(best)]
    return view.judged.index.isin(near)
