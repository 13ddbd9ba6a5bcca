from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepdiag.errors import ConfigError, WorkloadError
from sweepdiag.workloads._split import choose_stratified, hold_out

class_counts = st.lists(st.integers(1, 40), min_size=1, max_size=12)
fractions = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**32)


def shuffled_classes(counts: list[int]) -> np.ndarray:
    classes = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(0).permutation(classes)


@given(counts=class_counts.filter(lambda counts: max(counts) > 1), fraction=fractions, seed=seeds)
def test_hold_out_is_disjoint_complete_and_stratified_within_one_sample(counts, fraction, seed):
    classes = shuffled_classes(counts)
    training, validating = hold_out(classes, fraction=fraction, seed=seed)
    np.testing.assert_array_equal(np.sort(np.r_[training, validating]), np.arange(len(classes)))
    n_validating = int(np.floor(fraction * len(classes) + 0.5))
    for number, count in enumerate(counts):
        n_held_out = int((classes[validating] == number).sum())
        assert abs(n_held_out - count * n_validating / len(classes)) <= 1
        if count >= 2:
            assert 1 <= n_held_out < count
        else:
            assert n_held_out == 0


@given(counts=class_counts, fraction=fractions, seed=seeds)
def test_a_subset_has_its_size_and_every_class_in_proportion(counts, fraction, seed):
    classes = shuffled_classes(counts)
    n_chosen = max(1, int(fraction * len(classes)))
    chosen = choose_stratified(classes, n_chosen, seed=seed)
    assert len(set(chosen.tolist())) == n_chosen
    assert (np.diff(chosen) > 0).all()
    for number, count in enumerate(counts):
        share = count * n_chosen / len(classes)
        assert abs((classes[chosen] == number).sum() - share) < 1


@given(counts=class_counts.filter(lambda counts: max(counts) > 1), seed=seeds)
def test_a_split_depends_on_nothing_but_classes_fraction_and_seed(counts, seed):
    classes = shuffled_classes(counts)
    first = hold_out(classes, fraction=0.3, seed=seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the global generator must not matter
    second = hold_out(classes, fraction=0.3, seed=seed)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_this_split_is_the_same_on_every_machine():
    training, validating = hold_out(np.arange(20) % 2, fraction=0.3, seed=7)
    assert validating.tolist() == [3, 4, 6, 11, 12, 13]
    assert len(training) == 14


def test_another_seed_gives_another_split():
    classes = np.zeros(100, dtype=np.int64)
    splits = {tuple(hold_out(classes, fraction=0.2, seed=seed)[1]) for seed in range(20)}
    assert len(splits) == 20


def test_every_sample_is_held_out_equally_often():
    classes = np.arange(50) % 3
    times = np.zeros(50)
    for seed in range(400):
        times[hold_out(classes, fraction=0.2, seed=seed)[1]] += 1
    # 400 draws with probability 0.2 have standard deviation 8.
    assert np.abs(times - 80).max() < 5 * 8


def test_a_subset_of_everything_is_everything():
    np.testing.assert_array_equal(choose_stratified(np.zeros(4, int), 9, seed=0), np.arange(4))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(ConfigError, match=r"validation_fraction must be in \(0, 1\), got"):
        hold_out(np.zeros(4, int), fraction=fraction, seed=0)


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match=r"split.seed must be 0 or more, got -1"):
        hold_out(np.zeros(4, int), fraction=0.5, seed=-1)


@pytest.mark.parametrize(
    ("classes", "reason"), [([0], "one sample only"), ([0, 1, 2], "no class has two samples")]
)
def test_samples_that_cannot_be_on_both_sides_are_refused(classes, reason):
    with pytest.raises(WorkloadError, match=reason):
        hold_out(np.array(classes), fraction=0.5, seed=0)
