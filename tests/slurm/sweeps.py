"""What is submitted in the tests, and what has to come out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepdiag.store import RunFolder

if TYPE_CHECKING:
    import pandas as pd

    from tests.slurm.bed import Bed

SWEEP = (f"{Path(__file__).parent / 'slow_workload.py'}:build", "execution.executor=serial")
"""Six trainings of 20 steps, one after the other."""

N_STEPS = 6 * 20

_DEPENDS_ON_THE_RUN = ["attempt", "seconds", "device", "peak_memory_mb"]

SECRET = "hunter2-not-for-anybody"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder to submit from, and the Slurm to submit to."""

    path: Path
    bed: Bed

    def submit(
        self, *options: str, sweep: tuple[str, ...] = SWEEP, seconds: float = 0.0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run ``sweepdiag submit`` with a sweep whose steps take so long in all."""
        environment = {
            **self.bed.environment,
            "SLOW_S": str(seconds / N_STEPS),
            "SECRET_TOKEN": SECRET,
            "OMP_NUM_THREADS": "1",
            **variables,
        }
        return subprocess.run(
            [
                sys.executable,
                *("-m", "sweepdiag", "submit", *sweep, "--output", "run", "--no-check"),
                *("--mem-gb", "2", "--export", "SLOW_S", *options),
            ],
            cwd=self.path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def begin(self, *options: str, **arguments: Any) -> str:
        """Submit a sweep and return the job's id."""
        done = self.submit(*options, **arguments)
        assert done.returncode == 0, done.stderr
        match = re.search(r"job (\d+), log", done.stdout)
        assert match is not None, done.stdout
        return match[1]

    def log(self, job: str) -> str:
        path = self.path / "run.slurm" / f"{job}.out"
        return path.read_text() if path.exists() else ""

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.path / "run")

    def n_ended(self) -> int:
        """Return how many trainings have ended so far."""
        journal = self.path / "run" / "journal.jsonl"
        return journal.read_text().count('"kind":"ended"') if journal.exists() else 0

    def everything_written(self) -> str:
        """Return the text of every file below the place."""
        files = (path for path in self.path.rglob("*") if path.is_file())
        return "\n".join(path.read_text(errors="replace") for path in files)


def assert_same_results(folder: Path, expected: Path) -> None:
    """Check that two run folders say the same, bit for bit, but for where and when."""
    import pandas as pd

    for name in ("plan", "curves", "trials", "verdicts", "configurations"):
        pd.testing.assert_frame_equal(
            table(folder, name), table(expected, name), check_exact=True, obj=name
        )
    for name in ("findings.json", "recommendation.json"):
        assert json.loads((folder / name).read_text()) == json.loads((expected / name).read_text())


def table(folder: Path, name: str) -> pd.DataFrame:
    return RunFolder(folder).read_table(name).drop(columns=_DEPENDS_ON_THE_RUN, errors="ignore")


def attempts(folder: RunFolder) -> list[int]:
    """Return how often each training was begun, in the order of the plan."""
    records, _ = folder.read_records()
    begun = Counter(record["trial"] for record in records if record["kind"] == "started")
    history, _ = folder.read_history()
    return [begun[trial_id] for trial_id in history.trials]


def is_alive(marks: str) -> list[str]:
    """Return the command lines of processes whose environment has the text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if marks.encode() in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
    return found
