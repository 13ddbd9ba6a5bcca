from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import require
from tests.slurm.bed import Bed, missing_programs
from tests.slurm.sweeps import Place

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    missing = missing_programs()
    require("slurm", not missing, f"no Slurm to test with: {', '.join(missing)} missing")
    slurm = Bed()
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


@pytest.fixture
def place(bed: Bed) -> Iterator[Place]:
    """A folder to submit from; what it left in the queue is cancelled."""
    directory = Path(tempfile.mkdtemp(prefix="sweepdiag-slurm-"))
    place = Place(directory, bed)
    yield place
    bed.cancel_jobs()
    bed.wait_for_idle_nodes()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the same sweep, trained at once and at full speed."""
    from tests.slurm.sweeps import SWEEP

    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    subprocess.run(
        [sys.executable, "-m", "sweepdiag", "run", *SWEEP, "--output", str(folder), "--quiet"],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return folder
