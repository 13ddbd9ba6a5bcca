from __future__ import annotations

import numpy as np
import pytest

from sweepdiag.errors import ConfigError
from sweepdiag.records import SplitSettings
from sweepdiag.workloads import load_workload, prepare
from sweepdiag.workloads.synthetic import SyntheticSettings, build_from

TASKS = ("classification", "binary", "regression")


def generate(**parameters):
    workload = build_from(SyntheticSettings(**parameters))
    return *workload.train, *workload.validation


def linear_score(**parameters):
    """Validation accuracy of a logistic regression, or R² of a linear one."""
    from sklearn.linear_model import LinearRegression, LogisticRegression

    is_regression = parameters.get("task") == "regression"
    train_inputs, train_targets, inputs, targets = generate(**{"n_train": 2000, **parameters})
    model = LinearRegression() if is_regression else LogisticRegression(max_iter=2000)
    return model.fit(train_inputs, train_targets).score(inputs, targets)


def neighbour_score(**parameters):
    """The same of nearest neighbours, which draw curved borders."""
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    is_regression = parameters.get("task") == "regression"
    train_inputs, train_targets, inputs, targets = generate(**{"n_train": 2000, **parameters})
    model = KNeighborsRegressor(10) if is_regression else KNeighborsClassifier(10)
    return model.fit(train_inputs, train_targets).score(inputs, targets)


@pytest.mark.parametrize("task", TASKS)
def test_defaults_are_scaled_balanced_and_of_the_right_type(task):
    train_inputs, train_targets, inputs, targets = generate(task=task)
    assert (train_inputs.shape, inputs.shape) == ((1000, 20), (500, 20))
    assert (len(train_targets), len(targets)) == (1000, 500)
    assert train_inputs.dtype == np.float32
    assert train_targets.dtype == (np.int64 if task == "classification" else np.float32)
    assert train_inputs.std() == pytest.approx(1, abs=0.05)
    if task != "regression":
        counts = np.bincount(train_targets.astype(int))
        assert counts.tolist() == [1000 // len(counts)] * len(counts)


def test_a_regressions_target_has_variance_one():
    for difficulty in (0.0, 0.5, 1.0):
        targets = generate(task="regression", n_train=20_000, difficulty=difficulty)[1]
        assert targets.var() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(task):
    first, second, other = (generate(task=task, seed=seed) for seed in (5, 5, 6))
    for one, two, three in zip(first, second, other, strict=True):
        assert one.tobytes() == two.tobytes()
        assert one.tobytes() != three.tobytes()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 1.0])
def test_label_noise_falsifies_its_share_of_the_training_targets_and_nothing_else(task, share):
    clean = generate(task=task)
    noisy = generate(task=task, label_noise=share)
    assert (clean[1] != noisy[1]).mean() == pytest.approx(share, abs=0.001)
    for index in (0, 2, 3):
        np.testing.assert_array_equal(clean[index], noisy[index])


@pytest.mark.parametrize("task", TASKS)
def test_validation_label_noise_falsifies_validation_targets_only(task):
    clean = generate(task=task)
    noisy = generate(task=task, validation_label_noise=0.2)
    assert (clean[3] != noisy[3]).mean() == pytest.approx(0.2, abs=0.002)
    for index in (0, 1, 2):
        np.testing.assert_array_equal(clean[index], noisy[index])


def test_overlap_lowers_what_any_model_reaches():
    easy, medium, hard = (neighbour_score(difficulty=d) for d in (0.0, 0.6, 1.0))
    assert easy > 0.97
    assert easy - 0.1 > medium > hard + 0.1


def test_noise_bounds_what_a_regression_reaches():
    scores = [
        linear_score(task="regression", nonlinearity=0.0, difficulty=d) for d in (0.0, 0.3, 0.9)
    ]
    assert scores == pytest.approx([1.0, 0.7, 0.1], abs=0.06)


def test_nonlinearity_defeats_a_linear_classifier_only():
    assert linear_score(nonlinearity=0.0, difficulty=0.0) > 0.97
    assert linear_score(nonlinearity=1.0, difficulty=0.0) < 0.9
    assert neighbour_score(nonlinearity=1.0, difficulty=0.0) > 0.97


def test_nonlinearity_is_the_share_that_a_plane_cannot_explain():
    scores = [
        linear_score(task="regression", n_train=20_000, difficulty=0.0, nonlinearity=share)
        for share in (0.0, 0.5, 1.0)
    ]
    assert scores == pytest.approx([1.0, 0.5, 0.0], abs=0.1)


