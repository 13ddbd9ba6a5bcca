"""What makes a training on the CPU give the same bits whatever runs beside it."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import math
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepdiag.training.openmp import on_threads, share_modes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

logger = logging.getLogger(__name__)

__all__ = [
    "biased_products_one_by_one",
    "fix_summation_order",
    "float32_products",
    "gradient_from_columns",
    "has_exact_columns",
    "has_remainder",
    "log_softmax_columns",
    "member_by_member",
    "picked_from_columns",
    "products_one_by_one",
    "reproducible_cpu",
    "rounds_unlike_alone",
    "tiny_numbers_as_zero",
]


_MKL_CBWR_AUTO = 2  # MKL_CBWR_AUTO in mkl_types.h


def fix_summation_order() -> None:
    """Ask MKL to sum in an order that does not depend on where a matrix lies in memory.

    Without it the same product can differ in its last bit between a matrix of its own and a slice
    of a stack (seen for widths that are no multiple of 16). MKL decides at its first call, so this
    belongs before anything is computed, the user's own code included. No cost was measurable.

    References:
        Intel oneMKL developer guide, "Getting Started with Conditional Numerical Reproducibility".
    """
    is_new = "MKL_CBWR" not in os.environ
    os.environ.setdefault("MKL_CBWR", "AUTO")
    if is_new and "torch" in sys.modules and not _switch_mkl():
        logger.warning(
            "torch has computed something in this process already, so curves may differ in their "
            "last bits from those of other processes; set MKL_CBWR=AUTO before starting Python"
        )


def _switch_mkl() -> bool:
    """Set the mode in a torch that is loaded already; ``False`` if it is too late.

    Builds of torch without MKL have no such switch and no need of it.
    """
    import torch

    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        switch = ctypes.CDLL(str(library)).mkl_serv_cbwr_set
    except (OSError, AttributeError):
        return True
    return int(switch(_MKL_CBWR_AUTO)) == 0


@contextlib.contextmanager
def reproducible_cpu() -> Iterator[None]:
    """Train on one thread with a fixed order of summation; the cores are filled by workers.

    Where more threads pay and change no bits, they are taken inside; see ``threads``.
    """
    fix_summation_order()
    with on_threads(1):
        yield


@contextlib.contextmanager
def float32_products(device: str, *, is_fast: bool) -> Iterator[None]:
    """Say whether a GPU may round factors of products to 11 binary digits (TF32).

    PyTorch does so in convolutions unless told otherwise. On the CPU this changes nothing.

    Args:
        device: Where to train.
        is_fast: Whether it may.
    """
    import torch

    if device == "cpu":
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if is_fast else "highest")
    torch.backends.cudnn.allow_tf32 = is_fast
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@contextlib.contextmanager
def tiny_numbers_as_zero() -> Iterator[None]:
    """Take numbers below the smallest normal one (1.2e-38 in float32) as zero, as GPUs do.

    The velocities of a network whose gradients have died shrink to such numbers and stay there,
    since rounding keeps nine tenths of the smallest of all numbers what it is; and the processor
    takes ten times as long for them. The mode belongs to the thread, so nobody else's code may run
    in it. All threads of PyTorch's pool are put into it.
    """
    import torch

    was_on = float(torch.tensor(1e-30) * 1e-10) == 0.0
    torch.set_flush_denormal(True)
    share_modes()
    try:
        yield
    finally:
        torch.set_flush_denormal(was_on)
        share_modes()


_SMALL = 400  # multiplications; the limit in PyTorch's LinearAlgebra.cpp


def rounds_unlike_alone(left: Sequence[int], right: Sequence[int]) -> bool:
    """Return whether a batched product on the CPU rounds unlike the product of one pair.

    PyTorch computes ``bmm`` of matrices below 400 multiplications, and products with a vector,
    with other code than ``mm``. So it does with products of a column and a row.

    Args:
        left: Shape ``(n, n_rows, n_inner)``.
        right: Shape ``(n, n_inner, n_columns)``.
    """
    _, n_rows, n_inner = left
    n_columns = right[2]
    return 1 in {n_rows, n_inner, n_columns} or n_rows * n_inner * n_columns < _SMALL


def products_one_by_one(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return ``bmm(left, right)``, each matrix computed by ``mm`` as it would be alone."""
    import torch

    return torch.stack([torch.mm(a, b) for a, b in zip(left, right, strict=True)])


def biased_products_one_by_one(
    biases: torch.Tensor, left: torch.Tensor, right: torch.Tensor
) -> torch.Tensor:
    """Return ``baddbmm(biases, left, right)``, each matrix computed by ``addmm``.

    Args:
        biases: Shape ``(n, 1, n_columns)``.
        left: Shape ``(n, n_rows, n_inner)``.
        right: Shape ``(n, n_inner, n_columns)``.
    """
    import torch

    members = zip(biases.squeeze(1), left, right, strict=True)
    return torch.stack([torch.addmm(bias, a, b) for bias, a, b in members])


