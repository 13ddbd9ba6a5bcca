"""Users' inputs and targets as NumPy arrays of the few types that training uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.errors import WorkloadError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["as_array", "input_array", "target_array"]


def as_array(value: Any, name: str) -> NDArray[Any]:
    """Return a tensor or anything array-like as a numeric NumPy array.

    Args:
        value: A tensor on any device, a NumPy array, or what ``numpy.asarray`` understands.
        name: What it is, for messages (``"train inputs"``).

    Returns:
        The array; it may share memory with ``value``.

    Raises:
        WorkloadError: If it is not an array of real numbers with at least one dimension.
    """
    try:
        array = np.asarray(_host_tensor(value) if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError) as error:
        message = f"{name} must be one tensor or NumPy array, got {type(value).__name__}: {error}"
        raise WorkloadError(message) from error
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        message = (
            f"{name} must be one tensor or NumPy array of real numbers, got "
            f"{type(value).__name__} (dtype {array.dtype}, shape {array.shape})"
        )
        raise WorkloadError(message)
    return array


def _host_tensor(tensor: Any) -> Any:
    """Return a tensor as a NumPy array; types that NumPy does not know become float32."""
    tensor = tensor.detach().cpu()
    has_numpy_type = str(tensor.dtype) != "torch.bfloat16"
    return (tensor if has_numpy_type else tensor.float()).numpy()


def input_array(value: Any, name: str) -> NDArray[Any]:
    """Return inputs as float32, or as int64 where they are integers (token ids).

    Args:
        value: The inputs of all samples, samples first.
        name: What they are, for messages.

    Returns:
        The array, all finite, with at least one sample.

    Raises:
        WorkloadError: If there is no sample, if rows hold NaN or infinity, or if the inputs are
            bytes, which may be pixels or tokens.
    """
    array = as_array(value, name)
    if array.size == 0:
        message = f"{name} must hold at least one sample, got shape {array.shape}"
        raise WorkloadError(message)
    if array.dtype == np.uint8:
        message = (
            f"{name} are uint8, which may mean pixels or tokens: convert pixels to floating point "
            "(and scale them, such as x / 255), token ids to int64"
        )
        raise WorkloadError(message)
    if array.dtype.kind in "iu":
        return array.astype(np.int64, copy=False)
    return _finite_float32(array, name)


def target_array(value: Any, name: str, *, is_integer: bool) -> NDArray[Any]:
    """Return targets as int64 (classes) or float32.

    Args:
        value: The targets of all samples, samples first.
        name: What they are, for messages.
        is_integer: Whether they are class numbers.

    Returns:
        The array, all finite.

    Raises:
        WorkloadError: If class targets are not integers, or targets are not finite.
    """
    array = as_array(value, name)
    if not is_integer:
        return _finite_float32(array, name)
    if array.dtype.kind == "f":
        message = (
            f"{name} of a classification must be integers (class numbers from 0), got "
            f'{array.dtype}; convert them (`targets.astype("int64")`, `targets.long()`) or set '
            'task="regression"'
        )
        raise WorkloadError(message)
    return array.astype(np.int64, copy=False)


def _finite_float32(array: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Return the array as float32, refusing NaN, infinity and what float32 cannot hold.

    Raises:
        WorkloadError: If a value is refused.
    """
    with np.errstate(over="ignore"):
        converted = array.astype(np.float32, copy=False)
    finite = np.isfinite(converted)
    if not finite.all():
        bad_rows = np.flatnonzero(~finite.reshape(len(converted), -1).all(axis=1))
        message = (
            f"{name} must be finite (as float32): {len(bad_rows)} of {len(converted)} rows hold "
            f"NaN or infinity, the first at index {bad_rows[0]}"
        )
        raise WorkloadError(message)
    return converted
