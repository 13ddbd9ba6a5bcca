"""What makes a training on the CPU give the same bits whatever runs beside it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["fix_summation_order", "reproducible_cpu", "small_product_mode"]


def fix_summation_order() -> None:
    """Ask MKL to sum in an order that does not depend on where a matrix lies in memory.

    Without it the same product can differ in its last bit between a matrix of its own and a slice
    of a stack (seen for widths that are no multiple of 16). MKL reads the variable at its first
    call, so this belongs before the first training of a process. No cost was measurable.

    References:
        Intel oneMKL developer guide, "Getting Started with Conditional Numerical Reproducibility".
    """
    os.environ.setdefault("MKL_CBWR", "AUTO")


@contextlib.contextmanager
def reproducible_cpu() -> Iterator[None]:
    """Train on one thread with a fixed order of summation; the cores are filled by workers."""
    import torch

    fix_summation_order()
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def small_product_mode() -> contextlib.AbstractContextManager[Any]:
    """Return a mode in which batched products of tiny matrices are taken one matrix at a time.

    PyTorch computes ``bmm`` of matrices below 400 multiplications, and products with a vector,
    with other code than ``mm``, which rounds differently. In this mode each such matrix goes
    through ``mm``, as it would alone.
    """
    from torch.utils._python_dispatch import TorchDispatchMode

    class SmallProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types
        def __torch_dispatch__(
            self,
            function: Any,
            types: Any,
            args: tuple[Any, ...] = (),
            kwargs: dict[str, Any] | None = None,
        ) -> Any:
            return _product(function, args, kwargs or {})

    mode: contextlib.AbstractContextManager[Any] = SmallProducts()  # type: ignore[no-untyped-call]  # torch has no types
    return mode


_SMALL = 400  # multiplications; the limit in PyTorch's LinearAlgebra.cpp


def _product(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    import torch

    if function is torch.ops.aten.bmm.default:
        left, right = args
        n_rows, n_inner, n_columns = left.shape[1], left.shape[2], right.shape[2]
        is_vector = n_rows == 1 or n_columns == 1
        if is_vector or n_rows * n_inner * n_columns < _SMALL:
            return torch.stack([torch.mm(a, b) for a, b in zip(left, right, strict=True)])
    return function(*args, **kwargs)
