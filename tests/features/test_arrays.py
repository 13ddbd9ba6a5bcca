from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from sweepdiag.errors import ConfigError, MissingExtraError
from sweepdiag.features import array_features, compute_features
from tests.features.curves import curve
from tests.features.generated import generated_curves


def test_numpy_arrays_give_the_features_of_the_curves() -> None:
    curves = generated_curves(0, 50)
    got = array_features(
        curves.epochs, curves.train_loss, curves.val_loss, curves.val_metric, curves.lengths
    )
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got, compute_features(curves).values)


def test_torch_tensors_give_a_torch_tensor() -> None:
    losses = torch.rand(2, 3, 10, dtype=torch.float64)
    epochs = torch.arange(10.0).expand(3, 10)
    got = array_features(epochs, losses[0], losses[1])
    assert isinstance(got, torch.Tensor)
    want = array_features(epochs.numpy(), losses[0].numpy(), losses[1].numpy())
    np.testing.assert_array_equal(got.numpy(), want)


def test_what_lies_behind_the_end_is_not_read() -> None:
    epochs, train = np.arange(4.0)[None], np.array([[3.0, 2.0, 1.0, 1e9]])
    got = array_features(epochs, train, lengths=np.array([3]))
    np.testing.assert_array_equal(got, compute_features(curve([3.0, 2.0, 1.0])).values)


def test_shapes_must_agree() -> None:
    train = np.ones((2, 3))
    with pytest.raises(ConfigError, match=r"val_loss must have shape \(2, 3\), got \(2, 4\)"):
        array_features(train, train, np.ones((2, 4)))
    with pytest.raises(ConfigError, match=r"lengths must have shape \(2,\), got \(3,\)"):
        array_features(train, train, lengths=np.ones(3, dtype=int))
    with pytest.raises(ConfigError, match=r"train_loss must have shape \(n_curves, n_points\)"):
        array_features(np.ones(3), np.ones(3))


def test_lists_are_refused() -> None:
    with pytest.raises(ConfigError, match="epochs must be an array with __dlpack__, got list"):
        array_features([[0.0, 1.0]], np.ones((1, 2)))


def test_without_cupy_the_error_names_the_extra() -> None:
    if importlib.util.find_spec("cupy") is not None:
        pytest.skip("CuPy is installed")
    with pytest.raises(MissingExtraError, match=r"sweepdiag\[gpu\]"):
        compute_features(curve([1.0, 2.0]), form="cupy")
