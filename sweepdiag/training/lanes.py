"""Packs side by side on one device, each with a stream and a state of torch of its own.

A GPU is not filled by a pack of small networks. Several packs, each on a stream of its own, are
asked in turn for their next events by one thread: what one of them has queued on the device is
worked on while the host queues the next steps of another.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from contextlib import AbstractContextManager

    import torch

__all__ = ["Lane", "Lanes", "resumed_in"]

T = TypeVar("T")


class Lane(Protocol):
    """Where the work of one pack is queued."""

    def entered(self) -> AbstractContextManager[object]:
        """Queue what a block does here; afterwards the thread is where it was."""


class Lanes:
    """The lanes of a device: as many as packs train at the same time.

    A lane is used again as soon as its pack is over, since libraries keep memory for each stream.
    """

    def __init__(self, device: str) -> None:
        """Take the device; there are no lanes on it yet."""
        self._device = device
        self._free: list[Lane] = []

    @contextlib.contextmanager
    def lent(self) -> Iterator[Lane]:
        """Lend a lane for the time of a block."""
        lane = self._free.pop() if self._free else self._new()
        try:
            yield lane
        finally:
            self._free.append(lane)

    def _new(self) -> Lane:
        return _Stream(self._device) if self._device.startswith("cuda") else _NoStream()


class _NoStream:
    """A processor does at once what it is asked to."""

    def entered(self) -> AbstractContextManager[object]:
        return contextlib.nullcontext()


class _Stream:
    """A CUDA stream."""

    def __init__(self, device: str) -> None:
        import torch

        self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch has no types here

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        import torch

        # The samples may still be on their way there.
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            yield


def resumed_in(
    environment: Callable[[], AbstractContextManager[object]], items: Generator[T]
) -> Generator[T]:
    """Yield what a generator does, which runs within an environment and leaves none of it behind.

    A ``with`` block around a ``yield`` would last while others run, and where several generators
    take turns it would end after others that began later.

    Args:
        environment: Makes what to enter whenever the generator goes on.
        items: Closed at the end, also when nobody takes more.
    """
    try:
        while True:
            with environment():
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
    finally:
        with environment():
            items.close()
