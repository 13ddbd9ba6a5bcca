from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepdiag.features import FEATURES, CurveArrays, FeatureMatrix, compute_features
from tests.features.curves import curve, stack

NAN, INF = np.nan, np.inf


def value(features: FeatureMatrix, name: str) -> float:
    return float(features.column(name)[0])


def values(curves: CurveArrays, *names: str) -> list[float]:
    features = compute_features(curves)
    return [value(features, name) for name in names]


def test_names_are_unique_and_match_the_columns() -> None:
    names = [spec.name for spec in FEATURES]
    assert len(set(names)) == len(names)
    features = compute_features(curve([1.0, 0.5]))
    assert features.names == tuple(names)
    assert features.values.shape == (1, len(names))


def test_unknown_feature_names_the_nearest_one() -> None:
    with pytest.raises(KeyError, match="Did you mean 'train_rise'"):
        compute_features(curve([1.0])).column("train_rize")


def test_short_curves_are_not_smoothed() -> None:
    got = values(
        curve([4.0, 2.0, 1.0, 3.0], [4.0, 3.0, 3.5, 6.0]),
        "train_first",
        "train_last",
        "train_min",
        "train_min_epoch",
        "train_smooth_last",
        "train_smooth_min",
        "train_rise",
        "train_rise_range",
        "val_smooth_min_epoch",
        "val_rise",
    )
    assert got == [4.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 2.0 / 3.0, 1.0, 1.0]


def test_curves_of_nine_are_smoothed_over_three_evaluations() -> None:
    train = [9.0, 6.0, 3.0, 3.0, 3.0, 3.0, 3.0, 6.0, 9.0]
    last, lowest, epoch, tail = values(
        curve(train), "train_smooth_last", "train_smooth_min", "train_smooth_min_epoch",
        "train_tail_min",
    )  # fmt: skip
    assert (last, lowest, tail) == (6.0, 3.0, 3.0)
    assert epoch == 3.0  # the window of epochs 2, 3, 4


def test_curves_of_twenty_are_smoothed_over_five_evaluations() -> None:
    train = [10.0] * 15 + [0.0, 5.0, 5.0, 5.0, 5.0]
    assert values(curve(train), "train_smooth_last") == [4.0]


def test_late_change_is_the_fitted_change_over_the_last_third() -> None:
    train = [100.0] * 20 + [10.0 - i for i in range(10)]
    change, error, slope = values(
        curve(train), "train_late_change", "train_late_change_se", "train_late_slope"
    )
    assert change == pytest.approx(-9.0)
    assert error == pytest.approx(0.0, abs=1e-12)
    assert slope == pytest.approx(-9.0 / 5.5)


def test_late_change_uses_the_epochs_not_the_number_of_evaluations() -> None:
    epochs = [0.0, 1.0, 3.0, 6.0, 10.0]
    change, noise = values(
        curve([20.0 - 2 * e for e in epochs], epochs=epochs), "train_late_change", "train_noise"
    )
    assert change == pytest.approx(-20.0)
    assert noise == pytest.approx(0.0, abs=1e-12)


def test_noise_is_the_standard_deviation_around_the_curve() -> None:
    rng = np.random.default_rng(0)
    train = 5.0 - 0.001 * np.arange(2000) + 0.1 * rng.standard_normal(2000)
    assert values(curve(train), "train_noise") == [pytest.approx(0.1, rel=0.05)]


def test_gap_growth_is_counted_from_the_validation_minimum() -> None:
    train = [4.0, 3.0, 2.0, 1.0, 0.5]
    val = [4.0, 3.5, 3.0, 3.5, 4.5]
    got = values(
        curve(train, val), "gap_last", "gap_at_val_min", "gap_growth", "gap_ratio",
        "train_at_val_min", "train_change", "val_below_train",
    )  # fmt: skip
    assert got == [4.0, 1.0, 3.0, 8.0, 2.0, -0.75, 0.0]


def test_second_descent_regains_a_share_of_the_rise() -> None:
    val = [4.0, 2.0, 3.0, 6.0, 4.0]
    assert values(curve([4.0, 3.0, 2.0, 1.0, 0.5], val), "val_regained") == [0.5]


def test_spikes_are_counted_and_recovered() -> None:
    train = [1.0 / (i + 1) for i in range(40)]
    train[20] = 1.0
    train[30] = 1.0
    assert values(curve(train), "train_spikes", "train_spikes_recovered") == [2.0, 2.0]


def test_step_like_drops_are_counted() -> None:
    train = [2.0] * 10 + [1.0] * 10 + [0.5] * 10
    assert values(curve(train), "train_drops") == [2.0]


def test_plateau_counts_the_flat_end() -> None:
    train = [10.0, 8.0, 6.0, 4.0, 2.0, 2.0, 2.0, 2.0]
    assert values(curve(train), "train_plateau") == [4.0]


def test_sign_changes_are_a_share_of_the_turns_that_are_possible() -> None:
    assert values(curve([1.0, 2.0, 1.0, 2.0, 1.0]), "train_sign_changes") == [1.0]
    assert values(curve([5.0, 4.0, 3.0, 2.0, 1.0]), "train_sign_changes") == [0.0]


