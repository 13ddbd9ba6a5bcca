"""From curves to verdicts."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.errors import ConfigError
from sweepdiag.features import compute_features
from sweepdiag.records import Verdict, VerdictClass
from sweepdiag.rules.base import CurveRow, Rule
from sweepdiag.rules.confidence import first_matches, rule_margins, vote
from sweepdiag.rules.context import build_context, remove_floor
from sweepdiag.rules.diverging import DivergingRule
from sweepdiag.rules.healthy import HealthyRule
from sweepdiag.rules.inconclusive import InconclusiveRule
from sweepdiag.rules.not_learning import NotLearningRule
from sweepdiag.rules.overfit import OverfitRule
from sweepdiag.rules.plugins import load_plugins
from sweepdiag.rules.siblings import with_siblings
from sweepdiag.rules.tags import find_tags
from sweepdiag.rules.thresholds import Thresholds
from sweepdiag.rules.u_shaped import UShapedRule, has_sustained_rise
from sweepdiag.rules.underfit import UnderfitRule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.features import CurveArrays, FeatureMatrix
    from sweepdiag.records import SweepFacts, Tag
    from sweepdiag.rules.base import BoolArray, FloatArray
    from sweepdiag.rules.confidence import IntArray
    from sweepdiag.rules.context import ContextKind, JudgingContext

__all__ = ["BUILT_IN_RULES", "active_rules", "judge_curves"]

BUILT_IN_RULES: tuple[Rule, ...] = (
    DivergingRule(),
    NotLearningRule(),
    UShapedRule(),
    OverfitRule(),
    UnderfitRule(),
    InconclusiveRule(),
    HealthyRule(),
)
"""The classes in the order in which they are tried; the first that matches wins."""


_KIN = {
    VerdictClass.DIVERGING: VerdictClass.NOT_LEARNING,
    VerdictClass.NOT_LEARNING: VerdictClass.DIVERGING,
    VerdictClass.U_SHAPED: VerdictClass.OVERFIT,
    VerdictClass.OVERFIT: VerdictClass.U_SHAPED,
    VerdictClass.HEALTHY: VerdictClass.UNDERFIT,
    VerdictClass.UNDERFIT: VerdictClass.HEALTHY,
}
"""Classes of like consequence: doubt between them is no reason to conclude nothing. In the last
two nothing is wrong, whether training has come to its end or nearly so."""


@functools.cache
def active_rules() -> tuple[Rule, ...]:
    """Return the built-in rules and those of installed plug-ins, by priority."""
    plugins: tuple[Rule, ...] = load_plugins("sweepdiag.rules", Rule)
    last = BUILT_IN_RULES[-1]
    rules = [*BUILT_IN_RULES[:-1], *plugins]
    return (*sorted(rules, key=lambda rule: rule.priority), last)


def judge_curves(
    curves: CurveArrays,
    *,
    facts: SweepFacts | None,
    config_ids: Sequence[str] | None = None,
    context: ContextKind = "alone",
    thresholds: Thresholds | None = None,
    n_resamples: int = 64,
) -> tuple[Verdict, ...]:
    """Return the verdict on each curve, in order.

    In context ``alone`` a verdict depends on its curve and the facts only. In context ``sweep``
    curves are also compared with those of other configurations.

    Args:
        curves: The curves; their run ids become the verdicts' ``trial_id``.
        facts: What is known of the task. ``None`` for other tools' logs: the first evaluated loss
            then serves as baseline, and a loss that is never negative is taken to have its floor
            at 0. Facts with ``loss_floor=None`` state that there is no floor.
        config_ids: Configuration of each curve; curves with the same one are its seeds. Needed in
            context ``sweep``.
        context: ``alone`` or ``sweep``.
        thresholds: The limits; ``None`` takes the defaults.
        n_resamples: Resamples per curve behind the confidence. 0 skips it: confidence is then NaN
            (not measured), and no verdict becomes inconclusive for want of it. It is NaN as well
            for curves too short to be resampled, and 1 for losses that end as no numbers. The
            confidence of an inconclusive verdict is that of its runner-up.

    Returns:
        One verdict per curve.

    Raises:
        ConfigError: If the context is unknown, or the configurations do not fit the curves.
    """
    if context not in {"alone", "sweep"}:
        message = f"context must be 'alone' or 'sweep', got {context!r}"
        raise ConfigError(message)
    if context == "sweep" and (config_ids is None or len(config_ids) != curves.n_curves):
        n_given = "none" if config_ids is None else len(config_ids)
        message = (
            f"context 'sweep' needs one config_id per curve ({curves.n_curves}), got {n_given}"
        )
        raise ConfigError(message)
    if curves.n_curves == 0:
        return ()
    limits = thresholds or Thresholds()
    with np.errstate(all="ignore"):  # losses may be NaN, infinite or near the largest float
        curves, floor = remove_floor(curves, facts)
        features = compute_features(curves)
        known = build_context(features, facts, context, floor)
        if config_ids is not None and context == "sweep":
            known = _add_siblings(known, features, limits, config_ids)
        judgement = _Judgement(
            rules=active_rules(), features=features, limits=limits, context=known
        )
        return judgement.verdicts(curves, n_resamples)


def _add_siblings(
    context: JudgingContext,
    features: FeatureMatrix,
    limits: Thresholds,
    config_ids: Sequence[str],
) -> JudgingContext:
    """References must have learned something without diverging."""
    is_out = np.zeros(features.n_curves, dtype=bool)
    for rule in BUILT_IN_RULES[:2]:
        is_out |= rule.matches(features, limits, context)
    return with_siblings(context, features, config_ids, ~is_out, limits)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judgement:
    """The rules applied to one set of curves."""

    rules: tuple[Rule, ...]
    features: FeatureMatrix
    limits: Thresholds
    context: JudgingContext

    def verdicts(self, curves: CurveArrays, n_resamples: int) -> tuple[Verdict, ...]:
        shares = self._vote(curves, n_resamples) if n_resamples > 0 else None
        matches = first_matches(self.rules, self.features, self.limits, self.context)
        chosen = matches if shares is None else self._likelier_kin(matches, shares)
        margins = rule_margins(self.rules, self.features, self._lenient(), self.context)
        turns = self._turning_epochs()
        classes = [self.rules[place].verdict for place in chosen]
        tags = find_tags(self.features, self.limits, self.context, classes)
        runners_up = [
            self._runner_up(i, int(place), margins[:, i], self._shares_of_curve(shares, i))
            for i, place in enumerate(chosen)
        ]
        finals = self._settle(chosen, runners_up, shares)
        return tuple(
            self._verdict(
                i,
                finals[i],
                int(chosen[i]),
                tags[i],
                float(turns[i]),
                self._margin(int(chosen[i]), margins[:, i]),
            )
            for i in range(self.features.n_curves)
        )

    def _vote(self, curves: CurveArrays, n_resamples: int) -> FloatArray:
        """Let the resamples of all curves vote about which there can be a doubt."""
        is_open = np.flatnonzero(~self._ends_nonfinite())
        shares = np.zeros((curves.n_curves, len(self.rules)))
        shares[is_open] = vote(
            curves.select(is_open),
            self.rules,
            self.limits,
            self.context.take(is_open),
            n_resamples,
        )
        return shares

    def _likelier_kin(self, matches: IntArray, shares: FloatArray) -> IntArray:
        """Return the classes, with the one of two of like consequence that most resamples get."""
        chosen = matches.copy()
        places = {rule.verdict: place for place, rule in enumerate(self.rules)}
        kins = {places[one]: places[other] for one, other in _KIN.items()}
        for i, place in enumerate(matches.tolist()):
            kin = kins.get(place)
            if kin is not None and not self._is_short(i):
                is_likelier = shares[i, kin] >= self.limits.min_confidence > shares[i, place]
                chosen[i] = kin if is_likelier else place
        return chosen

    def _lenient(self) -> Thresholds:
        """Return limits that let short curves have a class: their runner-up."""
        return dataclasses.replace(
            self.limits, min_evaluations=min(2, self.limits.min_evaluations)
        )

    def _margin(self, place: int, margins: FloatArray) -> float:
        """Return how far inside its class a curve is; what is left has the others' distance."""
        if place < len(self.rules) - 1:
            return max(float(margins[place]), 0.0)
        others = [-m for j, m in enumerate(margins) if self._is_other(j, place)]
        return max(float(min(others, default=1.0)), 0.0)

    def _shares_of_curve(self, shares: FloatArray | None, i: int) -> FloatArray | None:
        """Return how a curve's resamples voted; ``None`` where nothing could be resampled."""
        return None if shares is None or self._is_short(i) else shares[i]

    def _is_short(self, i: int) -> bool:
        return bool(self.features.column("train_n_finite")[i] < self.limits.min_evaluations)

    def _turning_epochs(self) -> FloatArray:
        has_turned: BoolArray = has_sustained_rise(self.features, self.limits, self.context)
        return np.where(has_turned, self.features.column("val_smooth_min_epoch"), np.nan)

    def _runner_up(
        self, i: int, place: int, margins: FloatArray, shares: FloatArray | None
    ) -> int | None:
        """Return the class that won most other resamples, or else the one nearest by margin."""
        if shares is not None:
            others = [s if self._is_other(j, place) else -1.0 for j, s in enumerate(shares)]
            best = int(np.argmax(others))
            if others[best] >= self.limits.runner_up_share:
                return best
        if self.rules[place].verdict is VerdictClass.INCONCLUSIVE:
            return self._first_other(place, margins, can_be_healthy=not self._is_short(i))
        if margins[place] >= self.limits.runner_up_margin:
            return None
        return self._nearest(place, margins)

    def _first_other(self, place: int, margins: FloatArray, *, can_be_healthy: bool) -> int | None:
        """Return the class that an inconclusive curve would have had."""
        rules = range(len(self.rules) if can_be_healthy else len(self.rules) - 1)
        return next((j for j in rules if margins[j] >= 0 and self._is_other(j, place)), None)

    def _nearest(self, place: int, margins: FloatArray) -> int | None:
        """Look before the class at what nearly matched, behind it at what would have matched."""
        nearest, distance = None, self.limits.runner_up_margin
        for i in range(place):
            if self._is_other(i, place) and -margins[i] < distance:
                nearest, distance = i, -margins[i]
        if nearest is not None or place == len(self.rules) - 1:
            return nearest
        following = range(place + 1, len(self.rules))
        return next((i for i in following if margins[i] >= 0 and self._is_other(i, place)), None)

    def _is_other(self, i: int, place: int) -> bool:
        verdict = self.rules[i].verdict
        return verdict not in {self.rules[place].verdict, VerdictClass.INCONCLUSIVE}

    def _settle(
        self, chosen: IntArray, runners_up: list[int | None], shares: FloatArray | None
    ) -> list[tuple[VerdictClass, VerdictClass | None, float]]:
        """Return class, runner-up and confidence, after looking at the confidence."""
        is_certain = self._ends_nonfinite()
        finals: list[tuple[VerdictClass, VerdictClass | None, float]] = []
        for i, place in enumerate(chosen):
            verdict = self.rules[place].verdict
            other = runners_up[i]
            runner_up = None if other is None else self.rules[other].verdict
            if is_certain[i]:
                finals.append((verdict, None, 1.0))
                continue
            votes = self._shares_of_curve(shares, i)
            if verdict is VerdictClass.INCONCLUSIVE:
                confidence = _share_of(votes, other)
            else:
                confidence = _share_of(votes, int(place))
                if self._support(votes, int(place)) < self.limits.min_confidence:
                    verdict, runner_up = VerdictClass.INCONCLUSIVE, verdict
            finals.append((verdict, runner_up, confidence))
        return finals

    def _support(self, votes: FloatArray | None, place: int) -> float:
        """Return the share of the class and of the one that means the same to a person."""
        kin = _KIN.get(self.rules[place].verdict)
        places = [place, *(j for j, rule in enumerate(self.rules) if rule.verdict is kin)]
        return sum(_share_of(votes, j) for j in places)

    def _ends_nonfinite(self) -> BoolArray:
        """A loss that is no number has no noise to resample: there is nothing to doubt."""
        return DivergingRule().is_nonfinite(self.features)

    def _verdict(
        self,
        i: int,
        final: tuple[VerdictClass, VerdictClass | None, float],
        place: int,
        tags: tuple[Tag, ...],
        turning_epoch: float,
        margin: float,
    ) -> Verdict:
        verdict, runner_up, confidence = final
        row = CurveRow(
            features=self.features.row(i),
            context=self.context.take(np.array([i])),
            thresholds=self.limits,
        )
        evidence = self.rules[place].evidence(row)
        if verdict is not self.rules[place].verdict:
            evidence += f", but only {100 * confidence:.0f} % of its resampled curves agree"
        uses_sibling = self.rules[place].verdict is VerdictClass.UNDERFIT
        return Verdict(
            trial_id=self.features.run_ids[i],
            verdict=verdict,
            runner_up=runner_up,
            tags=tags,
            confidence=confidence,
            turning_epoch=np.nan if verdict is VerdictClass.DIVERGING else turning_epoch,
            evidence=evidence,
            context=self.context.kind,
            margin=margin,
            numbers=row.told,
            reference_id=row.reference_id if uses_sibling else None,
        )


def _share_of(votes: FloatArray | None, place: int | None) -> float:
    if votes is None:
        return float("nan")
    return 0.0 if place is None else float(votes[place])
