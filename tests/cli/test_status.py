import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from sweepdiag.store import RunFolder
from sweepdiag.store.journal import encode_line
from sweepdiag.store.process import this_process
from tests.cli.test_cli import SMALL, command


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "small"
    done = command("run", *SMALL, "--output", path, "--quiet")
    assert done.returncode == 0, done.stderr
    return path


def told(path):
    done = command("status", path, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def state_of(path):
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in RunFolder(path)}


def without_override(*arguments):
    """Run a command without the right of root to write where permissions forbid it."""
    prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    return subprocess.run(
        [
            *(prefix if os.geteuid() == 0 else []),
            *[sys.executable, "-m", "sweepdiag", *map(str, arguments)],
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def read_only(finished, tmp_path):
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root may write anywhere, and there is no setpriv")
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    path.chmod(0o555)
    yield path
    path.chmod(0o755)


def test_a_finished_sweep_is_complete_and_untouched(finished):
    before = state_of(finished)
    status = told(finished)
    assert state_of(finished) == before
    assert status["is_complete"]
    assert status["driver"] == "gone"
    assert status["states"] == {"finished": 2}
    assert status["fraction"] == 1.0
    assert status["trials_per_s"] > 0
    assert status["remaining_s"] is None or status["remaining_s"] == 0
    assert command("status", finished).stdout.count("Complete since") == 1


def test_a_running_sweep_names_its_driver_and_a_killed_one_is_not_running(tmp_path):
    path = tmp_path / "run"
    options = ["--executor=serial", "--epochs=5000", "--capacity=4", "--lr=0.01", "--seeds=1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sweepdiag", "run", "digits", *options, "--output", str(path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    folder = RunFolder(path)
    while not any(trial.rows for trial in folder.read_history()[0].trials.values()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    status = told(path)
    assert (status["driver"], status["pid"]) == ("alive", process.pid)
    assert status["states"]["running"] >= 1
    assert f"Running: process {process.pid} on" in command("status", path).stdout

    process.send_signal(signal.SIGKILL)
    process.wait()
    status = told(path)
    assert (status["driver"], status["pid"]) == ("gone", process.pid)
    assert "running" not in status["states"]
    assert status["states"]["lost"] >= 1
    text = command("status", path).stdout
    assert "Not running since 20" in text
    assert re.search(r"lost +\d+  interrupted, or points missing: resume trains them", text)
    assert f"sweepdiag resume {path}" in text


def test_looking_keeps_no_writer_out(finished, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    folder = RunFolder(path)
    history, _ = folder.read_progress()
    with folder.open_journal():
        assert folder.find_driver(history).state == "alive"
        assert folder.find_driver(history).pid == os.getpid()
    assert folder.find_driver(history).state == "gone"


def test_a_driver_on_another_machine_is_told_as_not_seen(finished, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    (path / "journal.lock").unlink()  # on a file system where there can be none
    elsewhere = {"kind": "session", "started": "2026-01-01T00:00:00+00:00", "host": "node7"}
    with (path / "journal.jsonl").open("ab") as file:
        file.write(encode_line({**elsewhere, "pid": 77, "namespace": "pid:[1]"}))
        file.write(b'{"crc32":"torn')
    status = told(path)
    assert (status["driver"], status["host"], status["pid"]) == ("unknown", "node7", 77)
    assert status["n_damaged"] == 0
    assert 0 <= status["seconds_silent"] < 60


@pytest.mark.parametrize(
    ("host", "pid", "age_s", "state"),
    [
        ("node7", 77, 5, "alive"),
        ("node7", 77, 500, "gone"),
        (None, None, 5, "alive"),  # this process
        (None, 2**22 + 1, 5, "gone"),
    ],
)
def test_a_lease_tells_any_machine_whether_its_holder_lives(
    finished, tmp_path, host, pid, age_s, state
):
    path = tmp_path / "run"
    pid = os.getpid() if pid is None else pid
    shutil.copytree(finished, path)
    place = {"host": host, "namespace": "pid:[1]"} if host else this_process()
    lease = path / "journal.lock"
    lease.write_text(json.dumps({**place, "pid": pid, "token": "x"}))
    for file in (lease, path / "journal.jsonl"):
        os.utime(file, (time.time() - age_s, time.time() - age_s))
    status = told(path)
    assert (status["driver"], status["pid"]) == (state, pid)
    assert status["seconds_silent"] == pytest.approx(age_s, abs=4)
    lease.write_text("")
    assert told(path)["driver"] == "gone"


def test_errors_are_told_the_latest_first(tmp_path):
    path = tmp_path / "my_loop.py"
    path.write_text(
        "def train(config, report):\n"
        "    report(epoch=0, train_loss=1.0, val_loss=1.0)\n"
        "    if config['speed'] > 1:\n"
        "        raise ValueError(f'too fast: {config[\"speed\"]}')\n"
        "    report(epoch=1, train_loss=0.5, val_loss=0.5)\n"
    )
    options = ["parameters.speed=1,2,3", "--seeds=1", "--epochs=1", "--executor=serial"]
    command("run", f"{path}:train", *options, "--output", tmp_path / "run", "--quiet")
    status = told(tmp_path / "run")
    assert {error["reason"] for error in status["errors"]} == {
        f"ValueError: too fast: {speed} (my_loop.py:4)" for speed in (2, 3)
    }
    history, _ = RunFolder(tmp_path / "run").read_history()
    assert [error["trial_id"] for error in status["errors"]] == history.failures[::-1]


def test_a_journal_of_garbage_is_damaged(finished, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    (path / "journal.jsonl").write_bytes(b"garbage\n" * 7)
    text = command("status", path).stdout
    assert text.startswith(f"{path}: nothing is planned yet\n")
    assert text.endswith("7 damaged lines of the journal cannot be read\n")


@pytest.mark.parametrize("keep", [0, 1, 200, -700, -1])
def test_a_journal_cut_anywhere_is_no_obstacle(finished, tmp_path, keep):
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    journal = path / "journal.jsonl"
    cut = journal.read_bytes()[:keep]
    journal.write_bytes(cut)
    status = told(path)
    assert status["n_done"] <= 2
    assert status["n_damaged"] == 0
    assert journal.read_bytes() == cut


def test_a_read_only_folder_has_a_status_and_a_report_elsewhere(read_only, tmp_path):
    looked = without_override("status", read_only)
    assert looked.returncode == 0, looked.stderr
    assert "Complete since" in looked.stdout

    refused = without_override("report", read_only)
    assert refused.returncode == 5
    assert "cannot be written (read-only)" in refused.stderr
    assert "--output" in refused.stderr

    before = state_of(read_only)
    report = without_override("report", read_only, "--output", tmp_path / "report")
    assert report.returncode == 0, report.stderr
    assert (tmp_path / "report" / "report.html").exists()
    assert f"Report: {tmp_path / 'report' / 'report.html'}" in report.stdout
    assert state_of(read_only) == before
    again = without_override("report", read_only, "--output", tmp_path / "report")
    assert again.returncode == 0, again.stderr


def test_a_report_is_not_written_over_what_is_somebody_elses(finished, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for folder in (tmp_path, finished):
        refused = command("report", finished, "--output", folder)
        assert refused.returncode == 2
        assert "choose a new folder" in refused.stderr
