"""Sweeps as jobs of a real Slurm, as they should go."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.slurm.sweeps import SECRET, SWEEP, Place, assert_same_results

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.xdist_group("slurm")]


def test_a_job_says_where_it_is_and_a_repeat_adds_nothing(
    place: Place, uninterrupted: Path
) -> None:
    done = place.submit("--wait", "--gpus-per-node", "1", SWEEPDIAG_FAKE_GPUS="1")
    assert done.returncode == 0, (done.stdout, done.stderr)
    (job,) = re.findall(r"^node: job (\d+), log run\.slurm/\1\.out$", done.stdout, re.MULTILINE)
    log = place.log(job)
    assert "1 fake GPU of this machine" in log
    assert log.rstrip().endswith("Report: run/report.html")
    assert_same_results(place.folder.path, uninterrupted)
    # What was not on the list has not reached the job, nor any file.
    assert SECRET not in place.everything_written()

    before = {path: path.read_bytes() for path in place.folder}
    used_s = resource.getrusage(resource.RUSAGE_CHILDREN)
    again = subprocess.run(
        [sys.executable, "-m", "sweepdiag", "run", *SWEEP, "--output", "run", "--quiet"],
        cwd=place.path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    after_s = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert again.returncode == 0
    assert {path: path.read_bytes() for path in place.folder} == before
    # Of one core: how long that takes depends on what else this machine does.
    assert after_s.ru_utime + after_s.ru_stime - used_s.ru_utime - used_s.ru_stime < 5.0


def test_the_exit_code_and_the_last_line_are_the_drivers(place: Place) -> None:
    done = place.submit("--wait", sweep=("no_such_workload",))
    assert done.returncode == 2, (done.stdout, done.stderr)
    (job,) = re.findall(r"job (\d+)", done.stdout)
    assert "unknown workload 'no_such_workload'" in place.log(job).splitlines()[-1]
    assert place.bed.show(job)["JobState"] == "FAILED"
    assert place.bed.show(job)["Restarts"] == "0"


def test_what_slurm_refuses_is_told(place: Place) -> None:
    done = place.submit("--partition", "nowhere")
    assert done.returncode == 2
    assert "sbatch refused run.slurm/node.sbatch" in done.stderr
    assert "invalid partition" in done.stderr
    assert "Traceback" not in done.stderr
