"""The process in which one trial of a user's own training loop runs.

Started with a file descriptor ``FD`` as its argument: the request comes as a line of JSON on
standard input, which stays open as long as whoever asked lives; points go out on ``FD`` as JSON
lines. Standard output and error stay the user's.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import WorkloadError, unknown_name
from sweepdiag.messages import describe_traceback
from sweepdiag.records import RECORDED_FIELDS, CurvePoint, State, plain
from sweepdiag.training.peak_memory import process_peak_mb
from sweepdiag.training.seeds import seeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from sweepdiag.workloads import TrainLoop

__all__ = ["Reporter", "call_loop", "decode_point", "main"]

_TINY = 1e-300  # so that 0 is allowed
_LARGEST = 2.0**53
_NEEDED = ("epoch", "train_loss", "val_loss")
_BY_NAME = "report takes its arguments by name, report(epoch=…, train_loss=…, val_loss=…)"
_METRICS = ("train_loss_running", "train_metric", "val_metric", *RECORDED_FIELDS)


class Reporter:
    """What the user's loop calls after each evaluation."""

    def __init__(self, send: Callable[[CurvePoint], None]) -> None:
        """Pass every point on to ``send``."""
        self._send = send
        self._n_points = 0
        self._epoch = self._step = -1.0

    def __call__(
        self,
        *unnamed: Any,
        epoch: float | None = None,
        train_loss: float | None = None,
        val_loss: float | None = None,
        **more: float,
    ) -> None:
        """Report one evaluation; ``epoch``, ``train_loss`` and ``val_loss`` are needed.

        Args:
            *unnamed: Nothing: everything goes by its name.
            epoch: Epochs trained so far; 0 is before any update. Must grow from call to call.
            train_loss: Training loss; a number or a tensor with one element. NaN is allowed.
            val_loss: Validation loss, likewise.
            **more: ``step``, ``train_loss_running``, ``train_metric``, ``val_metric``,
                ``seconds``, ``grad_norm``, ``update_ratio``, ``dead_fraction``.

        Raises:
            WorkloadError: If a name is unknown or missing, or a value is not a number.
        """
        if unnamed:
            message = f"{_BY_NAME}, got a {type(unnamed[0]).__name__} without a name"
            if isinstance(unnamed[0], Mapping):
                message += ": for a dict d write report(**d)"
            raise WorkloadError(message)
        known = {*_NEEDED, "step", "seconds", *_METRICS}
        for name in more:
            if name not in known:
                told = unknown_name("argument of report", name, known)
                message = f"{told}. An accuracy or any other metric is val_metric"
                raise WorkloadError(message)
        if epoch is None or train_loss is None or val_loss is None:
            given = dict(zip(_NEEDED, (epoch, train_loss, val_loss), strict=True))
            missing = [name for name, value in given.items() if value is None]
            message = f"{_BY_NAME}; missing or None: {', '.join(missing)}"
            if missing == ["val_loss"]:
                message += ": hold samples out, and report their loss"
            raise WorkloadError(message)
        numbers = {name: _number(name, more[name]) for name in more if name != "step"}
        self._epoch = _growing("epoch", epoch, above=self._epoch)
        step = more.get("step", self._n_points)
        self._step = int(_growing("step", step, above=self._step))
        point = CurvePoint(
            epoch=self._epoch,
            step=self._step,
            train_loss=_number("train_loss", train_loss),
            val_loss=_number("val_loss", val_loss),
            **numbers,
        )
        self._n_points += 1
        self._send(point)


def call_loop(loop: TrainLoop, config: Mapping[str, Any], *, seed: int, report: Reporter) -> None:
    """Run the loop with the global generators seeded from the trial's seed."""
    with seeded(seed, "loop"):
        loop.function(dict(config), report)


def decode_point(message: Mapping[str, Any]) -> CurvePoint:
    """Return the point of a message; non-finite numbers come as strings."""
    numbers = {name: float(value) for name, value in message["point"].items()}
    return CurvePoint(**{**numbers, "step": int(numbers["step"])})  # type: ignore[arg-type]  # floats


def main() -> None:
    """Run the request on standard input and report on the given file descriptor."""
    request = json.loads(sys.stdin.buffer.readline())
    _follow_parent()
    pipe = int(sys.argv[1])
    os.set_inheritable(pipe, False)  # processes that the loop starts have no use for it
    with os.fdopen(pipe, "w", encoding="utf-8") as out:

        def send(message: Mapping[str, Any]) -> None:
            out.write(json.dumps(message) + "\n")
            out.flush()

        try:
            _run(request, Reporter(lambda point: send({"kind": "point", "point": plain(point)})))
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            is_memory = isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__
            state = State.OUT_OF_MEMORY if is_memory else State.FAILED
            reason = describe_traceback(error)
            send({"kind": "failed", "state": state.value, "reason": reason, **_peak(request)})
        else:
            send({"kind": "returned", **_peak(request)})


def _run(request: Mapping[str, Any], report: Reporter) -> None:
    from sweepdiag.workloads import TrainLoop, load_workload

    loop = load_workload(request["reference"], request["parameters"])
    if not isinstance(loop, TrainLoop):
        message = f"{request['reference']} is no training loop any more, but a workload"
        raise WorkloadError(message)
    call_loop(loop, request["config"], seed=request["seed"], report=report)


def _follow_parent() -> None:
    """Have this process and all that it starts killed when whoever started it is gone.

    Its end of the pipe on standard input closes with it, also when it is killed. A process listens
    there, and no thread: Ray kills the children of a worker that dies, this one among them, and
    not what they have started. It is nobody's child, so that a loop that waits for its own
    children does not wait for it.
    """
    lifeline = os.dup(0)
    child = os.fork()
    if child == 0:
        try:
            if os.fork() == 0:
                _listen(lifeline)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(lifeline)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - for its descriptor; the loop reads it
        os.dup2(nothing.fileno(), 0)


def _listen(lifeline: int) -> None:
    """Kill this process group when the other end of the pipe closes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # The loop's points have to be seen to end when its process does, so nothing else stays open.
    os.closerange(0, lifeline)
    os.closerange(lifeline + 1, os.sysconf("SC_OPEN_MAX"))
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


def _peak(request: Mapping[str, Any]) -> dict[str, Any]:
    return {"peak_memory_mb": plain(round(process_peak_mb(request["device"]), 3))}


def _growing(name: str, value: Any, *, above: float) -> float:
    number = _number(name, value)
    if not (max(above, -_TINY) < number < _LARGEST):
        rule = f"above {above:g}, that of the last call" if above >= 0 else "at least 0"
        message = f"{name} passed to report must be a finite number {rule}, got {value!r:.200}"
        raise WorkloadError(message)
    return number


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        message = f"{name} passed to report must be a number, got {value!r:.200}"
        raise WorkloadError(message) from error


if __name__ == "__main__":
    main()
