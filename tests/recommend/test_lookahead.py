from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepdiag.errors import ConfigError
from sweepdiag.recommend.lookahead import LEAST_SIBLINGS, sibling_lookahead

N_POINTS = 60
RISE = np.maximum(np.arange(N_POINTS) - 10, 0) / N_POINTS


def sweep(seed: int, course: np.ndarray, n_curves: int = 20) -> np.ndarray:
    rng = np.random.default_rng(seed)
    levels = rng.uniform(0.8, 1.25, (n_curves, 1))
    return course * levels + rng.normal(0, 0.003, (n_curves, N_POINTS))


def with_drop(drop: int = 40) -> np.ndarray:
    """Return losses that rise until the rate drops, and fall below all before then."""
    epochs = np.arange(N_POINTS)
    return sweep(1, 0.5 + np.exp(-epochs / 4) + 0.004 * epochs - 0.3 * (epochs >= drop))


def overfitting(n_curves: int = 20) -> np.ndarray:
    epochs = np.arange(N_POINTS)
    return sweep(2, 0.5 + np.exp(-epochs / 4) + 0.01 * epochs, n_curves)


def test_it_waits_for_a_drop_that_the_siblings_have_seen():
    stops = sibling_lookahead(with_drop(), price=0.03)
    assert (stops >= 40).all()
    # The fall itself is news for a quarter of the time until then.
    assert (stops <= 50).all()


def test_it_stops_near_the_turn_where_no_sibling_has_recovered():
    losses = overfitting()
    stops = sibling_lookahead(losses, price=0.03)
    turns = losses.argmin(axis=1)
    assert (stops >= turns - 3).all()
    assert (stops <= turns + 6).all()


def test_siblings_that_look_otherwise_hardly_count():
    """Half of a small sweep rises little and falls below all later; the others rise steeply."""
    losses = np.concatenate([with_drop()[:5], overfitting()[:5] + 0.5 * RISE])
    stops = sibling_lookahead(losses, price=0.1)
    assert (stops[:5] >= 40).all()
    assert (stops[5:] < 20).all()


def test_where_few_have_learned_they_are_asked_and_not_the_others():
    flat = 1.6 + np.random.default_rng(4).normal(0, 0.003, (20, N_POINTS))
    losses = np.concatenate([with_drop()[:4], flat])
    assert (sibling_lookahead(losses, price=0.2)[:4] >= 40).all()


def test_a_curve_is_not_asked_about_itself():
    losses = overfitting()
    losses[7, 50] = 0.01  # would be worth waiting for, if it were known
    before = sibling_lookahead(overfitting(), price=0.03)
    after = sibling_lookahead(losses, price=0.03)
    assert after[7] == before[7]


def test_what_comes_after_the_stop_changes_nothing():
    losses = overfitting()
    stops = sibling_lookahead(losses, price=0.03)
    changed = losses.copy()
    changed[3, stops[3] + 1 :] = 9.0
    assert sibling_lookahead(changed, price=0.03)[3] == stops[3]


def test_a_higher_price_stops_earlier():
    losses = with_drop()
    means = [sibling_lookahead(losses, price=p).mean() for p in (0.0, 0.05, 0.5, 2.0)]
    assert means == sorted(means, reverse=True)
    assert means[-1] < means[0]


@pytest.mark.parametrize("factor", [2.0**-40, 4.0, 2.0**40])
def test_scale_changes_nothing(factor):
    losses = overfitting()
    same = sibling_lookahead(losses * factor, price=0.03) == sibling_lookahead(losses, price=0.03)
    assert same.all()


def test_with_too_few_siblings_nothing_is_stopped():
    losses = overfitting(LEAST_SIBLINGS)
    assert (sibling_lookahead(losses, price=0.03) == N_POINTS - 1).all()
    assert sibling_lookahead(losses[0], price=0.03) == N_POINTS - 1


def test_losses_that_are_not_positive_are_not_stopped():
    assert (sibling_lookahead(overfitting() - 5.0, price=0.03) == N_POINTS - 1).all()


def test_shorter_and_broken_siblings_are_taken_as_they_are():
    losses = overfitting()
    losses[0, 10:] = np.nan
    losses[1, :] = np.nan
    losses[2, 5:8] = np.inf
    losses[3, 0] = np.inf
    stops = sibling_lookahead(losses, price=0.03)
    assert stops[1] == N_POINTS - 1
    assert ((stops >= 0) & (stops < N_POINTS)).all()


@given(
    n_curves=st.integers(1, 14),
    n_points=st.integers(1, 9),
    price=st.sampled_from([0.0, 0.03, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_any_shape_has_an_answer(n_curves, n_points, price, seed):
    losses = np.random.default_rng(seed).lognormal(size=(n_curves, n_points))
    stops = sibling_lookahead(losses, price=price)
    assert stops.shape == (n_curves,)
    assert ((stops >= 0) & (stops < n_points)).all()


@pytest.mark.parametrize(
    "arguments", [{"price": -0.1}, {"price": np.nan}, {"price": 0.1, "n_alike": 0}]
)
def test_settings_out_of_range_are_refused(arguments):
    with pytest.raises(ConfigError, match="at least"):
        sibling_lookahead([[1.0, 2.0]], **arguments)
