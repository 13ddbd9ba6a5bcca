"""The threads on which PyTorch computes, all in the same mode.

Whether tiny numbers count as zero is a mode of each thread by itself, and ``torch`` sets it for
the calling one only: on two threads, one half of a tensor would round otherwise than the other.
Here it is set in every thread of the pool, by having each of them take over the floating-point
environment of the caller.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["can_share_modes", "on_threads", "share_modes"]

_ENVIRONMENT_BYTES = 256
"""More than a ``fenv_t`` has on any processor."""
_GRAIN = 2**16
"""Numbers that PyTorch gives a thread at least; twice its own grain size."""


@contextlib.contextmanager
def on_threads(n_threads: int) -> Iterator[None]:
    """Compute on a number of threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def share_modes() -> None:
    """Give all threads of the pool the modes of this one, as far as the platform lets us."""
    import torch

    n_threads = torch.get_num_threads()
    team = _team() if n_threads > 1 else None
    if team is None:
        return
    libgomp, libm = team
    environment = ctypes.create_string_buffer(_ENVIRONMENT_BYTES)
    libm.fegetenv(environment)
    take_over = ctypes.cast(libm.fesetenv, ctypes.c_void_p)
    libgomp.GOMP_parallel(take_over, ctypes.addressof(environment), n_threads, 0)


def can_share_modes(n_threads: int) -> bool:
    """Return whether so many threads all take tiny numbers as zero when told to: it is tried."""
    import torch

    tiny = torch.full((n_threads * _GRAIN,), 1e-30)
    with on_threads(n_threads):
        torch.set_flush_denormal(True)
        try:
            share_modes()
            is_zero = not bool((tiny * 1e-10).any())
        finally:
            torch.set_flush_denormal(False)
            share_modes()
        is_tiny = bool((tiny * 1e-10).all())
    return is_zero and is_tiny


@functools.cache
def _team() -> tuple[ctypes.CDLL, ctypes.CDLL] | None:
    """Return the OpenMP library that PyTorch uses and the C library for its modes, if known.

    Other packages may have brought an OpenMP of their own, whose threads are others.
    """
    import torch

    folder = Path(torch.__file__).resolve().parent
    try:
        loaded = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
        paths = {Path(p) for p in re.findall(r"\s(/\S*libgomp\S*)$", loaded, re.MULTILINE)}
        near = {p for p in paths if {folder, folder.with_name("torch.libs")} & set(p.parents)}
        (path,) = near or paths
        libgomp, libm = ctypes.CDLL(str(path)), ctypes.CDLL("libm.so.6")
        libgomp.GOMP_parallel.restype = None
        libgomp.GOMP_parallel.argtypes = [
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_uint,
            ctypes.c_uint,
        ]
        return (libgomp, libm) if hasattr(libm, "fesetenv") else None
    except (OSError, ValueError, AttributeError):
        return None
