"""The numbers that evidence quotes, against the raw curves."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sweepdiag.records import VerdictClass
from tests.rules.curves import Losses, flat, healthy, judge, noisy, slow, u_shaped

NUMBER = r"(-?[\d.]+(?:e[+-]?\d+)?)"


def numbers(pattern: str, text: str) -> list[float]:
    match = re.search(pattern.replace("#", NUMBER), text)
    assert match, text
    return [float(value) for value in match.groups()]


def close(*values: float) -> object:
    return pytest.approx(list(values), rel=1e-3)


def shaky(losses: Losses, seed: int) -> Losses:
    return noisy(losses, noise=0.01, seed=seed)


@pytest.mark.parametrize("seed", range(6))
def test_not_learning_quotes_the_lowest_training_loss(seed: int) -> None:
    train, val = shaky(flat(), seed)
    verdict = judge((train, val))
    assert verdict.verdict is VerdictClass.NOT_LEARNING
    pattern = r"lowest training loss of # evaluations is # \(epoch #\)"
    assert numbers(pattern, verdict.evidence) == close(30, train.min(), train.argmin())


@pytest.mark.parametrize("seed", range(6))
def test_underfit_quotes_both_ends_of_the_last_third(seed: int) -> None:
    train, val = shaky(slow(), seed)
    verdict = judge((train, val))
    assert verdict.verdict is VerdictClass.UNDERFIT
    pattern = "still falling: from # at epoch # to # at epoch #"
    assert numbers(pattern, verdict.evidence) == close(val[20], 20, val[-1], 29)


@pytest.mark.parametrize("seed", range(6))
def test_healthy_quotes_the_last_value_and_the_minimum(seed: int) -> None:
    train, val = shaky(healthy(), seed)
    verdict = judge((train, val))
    assert verdict.verdict is VerdictClass.HEALTHY
    pattern = "training loss went from # to #; validation loss ended at #"
    assert numbers(pattern, verdict.evidence) == close(train[0], train[-1], val[-1])
    if val[-1] == val.min():
        assert verdict.evidence.endswith(", its minimum")
        return
    minimum = numbers("its minimum of # at epoch #", verdict.evidence)
    assert minimum == close(val.min(), val.argmin())


@pytest.mark.parametrize("seed", range(6))
def test_u_shaped_quotes_raw_values_and_names_its_means(seed: int) -> None:
    train, val = shaky(u_shaped(), seed)
    verdict = judge((train, val))
    assert verdict.verdict is VerdictClass.U_SHAPED
    assert "(means of 5 evaluations)" in verdict.evidence
    assert numbers("minimum of # to #,", verdict.evidence) == close(val.min(), val[-1])


def test_a_mean_is_called_one() -> None:
    t = np.arange(30)
    train = 2.3 * (1 - 0.06 * np.exp(-((t - 5.0) ** 2) / 8))
    verdict = judge((train, train))
    assert "(mean of the last 5 evaluations)" in verdict.evidence


def test_without_training_losses_it_is_said_and_validation_may_still_diverge() -> None:
    missing = np.full(30, np.nan)
    verdict = judge((missing, u_shaped()[1]))
    assert verdict.verdict is VerdictClass.INCONCLUSIVE
    assert "there is no training loss" in verdict.evidence
    verdict = judge((missing, np.geomspace(2.0, 1e6, 30)))
    assert verdict.verdict is VerdictClass.DIVERGING


def test_a_loss_that_was_finite_again_is_told_by_its_last_finite_epoch() -> None:
    train, val = healthy()
    train[[4, 28, 29]] = np.nan
    verdict = judge((train, val))
    assert verdict.verdict is VerdictClass.DIVERGING
    assert "not finite after epoch 27 (first at epoch 4)" in verdict.evidence


def test_without_a_floor_neither_evidence_nor_tags_depend_on_the_level() -> None:
    train, val = slow()
    verdicts = [judge((train - shift, val - shift)) for shift in (50.0, 1000.0)]
    assert {v.verdict for v in verdicts} == {VerdictClass.UNDERFIT}
    assert all("still falling" in v.evidence for v in verdicts)
    assert verdicts[0].tags == verdicts[1].tags
