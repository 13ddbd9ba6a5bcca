"""A small seeded sweep, run in processes that are killed, and what must be left of it.

The processes are forked from a server that has imported everything: a hundred of them take
minutes, not an hour.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from sweepdiag import StoreError, run_sweep
from sweepdiag.store import RunFolder, read_journal

SWEEP = {
    "workload": "synthetic",
    "workload_parameters": {"n_train": 64, "n_validation": 32},
    "parameters": {"lr": [0.01, 0.1, 1.0], "batch_size": [32], "capacity": [4]},
    "seeds": 2,
    "epochs": 6,
    "execution": {"executor": "serial", "pack_size": 2},
}
OF_THE_FIRST_STEP = {"SD904", "SD905"}
RAY = {"executor": "ray", "workers": 2, "pack_size": 2}

_NOT_THE_CURVES = ["seconds", "attempt", "peak_memory_mb"]
"""Columns that differ from run to run."""

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["sweepdiag.pipeline.sweep", "sweepdiag.report", "torch"])


def cases(n_all: int, n_sample: int) -> list[object]:
    """Return numbers of cases; all but the first few are left to scripts/test-faults."""
    return [
        pytest.param(seed, marks=() if seed < n_sample else pytest.mark.faults)
        for seed in range(n_all)
    ]


def start(path: Path, execution: dict[str, object] | None = None) -> multiprocessing.Process:
    """Begin or continue the sweep in a process of its own."""
    process = _server.Process(target=_sweep, args=(str(path), execution or SWEEP["execution"]))
    process.start()
    return process


def _sweep(path: str, execution: dict[str, object]) -> None:
    # A group of its own, so that the test finds what it leaves behind.
    os.setsid()
    try:
        run_sweep(**{**SWEEP, "execution": execution}, output=path)
    except StoreError as error:
        Path(path + ".error").write_text(str(error))
        raise SystemExit(5) from error


def whole(path: Path, execution: dict[str, object] | None = None) -> float:
    """Run the sweep without any fault; return how long it took in seconds."""
    began = time.monotonic()
    process = start(path, execution)
    process.join(300)
    assert process.exitcode == 0
    return time.monotonic() - began


def kill_at_random(path: Path, longest_s: float, seed: int, **how: object) -> None:
    """Begin the sweep and kill its process at some moment, most often while it trains."""
    process = start(path, **how)
    delay_s = random.Random(seed).uniform(0.0, longest_s)
    process.join(delay_s)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()


def tables(path: Path) -> dict[str, pd.DataFrame]:
    """Return the sweep's tables without what differs from run to run."""
    found = {}
    for name in ("plan", "trials", "curves", "verdicts", "configurations", "features"):
        table = pd.read_parquet(path / f"{name}.parquet")
        found[name] = table.drop(columns=_NOT_THE_CURVES, errors="ignore")
    return found


def check_same(path: Path, reference: Path, *, is_apart: bool = False) -> None:
    """Check that two run folders say the same, bit for bit.

    Args:
        path: The one.
        reference: The other.
        is_apart: Whether trainings of the one are kept apart from the driver (executor ``ray``),
            which takes no first step then: two checks do not apply.
    """
    expected = tables(reference)
    for name, table in tables(path).items():
        pd.testing.assert_frame_equal(table, expected[name], check_exact=True, obj=name)
    left_out = OF_THE_FIRST_STEP if is_apart else set()
    assert _findings(path, left_out) == _findings(reference, left_out)
    text = (path / "recommendation.json").read_text()
    assert text == (reference / "recommendation.json").read_text()


def _findings(path: Path, left_out: set[str]) -> list[dict[str, object]]:
    found = json.loads((path / "findings.json").read_text())
    return [finding for finding in found if finding["code"] not in left_out]


def check_nothing_done_twice(path: Path) -> None:
    """Check by the journal that no trial began again after its end, and no step is there twice."""
    records, damages = read_journal(path / "journal.jsonl")
    assert damages == []
    ended: set[str] = set()
    steps: Counter[tuple[str, int, int]] = Counter()
    for record in records:
        match record["kind"]:
            case "started":
                assert record["trial"] not in ended
            case "ended":
                assert record["trial"] not in ended
                ended.add(record["trial"])
            case "points":
                key = (record["trial"], record["attempt"])
                steps.update((*key, row[1]) for row in record["points"])
    assert max(steps.values()) == 1
    history, _ = RunFolder(path).read_history()
    assert ended == set(history.trials)


def wait_for_points(path: Path, timeout_s: float = 120.0) -> None:
    """Wait until a training has told of a point."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if b'"kind":"points"' in (path / "journal.jsonl").read_bytes():
                return
        time.sleep(0.02)
    message = f"no point in {path} within {timeout_s:g} s"
    raise TimeoutError(message)


def marked(name: str, value: str) -> list[int]:
    """Return the living processes with a variable in their environment."""
    wanted = f"{name}={value}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found
