"""A Ray cluster over two nodes of a real Slurm, in a network and a process table of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import require
from tests.slurm.bed import missing_programs
from tests.slurm.inside import DIGITS
from tests.slurm.sweeps import assert_same_results

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.faults,
    pytest.mark.xdist_group("slurm"),
]

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sweepdiag-slurm-") as directory:
        yield Path(directory)


def found(root: Path, *names: str) -> dict[str, Any]:
    """Return what happened in scenarios of ``inside.py``, each in a folder of its name."""
    missing = missing_programs()
    require("slurm", not missing, f"no Slurm to test with: {', '.join(missing)} missing")
    file = root / f"{names[0]}.json"
    done = subprocess.run(
        [
            *("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *(str(HERE / "netns"), sys.executable, str(HERE / "inside.py")),
            *(str(root), str(file), *names),
        ],
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def refused(root: Path) -> dict[str, Any]:
    return found(root, "bad_number_of_gpus", "taken_port", "missing_token")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bad_number_of_gpus", "--num-gpus"),
        ("taken_port", "port"),
        ("missing_token", "token"),
    ],
)
def test_a_ray_that_does_not_start_fails_the_job_with_its_reason(
    refused: dict[str, Any], name: str, reason: str
) -> None:
    job = refused[name]
    assert (job["state"], job["exit"], job["restarts"]) == ("FAILED", "1:0", "0"), job
    last = job["log"].splitlines()[-1]
    assert last.startswith("Ray ended before the sweep: ")
    assert reason in last


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the same sweep, trained in one process."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    command = [sys.executable, "-m", "sweepdiag", "run", *DIGITS, "execution.executor=serial"]
    subprocess.run([*command, "--output", str(folder), "--quiet"], check=True)
    return folder


def test_sixteen_gpus_of_two_nodes_train_the_digits_sweep(root: Path, digits: Path) -> None:
    job = found(root, "whole_sweep")["whole_sweep"]
    assert (job["state"], job["exit"], job["restarts"]) == ("COMPLETED", "0:0", "0"), job
    assert "16 fake GPUs of the Ray cluster at 10.99.0.1" in job["log"]
    names = {name.partition("-")[2].lstrip("0123456789") for name in job["ray"]}
    assert names == {"-0.out", "-0.err", "-1.out", "-1.err", ".err"}  # two nodes, and their step
    assert_same_results(root / "whole_sweep" / "run", digits)
    assert (job["token_mode"], job["token_is_one"]) == ("0o600", True)
    assert (job["token_in_commands"], job["token_in_files"]) == (False, False)
    assert (job["token_left"], job["scratch_left"]) == (False, False)


def test_a_stopped_cluster_goes_on_with_the_same_results(root: Path, digits: Path) -> None:
    job = found(root, "stopped_and_requeued")["stopped_and_requeued"]
    assert (job["state"], job["exit"], job["restarts"]) == ("COMPLETED", "0:0", "1"), job
    assert "Interrupted: " in job["log"]
    assert_same_results(root / "stopped_and_requeued" / "run", digits)
