"""Users' inputs and targets as NumPy arrays of the few types that training uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.errors import WorkloadError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "ONE_TENSOR",
    "as_array",
    "as_inputs",
    "checked_inputs",
    "host_tensor",
    "input_dtype",
    "target_array",
]

ONE_TENSOR = (
    "pack several arrays into one tensor and take them apart in the model, or use a training loop "
    "of your own, train(config, report)"
)
"""What to do with inputs that are not one tensor."""
_VALUES_AT_ONCE = 2**22
"""Values that are converted at once to look at them: some 16 MB."""


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
        array = np.asarray(host_tensor(value) if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError) as error:
        several = f"{type(value).__name__} of {len(value)}" if _is_several(value) else ""
        message = f"{name} must be one tensor or NumPy array, got " + (
            f"{several}: {ONE_TENSOR}" if several else f"{type(value).__name__}: {error}"
        )
        raise WorkloadError(message) from error
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        message = (
            f"{name} must be one tensor or NumPy array of real numbers, got "
            f"{type(value).__name__} (dtype {array.dtype}, shape {array.shape})"
            f"{f': {ONE_TENSOR}' if _is_several(value) else _of_words(name, array)}"
        )
        raise WorkloadError(message)
    return array


def _of_words(name: str, array: NDArray[Any]) -> str:
    """Return what to do with targets that are names of classes; empty for anything else."""
    is_text = array.dtype.kind in "SU" or (
        array.dtype.kind in "OT" and array.size > 0 and isinstance(array.flat[0], str)
    )
    if not is_text or not name.endswith("targets"):
        return ""
    return "; number the names of classes: np.unique(names, return_inverse=True)[1]"


def _is_several(value: Any) -> bool:
    """Return whether a value holds several arrays, and is none."""
    return isinstance(value, tuple | list | Mapping)


def host_tensor(tensor: Any) -> Any:
    """Return a tensor as a NumPy array; types that NumPy does not know become float32."""
    tensor = tensor.detach().cpu()
    has_numpy_type = str(tensor.dtype) != "torch.bfloat16"
    return (tensor if has_numpy_type else tensor.float()).numpy()


def checked_inputs(value: Any, name: str, *, numbers: Sequence[int] | None = None) -> NDArray[Any]:
    """Return inputs as they are, after checking that they can be trained on.

    Nothing is copied, and values are looked at a part at a time, so that a memory map as large as
    the disk can be checked.

    Args:
        value: The inputs of all samples, samples first.
        name: What they are, for messages.
        numbers: Index of each sample, for messages; ``None``: as they come.

    Returns:
        The array, all finite, with at least one sample; :func:`as_inputs` converts its rows.

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
    if array.dtype.kind not in "iu":
        _check_finite(array, name, numbers)
    return array


def as_inputs(rows: NDArray[Any]) -> NDArray[Any]:
    """Return checked inputs as float32, or as int64 where they are integers (token ids)."""
    return rows.astype(input_dtype(rows), copy=False)


def input_dtype(rows: NDArray[Any]) -> np.dtype[Any]:
    """Return the type that inputs are trained with."""
    return np.dtype(np.int64 if rows.dtype.kind in "iu" else np.float32)


def target_array(
    value: Any, name: str, *, is_integer: bool, numbers: Sequence[int] | None = None
) -> NDArray[Any]:
    """Return targets as int64 (classes) or float32.

    Args:
        value: The targets of all samples, samples first.
        name: What they are, for messages.
        is_integer: Whether they are class numbers.
        numbers: Index of each sample, for messages; ``None``: as they come.

    Returns:
        The array, all finite.

    Raises:
        WorkloadError: If class targets are not integers, or targets are not finite.
    """
    array = as_array(value, name)
    if not is_integer:
        _check_finite(array, name, numbers)
        return array.astype(np.float32, copy=False)
    if array.dtype.kind == "f":
        message = (
            f"{name} of a classification must be integers (class numbers from 0), got "
            f'{array.dtype}; convert them (`targets.astype("int64")`, `targets.long()`) or set '
            'task="regression"'
        )
        raise WorkloadError(message)
    return array.astype(np.int64, copy=False)


def _check_finite(array: NDArray[Any], name: str, numbers: Sequence[int] | None) -> None:
    """Refuse NaN, infinity and what float32 cannot hold.

    Raises:
        WorkloadError: If a value is refused.
    """
    n_at_once = max(1, _VALUES_AT_ONCE * len(array) // max(1, array.size))
    bad_rows: list[int] = []
    for start in range(0, len(array), n_at_once):
        rows = array[start : start + n_at_once]
        with np.errstate(over="ignore"):
            finite = np.isfinite(rows.astype(np.float32, copy=False))
        if not finite.all():
            is_bad = ~finite.reshape(len(rows), -1).all(axis=1)
            bad_rows += (start + np.flatnonzero(is_bad)).tolist()
    if bad_rows:
        first = bad_rows[0] if numbers is None else numbers[bad_rows[0]]
        message = (
            f"{name} must be finite (as float32): {len(bad_rows)} of {len(array)} rows hold "
            f"NaN or infinity, the first at index {first}"
        )
        raise WorkloadError(message)
