from __future__ import annotations

import numpy as np

from sweepdiag.features import resample_curves
from tests.features.curves import curve, stack

YES = np.array([True])


def _noisy(run_id: str, seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    base = np.exp(-np.arange(n) / 10) + 0.2
    return base * np.exp(0.05 * rng.standard_normal((2, n))), base


def test_resamples_scatter_around_the_curve_as_much_as_the_curve_does() -> None:
    losses, base = _noisy("a", 0, 400)
    resampled = resample_curves(
        curve(losses[0], losses[1]), n_resamples=50, is_positive=YES
    ).train_loss
    spread = np.std(np.log(resampled / base)[:, 10:-10])
    assert abs(spread - 0.05) < 0.01


def test_resamples_of_a_curve_do_not_depend_on_the_other_curves() -> None:
    first, second = _noisy("a", 0)[0], _noisy("b", 1, 90)[0]
    alone = curve(first[0], first[1], run_id="a")
    both = stack([curve(second[0], second[1], run_id="b"), alone])
    expected = resample_curves(alone, n_resamples=8, is_positive=YES)
    got = resample_curves(both, n_resamples=8, is_positive=np.array([True, True]))
    np.testing.assert_array_equal(got.train_loss[8:, :60], expected.train_loss)
    assert got.run_ids == ("b",) * 8 + ("a",) * 8


def test_resamples_differ_between_runs_and_among_themselves() -> None:
    losses = _noisy("a", 0)[0]
    one = resample_curves(curve(losses[0], run_id="a"), n_resamples=2, is_positive=YES)
    two = resample_curves(curve(losses[0], run_id="b"), n_resamples=2, is_positive=YES)
    assert not np.array_equal(one.train_loss[0], one.train_loss[1])
    assert not np.array_equal(one.train_loss, two.train_loss)


def test_first_value_missing_values_and_infinities_stay() -> None:
    losses = _noisy("a", 0)[0]
    losses[0, 10], losses[0, 20] = np.nan, np.inf
    resampled = resample_curves(curve(losses[0]), n_resamples=4, is_positive=YES)
    np.testing.assert_array_equal(resampled.train_loss[:, 0], np.full(4, losses[0, 0]))
    assert np.isnan(resampled.train_loss[:, 10]).all()
    assert np.isposinf(resampled.train_loss[:, 20]).all()
    assert np.isnan(resampled.val_loss).all()


def test_a_spike_stays_where_it_was() -> None:
    losses = _noisy("a", 0)[0]
    losses[0, 30] *= 50
    resampled = resample_curves(curve(losses[0]), n_resamples=32, is_positive=YES).train_loss
    assert (resampled.argmax(axis=1) == 30).all()


def test_short_curves_are_repeated_unchanged() -> None:
    resampled = resample_curves(curve([3.0, 2.0, 1.0, 0.5]), n_resamples=3, is_positive=YES)
    np.testing.assert_allclose(resampled.train_loss, [[3.0, 2.0, 1.0, 0.5]] * 3)


def test_without_a_floor_a_shift_shifts_the_resamples() -> None:
    losses = _noisy("a", 0)[0]
    no = np.array([False])
    here = resample_curves(curve(losses[0]), n_resamples=5, is_positive=no).train_loss
    there = resample_curves(curve(losses[0] - 8.0), n_resamples=5, is_positive=no).train_loss
    np.testing.assert_allclose(there, here - 8.0, atol=1e-12)
