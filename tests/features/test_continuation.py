import numpy as np
import pytest

from sweepdiag.features import continue_curves
from tests.features.curves import curve, stack

N_POINTS = 30
EPOCHS = np.arange(N_POINTS, dtype=float)
RNG = np.random.default_rng(0)
FALLING = 2.0 * np.exp(-0.1 * np.arange(10)) * (1 + 0.01 * RNG.standard_normal(10))
LEVEL = 2.0 * (1 + 0.01 * RNG.standard_normal(10))


def continued(curves, n_continuations=24, *, is_positive=True):
    return continue_curves(
        curves,
        epochs=EPOCHS,
        n_continuations=n_continuations,
        is_positive=np.full(curves.n_curves, is_positive),
    )


def named(name, train, val=None):
    return curve(train, train if val is None else val, run_id=name)


def test_what_is_known_stays_and_the_rest_is_added():
    found = continued(stack([named("a", FALLING), named("b", LEVEL)]), 3)
    assert found.train_loss.shape == (6, N_POINTS)
    np.testing.assert_array_equal(found.train_loss[:3, :10], np.tile(FALLING, (3, 1)))
    np.testing.assert_array_equal(found.train_loss[3:, :10], np.tile(LEVEL, (3, 1)))
    assert np.isfinite(found.train_loss).all()
    np.testing.assert_array_equal(found.epochs, np.tile(EPOCHS, (6, 1)))


def test_a_level_stays_and_a_fall_stops_goes_on_or_doubles():
    level = continued(named("a", LEVEL)).train_loss
    assert np.abs(level[0::6, 10:] / 2.0 - 1).max() < 0.1
    stays, goes_on, doubles = (continued(named("a", FALLING)).train_loss[i::6] for i in range(3))
    assert stays[:, -1].min() > 0.8
    exact = 2.0 * np.exp(-0.1 * 29)
    assert 0.7 * exact < np.median(goes_on[:, -1]) < 1.4 * exact
    assert np.median(doubles[:, -1]) < 0.3 * exact


def test_half_of_the_continuations_wander_by_the_steps_of_the_curve():
    rough = 2.0 * np.exp(0.2 * RNG.standard_normal(12))
    logs = np.log(continued(named("a", rough), 240).train_loss)
    stays, wanders = logs[0::6, -1], np.concatenate([logs[i::6, -1] for i in (3, 4, 5)])
    assert np.std(wanders) > 1.5 * np.std(stays)
    calm = np.log(continued(named("a", 2.0 * np.ones(12)), 240).train_loss)
    np.testing.assert_allclose(calm, np.log(2.0), atol=1e-12)


def test_what_has_long_been_at_one_level_is_continued_at_it():
    def spread(n_level):
        start = np.linspace(9.0, 4.0, 24 - n_level)
        noise = np.tile([0.01, -0.02, 0.02, -0.01, 0.01, -0.01], 4)[:n_level]
        curve_so_far = named("a", np.concatenate([start, 2.0 * np.exp(noise)]))
        return np.std(np.log(continued(curve_so_far, 240).train_loss[2::6, -1]))

    assert spread(18) < 0.5 * spread(6)


def test_a_few_continuations_are_the_first_of_many():
    many = continued(named("a", FALLING)).train_loss
    np.testing.assert_array_equal(continued(named("a", FALLING), 6).train_loss, many[:6])


def test_a_curve_is_continued_alike_whatever_the_others():
    alone = continued(named("b", LEVEL)).train_loss
    among = continued(stack([named("a", FALLING), named("b", LEVEL)])).train_loss
    np.testing.assert_array_equal(among[24:], alone)


def test_training_and_validation_take_the_same_residuals():
    found = continued(named("a", LEVEL, LEVEL))
    np.testing.assert_array_equal(found.train_loss, found.val_loss)


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_scaling_a_loss_with_a_floor_scales_its_continuations(factor):
    plain = continued(named("a", FALLING)).train_loss
    scaled = continued(named("a", factor * FALLING)).train_loss
    np.testing.assert_allclose(scaled, factor * plain, rtol=1e-9)


def test_shifting_a_loss_without_a_floor_shifts_its_continuations():
    plain = continued(named("a", FALLING), is_positive=False).train_loss
    shifted = continued(named("a", FALLING - 5.0), is_positive=False).train_loss
    np.testing.assert_allclose(shifted, plain - 5.0, atol=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_so(bad):
    losses = np.array([*LEVEL[:8], bad, bad])
    found = continued(named("a", losses)).train_loss
    np.testing.assert_array_equal(found[:, 10:], np.full((24, 20), bad))


def test_without_validation_there_is_none_later():
    found = continued(curve(LEVEL))
    assert np.isnan(found.val_loss).all()


@pytest.mark.parametrize("n_known", [0, 4, 31])
def test_too_few_or_too_many_evaluations_are_refused(n_known):
    with pytest.raises(ValueError, match="5 <= n <= 30"):
        continued(curve(np.ones(n_known)))
