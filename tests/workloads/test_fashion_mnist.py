from __future__ import annotations

import gzip

import numpy as np
import pytest

from sweepdiag.errors import ConfigError, WorkloadError
from sweepdiag.records import SplitSettings
from sweepdiag.workloads import fashion_mnist, load_workload, prepare
from sweepdiag.workloads._idx import read_idx
from tests.conftest import require

N_TRAIN, N_TEST = 200, 50


@pytest.fixture
def folder(tmp_path, write_idx):
    """Tiny data in the true format; every pixel of an image is its index, every label its rest."""
    for part, n_images in (("train", N_TRAIN), ("t10k", N_TEST)):
        index = np.arange(n_images)
        images = np.broadcast_to(index[:, None, None], (n_images, 28, 28))
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", index % 10)
    return tmp_path


def indices(samples):
    return np.rint(np.asarray(samples[0]).reshape(len(samples[0]), -1)[:, 0] * 255).astype(int)


def test_all_training_images_are_read_scaled_and_left_to_the_sweeps_split(folder):
    workload = load_workload("fashion_mnist", {"path": str(folder)})
    inputs, classes = workload.train
    assert (inputs.shape, inputs.dtype, classes.dtype) == ((200, 784), np.float32, np.int64)
    assert inputs[51, 0] == np.float32(51 / 255)
    np.testing.assert_array_equal(classes, np.arange(200) % 10)
    assert workload.validation is None
    assert prepare(workload, SplitSettings()).facts.n_validation == 40


def test_subsets_are_disjoint_stratified_and_from_the_training_images(folder):
    workload = fashion_mnist.build(path=str(folder), n_train=100, n_validation=20)
    train, validation = indices(workload.train), indices(workload.validation)
    assert not set(train) & set(validation)
    assert np.bincount(workload.train[1]).tolist() == [10] * 10
    assert np.bincount(workload.validation[1]).tolist() == [2] * 10
    other = fashion_mnist.build(path=str(folder), n_train=100, n_validation=20, subset_seed=1)
    assert set(indices(other.train)) != set(train)


@pytest.mark.parametrize(
    ("sizes", "n_train", "n_validation"),
    [({"n_train": 80}, 80, 20), ({"n_validation": 30}, 170, 30)],
)
def test_a_missing_size_follows_from_the_other(folder, sizes, n_train, n_validation):
    workload = fashion_mnist.build(path=str(folder), **sizes)
    assert (len(workload.train[1]), len(workload.validation[1])) == (n_train, n_validation)


def test_the_official_test_images_validate_only_when_asked_for(folder):
    workload = fashion_mnist.build(path=str(folder), validation="official_test", n_validation=30)
    assert len(workload.train[1]) == N_TRAIN
    assert len(workload.validation[1]) == 30
    assert indices(workload.validation).max() < N_TEST


def test_a_cnn_gets_images_and_returns_ten_outputs(folder):
    workload = fashion_mnist.build(path=str(folder), model="cnn")
    prepared = prepare(workload, SplitSettings())
    assert workload.name == "fashion_mnist-cnn"
    outputs = prepared.model(capacity=2)(prepared.train.inputs[:3])
    assert prepared.train.inputs.shape[1:] == (1, 28, 28)
    assert outputs.shape == (3, 10)


def test_an_mlp_returns_ten_outputs(folder):
    prepared = prepare(fashion_mnist.build(path=str(folder)), SplitSettings())
    assert prepared.model(capacity=2)(prepared.train.inputs[:3]).shape == (3, 10)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"model": "cmn"}, r"unknown fashion_mnist model 'cmn'. Did you mean 'cnn'\?"),
        ({"validation": "test"}, "unknown fashion_mnist validation 'test'"),
        ({"n_train": 0}, r"n_train must be in \[1, 199\], got 0"),
        ({"n_train": 190, "n_validation": 20}, r"n_train must be in \[1, 180\], got 190"),
        ({"n_validation": 200}, r"n_validation must be in \[1, 199\], got 200"),
        ({"n_train": "10"}, r"n_train must be in \[1, 199\], got '10'"),
        ({"n_train": 10.5, "n_validation": 5}, r"n_train must be in \[1, 199\], got 10.5"),
    ],
)
def test_parameters_out_of_range_are_refused(folder, parameters, message):
    with pytest.raises(ConfigError, match=message):
        fashion_mnist.build(path=str(folder), **parameters)


