from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepdiag.errors import ConfigError
from sweepdiag.recommend import ContinuousRange, sample_quasi_random

LR = ContinuousRange(low=1e-5, high=10.0, log=True)
SPACE = {"lr": LR, "batch_size": (16, 64, 256), "momentum": ContinuousRange(low=0.0, high=0.99)}


def test_same_seed_same_sample_and_another_seed_another():
    first = sample_quasi_random(SPACE, 16, seed=3)
    assert first == sample_quasi_random(SPACE, 16, seed=3)
    assert first != sample_quasi_random(SPACE, 16, seed=4)


def test_a_larger_sample_begins_with_the_smaller_one():
    assert sample_quasi_random(SPACE, 40, seed=0)[:11] == sample_quasi_random(SPACE, 11, seed=0)


def test_the_order_of_parameters_does_not_change_their_values():
    turned = dict(reversed(SPACE.items()))
    assert sample_quasi_random(turned, 8, seed=0) == sample_quasi_random(SPACE, 8, seed=0)


def test_values_stay_in_their_ranges_and_lists():
    for configuration in sample_quasi_random(SPACE, 64, seed=1):
        assert list(configuration) == list(SPACE)
        assert 1e-5 <= configuration["lr"] <= 10.0
        assert configuration["batch_size"] in (16, 64, 256)
        assert type(configuration["batch_size"]) is int
        assert 0.0 <= configuration["momentum"] <= 0.99


def test_a_log_range_is_covered_evenly_in_decades():
    decades = [np.log10(c["lr"]) for c in sample_quasi_random({"lr": LR}, 64, seed=0)]
    counts, _ = np.histogram(decades, bins=8, range=(-5.0, 1.0))
    assert counts.min() >= 7
    assert counts.max() <= 9


def test_choices_are_used_evenly():
    values = [c["batch_size"] for c in sample_quasi_random(SPACE, 64, seed=0)]
    assert min(values.count(value) for value in (16, 64, 256)) >= 19


def test_a_small_discrete_space_is_listed_in_full_once():
    space = {"a": (1, 2, 3), "b": ("x", "y")}
    sample = sample_quasi_random(space, 100, seed=0)
    assert sorted((c["a"], c["b"]) for c in sample) == [
        (a, b) for a in (1, 2, 3) for b in ("x", "y")
    ]
    assert sample[:4] == sample_quasi_random(space, 4, seed=0)


def test_equal_values_of_different_types_are_different_choices():
    assert len(sample_quasi_random({"a": (1, True)}, 10, seed=0)) == 2


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    n=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_configurations_are_distinct_and_as_many_as_there_can_be(sizes, n, seed):
    space = {f"p{index}": tuple(range(size)) for index, size in enumerate(sizes)}
    sample = sample_quasi_random(space, n, seed)
    assert len({tuple(c.values()) for c in sample}) == len(sample)
    assert len(sample) == min(n, int(np.prod(sizes)))


def test_what_cannot_be_sampled_is_refused():
    with pytest.raises(ConfigError, match="n must be at least 1, got 0"):
        sample_quasi_random(SPACE, 0, seed=0)
    with pytest.raises(ConfigError, match=r"seed must be in \[0, 4294967296\), got -1"):
        sample_quasi_random(SPACE, 1, seed=-1)
    with pytest.raises(ConfigError, match="space must name at least one parameter"):
        sample_quasi_random({}, 1, seed=0)
    with pytest.raises(ConfigError, match="parameter 'a' must have at least one value"):
        sample_quasi_random({"a": ()}, 1, seed=0)


@pytest.mark.parametrize(
    ("low", "high"), [(1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (0.0, float("inf"))]
)
def test_a_range_needs_two_finite_ends_in_order(low, high):
    with pytest.raises(ConfigError, match="low must be finite and below high"):
        ContinuousRange(low=low, high=high)


def test_a_log_range_begins_above_zero():
    with pytest.raises(ConfigError, match=r"low must be above 0 on a log range, got 0\.0"):
        ContinuousRange(low=0.0, high=1.0, log=True)


def test_optuna_stays_quiet_and_keeps_the_users_verbosity(capfd):
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.DEBUG)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sample_quasi_random(SPACE, 8, seed=0)
        assert optuna.logging.get_verbosity() == logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)
    assert capfd.readouterr() == ("", "")
