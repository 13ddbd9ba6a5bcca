from __future__ import annotations

import numpy as np

from sweepdiag.records import VerdictClass
from tests.rules.curves import NAN, START, healthy, judge, noisy, overfit


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