def test_the_environment_names_a_folder(folder, monkeypatch):
    monkeypatch.setenv("SWEEPDIAG_DATA", str(folder))
    assert fashion_mnist.find_folder() == folder
    monkeypatch.setenv("SWEEPDIAG_DATA", str(folder.parent))
    folder.rename(folder.parent / "fashion-mnist")
    assert fashion_mnist.find_folder() == folder.parent / "fashion-mnist"


def test_missing_data_say_how_to_get_them(tmp_path):
    with pytest.raises(WorkloadError, match="apt install dataset-fashion-mnist"):
        fashion_mnist.build(path=str(tmp_path))


def test_missing_labels_are_named(folder):
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(WorkloadError, match=r"lacks train-labels-idx1-ubyte\(.gz\)"):
        fashion_mnist.build(path=str(folder))


def test_other_data_in_the_same_format_are_refused(folder, write_idx):
    write_idx(folder / "train-labels-idx1-ubyte", np.arange(199) % 10)
    with pytest.raises(WorkloadError, match=r"does not hold Fashion-MNIST: .* and 199 labels"):
        fashion_mnist.build(path=str(folder))


def _is_installed():
    try:
        fashion_mnist.find_folder()
    except WorkloadError:
        return False
    return True


def test_the_installed_data_set():
    require("data", _is_installed(), "Fashion-MNIST is not installed on this machine")
    inputs, classes = fashion_mnist.build().train
    assert inputs.shape == (60_000, 784)
    assert np.bincount(classes).tolist() == [6000] * 10
    assert classes[:4].tolist() == [9, 0, 0, 3]
    assert (inputs.min(), inputs.max()) == (0.0, 1.0)
    # The mean that the field uses to normalise this data set.
    assert inputs.mean() == pytest.approx(0.2860, abs=1e-4)


def test_idx_files_may_be_compressed(tmp_path, write_idx):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_idx(tmp_path / "raw", array)
    (tmp_path / "packed.gz").write_bytes(gzip.compress((tmp_path / "raw").read_bytes(), mtime=0))
    np.testing.assert_array_equal(read_idx(tmp_path / "raw", n_dimensions=3), array)
    np.testing.assert_array_equal(read_idx(tmp_path / "packed.gz", n_dimensions=3), array)


HEADER = bytes([0, 0, 8, 1, 0, 0, 0, 3])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing, expected 00 00 08 01 and a header of 8 bytes"),
        (b"PNG\r\n\x1a\n....", "is not an IDX file .* begins with 50 4e 47 0d"),
        (HEADER[:6], "is not an IDX file"),
        (b"\x00\x00\x0d" + HEADER[3:] + b"abc", "is not an IDX file"),
        (b"\x00\x00\x08\x03" + HEADER[4:] + b"abc", "is not an IDX file"),
        (HEADER + b"ab", "is damaged: its header says 3 = 3 bytes, it holds 2"),
        (HEADER + b"abcd", "is damaged: its header says 3 = 3 bytes, it holds 4"),
        (gzip.compress(HEADER + b"abc", mtime=0)[:-9], "cannot be read"),
        (b"\x1f\x8b" + b"rubbish" * 5, "cannot be read"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(WorkloadError, match=message):
        read_idx(tmp_path / "file", n_dimensions=1)


def test_a_missing_idx_file_is_refused(tmp_path):
    with pytest.raises(WorkloadError, match=r"cannot be read: .*No such file"):
        read_idx(tmp_path / "nowhere", n_dimensions=1)
