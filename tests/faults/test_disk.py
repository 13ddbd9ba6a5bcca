"""Disks that are full or may not be written, and journals that have been damaged."""

from __future__ import annotations

import os
import random
import resource
import shutil
import stat
import subprocess
import sys

import pytest

from sweepdiag import StoreError, resume_sweep
from sweepdiag.records import State
from sweepdiag.store import History, Journal, RunFolder, read_journal
from tests.conftest import require
from tests.faults import sweeps

ARGUMENTS = [
    *["run", "synthetic", "--lr=0.01,0.1", "--batch-size=16", "--capacity=4", "--seeds=1"],
    *["--epochs=40", "--executor=serial", "--quiet", "execution.pack_size=1"],
    *["workload_parameters.n_train=64", "workload_parameters.n_validation=32"],
]


def command(*arguments, limit=None, **how):
    def before():
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    return subprocess.run(
        [sys.executable, "-m", "sweepdiag", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        preexec_fn=before,
        **how,
    )


def check_stopped_for(done, path):
    """Check that a command ended for a file below a path, in one line."""
    assert done.returncode == 5, (done.returncode, done.stderr)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("sweepdiag: cannot ")
    assert str(path) in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "limit",
    [
        pytest.param(limit, marks=() if limit == 6_000 else pytest.mark.faults)
        for limit in (0, 100, 1_500, 3_000, 6_000, 9_000, 13_000, 30_000)
    ],
)
def test_a_file_that_may_not_grow_is_named_and_the_sweep_resumed(tmp_path, limit):
    """The limits hit the configuration, the plan, points and, with 30 kB, figures and report."""
    path = tmp_path / "run"
    check_stopped_for(command(*ARGUMENTS, "--output", path, limit=limit), path)
    before = len(read_journal(path / "journal.jsonl")[0]) if limit > 1_500 else 0
    done = command(*ARGUMENTS, "--output", path)
    assert done.returncode == 0, done.stderr
    assert len(read_journal(path / "journal.jsonl")[0]) >= before
    history, damages = RunFolder(path).read_history()
    assert damages == []
    assert {len(trial.rows) for trial in history.trials.values()} == {41}
    sweeps.check_nothing_done_twice(path)


