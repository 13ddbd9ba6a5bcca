"""The kernel's source and arguments, the same for the GPU and for the host build of the tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.features.table import FEATURE_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["COMPILER_OPTIONS", "kernel_arguments", "kernel_name", "kernel_source"]

COMPILER_OPTIONS = ("--std=c++17", "--fmad=false")
"""Without fused multiply-adds the kernel rounds as NumPy does: counts are equal, not close."""


def kernel_source() -> str:
    """Return the source of the kernel with the enumeration of features in front."""
    places = "".join(f"  F_{name} = {i},\n" for i, name in enumerate(FEATURE_NAMES))
    body = Path(__file__).with_name("_kernel.cu").read_text(encoding="utf-8")
    return f"enum Feature {{\n{places}}};\n{body}"


def kernel_name(dtype: np.dtype[Any]) -> str:
    """Return the kernel for losses of a type, float32 or float64."""
    return f"curve_features_f{8 * dtype.itemsize}"


def kernel_arguments(
    arrays: tuple[Any, Any, Any, Any],
    lengths: Any,
    out: Any,
    *,
    pointer: Callable[[Any], int],
) -> list[np.generic]:
    """Return what the kernel is called with.

    Args:
        arrays: Epochs, training loss, validation loss and metric, each of shape
            ``(n_curves, n_points)`` with any strides; the last two may be ``None``.
        lengths: int64, shape ``(n_curves,)``, or ``None``.
        out: float64, shape ``(n_features, n_curves)``, contiguous.
        pointer: Gives the address of an array's first element.

    Returns:
        Scalars of 64 bits each, addresses among them.
    """
    arguments: list[np.generic] = []
    for array in arrays:
        if array is None:
            arguments += [np.uint64(0), np.int64(0), np.int64(0)]
        else:
            steps = [np.int64(stride // array.dtype.itemsize) for stride in array.strides]
            arguments += [np.uint64(pointer(array)), *steps]
    n_curves, n_points = arrays[0].shape
    arguments.append(np.uint64(0 if lengths is None else pointer(lengths)))
    return [*arguments, np.int64(n_points), np.int64(n_curves), np.uint64(pointer(out))]
