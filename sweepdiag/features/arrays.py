"""Features of plain arrays of any library that speaks DLPack, where the arrays are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.errors import ConfigError
from sweepdiag.features.compute import compute_features
from sweepdiag.features.curves import CurveArrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["array_features"]

_CPU, _CUDA = (1, 3), (2, 13)
"""DLPack's device types: main memory (3: pinned), CUDA memory (13: managed)."""


def array_features(
    epochs: Any,
    train_loss: Any,
    val_loss: Any = None,
    val_metric: Any = None,
    lengths: Any = None,
) -> Any:
    """Return every feature of every curve, computed where the arrays are.

    Arrays in main memory go to the NumPy form, those on a GPU to the CUDA kernel, without a copy
    through main memory. On a GPU the transpose of a time-major array is read fastest, and curves
    should come in some 10^5: below that the launch and not the work sets the time.

    Args:
        epochs: Epochs trained at each evaluation, ascending, shape ``(n_curves, n_points)``;
            strides are free, so that one row expanded to all curves takes no memory.
        train_loss: Training loss, same shape and device; NumPy, CuPy, torch or any other array
            with ``__dlpack__``, float32 or float64.
        val_loss: Validation loss; ``None`` if there is none.
        val_metric: Validation metric; ``None`` if there is none.
        lengths: Evaluations per curve, integers, shape ``(n_curves,)``; ``None`` if every curve
            has ``n_points``. What lies behind a curve's end is not read. Must be in
            ``[0, n_points]``; a GPU does not wait for a check and takes the nearest.

    Returns:
        float64, shape ``(n_curves, n_features)``, columns as in ``FEATURES``; an array of the
        library and on the device of ``train_loss``.

    Raises:
        ConfigError: If shapes or devices differ, an argument is no DLPack array, or the device is
            neither a CPU nor a CUDA GPU. On a GPU without CuPy: ``MissingExtraError``.
    """
    arrays = {
        "epochs": epochs,
        "train_loss": train_loss,
        "val_loss": val_loss,
        "val_metric": val_metric,
        "lengths": lengths,
    }
    kind = _check(arrays)
    if kind in _CPU:
        return _at_home(train_loss, _host_features(arrays))
    if kind in _CUDA:
        from sweepdiag.features._cupy import features_cupy

        return _at_home(train_loss, features_cupy(*arrays.values()))
    message = f"train_loss must be on a CPU or a CUDA GPU, got DLPack device type {kind}"
    raise ConfigError(message)


def _check(arrays: dict[str, Any]) -> int:
    """Return the device type that all arrays share.

    Raises:
        ConfigError: If they are not arrays of one device with the right shapes.
    """
    given = {name: array for name, array in arrays.items() if array is not None}
    for name, array in given.items():
        if not hasattr(array, "__dlpack__"):
            message = f"{name} must be an array with __dlpack__, got {type(array).__name__}"
            raise ConfigError(message)
    shape, device = tuple(arrays["train_loss"].shape), arrays["train_loss"].__dlpack_device__()
    if len(shape) != 2:
        message = f"train_loss must have shape (n_curves, n_points), got {shape}"
        raise ConfigError(message)
    for name, array in given.items():
        wanted = shape[:1] if name == "lengths" else shape
        if tuple(array.shape) != wanted:
            message = f"{name} must have shape {wanted}, got {tuple(array.shape)}"
            raise ConfigError(message)
        if array.__dlpack_device__() != device:
            message = (
                f"{name} must be on the device of train_loss, {device}, "
                f"got {array.__dlpack_device__()}"
            )
            raise ConfigError(message)
    return int(device[0])


def _host_features(arrays: dict[str, Any]) -> NDArray[np.float64]:
    shape = arrays["train_loss"].shape
    given = arrays["lengths"]
    lengths = np.full(shape[0], shape[1]) if given is None else _host(given, np.int64)
    is_inside = np.arange(shape[1]) < lengths[:, None]
    columns = {
        name: np.full(shape, np.nan)
        if arrays[name] is None
        else np.where(is_inside, _host(arrays[name], np.float64), np.nan)
        for name in ("epochs", "train_loss", "val_loss", "val_metric")
    }
    curves = CurveArrays(run_ids=tuple(map(str, range(shape[0]))), lengths=lengths, **columns)
    return compute_features(curves).values


def _host(array: Any, dtype: type[np.generic]) -> NDArray[Any]:
    host = array if isinstance(array, np.ndarray) else np.from_dlpack(array)
    return host.astype(dtype, copy=False)


def _at_home(like: Any, values: Any) -> Any:
    """Return the values as an array of the library that ``like`` belongs to."""
    if hasattr(like, "__array_namespace__"):
        library = like.__array_namespace__()
    else:
        library = sys.modules[type(like).__module__.partition(".")[0]]
    if isinstance(values, getattr(library, "ndarray", ())):
        return values
    return library.from_dlpack(values)
