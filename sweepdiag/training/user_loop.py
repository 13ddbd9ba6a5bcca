"""The second way in: a training loop of the user's own, ``train(config, report)``.

Each trial runs in a process of its own, so that a crash, an ``exit`` or a segmentation fault ends
that trial and nothing else. A loop that exists only in this process (made in a notebook) runs here
instead.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from sweepdiag.messages import clean_message, describe_traceback
from sweepdiag.records import (
    CurvePoint,
    Deadlines,
    Event,
    PointMeasured,
    State,
    TrialEnded,
    TrialStarted,
)
from sweepdiag.training.loop_child import Reporter, call_loop, decode_point
from sweepdiag.training.peak_memory import give_back, start_meter
from sweepdiag.training.stopping import LoopJudge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sweepdiag.records import Pack, TrainingSettings, Trial
    from sweepdiag.training.stopping import StopRule
    from sweepdiag.workloads import TrainLoop

__all__ = ["LoopSource", "run_user_loop"]

_TAIL_BYTES = 2000
_READ_BYTES = 1 << 16
_POLL_S = 0.5
"""How often a silent process is looked at."""
_NO_DEADLINES = Deadlines()
_CHILD = "from sweepdiag.training.loop_child import main; main()"


@dataclass(frozen=True, kw_only=True)
class LoopSource:
    """Where a training loop comes from.

    Attributes:
        reference: ``file.py:function`` or ``module:function``; ``None`` for a loop that exists
            only in this process.
        parameters: Keyword arguments of a function that builds the loop.
        loop: The loop itself, needed if there is no reference.
    """

    reference: str | None = None
    parameters: Mapping[str, Any] | None = None
    loop: TrainLoop | None = None


def run_user_loop(
    pack: Pack,
    *,
    source: LoopSource,
    settings: TrainingSettings,
    device: str,
    deadlines: Deadlines = _NO_DEADLINES,
    stop_rule: StopRule | None = None,
) -> Iterator[list[Event]]:
    """Run a pack's trials one after the other through the user's loop.

    Args:
        pack: The trials.
        source: The user's loop.
        settings: Their ``epochs`` are passed on; the rest is the user's business.
        device: Recorded with the trial; whoever starts the worker makes CUDA devices visible.
        deadlines: How long a trial may report nothing; a loop that runs here has none.
        stop_rule: Says which trials end early, from their curves so far; ``None``: none does.

    Yields:
        Events as they happen.
    """
    for trial, attempt in zip(pack.trials, pack.attempts, strict=True):
        config = {**trial.axes, "seed": trial.seed, "epochs": settings.epochs}
        yield [TrialStarted(trial_id=trial.trial_id, attempt=attempt, device=device)]
        started = time.perf_counter()
        judge = LoopJudge(stop_rule, trial_id=trial.trial_id, n_epochs=settings.epochs)
        outcome = _Outcome(device, deadlines, judge)
        run = _in_process if source.reference is None else _in_child
        for point in run(source, config, trial, outcome):
            yield [PointMeasured(trial_id=trial.trial_id, attempt=attempt, point=point)]
        yield [
            TrialEnded(
                trial_id=trial.trial_id,
                attempt=attempt,
                state=outcome.state,
                reason=outcome.reason,
                seconds=round(time.perf_counter() - started, 6),
                peak_memory_mb=outcome.peak_memory_mb,
            )
        ]


class _Stopped(BaseException):
    """Ends a loop in this process from inside its call of ``report``; no error of the loop's."""


class _Outcome:
    """How a trial ended; filled in while its points are read."""

    def __init__(self, device: str, deadlines: Deadlines, judge: LoopJudge) -> None:
        self.device = device
        self.deadlines = deadlines
        self._judge = judge
        self.peak_memory_mb = math.nan
        self.state = State.FAILED
        self.reason = ""
        self.n_points = 0

    @property
    def is_stopped(self) -> bool:
        """Whether the stop rule has ended the trial."""
        return self.state is State.STOPPED

    @property
    def is_open(self) -> bool:
        """Whether nothing has been said yet of how it ended."""
        return self.state is State.FAILED and not self.reason

    def stops_at(self, point: CurvePoint) -> bool:
        """Take note of a point; return whether the trial ends with it, which then is settled."""
        self.n_points += 1
        reason = self._judge.reason_to_stop(point)
        if reason:
            self.state, self.reason = State.STOPPED, reason
        return bool(reason)

    def missed_deadline(self) -> None:
        """Take note that nothing came in time."""
        self.state = State.TIMED_OUT
        self.reason = self.deadlines.missed(self.n_points)

    def returned(self) -> None:
        if self.n_points:
            self.state = State.FINISHED
        else:
            self.reason = "train(config, report) returned without calling report"


