"""The kernel's source, checked without a GPU: compiled by nvcc, and run on the host."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sweepdiag.features import CurveArrays, compute_features
from sweepdiag.features._kernel import COMPILER_OPTIONS, kernel_source
from tests.conftest import require
from tests.features.agreement import assert_agrees
from tests.features.curves import curve
from tests.features.generated import generated_curves, reference_curves
from tests.features.host_kernel import (
    build_host_kernel,
    host_compiler,
    host_features,
    host_features_of,
)

if TYPE_CHECKING:
    import ctypes
    from pathlib import Path


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    require("compiler", host_compiler() is not None, "no C++ compiler")
    return build_host_kernel(tmp_path_factory.mktemp("kernel"))


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_nvcc_compiles_the_source(architecture: str, tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    require("nvcc", nvcc is not None, "no nvcc")
    source, cubin = tmp_path / "kernel.cu", tmp_path / "kernel.cubin"
    source.write_text(kernel_source())
    subprocess.run(
        [str(nvcc), *COMPILER_OPTIONS, f"-arch={architecture}", "-Werror", "all-warnings",
         "-cubin", str(source), "-o", str(cubin)],
        check=True,
    )  # fmt: skip
    assert b"curve_features_f32" in cubin.read_bytes()


@pytest.mark.parametrize("seed", range(4))
def test_kernel_and_numpy_agree_on_generated_curves(library: ctypes.CDLL, seed: int) -> None:
    curves = generated_curves(100 + seed, 2000)
    assert_agrees(curves, host_features_of(library, curves))


def test_kernel_and_numpy_agree_on_a_real_sweep(library: ctypes.CDLL) -> None:
    curves = reference_curves()
    assert_agrees(curves, host_features_of(library, curves))


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 8, 9, 30, 31, 32, 33])
def test_median_of_any_number_of_residuals_is_exact(library: ctypes.CDLL, n: int) -> None:
    rng = np.random.default_rng(n)
    train = rng.choice([1.0, 2.0, 4.0, 8.0, 1e-6], (200, n)) * rng.choice([1.0, 1.1], (200, n))
    curves = CurveArrays.from_long(
        np.repeat([str(i) for i in range(200)], n), np.tile(np.arange(n), 200),
        train.ravel(), train.ravel(),
    )  # fmt: skip
    assert_agrees(curves, host_features_of(library, curves))


def test_time_major_single_precision_without_validation(library: ctypes.CDLL) -> None:
    """As a GPU has it: transposed, one row of epochs for all, junk behind the ends, no NaN."""
    rng = np.random.default_rng(0)
    train = rng.random((40, 64), dtype=np.float32)
    lengths = rng.integers(0, 41, 64)
    epochs = np.broadcast_to(np.arange(40.0), (64, 40))
    got = host_features(library, (epochs, train.T, None, None), lengths)
    is_inside = np.arange(40) < lengths[:, None]
    absent = np.full((64, 40), np.nan)
    curves = CurveArrays(
        run_ids=tuple(map(str, range(64))),
        epochs=np.where(is_inside, epochs, np.nan),
        train_loss=np.where(is_inside, train.T.astype(np.float64), np.nan),
        val_loss=absent,
        val_metric=absent,
        lengths=lengths,
    )
    assert_agrees(curves, got)


def test_lengths_beyond_the_arrays_are_cut(library: ctypes.CDLL) -> None:
    one = curve([3.0, 2.0, 1.0], [3.0, 2.0, 2.5])
    arrays = (one.epochs, one.train_loss, one.val_loss, None)
    got = host_features(library, arrays, np.array([2**40]))
    np.testing.assert_array_equal(got, host_features(library, arrays, None))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gpu_and_numpy_agree(cuda: str, dtype: str) -> None:
    import torch

    from sweepdiag.features import array_features

    require("gpu", importlib.util.find_spec("cupy") is not None, "no CuPy")
    curves = generated_curves(7, 4000)
    columns = (curves.epochs, curves.train_loss, curves.val_loss, curves.val_metric)
    with np.errstate(over="ignore"):
        rounded = [columns[0], *(column.astype(dtype) for column in columns[1:])]
    tensors = [torch.tensor(column.T, device=cuda).T for column in rounded]
    got = array_features(*tensors, torch.tensor(curves.lengths, device=cuda))
    assert got.is_cuda
    exact = CurveArrays(
        run_ids=curves.run_ids,
        epochs=curves.epochs,
        train_loss=rounded[1].astype(np.float64),
        val_loss=rounded[2].astype(np.float64),
        val_metric=rounded[3].astype(np.float64),
        lengths=curves.lengths,
    )
    assert_agrees(exact, got.cpu().numpy())
    if dtype == "float64":
        assert_agrees(exact, compute_features(exact, form="cupy").values)