def test_metric_is_read_where_validation_loss_was_best() -> None:
    got = values(
        curve([3.0, 2.0, 1.0, 0.5], [3.0, 1.0, 2.0, 3.0], metric=[0.1, 0.5, 0.6, 0.4]),
        "metric_first",
        "metric_last",
        "metric_max",
        "metric_max_epoch",
        "metric_at_val_min",
    )
    assert got == [0.1, 0.4, 0.6, 2.0, 0.5]


def test_nan_at_the_end_is_a_loss_that_was_not_finite() -> None:
    got = values(
        curve([1.0, 0.5, NAN, NAN]), "train_ends_finite", "train_n_nonfinite",
        "train_first_nonfinite_epoch", "train_last",
    )  # fmt: skip
    assert got == [0.0, 2.0, 2.0, 0.5]


def test_infinity_in_the_middle_is_counted_and_the_end_is_finite() -> None:
    got = values(curve([1.0, INF, 0.5, 0.4]), "train_ends_finite", "train_n_nonfinite")
    assert got == [1.0, 1.0]


def test_validation_at_every_third_epoch_is_missing_not_broken() -> None:
    val = [NAN, NAN, 3.0, NAN, NAN, 2.0, NAN, NAN, 1.0, NAN, NAN]
    got = values(
        curve([1.0] * 11, val), "val_ends_finite", "val_n_nonfinite", "val_n_finite", "val_last"
    )
    assert got == [1.0, 0.0, 3.0, 1.0]


def test_sparse_validation_that_stops_for_longer_than_before_is_broken() -> None:
    val = [3.0, NAN, 2.0, NAN, 1.0, NAN, NAN, NAN, NAN]
    got = values(curve([1.0] * 9, val), "val_ends_finite", "val_first_nonfinite_epoch")
    assert got == [0.0, 5.0]


def test_absent_validation_is_neither_finite_nor_broken() -> None:
    features = compute_features(curve([1.0, 0.5, 0.4]))
    assert np.isnan(value(features, "val_ends_finite"))
    assert value(features, "val_n_nonfinite") == 0.0
    assert np.isnan(value(features, "gap_last"))


def test_leading_nan_is_a_loss_that_was_not_evaluated_yet() -> None:
    got = values(curve([NAN, 1.0, 0.5]), "train_ends_finite", "train_n_nonfinite", "train_first")
    assert got == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_tiny_curves_have_features_without_warnings(n: int) -> None:
    curves = CurveArrays(
        run_ids=("a",),
        epochs=np.arange(n, dtype=float)[None],
        train_loss=np.ones((1, n)),
        val_loss=np.ones((1, n)),
        val_metric=np.ones((1, n)),
        lengths=np.array([n]),
    )
    assert compute_features(curves).column("n_evaluations").tolist() == [n]


def test_a_huge_value_does_not_spoil_the_means_after_it() -> None:
    train = [1.0] * 10 + [1e30] + [0.5] * 20
    assert values(curve(train), "train_smooth_last") == [0.5]


def _random_curves(seed: int, n_curves: int) -> list[CurveArrays]:
    rng = np.random.default_rng(seed)
    curves = []
    for i in range(n_curves):
        n = int(rng.integers(1, 40))
        losses = np.exp(rng.standard_normal((2, n)) * 0.1 - 0.1 * np.arange(n))
        losses[rng.random((2, n)) < 0.05] = rng.choice([NAN, INF])
        epochs = np.cumsum(rng.integers(1, 3, n)).astype(float)
        curves.append(
            curve(losses[0], losses[1], metric=rng.random(n), epochs=epochs, run_id=str(i))
        )
    return curves


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_features_of_a_curve_do_not_depend_on_the_others(seed: int) -> None:
    curves = _random_curves(seed, 6)
    together = compute_features(stack(curves)).values
    apart = np.concatenate([compute_features(one).values for one in curves])
    np.testing.assert_allclose(together, apart, rtol=1e-9, atol=1e-12)


@given(seed=st.integers(0, 10_000), exponent=st.integers(-20, 20))
@settings(max_examples=25, deadline=None)
def test_positive_scaling_leaves_relative_features_alone(seed: int, exponent: int) -> None:
    factor = 2.0**exponent
    curves = stack(_random_curves(seed, 4))
    scaled = CurveArrays(
        run_ids=curves.run_ids,
        epochs=curves.epochs,
        train_loss=curves.train_loss * factor,
        val_loss=curves.val_loss * factor,
        val_metric=curves.val_metric,
        lengths=curves.lengths,
    )
    before, after = compute_features(curves), compute_features(scaled)
    for spec in FEATURES:
        expected = before.column(spec.name) * (factor if spec.unit == "loss" else 1.0)
        np.testing.assert_allclose(after.column(spec.name), expected, rtol=1e-9, err_msg=spec.name)


def test_shifting_leaves_range_features_alone() -> None:
    rng = np.random.default_rng(1)
    losses = np.exp(-np.arange(30) / 8) + 0.01 * rng.standard_normal(30)
    names = ["train_rise_range", "train_noise_range", "train_late_change", "train_plateau"]
    np.testing.assert_allclose(
        values(curve(losses), *names), values(curve(losses + 7.0), *names), rtol=1e-6
    )


def test_batches_give_the_same_as_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    curves = stack(_random_curves(3, 12))
    expected = compute_features(curves).values
    monkeypatch.setattr("sweepdiag.features.compute._BATCH_ELEMENTS", 80)
    np.testing.assert_array_equal(compute_features(curves).values, expected)
