"""A training step recorded once as a CUDA graph and replayed as a whole.

A step of small networks is some hundred kernels that take a GPU less time than the host needs to
launch them; a graph is launched at once. Python does not run again in a replay, so everything that
differs from step to step stands in tensors that stay where they are.

References:
    PyTorch documentation, "CUDA semantics", section "CUDA Graphs".
"""

from __future__ import annotations

import contextlib
import functools
import logging
import warnings
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    Step: TypeAlias = Callable[[], None]

__all__ = ["CapturedStep", "CudaRecorder", "Recorder", "recorder_for"]

logger = logging.getLogger(__name__)

_WARM_UP_STEPS = 3
"""PyTorch's advice: libraries choose their kernels and take their workspaces in the first few."""


class Recorder(Protocol):
    """Knows how to record what a device is asked to do."""

    def warm_up(self, step: Step) -> str:
        """Take a step as usual; return why it cannot be recorded, or nothing."""

    def record(self, step: Step) -> Step:
        """Return what repeats a step. The step itself is not taken."""


class CapturedStep:
    """Takes steps: the first few as usual, then by replaying a record of one.

    A step that cannot be recorded is taken as usual always, and the reason is logged once. The
    record is of these tensors at these places: whoever makes others needs another captured step.
    """

    def __init__(self, recorder: Recorder | None, *, what: str = "steps") -> None:
        """Begin with nothing recorded.

        Args:
            recorder: ``None``: steps are taken as usual.
            what: What the steps are, for messages.
        """
        self._recorder = recorder
        self._what = what
        self._n_taken = 0
        self._replay: Step | None = None
        self._reason = ""

    @property
    def is_captured(self) -> bool:
        """Whether steps are replayed by now."""
        return self._replay is not None

    def take(self, step: Step) -> None:
        """Take one step.

        Args:
            step: The same each time. It leaves nothing on the host that the next one needs. It is
                not kept, since what it belongs to would then keep itself and its memory alive.

        Memory that does not suffice to record a step is an error: fewer members at once are
        quicker than steps that are not recorded.
        """
        if self._replay is not None:
            self._replay()
        elif self._recorder is None:
            step()
        elif self._n_taken < _WARM_UP_STEPS:
            # The first steps trace the model and look at it, so only the last one tells.
            self._reason = self._recorder.warm_up(step)
            self._n_taken += 1
        else:
            self._record(step, self._recorder)
            (self._replay or step)()

    def _record(self, step: Step, recorder: Recorder) -> None:
        import torch

        if not self._reason:
            try:
                self._replay = recorder.record(step)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it was, steps work without
                self._reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        if self._replay is None:
            logger.warning("%s are not captured as a CUDA graph: %s", self._what, self._reason)
            self._recorder = None


def recorder_for(device: str) -> Recorder | None:
    """Return what records steps on a device; ``None`` on the CPU, which has no graphs."""
    return CudaRecorder(device) if device.startswith("cuda") else None


class CudaRecorder:
    """Records CUDA graphs on the stream that is current when it is made.

    Warming up, capturing and replaying on one stream keeps the memory that is taken meanwhile in
    the order of that stream, and libraries keep one workspace per stream (32 MiB on an H100). The
    default stream cannot be captured; one other stream of the device stands in for it.
    """

    def __init__(self, device: str) -> None:
        """Take the device and the stream."""
        import torch

        self._device = torch.device(device)
        current = torch.cuda.current_stream(self._device)
        is_default = current == torch.cuda.default_stream(self._device)
        self._stream = _stand_in(device) if is_default else current

    def warm_up(self, step: Step) -> str:
        """Take a step on the stream that will capture; return what kept the host waiting."""
        import torch

        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream), _noticed_waits() as waits:
            step()
        current.wait_stream(self._stream)
        return waits[0] if waits else ""

    def record(self, step: Step) -> Step:
        """Return the replay of a step's graph."""
        import torch

        graph = torch.cuda.CUDAGraph()
        pool = torch.cuda.graph_pool_handle()
        try:
            # Only what this thread does can spoil the capture. A failing capture does not get to
            # leaving its stream, hence the outer block.
            with (
                torch.cuda.stream(torch.cuda.current_stream(self._device)),
                torch.cuda.graph(
                    graph, pool=pool, stream=self._stream, capture_error_mode="thread_local"
                ),
            ):
                step()
        except BaseException:
            self._end_allocations(pool)
            _failed_graphs.append(graph)
            raise
        replay: Step = graph.replay
        return replay

    def _end_allocations(self, pool: tuple[int, int]) -> None:
        """Tell the allocator that a failed capture is over, which PyTorch leaves to its end."""
        import torch

        with contextlib.suppress(RuntimeError, AttributeError):
            index = self._device.index or 0  # and there is no public way
            # Raises an error where the capture got as far as its end; a graph then releases its
            # pool by itself.
            torch._C._cuda_endAllocateToPool(index, pool)
            torch._C._cuda_releasePool(index, pool)


_failed_graphs: list[object] = []
"""The allocator of pinned memory goes on asking these whether they capture; they must not go."""


@functools.cache
def _stand_in(device: str) -> torch.cuda.Stream:
    """Return the stream of a device that captures for its default stream."""
    import torch

    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch has no types here
    return stream


@contextlib.contextmanager
def _noticed_waits() -> Iterator[list[str]]:
    """Collect the places at which the host waits for the device, which no graph can hold."""
    import torch

    found: list[str] = []
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode(before)
    for warning in caught:
        text = str(warning.message)
        if "synchronizing CUDA operation" in text:
            found.append(f"the host waits for the device at {warning.filename}:{warning.lineno}")
        elif "Synchronization debug mode is a prototype" not in text:
            place = (warning.filename, warning.lineno)
            warnings.warn_explicit(warning.message, warning.category, *place)
