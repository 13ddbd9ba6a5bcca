from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sweepdiag.records import Tag, VerdictClass
from sweepdiag.rules import judge_curves
from tests.features.curves import curve
from tests.rules.curves import FACTS, NAN, START, healthy, judge, noisy, short, u_shaped


def test_a_rise_of_validation_while_training_falls_is_u_shaped() -> None:
    verdict = judge(u_shaped())
    assert verdict.verdict is VerdictClass.U_SHAPED
    assert 10 <= verdict.turning_epoch <= 16
    assert verdict.evidence.startswith("validation loss rose ")
    assert "while training loss fell" in verdict.evidence


def test_a_small_rise_of_a_small_loss_counts_by_its_share() -> None:
    t = np.arange(31)
    train = START * np.exp(-t / 3)
    val = 0.10 + START * np.exp(-t / 2) + 0.001 * np.maximum(t - 11, 0)
    verdict = judge((train, val))
    assert verdict.verdict is VerdictClass.U_SHAPED
    assert verdict.turning_epoch == pytest.approx(12, abs=3)


def test_a_few_percent_above_the_minimum_is_healthy() -> None:
    t = np.arange(31)
    train = START * np.exp(-t / 3)
    val = 0.10 + START * np.exp(-t / 2) + 0.0001 * np.maximum(t - 11, 0)
    assert judge((train, val)).verdict is VerdictClass.HEALTHY


def test_the_last_wave_of_a_long_curve_is_no_turn() -> None:
    t = np.arange(800)
    train = START * np.exp(-t / 200)
    wave = np.where(t > 785, 0.01 * (t - 785), 0.0)
    val = 0.2 + START * np.exp(-t / 200)
    assert judge((train, val + wave)).verdict is not VerdictClass.U_SHAPED
    turned = np.where(t > 600, 0.01 * (t - 600) / 10, 0.0)
    assert judge((train, val + turned)).verdict is VerdictClass.U_SHAPED


def test_five_evaluations_are_enough() -> None:
    verdict = judge(short([1.0, 0.6, 0.4, 0.2, 0.1], [1.0, 0.6, 0.5, 0.7, 0.9]), facts=None)
    assert verdict.verdict is VerdictClass.U_SHAPED
    assert verdict.turning_epoch == 2.0


def test_four_evaluations_are_inconclusive_with_it_as_runner_up() -> None:
    verdict = judge(short([1.0, 0.6, 0.4, 0.2], [1.0, 0.5, 0.7, 0.9]), facts=None)
    assert verdict.verdict is VerdictClass.INCONCLUSIVE
    assert verdict.runner_up is VerdictClass.U_SHAPED


def test_noise_alone_is_no_rise() -> None:
    t = np.arange(40)
    train = START * np.exp(-t / 4) + 0.3
    for seed in range(10):
        losses = noisy((train, train + 0.05), noise=0.08, seed=seed)
        assert judge(losses).verdict is not VerdictClass.U_SHAPED


def test_a_second_descent_that_is_under_way_is_not_called() -> None:
    t = np.arange(40)
    train = START * np.exp(-t / 6)
    val = 0.3 + START * np.exp(-t / 4) + 0.5 * np.exp(-(((t - 24) / 5.0) ** 2))
    assert judge((train, val)).verdict is not VerdictClass.U_SHAPED


def test_a_drop_of_the_learning_rate_is_not_called() -> None:
    t = np.arange(40)
    train = np.where(t < 20, 0.8, 0.3) + START * np.exp(-t / 3)
    assert judge(noisy((train, train + 0.05))).verdict is VerdictClass.HEALTHY


def test_both_losses_rising_is_not_overfitting() -> None:
    train, val = healthy()
    rise = 0.03 * np.maximum(np.arange(30) - 18, 0)
    assert judge((train + rise, val + rise)).verdict is not VerdictClass.U_SHAPED


def test_nan_in_one_evaluation_changes_nothing() -> None:
    train, val = u_shaped()
    val[8] = NAN
    assert judge((train, val)).verdict is VerdictClass.U_SHAPED


def test_losses_without_a_floor_are_judged_by_their_range() -> None:
    t = np.arange(30)
    train = START * np.exp(-t / 4)
    val = 0.5 + START * np.exp(-t / 3) + 0.03 * np.maximum(t - 10, 0)
    no_floor = dataclasses.replace(
        FACTS, loss_floor=None, baseline_train_loss=None, baseline_val_loss=None
    )
    here = judge((train, val), facts=no_floor)
    assert here.verdict is VerdictClass.U_SHAPED
    assert "of its fall" in here.evidence
    for shift in (-5.0, 100.0):
        there = judge((train + shift, val + shift), facts=no_floor)
        assert there.verdict is here.verdict


def test_accuracy_that_still_improves_is_tagged() -> None:
    train, val = u_shaped()
    accuracy = 1 - 0.9 * np.exp(-np.arange(30) / 12)
    curves = curve(train, val, metric=accuracy)
    assert Tag.METRIC_DISAGREES in judge_curves(curves, facts=FACTS, n_resamples=0)[0].tags
    worse = curve(train, val, metric=np.concatenate([accuracy[:15], accuracy[:15][::-1]]))
    assert Tag.METRIC_DISAGREES not in judge_curves(worse, facts=FACTS, n_resamples=0)[0].tags


def test_training_that_rises_by_a_factor_is_no_overfitting() -> None:
    t = np.arange(30)
    rise = np.maximum(t - 15, 0)
    train = (0.002 + START * np.exp(-t / 2)) * (1 + 2 * rise)
    val = (0.05 + START * np.exp(-t / 2)) * (1 + rise / 3)
    assert judge((train, val)).verdict is not VerdictClass.U_SHAPED


def test_a_wave_that_is_over_in_the_last_value_is_no_turn() -> None:
    train = [0.040, 0.034, 0.031, 0.029, 0.0275, 0.0268, 0.026, 0.0256, 0.0252, 0.0249, 0.0245]
    val = [0.030, 0.026, 0.0247, 0.0220, 0.0236, 0.0227, 0.0226, 0.0245, 0.0258, 0.0254, 0.0233]
    assert judge(short(train, val), facts=None, n_resamples=0).verdict is not VerdictClass.U_SHAPED
    val[-1] = 0.0256
    assert judge(short(train, val), facts=None, n_resamples=0).verdict is VerdictClass.U_SHAPED


def test_a_rise_of_next_to_nothing_of_the_fall_is_none_however_many_times_the_minimum() -> None:
    t = np.arange(60.0)
    train = START * np.exp(-t / 3)
    val = 0.001 + START * np.exp(-t / 3) + 0.0002 * np.maximum(t - 30, 0)
    assert judge((train, val)).verdict is VerdictClass.HEALTHY


def test_of_two_classes_of_like_consequence_the_likelier_is_given() -> None:
    t = np.arange(15)
    train = START * np.exp(-t / 5)
    val = 0.45 + START * np.exp(-t / 1.5) + 0.1 * np.maximum(t / 15 - 0.35, 0)
    losses = noisy((train, val), noise=0.04, seed=23)
    assert judge(losses, n_resamples=0).verdict is VerdictClass.OVERFIT
    verdict = judge(losses, n_resamples=32)
    assert verdict.verdict is VerdictClass.U_SHAPED
    assert verdict.runner_up is VerdictClass.OVERFIT
    assert verdict.confidence >= 0.5
