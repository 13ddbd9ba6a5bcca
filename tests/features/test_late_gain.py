from __future__ import annotations

import numpy as np
import pytest

from sweepdiag.features.late_gain import late_gain, n_late
from sweepdiag.features.share_unit import unit_of_loss

FROM_ZERO = unit_of_loss(0.0, start=2.0)


def gain(*costs: float) -> float:
    return late_gain(np.array(costs), cost_sign=1.0, unit=FROM_ZERO)


def test_a_straight_fall_improves_by_its_share_of_where_it_starts() -> None:
    assert gain(2.0, 1.8, 1.6, 1.4, 1.2, 1.0) == pytest.approx(0.6 / 1.6)


def test_no_share_is_more_than_the_whole() -> None:
    costs = np.array([2.0, 1.9, 1.8, 1.2, 0.6, 0.0])
    assert gain(*costs) == pytest.approx(1.0)
    boundless = unit_of_loss(None, start=2.0)
    assert 0.9 < late_gain(costs, cost_sign=1.0, unit=boundless) <= 1.0


def test_the_end_is_a_fifth_and_at_least_four_values() -> None:
    assert [n_late(n) for n in (3, 20, 50)] == [4, 4, 10]
    assert gain(2.0, 1.8, 1.6, 1.4) == 0.0


def test_noise_a_plateau_and_missing_values_do_not_improve() -> None:
    assert gain(2.0, 1.0, 0.5, 0.52, 0.47, 0.51, 0.46, 0.5, 0.48) == 0.0
    assert gain(2.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5) == 0.0
    assert gain(*[np.nan] * 6) == 0.0
    assert gain(2.0, 1.8, np.nan, 1.6, np.inf, 1.4, 1.2, 1.0) == pytest.approx(0.6 / 1.6)


def test_a_fall_that_ends_far_above_the_best_does_not_improve() -> None:
    fall = (0.9, 0.8, 0.7, 0.6)
    assert gain(2.0, 0.65, 1.0, *fall) > 0
    assert gain(2.0, 0.2, 1.0, *fall) == 0.0


def test_chance_makes_few_flat_curves_improve() -> None:
    rng = np.random.default_rng(0)
    flat = 0.3 + 2 * np.exp(-np.arange(31) / 2)
    noisy = flat * (1 + 0.03 * rng.standard_normal((400, 31)))
    assert sum(gain(*costs) > 0 for costs in noisy) <= 4  # 8 by the error of the line alone
