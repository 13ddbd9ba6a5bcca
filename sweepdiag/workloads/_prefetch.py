"""Work that is done ahead by a thread of its own."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["prefetched"]

_Result = TypeVar("_Result")


def prefetched(jobs: Iterable[Callable[[], _Result]], *, n_ahead: int) -> Iterator[_Result]:
    """Yield the results of jobs in their order, while a thread works on the next ones.

    Args:
        jobs: What to do. An error of one is raised where its result would be yielded.
        n_ahead: How many further jobs may be under way while a result is used; 0: none, so that
            a job and who uses its result never run at the same time.

    Yields:
        The results.
    """
    # A thread inherits how its maker treats tiny numbers; data are read as they are anywhere.
    with ThreadPoolExecutor(1, "sweepdiag-data", initializer=_keep_tiny_numbers) as thread:
        waiting: deque[Future[_Result]] = deque()
        try:
            for job in jobs:
                waiting.append(thread.submit(job))
                if len(waiting) > n_ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _keep_tiny_numbers() -> None:
    import torch

    torch.set_flush_denormal(False)
