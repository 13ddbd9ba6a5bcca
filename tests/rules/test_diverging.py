from __future__ import annotations

import numpy as np
import pytest

from sweepdiag.records import Tag, VerdictClass
from tests.rules.curves import INF, NAN, START, exploding, healthy, judge, noisy, short


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("n", [1, 2, 4, 5, 30])
def test_a_non_finite_end_diverges_at_any_length(bad: float, n: int) -> None:
    train, val = healthy(n)
    train[-1], val[-1] = bad, bad
    verdict = judge((train, val))
    assert verdict.verdict is VerdictClass.DIVERGING
    assert Tag.NON_FINITE in verdict.tags
    assert (verdict.confidence, verdict.runner_up) == (1.0, None)


def test_all_nan_diverges() -> None:
    verdict = judge((np.full(8, NAN), np.full(8, NAN)))
    assert verdict.verdict is VerdictClass.DIVERGING
    assert "never finite in 8 evaluations" in verdict.evidence


def test_validation_that_overflows_diverges_even_if_training_is_finite() -> None:
    train, val = healthy()
    val[20:] = INF
    verdict = judge((train, val))
    assert verdict.verdict is VerdictClass.DIVERGING
    assert verdict.evidence.startswith("validation loss was not finite from epoch 20 on")


def test_a_jump_that_lasts_diverges() -> None:
    verdict = judge(exploding())
    assert verdict.verdict is VerdictClass.DIVERGING
    assert Tag.BLEW_UP in verdict.tags
    assert np.isnan(verdict.turning_epoch)


def test_falling_back_to_chance_is_divergence_that_blew_up() -> None:
    train, val = healthy()
    train[12:], val[12:] = START, START
    verdict = judge(noisy((train, val), noise=0.001))
    assert verdict.verdict is VerdictClass.DIVERGING
    assert Tag.BLEW_UP in verdict.tags


def test_blowing_up_and_dying_at_chance_is_divergence() -> None:
    train = np.array([START, 80.0, 30.0, *[START] * 27])
    verdict = judge((train, train))
    assert verdict.verdict is VerdictClass.DIVERGING
    assert "having jumped to 80" in verdict.evidence


def test_a_loss_above_its_start_diverges_without_ever_falling() -> None:
    train = START * np.linspace(1.0, 3.0, 20)
    assert judge((train, train)).verdict is VerdictClass.DIVERGING


def test_two_evaluations_are_enough_for_an_explosion() -> None:
    verdict = judge(short([2.3, 4000.0], [2.3, 4000.0]))
    assert verdict.verdict is VerdictClass.DIVERGING


def test_nan_in_the_middle_with_recovery_does_not_diverge() -> None:
    train, val = healthy()
    train[10], val[10] = NAN, NAN
    verdict = judge((train, val))
    assert verdict.verdict is VerdictClass.HEALTHY
    assert {Tag.NON_FINITE, Tag.SPIKE_RECOVERED} <= set(verdict.tags)


def test_a_spike_that_recovers_does_not_diverge() -> None:
    train, val = healthy()
    train[15], val[15] = 30.0, 30.0
    verdict = judge((train, val))
    assert verdict.verdict is VerdictClass.HEALTHY
    assert Tag.SPIKE_RECOVERED in verdict.tags


def test_tripling_next_to_zero_does_not_diverge() -> None:
    train, val = healthy()
    train = np.where(np.arange(30) > 20, 0.003, np.minimum(train, START) * 0.01)
    train[0] = START
    assert judge((train, val)).verdict is not VerdictClass.DIVERGING


def test_losses_without_a_floor_diverge_by_losing_their_fall() -> None:
    train, val = exploding()
    assert judge((train - 40.0, val - 40.0), facts=None).verdict is VerdictClass.DIVERGING


def test_validation_that_stays_far_above_its_start_diverges() -> None:
    train, val = healthy()
    val[1:] = 1.6e5
    verdict = judge((train, val))
    assert verdict.verdict is VerdictClass.DIVERGING
    assert Tag.BLEW_UP in verdict.tags
    assert verdict.evidence.startswith("validation loss ended at 1.6e+05")


def test_one_far_validation_loss_at_the_end_is_no_divergence() -> None:
    train, val = healthy()
    val[-1] = 1.6e5
    assert judge((train, val)).verdict is not VerdictClass.DIVERGING


def test_a_training_loss_that_was_never_logged_is_not_what_validation_ended_with() -> None:
    val = np.array([2.0, 1.5, 1.2, 1.1, 1.0, INF])
    verdict = judge((np.full(6, NAN), val))
    assert verdict.verdict is VerdictClass.DIVERGING
    assert verdict.evidence.startswith("validation loss was not finite from epoch 5 on")


def test_validation_that_is_no_number_now_and_then_has_not_diverged() -> None:
    """Half precision overflows in some evaluations of a sound network, maybe in the last."""
    train, val = healthy()
    val[[12, 15, -2, -1]] = NAN
    verdict = judge((train, val))
    assert verdict.verdict is VerdictClass.INCONCLUSIVE
    assert Tag.NON_FINITE in verdict.tags
    assert "look at how validation is evaluated" in verdict.evidence
    train[-5:] += START
    assert judge((train, val)).verdict is VerdictClass.DIVERGING


def test_a_rise_within_the_noise_of_a_short_curve_is_no_divergence() -> None:
    train = np.array([0.0224, 0.0157, 0.0221, 0.0138, 0.0185])
    val = np.array([0.0354, 0.0350, 0.0345, 0.0340, 0.0336])
    assert judge((train, val)).verdict is not VerdictClass.DIVERGING


def test_a_jump_that_is_made_good_again_is_no_divergence() -> None:
    """As where a training goes on with other data."""
    t = np.arange(40.0)
    train = np.where(t < 10, 0.65 - 0.032 * t, 0.45 + 0.15 * np.exp(-(t - 10) / 20))
    assert judge((train, train + 0.02)).verdict is not VerdictClass.DIVERGING
