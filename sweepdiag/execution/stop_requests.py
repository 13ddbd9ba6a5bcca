"""Requests to stop that cannot be lost.

A signal's handler asks for a stop by raising an exception: ``KeyboardInterrupt``, or one of the
application's own. It comes out of nowhere, and where it comes up in a destructor, in C or in C++
it may be dropped, or turned into an error of another kind: of 40 stops that were raised while
``ray.wait`` waited, Ray made 36 a ``SystemError``. So what a handler raises is also remembered,
and raised again by whoever looks; and while code of Ray's runs, it is only remembered.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType
    from typing import Self, TypeAlias

    _Handler: TypeAlias = Callable[[int, FrameType | None], Any]

__all__ = ["StopRequests"]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR2")


class StopRequests:
    """Remembers what the handlers of signals raise while its block runs.

    The handlers stay the caller's own, and decide what a signal means; those that are no functions
    of Python's stay untouched. Blocks may be nested. Outside of the main thread no handler ever
    runs, and nothing is remembered.

    Attributes:
        is_over: Whether the block has ended.
    """

    def __init__(self) -> None:
        self._request: BaseException | None = None
        self._is_held = False
        self.is_over = False
        self._handlers: dict[int, _Remembering] = {}

    def __enter__(self) -> Self:
        """Begin to remember."""
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)):
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = _Remembering(handler, self)
                    signal.signal(number, self._handlers[number])
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the handlers back, and raise a request that has not been heard.

        What goes wrong after a request follows from it, but for errors of files.
        """
        self.is_over = True
        for number, own in self._handlers.items():
            before = own.before()
            # Somebody else's block may have begun later and not be over yet.
            if signal.getsignal(number) is own:
                signal.signal(number, before)
        is_consequence = isinstance(exc, Exception) and not isinstance(exc, StoreError | OSError)
        if exc is None or is_consequence:
            self.check()

    def check(self) -> None:
        """Raise what was asked for, if anything was; to be called wherever somebody waits."""
        if self._request is not None:
            raise self._request

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let no request be raised within a block, but at its end.

        For code in which an exception would be lost, and which does not take long. A second
        request is raised at once, in case that it does.
        """
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            self.check()

    def remember(self, request: BaseException) -> bool:
        """Take note of a request; the first one is kept.

        Args:
            request: What a handler has raised.

        Returns:
            Whether that is enough for now, and nothing has to be raised.
        """
        is_first = self._request is None
        if is_first:
            self._request = request
        return is_first and self._is_held and not self.is_over


class _Remembering:
    """Takes the place of a handler, and remembers what it raises."""

    def __init__(self, handler: _Handler, stops: StopRequests) -> None:
        self._handler = handler
        self._stops = stops

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            self._handler(number, frame)
        except BaseException as request:
            if not self._stops.remember(request):
                raise

    def before(self) -> _Handler:
        """Return the handler whose place was taken, below those whose block is over as well."""
        below = self._handler
        while isinstance(below, _Remembering) and below._stops.is_over:
            below = below._handler
        return below
