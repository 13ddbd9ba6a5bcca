"""Numbers between host and device, without either waiting for the other.

On a GPU, operations are queued. A copy from ordinary memory, or a number that Python asks for,
makes the host wait until the queue is empty, and then the device for the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

__all__ = ["Reading", "pinned", "upload"]

T = TypeVar("T")


def pinned(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """Return a tensor in memory from which a device copies by itself; on the CPU as it is."""
    return tensor if device == "cpu" else tensor.pin_memory()


def upload(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """Return a tensor on the device; on the CPU as it is."""
    return pinned(tensor, device).to(device, non_blocking=True)


class Reading(Generic[T]):
    """Numbers on their way to the host."""

    def __init__(self, numbers: torch.Tensor, convert: Callable[[torch.Tensor], T]) -> None:
        """Begin the way.

        Args:
            numbers: Not to be written into any more.
            convert: From the numbers, on the CPU, to what is to be read.
        """
        import torch

        self._convert = convert
        self._arrived: torch.cuda.Event | None = None
        self._numbers = numbers
        if numbers.is_cuda:
            self._numbers = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
            self._numbers.copy_(numbers, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch has no types
            self._arrived.record(torch.cuda.current_stream(numbers.device))

    def result(self) -> T:
        """Return the numbers, once they are here; an error of the device is raised by now."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._convert(self._numbers)