@pytest.mark.parametrize("task", TASKS)
def test_shuffled_labels_say_nothing_about_the_inputs(task):
    parameters = {"task": task, "nonlinearity": 0.0, "n_validation": 1000}
    chance = {"classification": 0.25, "binary": 0.5, "regression": 0.0}[task]
    assert linear_score(**parameters) > chance + 0.3
    assert linear_score(**parameters, shuffled_labels=True) == pytest.approx(chance, abs=0.06)
    plain, shuffled = generate(task=task), generate(task=task, shuffled_labels=True)
    np.testing.assert_array_equal(np.sort(plain[1]), np.sort(shuffled[1]))


@pytest.mark.parametrize("task", TASKS)
def test_a_shift_moves_validation_by_its_size_and_hurts(task):
    plain, shifted = generate(task=task), generate(task=task, validation_shift=3.0)
    np.testing.assert_array_equal(plain[0], shifted[0])
    np.testing.assert_array_equal(plain[3], shifted[3])
    distances = np.linalg.norm(shifted[2] - plain[2], axis=1)
    np.testing.assert_allclose(distances, 3.0, rtol=1e-3)
    parameters = {"task": task, "nonlinearity": 0.0}
    assert linear_score(**parameters, validation_shift=3.0) < linear_score(**parameters) - 0.15


@pytest.mark.parametrize("task", TASKS)
def test_an_easier_validation_scores_better_and_leaves_training_alone(task):
    parameters = {"task": task, "difficulty": 0.7, "nonlinearity": 0.0}
    easier = {**parameters, "validation_easier": 0.6}
    assert linear_score(**easier) > linear_score(**parameters) + 0.05
    np.testing.assert_array_equal(generate(**parameters)[0], generate(**easier)[0])
    np.testing.assert_array_equal(generate(**parameters)[1], generate(**easier)[1])


@pytest.mark.parametrize(("task", "n_classes"), [("classification", 5), ("binary", None)])
def test_imbalance_is_the_share_of_the_largest_class(task, n_classes):
    targets = generate(task=task, n_classes=n_classes, imbalance=0.8)[1].astype(int)
    counts = np.bincount(targets)
    assert counts[0] == 800
    assert len(counts) == (n_classes or 2)
    assert np.ptp(counts[1:]) <= 1


def test_input_scale_multiplies_all_inputs():
    plain, scaled = generate(), generate(input_scale=100.0)
    for index in (0, 2):
        np.testing.assert_allclose(scaled[index], plain[index] * 100, rtol=1e-6)
        np.testing.assert_array_equal(scaled[index + 1], plain[index + 1])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("n_features", [1, 2, 50])
def test_any_number_of_features_can_be_prepared_and_modelled(task, n_features):
    workload = build_from(SyntheticSettings(task=task, n_features=n_features, n_train=40))
    prepared = prepare(workload, SplitSettings())
    outputs = prepared.model(capacity=3)(prepared.train.inputs)
    assert prepared.loss_fn(outputs, prepared.train.targets).isfinite()
    assert workload.axes["batch_size"] == [16]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"task": "regresion"}, r"Did you mean 'regression'\?"),
        ({"n_features": 0}, "synthetic n_features must be a whole number >= 1, got 0"),
        ({"n_features": 2.5}, "n_features must be a whole number"),
        ({"n_train": 7}, "synthetic n_train must be a whole number >= 8, got 7"),
        ({"n_validation": True}, "n_validation must be a whole number"),
        ({"n_classes": 1}, "n_classes must be a whole number >= 2, got 1"),
        ({"task": "binary", "n_classes": 3}, "n_classes must be 2 for a binary task, got 3"),
        ({"task": "regression", "n_classes": 3}, "n_classes must be left out"),
        ({"task": "regression", "imbalance": 0.5}, "imbalance must be left out"),
        ({"imbalance": 0.2}, "imbalance must be a number >= 0.25 and < 1, got 0.2"),
        ({"label_noise": 1.5}, "label_noise must be a number >= 0 and <= 1, got 1.5"),
        ({"difficulty": "hard"}, "difficulty must be a number .* got 'hard'"),
        ({"validation_easier": 1}, "validation_easier must be a number >= 0 and < 1, got 1"),
        ({"validation_shift": -1}, "validation_shift must be a number >= 0, got -1"),
        ({"input_scale": 0}, "input_scale must be a number > 0, got 0"),
        ({"input_scale": float("nan")}, "input_scale must be a number > 0, got nan"),
        ({"shuffled_labels": "yes"}, "shuffled_labels must be true or false, got 'yes'"),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(ConfigError, match=message):
        SyntheticSettings(**parameters)


def test_a_misspelt_parameter_is_answered_with_the_nearest():
    message = r"unknown parameter of synthetic 'label_nose'. Did you mean 'label_noise'\?"
    with pytest.raises(ConfigError, match=message):
        load_workload("synthetic", {"label_nose": 0.3})
