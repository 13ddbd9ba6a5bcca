"""What a sweep's job survives: after each fault its tables are those of an uninterrupted run."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.slurm.bed import until
from tests.slurm.sweeps import Place, assert_same_results, attempts

if TYPE_CHECKING:
    from pathlib import Path

    from tests.slurm.bed import Bed

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.faults,
    pytest.mark.xdist_group("slurm"),
]

LONG_S = 30.0
"""So long the six trainings take, beside what their processor does."""

LONGER_S = 75.0
"""The same, so that they outlast a grace time of 20 s on any machine."""


def begin_and_wait_for_two(place: Place, *options: str, seconds: float = LONG_S) -> str:
    """Submit a sweep, and return its job's id when two of its six trainings have ended."""
    job = place.begin(*options, seconds=seconds)
    until(lambda: place.n_ended() >= 2, 240)
    return job


def assert_completed(place: Place, job: str, expected: Path, *, restarts: int = 1) -> None:
    found = place.bed.wait_for_state(job, "COMPLETED", "FAILED", "TIMEOUT", "CANCELLED")
    assert (found["JobState"], found["ExitCode"]) == ("COMPLETED", "0:0"), place.log(job)
    assert int(found["Restarts"]) >= restarts
    assert_same_results(place.folder.path, expected)
    # A restart begins one training anew, and none that had ended.
    assert sum(attempts(place.folder)) <= 6 + int(found["Restarts"])


def make_room_for_an_urgent_job(place: Place) -> None:
    """Let another job push the sweep off its node, and end."""
    script = place.path / "urgent.sbatch"
    script.write_text("#!/bin/bash\nsleep 3\n")
    place.bed.call(
        "sbatch",
        *("--partition=urgent", "--nodes=2", "--exclusive", f"--output={place.path}/urgent.out"),
        *("--wait", str(script)),
        timeout=180,
    )


def test_requeue_by_hand(place: Place, bed: Bed, uninterrupted: Path) -> None:
    job = begin_and_wait_for_two(place)
    bed.call("scontrol", "requeue", job)
    assert_completed(place, job, uninterrupted)


def test_preemption_without_grace(place: Place, uninterrupted: Path) -> None:
    job = begin_and_wait_for_two(place)
    make_room_for_an_urgent_job(place)
    assert_completed(place, job, uninterrupted)


@pytest.mark.parametrize("is_told", [False, True], ids=["silent", "told"])
def test_preemption_with_grace(
    place: Place, bed: Bed, uninterrupted: Path, *, is_told: bool
) -> None:
    told = ["SlurmctldParameters=preempt_send_user_signal"] if is_told else []
    with bed.configured(*told):
        job = begin_and_wait_for_two(place, "--partition", "grace", seconds=LONGER_S)
        make_room_for_an_urgent_job(place)
        assert_completed(place, job, uninterrupted)
    if is_told:  # and so has ended before the grace time has
        assert "Interrupted: " in place.log(job)
        assert "DUE TO PREEMPTION" not in place.log(job)


def test_time_limit(place: Place, uninterrupted: Path) -> None:
    done = place.submit("--wait", "--timeout-min", "1", seconds=60.0)
    assert done.returncode == 0, (done.stdout, done.stderr)
    (job,) = re.findall(r"job (\d+)", done.stdout)
    assert_completed(place, job, uninterrupted)
    assert "Interrupted: " in place.log(job)
    assert "DUE TO TIME LIMIT" not in place.log(job)


def test_node_that_fails(place: Place, bed: Bed, uninterrupted: Path) -> None:
    job = begin_and_wait_for_two(place)
    node = bed.show(job)["NodeList"]
    # Its daemon is well, so it comes back into service by itself.
    bed.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    assert_completed(place, job, uninterrupted)


def test_a_stopped_job_requeues_itself_so_often_and_no_oftener(
    place: Place, bed: Bed, uninterrupted: Path
) -> None:
    job = begin_and_wait_for_two(place, "--requeue-limit", "1")
    bed.call("scancel", "--signal=USR2", "--batch", job)
    until(lambda: bed.show(job)["Restarts"] == "1", 120)
    until(lambda: place.n_ended() >= 3, 240)
    bed.call("scancel", "--signal=USR2", "--batch", job)
    found = bed.wait_for_state(job, "FAILED", "COMPLETED")
    assert (found["JobState"], found["ExitCode"], found["Restarts"]) == ("FAILED", "75:0", "1")
    last = place.log(job).splitlines()[-1]
    assert last == "not done after 1 requeues (max_requeues=1): submit again to go on"

    assert place.submit("--wait").returncode == 0
    assert_same_results(place.folder.path, uninterrupted)


@pytest.mark.parametrize("options", [[], ["--signal=TERM", "--full"]], ids=["plain", "term"])
def test_a_cancelled_job_does_not_come_back(
    place: Place, bed: Bed, uninterrupted: Path, options: list[str]
) -> None:
    job = begin_and_wait_for_two(place)
    bed.call("scancel", *options, job)
    bed.wait_for_state(job, "CANCELLED", "FAILED")
    time.sleep(10)  # longer than a requeued job waits
    found = bed.show(job)
    state = "FAILED" if options else "CANCELLED"
    assert (found["JobState"], found["Restarts"]) == (state, "0")
    assert "Interrupted: " in place.log(job)

    assert place.submit("--wait").returncode == 0
    assert_same_results(place.folder.path, uninterrupted)


def test_array_and_its_collector(place: Place, bed: Bed, uninterrupted: Path) -> None:
    done = place.submit("--array", "3", seconds=LONG_S)
    assert done.returncode == 0, done.stderr
    array, collector = re.findall(r"job (\d+), log", done.stdout)
    shards = place.path / "run.slurm"
    until(lambda: '"kind":"ended"' in text(shards / "shard-1" / "journal.jsonl"), 240)
    bed.call("scancel", "--signal=USR2", "--batch", f"{array}_1")
    found = bed.wait_for_state(collector, "COMPLETED", "FAILED")
    assert found["JobState"] == "COMPLETED", place.log(collector)
    assert bed.show(f"{array}_1")["Restarts"] == "1"
    assert_same_results(place.folder.path, uninterrupted)
    assert [
        text(shards / f"shard-{i}" / "sweep.yaml").count(f"shard: {i}/3") for i in range(3)
    ] == [
        1,
        1,
        1,
    ]


def test_controller_that_is_killed(place: Place, bed: Bed, uninterrupted: Path) -> None:
    """The last one: the controller forgets jobs, lets some run twice, and then takes its time."""
    finished = place.begin()
    bed.wait_for_state(finished, "COMPLETED")
    before = {path: path.read_bytes() for path in place.folder}
    bed.kill_controller()
    bed.start_controller()
    bed.wait_for_idle_nodes(120)
    # It may have run again by itself; if not, it does now.
    until(lambda: not bed.jobs(), 240)
    assert place.submit("--wait").returncode == 0
    assert {path: path.read_bytes() for path in place.folder} == before
    assert_same_results(place.folder.path, uninterrupted)


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
