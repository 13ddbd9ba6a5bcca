import json
import os
import signal
import subprocess
import sys
import time

import pytest

from sweepdiag.errors import StoreError
from sweepdiag.store.lease import Lease

HOLD = """
import sys, time
from pathlib import Path
from sweepdiag.store.lease import Lease
lease = Lease(Path(sys.argv[1]), heartbeat_s=float(sys.argv[2]))
print("held", flush=True)
sys.stdin.readline()
try:
    with lease.held():
        print("still mine", flush=True)
except Exception as error:
    print(error, flush=True)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.lock"


@pytest.fixture
def holder(path):
    """Another process that holds the lease, renewing it ten times a second."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), "0.1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def written_elsewhere(path, *, age_s=0.0, **changes):
    """Leave a lease as a process on another machine would."""
    Lease(path).release()
    mark = {"host": "node7", "pid": 4242, "started": "1", "boot": "b", "namespace": "n"}
    path.write_text(json.dumps({**mark, "token": "t", **changes}))
    then = time.time() - age_s
    os.utime(path, (then, then))


def test_a_second_process_is_refused_at_once_and_told_who_writes(path, holder):
    began = time.monotonic()
    with pytest.raises(
        StoreError, match=rf"is being written by another sweepdiag \(process {holder.pid} on "
    ):
        Lease(path)
    assert time.monotonic() - began < 2


def test_a_lease_whose_process_is_dead_is_taken_over_at_once(path, holder, caplog):
    holder.kill()
    holder.wait()
    began = time.monotonic()
    Lease(path).release()
    assert time.monotonic() - began < 2
    assert f"process {holder.pid} on" in caplog.text
    assert "is dead" in caplog.text


def test_an_id_that_another_process_has_by_now_is_no_holder(path):
    Lease(path).release()
    lease = Lease(path)
    mark = json.loads(path.read_text())
    lease.release()
    path.write_text(json.dumps({**mark, "started": "1", "token": "of before"}))
    Lease(path).release()


def test_who_slept_through_its_lease_writes_no_more(path, holder):
    os.kill(holder.pid, signal.SIGSTOP)
    with pytest.raises(StoreError, match="is being written"):
        Lease(path, stale_after_s=60.0)
    time.sleep(1.0)
    lease = Lease(path, stale_after_s=0.9)
    os.kill(holder.pid, signal.SIGCONT)
    out, _ = holder.communicate("go on\n")
    assert f"has been taken over by process {os.getpid()} on" in out
    with lease.held():
        pass
    lease.release()


def test_another_machines_lease_is_taken_over_when_it_is_old(path, caplog):
    written_elsewhere(path, age_s=61)
    Lease(path).release()
    assert "process 4242 on node7, which has given no sign of life for 61 s" in caplog.text


def test_another_machines_lease_is_waited_for_until_it_is_old(path):
    written_elsewhere(path, age_s=0)
    began = time.monotonic()
    Lease(path, stale_after_s=1.0).release()
    assert 0.5 < time.monotonic() - began < 10


def test_another_machine_that_renews_its_lease_is_left_alone(path):
    written_elsewhere(path, age_s=30)
    renew = subprocess.Popen(["sh", "-c", f"sleep 0.5; touch {path}"])
    with pytest.raises(StoreError, match="process 4242 on node7"):
        Lease(path)
    renew.wait()


def test_the_same_id_on_another_machine_of_that_name_is_not_looked_for(path):
    lease = Lease(path)
    mark = json.loads(path.read_text())
    lease.release()
    written_elsewhere(path, **{**mark, "boot": "another", "pid": 2**22 + 1})
    began = time.monotonic()
    Lease(path, stale_after_s=1.0).release()
    assert time.monotonic() - began > 0.5


def test_a_lease_is_renewed(path):
    lease = Lease(path, heartbeat_s=0.05)
    os.utime(path, (0, 0))
    time.sleep(0.5)
    assert time.time() - path.stat().st_mtime < 10
    lease.release()
    lease.release()
    assert path.read_bytes() == b""


def test_garbage_is_somebody_until_it_is_old(path):
    path.write_bytes(b"\x00garbage")
    os.utime(path, (0, 0))
    Lease(path).release()