def _in_process(
    source: LoopSource, config: dict[str, Any], trial: Trial, outcome: _Outcome
) -> Iterator[CurvePoint]:
    points: list[CurvePoint] = []
    give_back(outcome.device)
    meter = start_meter(outcome.device)
    loop = source.loop
    if loop is None:
        outcome.reason = "no training loop was given"
        return

    def take(point: CurvePoint) -> None:
        if outcome.is_stopped:
            raise _Stopped  # the loop has caught the first one, and gone on
        points.append(point)
        if outcome.stops_at(point):
            raise _Stopped

    try:
        call_loop(loop, config, seed=trial.seed, report=Reporter(take))
    except _Stopped:
        pass
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        if not outcome.is_stopped:
            outcome.reason = describe_traceback(error)
            outcome.state = _memory_or_failed(error)
    outcome.peak_memory_mb = round(meter.peak_mb(), 3)
    yield from points
    if outcome.is_open:
        outcome.returned()


def _in_child(
    source: LoopSource, config: dict[str, Any], trial: Trial, outcome: _Outcome
) -> Iterator[CurvePoint]:
    request = {
        "reference": source.reference,
        "parameters": dict(source.parameters or {}),
        "config": config,
        "seed": trial.seed,
        "device": outcome.device,
    }
    read_fd, write_fd = os.pipe()
    with tempfile.TemporaryFile() as output, os.fdopen(read_fd, "rb"):
        process = _start(request, write_fd, output)
        try:
            yield from _read(read_fd, process, outcome)
            if outcome.is_open:
                _wait(process, outcome)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        if outcome.is_open:
            outcome.reason = clean_message(f"{_exit_text(process.returncode)}\n{_tail(output)}")


def _start(
    request: Mapping[str, Any], write_fd: int, output: IO[bytes]
) -> subprocess.Popen[bytes]:
    try:
        process = subprocess.Popen(
            # -P: a json.py beside the user's loop must not replace Python's own.
            [sys.executable, "-P", "-c", _CHILD, str(write_fd)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=(write_fd,),
            # A group of its own, so that processes which the loop starts end with it, and the
            # terminal's Ctrl-C reaches us and not the loop.
            start_new_session=True,
        )
    finally:
        os.close(write_fd)
    stdin = process.stdin
    if stdin is not None:
        try:
            # It stays open: when it closes, however this process ends, the child ends as well.
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            pass  # it died at once; its exit code will say why
    return process


def _wait(process: subprocess.Popen[bytes], outcome: _Outcome) -> None:
    """Wait for the end of a process that can send nothing more."""
    try:
        process.wait(timeout=outcome.deadlines.after(outcome.n_points))
    except subprocess.TimeoutExpired:
        outcome.missed_deadline()


def _read(
    messages: int, process: subprocess.Popen[bytes], outcome: _Outcome
) -> Iterator[CurvePoint]:
    for line in _lines(messages, process, outcome):
        message = json.loads(line)
        if message["kind"] == "point":
            point = decode_point(message)
            is_last = outcome.stops_at(point)
            yield point
            if is_last:
                return
            continue
        outcome.peak_memory_mb = float(message["peak_memory_mb"])
        if message["kind"] == "failed":
            outcome.reason = message["reason"]
            outcome.state = State(message["state"])
        else:
            outcome.returned()
        return  # a process that the loop left behind may keep the pipe open


def _lines(messages: int, process: subprocess.Popen[bytes], outcome: _Outcome) -> Iterator[bytes]:
    """Yield whole lines as they come, until there are no more or the next one is too late."""
    rest = b""
    while True:
        limit_s = outcome.deadlines.after(outcome.n_points)
        is_late_at = math.inf if limit_s is None else time.monotonic() + limit_s
        # A process that the loop has forked keeps the pipe open when the loop itself has died.
        while not _has_data(messages, min(_POLL_S, max(is_late_at - time.monotonic(), 0.0))):
            if process.poll() is not None and not _has_data(messages, 0.0):
                return
            if time.monotonic() >= is_late_at:
                outcome.missed_deadline()
                return
        data = os.read(messages, _READ_BYTES)
        if not data:
            return  # a line that is torn was being written when the process died
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


def _has_data(messages: int, wait_s: float) -> bool:
    return bool(select.select([messages], [], [], wait_s)[0])


def _memory_or_failed(error: Exception) -> State:
    return State.OUT_OF_MEMORY if isinstance(error, MemoryError) else State.FAILED


def _exit_text(code: int) -> str:
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"the training's process was ended by {names.get(-code, f'signal {-code}')}"
    return f"the training's process ended with exit code {code} before the loop returned"


def _tail(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _TAIL_BYTES))
    return output.read().decode(errors="replace")
