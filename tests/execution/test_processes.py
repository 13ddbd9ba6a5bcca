from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sweepdiag.execution import processes
from sweepdiag.execution.processes import RUN_ID_VARIABLE, end_processes, find_processes

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="other systems have no /proc"
)


def start(run_id: str, code: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, RUN_ID_VARIABLE: run_id}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)


def test_marked_process_is_found_and_ended() -> None:
    run_id = secrets.token_hex(8)
    with start(run_id, "print(flush=True); import time; time.sleep(60)") as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert find_processes(run_id) == [process.pid]
        assert find_processes(run_id[:-1]) == []
        assert end_processes(run_id, patience_s=0.0) == [process.pid]
        assert process.wait(timeout=10) == -signal.SIGKILL
    assert find_processes(run_id) == []


def test_process_that_ends_in_time_is_not_killed() -> None:
    run_id = secrets.token_hex(8)
    with start(run_id, "print(flush=True); import time; time.sleep(0.3)") as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert end_processes(run_id, patience_s=10.0) == []
        assert process.wait(timeout=10) == 0


def test_own_process_is_never_found(monkeypatch: pytest.MonkeyPatch) -> None:
    own = (processes._PROC / "self" / "environ").read_bytes().split(b"\0")[0]
    monkeypatch.setattr(processes, "RUN_ID_VARIABLE", own.partition(b"=")[0].decode())
    assert os.getpid() not in find_processes(own.partition(b"=")[2].decode())


def test_no_proc_means_nothing_to_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "_PROC", tmp_path / "missing")
    assert end_processes("some run", patience_s=600.0) == []
