from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepdiag.plotting._slots import MAX_BINS, find_slots, make_slots
from sweepdiag.records import Axis, Scale


def series(values):
    import pandas as pd

    return pd.Series(values)


def axis(values, scale=Scale.LOG) -> Axis:
    return Axis(name="lr", values=tuple(values), scale=scale, is_structural=False)


def test_values_of_a_grid_keep_a_place_each():
    slots = make_slots(axis([1e-4, 1e-3, 1.0]), series([1.0, 1e-4]), is_grid=True)
    assert slots.labels == ("1e-4", "1e-3", "1")
    assert not slots.is_binned
    assert find_slots(slots, [1e-3, 1.0, 5.0]).tolist() == [1, 2, -1]


def test_values_outside_the_plan_get_a_place_too():
    slots = make_slots(axis([0.1, 10.0]), series([0.1, 1.0, 10.0]), is_grid=True)
    assert slots.values == (0.1, 1.0, 10.0)


def test_names_keep_their_order():
    slots = make_slots(axis(["sgd", "adam"], Scale.CATEGORICAL), series(["adam"]), is_grid=True)
    assert slots.labels == ("sgd", "adam")
    assert find_slots(slots, ["adam", "sgd", "lion"]).tolist() == [1, 0, -1]


def test_truth_values_are_not_numbers():
    slots = make_slots(axis([False, True], Scale.CATEGORICAL), series([True]), is_grid=True)
    assert slots.labels == ("False", "True")
    assert find_slots(slots, [True, np.False_, 1]).tolist() == [1, 0, -1]


def test_sampled_values_are_binned_evenly_in_the_exponent():
    values = np.geomspace(1.1e-4, 9.0, 40)
    slots = make_slots(axis(values), series(values), is_grid=False)
    assert slots.is_binned
    assert len(slots) <= MAX_BINS
    steps = np.diff(np.log10(slots.edges))
    assert steps == pytest.approx(steps[0], rel=0.02)
    assert slots.edges[0] <= values[0]
    assert slots.edges[-1] >= values[-1]
    assert slots.labels[0] == "1e-4 to 3.2e-4"


def test_a_full_grid_of_many_values_is_not_binned():
    values = np.geomspace(1e-4, 1.0, 100)
    assert len(make_slots(axis(values), series(values), is_grid=True)) == 100


def test_linear_bins_have_round_edges():
    values = np.linspace(0.013, 0.97, 30)
    slots = make_slots(axis(values, Scale.LINEAR), series(values), is_grid=False)
    assert slots.edges == pytest.approx(np.linspace(0, 1, 11))


def test_a_log_axis_with_zero_is_binned_linearly():
    values = [0.0, *np.linspace(0.5, 10, 20)]
    slots = make_slots(axis(values), series(values), is_grid=False)
    assert slots.edges[0] == 0.0


def test_a_value_on_an_edge_belongs_to_the_bin_above():
    values = np.geomspace(1e-3, 1.0, 40)
    slots = make_slots(axis(values), series(values), is_grid=False)
    at_edge = slots.edges[3]
    assert find_slots(slots, [at_edge, float("nan")]).tolist() == [3, -1]


@given(st.lists(st.floats(1e-9, 1e9), min_size=13, max_size=60, unique=True))
def test_every_sampled_value_falls_into_a_bin_that_contains_it(values):
    slots = make_slots(axis(sorted(values)), series(values), is_grid=False)
    if not slots.is_binned:  # fewer than 13 values differ in 12 digits
        return
    assert len(slots) <= MAX_BINS
    for value, place in zip(values, find_slots(slots, values), strict=True):
        assert slots.edges[place] * (1 - 6e-3) <= value <= slots.edges[place + 1] * (1 + 6e-3)
