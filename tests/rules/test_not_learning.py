from __future__ import annotations

import dataclasses

import numpy as np

from sweepdiag.records import VerdictClass
from tests.rules.curves import FACTS, NAN, START, flat, healthy, judge, noisy, slow


def test_a_loss_that_stays_at_chance_learns_nothing() -> None:
    verdict = judge(flat())
    assert verdict.verdict is VerdictClass.NOT_LEARNING
    assert "the best constant prediction has" in verdict.evidence


def test_a_constant_learns_nothing() -> None:
    assert judge((np.ones(10), np.ones(10)), facts=None).verdict is VerdictClass.NOT_LEARNING


def test_reaching_chance_from_a_bad_start_is_not_learning() -> None:
    train = np.array([3.6, *[START] * 29])
    assert judge((train, train)).verdict is VerdictClass.NOT_LEARNING


def test_without_a_baseline_one_level_at_once_is_not_learning() -> None:
    train = np.array([3.6, *[START] * 29])
    verdict = judge(noisy((train, train), noise=0.0005), facts=None)
    assert verdict.verdict is VerdictClass.NOT_LEARNING
    assert "predicts a constant" in verdict.evidence


def test_ending_where_it_started_is_not_learning() -> None:
    t = np.arange(30)
    train = START * (1 - 0.06 * np.exp(-((t - 5.0) ** 2) / 8))
    verdict = judge((train, train))
    assert verdict.verdict is VerdictClass.NOT_LEARNING
    assert "no better than" in verdict.evidence


def test_a_spike_at_the_beginning_is_no_noise_that_explains_what_was_learned() -> None:
    train = np.array([2.31, 50.6, 7.1, 0.84, 0.51, 0.089])
    verdict = judge((train, 1.5 * train))
    assert verdict.verdict is not VerdictClass.NOT_LEARNING
    assert judge((train, 1.5 * train), facts=None).verdict is not VerdictClass.NOT_LEARNING


def test_learning_slowly_is_learning() -> None:
    assert judge(slow()).verdict is VerdictClass.UNDERFIT


def test_nan_among_flat_losses_changes_nothing() -> None:
    train, val = flat()
    train[7] = NAN
    assert judge((train, val)).verdict is VerdictClass.NOT_LEARNING


def test_a_curve_that_begins_below_the_baseline_is_measured_against_its_own_start() -> None:
    pretrained = noisy((np.full(20, 0.8), np.full(20, 0.8)), noise=0.001)
    assert judge(pretrained).verdict is VerdictClass.NOT_LEARNING


def test_a_floor_is_subtracted_before_shares_are_taken() -> None:
    train, val = healthy()
    lifted = dataclasses.replace(
        FACTS,
        loss_floor=100.0,
        baseline_train_loss=START + 100,
        baseline_val_loss=START + 100,
    )
    verdict = judge((train + 100, val + 100), facts=lifted)
    assert verdict.verdict is VerdictClass.HEALTHY
    assert "went from 102.3 to 100.1" in verdict.evidence
