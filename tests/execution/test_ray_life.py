from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

LIVES = Path(__file__).parent / "lives.py"


@contextlib.contextmanager
def life(name: str, place: Path) -> Iterator[subprocess.Popen[str]]:
    """Run one of the programs, with a process group of its own as on a terminal."""
    # Ray keeps the token of a caller's own Ray in the home directory.
    environment = {**os.environ, "TMPDIR": str(place), "HOME": str(place)}
    for variable in ("RAY_ADDRESS", "SWEEPDIAG_FAKE_GPUS"):
        environment.pop(variable, None)
    with subprocess.Popen(
        [sys.executable, str(LIVES), name, str(place / "found")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_training(process: subprocess.Popen[str], place: Path) -> None:
    deadline = time.monotonic() + 120
    while not (place / "found.started").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def processes_of(place: Path) -> list[str]:
    """Return the command lines of living processes that have the place in their environment."""
    mark = f"TMPDIR={place}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
    return found


@pytest.fixture(scope="module")
def whole_life() -> Iterator[dict[str, Any]]:
    directory = Path(tempfile.mkdtemp(prefix="sd-", dir="/tmp"))
    with life("whole_life", directory) as process:
        output = process.communicate(timeout=120)
    assert process.returncode == 0, output
    yield {
        **json.loads((directory / "found").read_text()),
        "output": output,
        "remaining": processes_of(directory),
    }
    shutil.rmtree(directory)


def test_terminal_stays_quiet_even_when_workers_die(whole_life: dict[str, Any]) -> None:
    assert whole_life["output"] == ("", "")


def test_every_socket_listens_on_loopback(whole_life: dict[str, Any]) -> None:
    assert whole_life["n_processes"] >= 5
    assert set(whole_life["listening"]) == {"127.0.0.1"}


def test_files_and_token_are_for_this_user_only(whole_life: dict[str, Any]) -> None:
    assert whole_life["directory_mode"] == "0o700"
    assert whole_life["token_mode"] == "0o600"


def test_the_token_is_on_no_command_line_and_in_no_log(whole_life: dict[str, Any]) -> None:
    assert whole_life["n_commands"] >= 5
    assert whole_life["token_told"] == []


def test_there_is_no_dashboard_and_no_telemetry(whole_life: dict[str, Any]) -> None:
    assert whole_life["dashboards"] == []
    assert whole_life["telemetry"] == ["0"]


def test_environment_and_signals_of_the_caller_stay_its_own(whole_life: dict[str, Any]) -> None:
    assert whole_life["environment_kept"]
    assert whole_life["environment_restored"]
    assert whole_life["sigterm_kept"]


def test_nothing_is_left_after_closing_not_even_a_daemon(whole_life: dict[str, Any]) -> None:
    assert whole_life["left"] == []
    assert not whole_life["directory_left"]
    assert whole_life["remaining"] == []


def test_callers_own_ray_starts_before_and_after(whole_life: dict[str, Any]) -> None:
    assert whole_life["callers_own_ray_starts"]


def test_interrupt_ends_everything_and_fails_no_trial(place: Path) -> None:
    with life("interrupted", place) as process:
        wait_until_training(process, place)
        os.killpg(process.pid, signal.SIGINT)
        output = process.communicate(timeout=60)
    assert output == ("", "")
    assert json.loads((place / "found").read_text()) == {"interrupted": True, "ended": []}
    assert processes_of(place) == []
    assert list(place.glob("sweepdiag-*")) == []


def test_signal_whose_handler_raises_ends_everything_while_ray_waits(place: Path) -> None:
    with life("stopped", place) as process:
        wait_until_training(process, place)
        time.sleep(0.5)  # by then it waits
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=60)
    assert time.monotonic() - began < 45  # it would wait for 60
    assert output == ("", "")
    assert json.loads((place / "found").read_text()) == {"stopped": True, "handler_kept": True}
    assert processes_of(place) == []


def test_killed_caller_takes_its_workers_along(place: Path) -> None:
    with life("interrupted", place) as process:
        wait_until_training(process, place)
        assert len(processes_of(place)) >= 5
        process.kill()
        process.wait()
        deadline = time.monotonic() + 60
        while processes_of(place) and time.monotonic() < deadline:
            time.sleep(0.1)
    assert processes_of(place) == []
