from __future__ import annotations

import math

import numpy as np
import pytest

from sweepdiag.features.share_unit import unit_of_loss, unit_of_metric


@pytest.mark.parametrize(
    ("values", "larger_is_better", "value", "level"),
    [
        ([0.1, 0.95], True, 0.95, 0.05),  # accuracy
        ([0.1, 0.95], False, 0.1, 0.1),  # error rate
        ([5.0, 0.5], False, 0.5, 0.5),  # mean absolute error
        ([10.0, 95.0], True, 95.0, 95.0),  # accuracy in percent
        ([-3.0, 0.9], True, 0.9, 3.9),  # coefficient of determination
        ([], True, 0.9, 0.9),
    ],
)
def test_the_level_of_a_metric_is_what_is_left_to_gain(
    values: list[float], larger_is_better: bool, value: float, level: float
) -> None:
    table = np.array([*values, math.nan, math.inf])
    unit = unit_of_metric(table, larger_is_better=larger_is_better, start=-3.0)
    assert unit.at(value) == pytest.approx(level)


def test_a_loss_counts_from_its_floor_or_from_where_it_started() -> None:
    assert unit_of_loss(-10.0, start=5.0).at(-7.0) == 3.0
    boundless = unit_of_loss(None, start=5.0)
    assert boundless.at(-7.0) == 12.0
    assert boundless.at(-7.0, start=3.0) == 10.0
    np.testing.assert_array_equal(boundless.at(np.array([-7.0, 6.0])), [12.0, 1.0])
