from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_planted_cause_is_named_and_kept(tmp_path: Path) -> None:
    name = "digits-mlp-unscaled_inputs-severe"
    arguments = ["--only", name, "--work", tmp_path / "work", "--json", tmp_path / "found.json"]
    for _ in range(2):  # the second time from what is kept
        done = subprocess.run(
            [sys.executable, "-m", "_bench.causes", "--held-out", "without", *arguments],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (outcome,) = json.loads((tmp_path / "found.json").read_text())["sweeps"]
        assert outcome["codes"][0] == "SD303"
