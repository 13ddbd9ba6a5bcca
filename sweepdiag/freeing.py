"""When memory is freed: given back to the system, or not looked for while nothing can be free."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["give_back_memory", "no_search_for_cycles"]


def give_back_memory() -> None:
    """Return freed memory to the system, between steps that each take and free much.

    Without this, what one step has freed in pieces stays with the process and adds to the peak of
    the next: in a sweep of 10,000 trials as much as the tables take. It takes milliseconds.
    """
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    """Return the GNU C library's function; no other library has it, or needs it."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


@contextlib.contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Build many objects without Python's search for cycles among them.

    It looks at all objects again and again while there are more and more of them, which makes
    reading a large journal grow faster than the journal. For what holds no cycles only.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
