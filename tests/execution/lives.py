"""Programs that use Ray from beginning to end, run by ``test_ray_life.py`` as processes.

Each writes what it finds as JSON into the file named by its second argument, since it is a finding
in itself what reaches standard output and standard error: nothing may.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepdiag.execution._ray import RayExecutor
from sweepdiag.execution._ray_state import loopback_only
from sweepdiag.execution.devices import resolve_devices
from sweepdiag.execution.processes import find_processes
from sweepdiag.records import Event, Pack, State, TrialEnded
from sweepdiag.testing.executors import (
    ScriptedWorker,
    check_delivers_every_event,
    check_dying_trial_is_isolated,
    scripted_packs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).parent))

# What is said through logging is the application's to show; what is printed is everybody's.
logging.getLogger("sweepdiag").addHandler(logging.NullHandler())


def leave_daemon(pack: Pack, *, device: str) -> Iterator[list[Event]]:
    """Leave a process behind that has left its session, and tell the run's mark."""
    subprocess.Popen(["sleep", "300"], start_new_session=True)
    yield [
        TrialEnded(
            trial_id=pack.trials[0].trial_id,
            attempt=1,
            state=State.FINISHED,
            reason=os.environ["SWEEPDIAG_RUN_ID"],
        )
    ]


def whole_life() -> dict[str, Any]:
    """Use a private Ray, then one of the caller's own, then a private one again."""
    # Before the executor sets anything, so that what Ray reads at its import is settled.
    import ray
    from sockets import listening_addresses

    assert not ray.is_initialized()
    found: dict[str, Any] = {}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    before = dict(os.environ)
    with RayExecutor(2) as executor:
        found["environment_kept"] = dict(os.environ) == before
        found["sigterm_kept"] = signal.getsignal(signal.SIGTERM) is on_sigterm
        check_delivers_every_event(executor)
        check_dying_trial_is_isolated(executor)
        (directory,) = Path(tempfile.gettempdir()).glob("sweepdiag-*")
        found["directory_mode"] = oct(directory.stat().st_mode & 0o777)
        found["token_mode"] = oct((directory / "token").stat().st_mode & 0o777)
        ((end,),) = executor.run(scripted_packs([["train"]]), leave_daemon)
        assert isinstance(end, TrialEnded)
        marked = find_processes(end.reason)
        found["n_processes"] = len(marked)
        token = (directory / "token").read_text()
        commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in marked]
        found["n_commands"] = sum(bool(command) for command in commands)
        found["token_told"] = [str(c) for c in commands if token.encode() in c] + [
            str(path)
            for path in (directory / "ray").rglob("*")
            if path.is_file() and token.encode() in path.read_bytes()
        ]
        # Ray starts its program always, with nothing to be seen where none is asked for.
        found["dashboards"] = [
            str(c)
            for c in commands
            if b"dashboard/dashboard.py" in c
            and not {b"--minimal", b"--disable-frontend"} <= set(c.split(b"\0"))
        ]
        found["telemetry"] = sorted({usage_setting(pid, end.reason) for pid in marked} - {""})
        found["listening"] = sorted(listening_addresses([*marked, os.getpid()]))
    found["left"] = find_processes(end.reason)
    found["directory_left"] = directory.exists()
    found["environment_restored"] = dict(os.environ) == before
    with loopback_only():  # out of kindness to the machine; a plain one would do as well
        ray.init(address="local", num_cpus=1, logging_level="CRITICAL", include_dashboard=False)
    found["callers_own_ray_starts"] = ray.is_initialized()
    ray.shutdown()
    with RayExecutor(1) as executor:
        check_delivers_every_event(executor)
    return found


def usage_setting(pid: int, mark: str) -> str:
    """Return what a process is told about sending usage statistics; empty where it cannot be seen.

    A process that is just ending has no environment any more, and Ray's processes write a title
    for themselves over the beginning of theirs, in which variables stand in any order.
    """
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ""
    if not any(mark in variable for variable in variables):
        return ""
    told = {name: value for name, _, value in (v.partition("=") for v in variables)}
    first = variables[0].partition("=")[0]
    has_beginning = first in os.environ or first.startswith(("RAY_", "SWEEPDIAG_"))
    if not has_beginning or os.environ.keys() - told.keys():
        return told.get("RAY_USAGE_STATS_ENABLED", "")
    return told.get("RAY_USAGE_STATS_ENABLED", "not told")


def interrupted() -> dict[str, Any]:
    """Train until the interrupt, and tell which trials ended before it."""
    ended: list[str] = []
    worker = ScriptedWorker(n_points=2000, pause_s=0.02)
    try:
        with RayExecutor(2) as executor:
            for batch in executor.run(scripted_packs([["train"], ["train"]]), worker):
                ended += [event.trial_id for event in batch if isinstance(event, TrialEnded)]
                announce()
    except KeyboardInterrupt:
        return {"interrupted": True, "ended": ended}
    return {"interrupted": False, "ended": ended}


class Stopped(BaseException):
    """As the command line raises it at SIGTERM; Ray knows ``KeyboardInterrupt`` alone."""


def stopped() -> dict[str, Any]:
    """Wait for batches that take long, until a signal comes whose handler raises."""

    def stop(_number: int, _frame: object) -> None:
        raise Stopped

    signal.signal(signal.SIGTERM, stop)
    worker = ScriptedWorker(n_points=3, pause_s=60.0)
    n_batches = 0
    try:
        with RayExecutor(2) as executor:
            for _ in executor.run(scripted_packs([["train"], ["train"]]), worker):
                n_batches += 1
                if n_batches == 4:  # starts and first points of both
                    announce()
    except Stopped:
        return {"stopped": True, "handler_kept": signal.getsignal(signal.SIGTERM) is stop}
    return {"stopped": False}


def joined() -> dict[str, Any]:
    """Join the cluster of another process, and leave it."""
    import ray

    address = sys.argv[3]
    found: dict[str, Any] = {"n_gpus": resolve_devices(None, address=address).count}
    found["connected_after_counting"] = ray.is_initialized()
    with RayExecutor(2, address=address) as executor:
        check_delivers_every_event(executor)
    found["connected_after_closing"] = ray.is_initialized()
    return found


def announce() -> None:
    """Tell the test that training is under way."""
    Path(sys.argv[2] + ".started").touch()


if __name__ == "__main__":
    # As on a terminal. What a script starts with "&" ignores Ctrl-C, and all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    lives = {life.__name__: life for life in (whole_life, interrupted, stopped, joined)}
    Path(sys.argv[2]).write_text(json.dumps(lives[sys.argv[1]]()))
