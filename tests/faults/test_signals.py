"""Signals end a sweep in order and in time, and nothing of it outlives it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweepdiag.store import RunFolder
from tests.faults import sweeps

LOOP = """
import subprocess, time

def train(config, report):
    subprocess.Popen(["sleep", "1000"])
    for epoch in range(100_000):
        report(epoch=epoch, train_loss=1.0, val_loss=1.0)
        time.sleep(0.01)
"""
MARK = "SWEEPDIAG_TEST_MARK"
LONGEST_S = 10.0
SECOND_AFTER_S = 2.5
"""By then a signal is a second one, and not an echo of the first."""


@pytest.fixture
def loop(tmp_path):
    path = tmp_path / "loop.py"
    path.write_text(LOOP)
    return path


def start(path, what, *options):
    mark = secrets.token_hex(8)
    arguments = ["run", what, "--output", path, "--epochs=100000", "--quiet", *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "sweepdiag", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, MARK: mark},
    )
    sweeps.wait_for_points(path)
    return process, mark


def check_gone(mark, within_s=5.0):
    deadline = time.monotonic() + within_s
    while sweeps.marked(MARK, mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = sweeps.marked(MARK, mark)
    assert left == [], [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]


SMALL = ("--lr=0.1", "--batch-size=16,32", "--capacity=4", "--seeds=1")
WHAT = {
    "serial": ("synthetic", "--executor=serial", *SMALL),
    "loop": ("loop", "--executor=serial", "parameters.speed=1,2", "--seeds=1"),
    "tune": ("loop", "--executor=tune", "--workers=2", "parameters.speed=1,2", "--seeds=1"),
    "ray": ("synthetic", "--executor=ray", "--workers=2", *SMALL),
}
FURTHER = ("serial", "ray", "tune")
"""Of these, what is left to scripts/test-faults; a loop is always tried."""


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGUSR2, 75),
        pytest.param(signal.SIGTERM, 75, marks=pytest.mark.faults),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.faults),
    ],
)
@pytest.mark.parametrize(
    "what", ["loop", *(pytest.param(n, marks=pytest.mark.faults) for n in FURTHER)]
)
def test_a_signal_ends_the_sweep_in_order(tmp_path, loop, what, number, code):
    target, *options = WHAT[what]
    path = tmp_path / "run"
    process, mark = start(
        path, loop.with_name("loop.py:train") if target == "loop" else target, *options
    )
    time.sleep(0.5)
    began = time.monotonic()
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    seconds = time.monotonic() - began
    assert process.returncode == code, told
    assert f"sweepdiag resume {path}" in told
    assert "Traceback" not in told
    assert seconds < LONGEST_S
    check_gone(mark)
    history, damages = RunFolder(path).read_history()
    assert damages == []
    assert any(trial.rows for trial in history.trials.values())
    assert (path / "journal.lock").read_bytes() == b""


@pytest.mark.faults
@pytest.mark.parametrize("what", list(WHAT))
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_a_second_signal_ends_it_at_once(tmp_path, loop, what, number):
    target, *options = WHAT[what]
    process, mark = start(
        tmp_path / "run", loop.with_name("loop.py:train") if target == "loop" else target, *options
    )
    process.send_signal(number)
    time.sleep(SECOND_AFTER_S)
    began = time.monotonic()
    process.send_signal(number)
    process.communicate(timeout=60)
    assert time.monotonic() - began < 2.0
    assert process.returncode in {75, 130, -number}
    check_gone(mark)


@pytest.mark.parametrize(
    "what", ["loop", *(pytest.param(n, marks=pytest.mark.faults) for n in FURTHER)]
)
def test_a_killed_driver_takes_everything_along(tmp_path, loop, what):
    target, *options = WHAT[what]
    process, mark = start(
        tmp_path / "run", loop.with_name("loop.py:train") if target == "loop" else target, *options
    )
    assert sweeps.marked(MARK, mark)
    process.kill()
    process.communicate()
    check_gone(mark, within_s=10.0)