@pytest.mark.faults
@pytest.mark.parametrize("fill_kb", [1020, 1010, 1000, 980, 700])
def test_a_disk_that_is_full_is_named_and_the_sweep_resumed(tmp_path, fill_kb):
    """On a file system of 1 MB, of which another file takes most at first."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    require("mount", mounted.returncode == 0, "file systems cannot be mounted here")
    try:
        (disk / "filler").write_bytes(bytes(1024 * fill_kb))
        check_stopped_for(command(*ARGUMENTS, "--output", disk / "run"), disk / "run")
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        done = command(*ARGUMENTS, "--output", disk / "run")
        assert done.returncode == 0, done.stderr
        sweeps.check_nothing_done_twice(disk / "run")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.faults
def test_a_folder_that_may_not_be_written_is_named(tmp_path, reference):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    require("mount", mounted.returncode == 0, "file systems cannot be mounted here")
    try:
        shutil.copytree(reference, disk / "run")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        check_stopped_for(command("resume", disk / "run"), disk / "run")
        check_stopped_for(command(*ARGUMENTS, "--output", disk / "new"), disk / "new")
        assert command("status", disk / "run").returncode == 0
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_device_that_is_full_is_named(tmp_path):
    path = tmp_path / "journal.jsonl"
    full = os.makedev(1, 7)  # /dev/full
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, full)
    except OSError:
        require("root", present=False, reason="devices cannot be made here")
    with (
        Journal(path) as journal,
        pytest.raises(StoreError, match=r"cannot write .*journal\.jsonl: No space left"),
    ):
        journal.append([{"kind": "header"}])


def test_a_journal_cut_at_every_byte_tells_what_came_before(tmp_path, reference):
    """No trial is done that was not, none has points that were not, and none is forgotten."""
    data = (reference / "journal.jsonl").read_bytes()
    records, _ = read_journal(reference / "journal.jsonl")
    ends = [index + 1 for index, byte in enumerate(data) if byte == ord("\n")]
    path = tmp_path / "journal.jsonl"
    expected = {n: _told(History(records[:n])) for n in range(len(records) + 1)}
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        found, damages = read_journal(path)
        n_whole = sum(end <= cut for end in ends)
        assert found == records[:n_whole]
        assert len(damages) == (cut not in {0, *ends})
        if cut in ends:
            assert _told(History(found)) == expected[n_whole]


def _told(history):
    return {
        trial_id: (trial.state, trial.attempt, repr(trial.rows))  # where NaN equals NaN
        for trial_id, trial in history.trials.items()
    }


@pytest.mark.parametrize("seed", sweeps.cases(20, 0))
def test_a_cut_journal_is_resumed_to_the_same_tables(tmp_path, reference, seed):
    path = tmp_path / "run"
    shutil.copytree(reference, path)
    journal = path / "journal.jsonl"
    data = journal.read_bytes()
    journal.write_bytes(data[: random.Random(seed).randrange(len(data))])
    sweeps.whole(path)
    sweeps.check_same(path, reference)
    sweeps.check_nothing_done_twice(path)


def flip(data, rng):
    position = rng.randrange(len(data))
    damaged = bytearray(data)
    damaged[position] ^= rng.randint(1, 255)
    return bytes(damaged)


def double(data, rng):
    lines = data.splitlines(keepends=True)
    index = rng.randrange(len(lines))
    return b"".join([*lines[: index + 1], *lines[index : index + 1], *lines[index + 1 :]])


def repeat(data, rng):
    return data + data


def scrap(data, rng):
    lines = data.splitlines(keepends=True)
    index = rng.randrange(len(lines))
    return b"".join([*lines[:index], rng.randbytes(300), b"\n", *lines[index + 1 :]])


def empty(data, rng):
    return b""


def garbage(data, rng):
    return rng.randbytes(len(data))


@pytest.mark.parametrize("seed", sweeps.cases(8, 0))
@pytest.mark.parametrize("damage", [flip, double, repeat, scrap, empty, garbage])
def test_a_damaged_journal_is_resumed_to_the_same_tables(tmp_path, reference, damage, seed):
    path = tmp_path / "run"
    shutil.copytree(reference, path)
    journal = path / "journal.jsonl"
    journal.write_bytes(damage(journal.read_bytes(), random.Random(seed)))
    sweeps.whole(path)
    sweeps.check_same(path, reference)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("damage", [flip, double, repeat, scrap, empty, garbage])
def test_a_damaged_journal_calls_nothing_done_that_is_not_whole(tmp_path, reference, damage, seed):
    whole, _ = RunFolder(reference).read_history()
    data = (reference / "journal.jsonl").read_bytes()
    path = tmp_path / "journal.jsonl"
    path.write_bytes(damage(data, random.Random(seed)))
    records, damages = read_journal(path)
    assert bool(damages) == (damage in {flip, scrap, garbage})
    history = History(records)
    if history.plan is None:
        history.add_plan(whole.plan)
    for trial_id, trial in history.trials.items():
        if trial.state is State.FINISHED:
            assert repr(trial.rows) == repr(whole.trials[trial_id].rows)
    if damage in {double, repeat}:
        assert _told(history) == _told(whole)


def test_damage_is_told(tmp_path, reference, caplog):
    path = tmp_path / "run"
    shutil.copytree(reference, path)
    journal = path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:3], b"scrap\n", *lines[4:-1], lines[-1][:50]]))
    resume_sweep(path)
    assert f"{journal}: line 4 cannot be read" in caplog.text
    assert f"{journal}: its last line was torn; 50 bytes are cut" in caplog.text


def test_the_second_of_two_drivers_is_refused_and_told_who_is_the_first(tmp_path):
    path = tmp_path / "run"
    first = sweeps.start(path)
    sweeps.wait_for_points(path)
    os.kill(first.pid, 19)
    try:
        second = sweeps.start(path)
        second.join(60)
        assert second.exitcode == 5
        told = path.with_suffix(".error").read_text()
        assert f"is being written by another sweepdiag (process {first.pid} on " in told
    finally:
        os.kill(first.pid, 18)
    first.join(60)
    assert first.exitcode == 0
    sweeps.check_nothing_done_twice(path)
