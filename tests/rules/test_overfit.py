from __future__ import annotations

import numpy as np

from sweepdiag.records import Tag, VerdictClass
from tests.rules.curves import NAN, START, healthy, judge, noisy, overfit, short


def test_a_large_gap_that_grows_is_overfitting() -> None:
    verdict = judge(overfit())
    assert verdict.verdict is VerdictClass.OVERFIT
    assert "a gap of" in verdict.evidence


def test_validation_that_only_ever_rises_is_overfitting() -> None:
    t = np.arange(20)
    train = START * np.exp(-t / 6)
    assert judge((train, START * (1 + 0.03 * t))).verdict is VerdictClass.OVERFIT


def test_a_gap_that_does_not_grow_is_a_shift() -> None:
    train, _ = healthy()
    assert judge((train, train + 1.0)).verdict is VerdictClass.HEALTHY


def test_a_small_gap_is_healthy() -> None:
    t = np.arange(30)
    train = START * np.exp(-t / 4)
    val = 0.1 + START * np.exp(-t / 3)
    assert judge(noisy((train, val), noise=0.002)).verdict is VerdictClass.HEALTHY


def test_nan_in_one_evaluation_changes_nothing() -> None:
    train, val = overfit()
    train[11] = NAN
    assert judge((train, val)).verdict is VerdictClass.OVERFIT


def test_training_that_learns_while_validation_never_beats_the_baseline_is_overfitting() -> None:
    t = np.arange(30)
    train = START * np.exp(-t / 12)
    verdict = judge(noisy((train, np.full(30, START)), noise=0.001))
    assert verdict.verdict is VerdictClass.OVERFIT
    assert "never got clearly below the 2.303 of the best constant prediction" in verdict.evidence


def test_most_of_what_was_learned_lost_on_the_way_is_overfitting_without_growth() -> None:
    t = np.arange(40)
    train = 0.1 + (START - 0.1) * np.exp(-t / 4)
    val = 1.6 + (START - 1.6) * np.exp(-t / 4)
    verdict = judge((train, val), facts=None)
    assert verdict.verdict is VerdictClass.OVERFIT
    assert verdict.evidence.endswith("of what training learned")
    late = 1.6 + (START - 1.6) * np.exp(-t / 30)  # not settled yet
    assert judge((train, late), facts=None).verdict is not VerdictClass.OVERFIT


def test_a_gap_of_most_that_was_learned_counts_beside_a_training_loss_that_stays_large() -> None:
    t = np.arange(60)
    train = 5.0 + 3.5 * np.exp(-t / 15)
    val = 7.3 + 1.2 * np.exp(-t / 4)
    assert judge((train, val), facts=None).verdict is VerdictClass.OVERFIT
    falling = train + 0.3 * (train[0] - train)  # a third was not carried over
    assert judge((train, falling), facts=None).verdict is not VerdictClass.OVERFIT
    there = train + 3.0  # from the first evaluation on
    assert judge((train, there), facts=None).verdict is not VerdictClass.OVERFIT


def test_a_short_curve_that_bends_has_no_noise() -> None:
    train = [44.7, 44.3, 44.2, 42.5, 35.8, 30.3]
    val = [43.4, 43.5, 43.6, 47.3, 54.4, 59.7]
    verdict = judge(short(train, val), facts=None, n_resamples=0)
    assert verdict.verdict is VerdictClass.OVERFIT


def test_a_gap_that_grows_below_a_large_training_loss_is_a_tag_of_a_healthy_curve() -> None:
    """As of language models, whose training loss never gets near 0."""
    t = np.arange(60.0)
    train = START * (0.34 + 0.66 * np.exp(-t / 6) - 0.0011 * t)
    val = START * (0.39 + 0.66 * np.exp(-t / 6) + 0.0002 * np.maximum(t - 20, 0))
    verdict = judge((train, val))
    assert verdict.verdict is VerdictClass.HEALTHY
    assert Tag.GAP_GROWING in verdict.tags
    assert "of what training learned, grows" in verdict.evidence
    flat = judge((np.maximum(train, 0.31 * START), val))
    assert Tag.GAP_GROWING not in flat.tags


def test_a_wide_gap_that_is_there_from_the_start_is_overfitting() -> None:
    """Validation never came near training, and scatters."""
    rng = np.random.default_rng(3)
    t = np.arange(36)
    train = 0.6 + 1.8 * np.exp(-t / 9)
    val = 2.2 + 2.4 * np.exp(-t / 4) + 0.15 * rng.standard_normal(36)
    assert judge((train, val), facts=None).verdict is VerdictClass.OVERFIT
