"""The CUDA kernel, run by CuPy. The only file that imports it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.errors import MissingExtraError
from sweepdiag.features._kernel import (
    COMPILER_OPTIONS,
    kernel_arguments,
    kernel_name,
    kernel_source,
)
from sweepdiag.features.table import FEATURE_NAMES

if TYPE_CHECKING:
    from sweepdiag.features.curves import CurveArrays, FloatArray

__all__ = ["features_cupy", "features_from_host"]

_THREADS = 128


def features_cupy(
    epochs: Any, train_loss: Any, val_loss: Any, val_metric: Any, lengths: Any
) -> Any:
    """Return the features of curves that are on a GPU.

    Runs on the device of ``train_loss``. Nothing is copied but what is not of the type needed:
    losses and metric are read as float32 if all of them are, else as float64. Arrays are read
    fastest where neighbouring curves lie next to each other (the transpose of a time-major array).

    Args:
        epochs: DLPack array on the device, shape ``(n_curves, n_points)``.
        train_loss: The same.
        val_loss: The same, or ``None``.
        val_metric: The same, or ``None``.
        lengths: Evaluations per curve, or ``None`` for ``n_points`` each.

    Returns:
        A CuPy array, float64, shape ``(n_curves, n_features)``, column by column in memory.
    """
    cupy = _import_cupy()
    with cupy.cuda.Device(train_loss.__dlpack_device__()[1]):
        measured = [_view(cupy, array) for array in (train_loss, val_loss, val_metric)]
        is_single = all(array is None or array.dtype == np.float32 for array in measured)
        dtype = np.dtype(np.float32 if is_single else np.float64)
        arrays = (
            _view(cupy, epochs).astype(np.float64, copy=False),
            *(array if array is None else array.astype(dtype, copy=False) for array in measured),
        )
        counts = None if lengths is None else _view(cupy, lengths).astype(np.int64)
        n_curves = arrays[0].shape[0]
        out = cupy.empty((len(FEATURE_NAMES), n_curves))
        if n_curves:
            arguments = kernel_arguments(arrays, counts, out, pointer=_address)
            kernel = _kernel(cupy.cuda.runtime.getDevice(), kernel_name(dtype))
            kernel((-(-n_curves // _THREADS),), (_THREADS,), tuple(arguments))
        return out.T


def features_from_host(curves: CurveArrays) -> FloatArray:
    """Return the features of curves in main memory, computed on the current GPU.

    Args:
        curves: The curves.

    Returns:
        float64, shape ``(n_curves, n_features)``.
    """
    cupy = _import_cupy()
    columns = (curves.epochs, curves.train_loss, curves.val_loss, curves.val_metric)
    epochs, train, val, metric = (
        cupy.asarray(np.ascontiguousarray(column.T)).T for column in columns
    )
    on_device = features_cupy(epochs, train, val, metric, cupy.asarray(curves.lengths))
    values: FloatArray = cupy.asnumpy(on_device)
    return values


def _import_cupy() -> Any:
    """Return CuPy.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        import cupy
    except ImportError as error:
        message = "features on a GPU need CuPy: pip install 'sweepdiag[gpu]'"
        raise MissingExtraError(message) from error
    return cupy


@cache
def _kernel(device: int, name: str) -> Any:  # noqa: ARG001 - a compiled kernel is one device's
    cupy = _import_cupy()
    return cupy.RawModule(code=kernel_source(), options=COMPILER_OPTIONS).get_function(name)


def _view(cupy: Any, array: Any) -> Any:
    return None if array is None else cupy.from_dlpack(array)


def _address(array: Any) -> int:
    return int(array.data.ptr)
