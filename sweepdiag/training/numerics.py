"""What makes a training on the CPU give the same bits whatever runs beside it."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)

__all__ = ["fix_summation_order", "reproducible_cpu", "small_product_mode"]


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
