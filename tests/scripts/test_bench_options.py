from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def refused(*command: object, **variables: str) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}", **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("benchmark", ["scale", "trainings"])
def test_a_file_that_cannot_be_written_is_refused_before_measuring(
    benchmark: str, tmp_path: Path
) -> None:
    for path in (tmp_path / "nowhere" / "x.json", tmp_path):
        told = refused(sys.executable, "-m", f"_bench.{benchmark}", "--json", path)
        assert f"--json: must be a file in a folder that exists, got {path}" in told


def test_an_unknown_row_is_answered_with_all() -> None:
    told = refused(sys.executable, "-m", "_bench.trainings", "--row", "foo")
    assert "invalid choice: 'foo'" in told
    assert "digits_mlp" in told


@pytest.mark.parametrize("arguments", [["--dryrun"], ["--dry-run", "x"], [""]])
def test_the_check_on_a_gpu_takes_no_other_argument(arguments: list[str]) -> None:
    told = refused(ROOT / "scripts" / "gpu-check", *arguments, PYTHON="/nowhere/python")
    assert told == "usage: scripts/gpu-check [--dry-run]\n"
