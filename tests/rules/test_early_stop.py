import dataclasses

import numpy as np
import pytest

from sweepdiag.records import VerdictClass
from sweepdiag.rules import STOPPABLE, judge_curves, stop_reasons
from tests.features.curves import curve, stack
from tests.rules.curves import FACTS, NAN, START, healthy, noisy

EPOCHS = np.arange(30, dtype=float)
T = np.arange(12)


def reasons(*losses, facts=FACTS, epochs=EPOCHS):
    curves = stack([curve(*one, run_id=str(i)) for i, one in enumerate(losses)])
    return stop_reasons(curves, epochs=epochs, facts=facts)


def both(train):
    return noisy((train, 1.01 * train))


DIVERGING = both(START + 0.5 * T)
DEAD = noisy((np.full(12, START),) * 2, noise=0.0005)
HEALTHY = tuple(losses[:12] for losses in healthy())


@pytest.mark.parametrize(
    ("losses", "verdict"),
    [(DIVERGING, "diverging"), (DEAD, "not_learning"), ((np.full(12, NAN),) * 2, "diverging")],
)
def test_a_hopeless_training_ends_with_its_verdict_as_the_reason(losses, verdict):
    (reason,) = reasons(losses)
    assert reason.startswith(f"{verdict}: ")
    (judged,) = judge_curves(curve(*losses, run_id="0"), facts=FACTS)
    assert reason == f"{judged.verdict}: {judged.evidence}"


def test_a_training_that_learns_goes_on():
    assert reasons(HEALTHY) == [None]


def test_one_that_has_hardly_begun_to_learn_goes_on():
    # At this pace it will have fallen by 4 % in the end, which is twice what counts as nothing.
    slow = both(START * (1 - 0.0014 * T))
    assert judge_curves(curve(*slow), facts=FACTS)[0].verdict is VerdictClass.NOT_LEARNING
    assert reasons(slow) == [None]


def test_one_that_wanders_just_above_its_start_goes_on():
    # Above its start by 9 % now; 5 % separate what diverges from what learns nothing.
    steps = np.array([0.0, 0.14, 0.06, 0.12, 0.03, 0.11, 0.05, 0.13, 0.08, 0.10, 0.07, 0.09])
    losses = both(START * (1 + steps))
    assert judge_curves(curve(*losses), facts=FACTS)[0].verdict is VerdictClass.DIVERGING
    assert reasons(losses) == [None]


def test_the_others_make_no_difference():
    assert reasons(HEALTHY, DIVERGING, DEAD) == [
        None,
        *reasons(HEALTHY, DIVERGING)[1:],
        *reasons(HEALTHY, HEALTHY, DEAD)[2:],
    ]


def test_four_evaluations_are_too_few_whatever_they_are():
    assert reasons((np.full(4, NAN),) * 2) == [None]


def test_a_loss_of_an_unknown_task_can_diverge_too():
    (reason,) = reasons(DIVERGING, facts=None)
    assert reason.startswith("diverging: ")


def test_overfitting_ends_no_training():
    assert {VerdictClass.OVERFIT, VerdictClass.U_SHAPED}.isdisjoint(STOPPABLE)
    n = np.arange(24)
    train = 0.05 + (START - 0.05) * np.exp(-n / 3)
    rising = noisy((train, train + 0.05 * n))
    facts = dataclasses.replace(FACTS, n_train=1000)
    assert judge_curves(curve(*rising), facts=facts)[0].verdict is VerdictClass.U_SHAPED
    assert reasons(rising, facts=facts) == [None]


def test_no_curves_have_no_reasons():
    assert stop_reasons(curve([]).select([]), epochs=EPOCHS, facts=FACTS) == []
