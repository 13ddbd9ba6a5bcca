from __future__ import annotations

import numpy as np
import pytest

from sweepdiag.errors import ConfigError
from sweepdiag.features import FEATURES, RunningFeatures, compute_features
from tests.features.agreement import assert_agrees
from tests.features.curves import curve
from tests.features.generated import generated_curves, reference_curves


@pytest.mark.parametrize("seed", range(4))
def test_oracle_and_numpy_agree_on_generated_curves(seed: int) -> None:
    curves = generated_curves(seed, 1000)
    assert_agrees(curves, compute_features(curves, form="oracle").values)


def test_oracle_and_numpy_agree_on_a_real_sweep() -> None:
    curves = reference_curves()
    assert_agrees(curves, compute_features(curves, form="oracle").values)


def test_unknown_form_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'oracle'"):
        compute_features(curve([1.0]), form="orakle")


def test_running_features_are_those_of_the_whole_curve_at_every_point() -> None:
    curves = generated_curves(11, 150)
    for i in range(curves.n_curves):
        running, rows, prefixes = RunningFeatures(), [], []
        for j in range(int(curves.lengths[i]) + 1):
            prefixes.append(j)
            rows.append(list(running.features().values()))
            if j < curves.lengths[i]:
                running.append(
                    curves.epochs[i, j],
                    curves.train_loss[i, j],
                    curves.val_loss[i, j],
                    curves.val_metric[i, j],
                )
        so_far = curves.select([i] * len(prefixes))
        for array in (so_far.epochs, so_far.train_loss, so_far.val_loss, so_far.val_metric):
            array[np.arange(curves.n_points) >= np.array(prefixes)[:, None]] = np.nan
        so_far.lengths[:] = prefixes
        assert_agrees(so_far, np.array(rows))


def test_running_features_come_in_the_order_of_the_table() -> None:
    assert list(RunningFeatures().features()) == [spec.name for spec in FEATURES]


def test_validation_below_training_counts_only_pairs_of_finite_losses() -> None:
    features = compute_features(curve([3.0, np.inf, 2.0], [3.0, 1.0, 3.0]))
    assert features.column("val_below_train").tolist() == [0.0]


def test_significance_of_a_rise_is_its_size_in_standard_errors() -> None:
    rng = np.random.default_rng(0)
    train = np.where(np.arange(400) < 300, 1.0, 2.0) + 0.1 * rng.standard_normal(400)
    features = compute_features(curve(train))
    rise = features.column("train_smooth_last") - features.column("train_smooth_min")
    error = features.column("train_noise") * np.sqrt(2 / 5)
    np.testing.assert_allclose(features.column("train_rise_z"), rise / error)


def test_position_of_the_best_is_a_share_of_the_curve() -> None:
    features = compute_features(curve([4.0, 3.0, 1.0, 2.0, 3.0]))
    assert features.column("train_smooth_min_position").tolist() == [0.5]
