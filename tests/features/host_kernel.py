"""The kernel's source compiled for the host, with one thread that walks over all curves."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from sweepdiag.features import FEATURES, CurveArrays
from sweepdiag.features._kernel import kernel_arguments, kernel_name, kernel_source

_SHIM = Path(__file__).with_name("cuda_on_host.h")


def host_compiler() -> str | None:
    return shutil.which("g++") or shutil.which("clang++")


def build_host_kernel(folder: Path) -> ctypes.CDLL:
    source, library = folder / "kernel.cu", folder / "kernel.so"
    source.write_text(kernel_source())
    subprocess.run(
        [
            str(host_compiler()), "-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wextra",
            "-Werror", "-fPIC", "-shared", "-include", str(_SHIM), "-x", "c++", str(source),
            "-o", str(library),
        ],
        check=True,
    )  # fmt: skip
    return ctypes.CDLL(str(library))


def host_features(
    library: ctypes.CDLL,
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None],
    lengths: np.ndarray | None,
) -> np.ndarray:
    """Return the kernel's features of arrays of shape ``(n_curves, n_points)``."""
    # A column that the kernel leaves out would keep this value and fail every comparison.
    out = np.full((len(FEATURES), arrays[0].shape[0]), -1234.5)
    arguments = kernel_arguments(arrays, lengths, out, pointer=_address)
    function = getattr(library, kernel_name(arrays[1].dtype))
    function(*(ctypes.c_uint64(int(value) % 2**64) for value in arguments))
    return out.T


def host_features_of(library: ctypes.CDLL, curves: CurveArrays) -> np.ndarray:
    arrays = (curves.epochs, curves.train_loss, curves.val_loss, curves.val_metric)
    return host_features(library, arrays, curves.lengths)


def _address(array: Any) -> int:
    return int(array.ctypes.data)