def has_remainder(tensor: torch.Tensor) -> bool:
    """Return whether one member's part of a tensor does not fill whole vector registers.

    PyTorch's element-wise kernels take two of them at a time.

    Args:
        tensor: Shape ``(n_members, …)``; only its layout counts.
    """
    return not tensor.is_contiguous() or math.prod(tensor.shape[1:]) % (2 * _LANES) != 0


def member_by_member(
    function: Callable[..., torch.Tensor], n_members: int, *arguments: Any, **settings: Any
) -> torch.Tensor:
    """Return a function's results for each member, stacked.

    Args:
        function: Takes the arguments of one member.
        n_members: How many there are.
        arguments: Tensors of shape ``(n_members, …)``, and numbers that all share.
        settings: Further numbers.
    """
    import torch

    rows = [
        argument.unbind()
        if isinstance(argument, torch.Tensor) and argument.dim() and len(argument) == n_members
        else (argument,) * n_members
        for argument in arguments
    ]
    return torch.stack([function(*row, **settings) for row in zip(*rows, strict=True)])


_LANES = 16
"""Numbers in the widest vector register; with rows in multiples of it there is no remainder."""


@lru_cache(maxsize=64)
def has_exact_columns(n_classes: int) -> bool:
    """Return whether a log-softmax over columns has the bits of one over rows here.

    PyTorch's log-softmax over the last dimension adds fewer numbers than a vector register holds
    one after the other, ten times as slowly as it could. Laid out by columns, with a register full
    of rows at a time, the same additions are made in the same order. Whether that holds depends on
    the processor, so it is tried.

    Args:
        n_classes: Length of a row.
    """
    import torch

    if n_classes > _LANES:
        return False
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(4 * _LANES + 3, n_classes, generator=generator)
    rows *= torch.logspace(-3, 3, len(rows)).unsqueeze(1)
    rows[0, 0], rows[1, -1], rows[2, 0] = torch.inf, -torch.inf, torch.nan
    classes = torch.randint(n_classes, (len(rows),), generator=generator)
    weight = -1.0 / len(rows)
    expected = torch.log_softmax(rows, 1)
    weights = torch.zeros_like(rows).scatter_(1, classes.unsqueeze(1), weight)
    expected_gradient = _log_softmax_gradient()(weights, expected, 1, rows.dtype)
    columns = log_softmax_columns(rows)
    found = picked_from_columns(columns, classes)
    found_gradient = gradient_from_columns(columns, classes, weight)
    return _have_same_bits(found, expected.gather(1, classes.unsqueeze(1))) and _have_same_bits(
        found_gradient, expected_gradient
    )


def log_softmax_columns(rows: torch.Tensor) -> torch.Tensor:
    """Return the log-softmax over the last dimension, by columns.

    Args:
        rows: Shape ``(…, n_classes)``, float32, on the CPU.

    Returns:
        Shape ``(n_classes, n)``: a column per row and further ones up to a multiple of the lanes.
    """
    flat = rows.reshape(-1, rows.shape[-1])
    n_rows = len(flat)
    n_padded = -(-n_rows // _LANES) * _LANES
    if n_padded == n_rows:
        return flat.t().contiguous().log_softmax(0)
    columns = flat.new_zeros((flat.shape[1], n_padded))
    columns[:, :n_rows] = flat.t()
    return columns.log_softmax(0)


def picked_from_columns(columns: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return the entry of each row's class.

    Args:
        columns: What :func:`log_softmax_columns` returned for rows of shape ``(…, n_classes)``.
        classes: Shape ``(…)``, int64.

    Returns:
        Shape ``(…, 1)``.
    """
    return columns.gather(0, classes.reshape(1, -1)).view(*classes.shape, 1)


def gradient_from_columns(
    columns: torch.Tensor, classes: torch.Tensor, weight: float
) -> torch.Tensor:
    """Return the gradient of the sum of all picked entries, times a weight.

    Args:
        columns: What :func:`log_softmax_columns` returned.
        classes: Shape ``(…)``, int64.
        weight: The gradient of each picked entry.

    Returns:
        Shape ``(…, n_classes)``.
    """
    import torch

    n_classes, n_rows = len(columns), classes.numel()
    weights = torch.zeros_like(columns).scatter_(0, classes.reshape(1, -1), weight)
    gradient = _log_softmax_gradient()(weights, columns, 0, columns.dtype)
    if n_rows != gradient.shape[1]:
        gradient = gradient[:, :n_rows]
    return gradient.t().contiguous().view(*classes.shape, n_classes)


@lru_cache(maxsize=1)
def _log_softmax_gradient() -> Callable[..., torch.Tensor]:
    import torch

    function: Callable[..., torch.Tensor] = torch.ops.aten._log_softmax_backward_data.default
    return function


def _have_same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    import torch

    # As integers, since zeros of both signs are equal; of NaN there are many, all as good.
    is_same = (a.view(torch.int32) == b.view(torch.int32)) | (a.isnan() & b.isnan())
    return bool(is_same.all())
