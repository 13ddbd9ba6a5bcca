from __future__ import annotations

import math

import numpy as np
import pytest

from sweepdiag.records import Tag, VerdictClass
from sweepdiag.rules import Thresholds, judge_curves
from tests.features.curves import curve, stack
from tests.rules.curves import FACTS, NAN, START, healthy, judge, short


@pytest.mark.parametrize("n", [1, 2, 4])
def test_short_curves_are_inconclusive_and_not_resampled(n: int) -> None:
    train, val = healthy(5)
    verdict = judge((train[:n], val[:n]))
    assert verdict.verdict is VerdictClass.INCONCLUSIVE
    assert math.isnan(verdict.confidence)
    assert "at least 5 are needed" in verdict.evidence


def test_without_validation_nothing_is_called_healthy() -> None:
    train, _ = healthy()
    verdict = judge((train, np.full(30, NAN)))
    assert verdict.verdict is VerdictClass.INCONCLUSIVE
    assert "there is no validation loss" in verdict.evidence


def test_training_that_loses_part_of_its_fall_is_inconclusive() -> None:
    train, _ = healthy()
    train = np.where(np.arange(30) < 15, train + 0.9, 1.6)
    verdict = judge((train, train + 0.02))
    assert verdict.verdict is VerdictClass.INCONCLUSIVE
    assert "of its fall again between epoch 12 and 29" in verdict.evidence


def test_training_that_scatters_wildly_is_inconclusive() -> None:
    rng = np.random.default_rng(0)
    train = np.concatenate([[START], 0.3 + 1.5 * rng.random(39)])
    verdict = judge((train, train + 0.01))
    assert verdict.verdict is VerdictClass.INCONCLUSIVE


def test_a_verdict_that_few_resamples_share_becomes_inconclusive_with_it_as_runner_up() -> None:
    rng = np.random.default_rng(4)
    t = np.arange(40)
    train = START * np.exp(-t / 4) + 0.05
    val = 0.5 + START * np.exp(-t / 4) + 0.0024 * np.maximum(t - 15, 0)
    curves = curve(train, val + 0.012 * rng.standard_normal(40))
    strict = Thresholds.from_overrides({"min_confidence": 1.0})
    sure = judge_curves(curves, facts=FACTS, n_resamples=64)[0]
    unsure = judge_curves(curves, facts=FACTS, n_resamples=64, thresholds=strict)[0]
    assert 0.0 < sure.confidence < 1.0
    assert unsure.verdict is VerdictClass.INCONCLUSIVE
    assert unsure.runner_up is sure.verdict
    assert "of its resampled curves agree" in unsure.evidence


def test_a_curve_without_evaluations_is_inconclusive() -> None:
    verdict = judge(short([NAN], [1.0]))
    assert verdict.verdict is VerdictClass.INCONCLUSIVE


def test_validation_that_spikes_at_the_end_is_unstable_not_healthy() -> None:
    train, val = healthy(40)
    val[[33, 35, 37, 39]] *= 6
    verdict = judge((train, val))
    assert verdict.verdict is VerdictClass.INCONCLUSIVE
    assert "validation loss is unstable" in verdict.evidence
    assert Tag.NOISY_VALIDATION in verdict.tags


def test_training_that_ends_above_its_start_is_not_underfit() -> None:
    train, val = healthy(40)
    train = train + 0.7
    train[-1] = 2.4
    losses = [(train, val + 0.8), healthy(40)]
    curves = stack([curve(*one, run_id=str(i)) for i, one in enumerate(losses)])
    verdict = judge_curves(
        curves, facts=FACTS, config_ids=["a", "b"], context="sweep", n_resamples=0
    )[0]
    assert verdict.verdict in {VerdictClass.INCONCLUSIVE, VerdictClass.DIVERGING}


def test_a_spike_that_is_over_at_the_end_is_no_instability() -> None:
    t = np.arange(40)
    train = 0.1 + START * np.exp(-t / 5)
    val = train + 0.02 + np.where(t == 36, 0.4, 0.0)
    assert judge((train, val)).verdict is VerdictClass.HEALTHY
    late = train + 0.02 + np.where(t >= 38, 0.2, 0.0)
    assert judge((train, late)).verdict is VerdictClass.INCONCLUSIVE


def test_one_low_value_at_the_end_does_not_make_a_high_validation_loss_healthy() -> None:
    t = np.arange(120)
    rng = np.random.default_rng(0)
    train = 0.05 + START * np.exp(-t / 10)
    val = 1.0 + START * np.exp(-t / 6) + np.where(t > 60, 2.0 * rng.random(120), 0.0)
    val[-1] = 0.9
    verdict = judge((train, val), facts=None, n_resamples=0)
    assert verdict.verdict is not VerdictClass.HEALTHY


def test_a_training_loss_that_never_turns_round_does_not_scatter() -> None:
    train = [44.71, 44.35, 44.30, 44.22, 42.02, 33.27]
    verdict = judge(short(train, [44.0, 43.4, 43.3, 43.2, 41.5, 34.0]), n_resamples=0, facts=None)
    assert "scatters" not in verdict.evidence
