"""Several nodes: the work is spread over them, and they may come and go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sweepdiag import run_sweep
from tests.execution import clusters
from tests.faults import sweeps

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

PROGRAMS = Path(clusters.__file__)
LONGEST_S = 900


@pytest.fixture
def run(place: Path) -> Callable[..., dict[str, Any]]:
    """Return what a program finds that brings up a cluster; see ``clusters.py``."""

    def run(name: str, *arguments: object) -> dict[str, Any]:
        environment = {**os.environ, "TMPDIR": str(place), "HOME": str(place)}
        environment.pop("RAY_ADDRESS", None)
        done = subprocess.run(
            [sys.executable, str(PROGRAMS), name, str(place), *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads((place / "found").read_text())
        return found

    return run


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sweep, to which nothing happens."""
    path = tmp_path_factory.mktemp("reference") / "run"
    run_sweep(
        **clusters.SWEEP,
        output=path,
        execution={"executor": "serial", "pack_size": clusters.PACK_SIZE},
    )
    return path


def check_attempts(path: Path) -> int:
    """Check that no trial ended twice and no curve mixes attempts; return the highest attempt."""
    sweeps.check_nothing_done_twice(path)
    from sweepdiag.store import RunFolder

    history, _ = RunFolder(path).read_history()
    for trial in history.trials.values():
        epochs = [row[0] for row in trial.rows]
        assert epochs == list(range(clusters.SWEEP["epochs"] + 1))
    return max(trial.attempt for trial in history.trials.values())


@pytest.mark.parametrize(
    ("first", "last"),
    [
        pytest.param(0, 1, id="once"),
        pytest.param(1, 11, marks=pytest.mark.faults, id="ten times"),
    ],
)
def test_a_lost_node_costs_attempts_and_no_bit(
    run: Callable[..., dict[str, Any]], place: Path, reference: Path, first: int, last: int
) -> None:
    found = run("lost_nodes", first, last)
    attempts = [check_attempts(place / f"run-{seed}") for seed in range(first, last)]
    for seed in range(first, last):
        sweeps.check_same(place / f"run-{seed}", reference)
    assert min(attempts) == 2
    gone = [text for text in found["warnings"] if "has gone: what it trained begins again" in text]
    assert len(gone) == last - first
    assert [text for text in found["warnings"] if text not in gone] == []


@pytest.mark.faults
@pytest.mark.parametrize("which", ["all", "head"])
def test_without_any_node_left_a_sweep_stops_and_can_be_resumed(
    run: Callable[..., dict[str, Any]], place: Path, which: str
) -> None:
    found = run("all_nodes_lost", which)
    if which == "all":
        assert found["code"] == 75, found
        assert "no worker is left: the nodes with a GPU have gone" in found["err"]
        assert f"Go on:      sweepdiag resume {place / 'run'}" in found["err"]
    else:  # Ray itself ends its driver
        assert found["code"] == 1, found
        assert "Failed to connect to GCS within 60 seconds" in found["err"]
    assert "Traceback" not in found["err"]
    assert found["out"] == ""
    assert found["seconds"] < 120
    command = [sys.executable, "-m", "sweepdiag"]
    done = subprocess.run(
        [*command, "resume", str(place / "run"), "--address=local", "--gpus=0", "--quiet"],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    whole = [*command, "run", str(place / "sweep.yaml"), "--executor=serial", "--quiet"]
    subprocess.run([*whole, "--output", str(place / "whole")], check=True, timeout=LONGEST_S)
    sweeps.check_same(place / "run", place / "whole")
    sweeps.check_nothing_done_twice(place / "run")


@pytest.mark.faults
def test_work_is_spread_over_nodes_and_one_that_comes_later_is_used(
    run: Callable[..., dict[str, Any]],
) -> None:
    found = run("spread")
    assert len({seat.partition("/")[0] for seat in found["seats_2"]}) == 2
    assert len(found["seats_4"]) == 4
    assert found["states"] == {"finished": 60}
    assert found["by_node"][found["came"]] > 0


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["device", "node"])
def test_a_place_that_kills_what_others_train_gets_no_more_work(
    run: Callable[..., dict[str, Any]], kind: str
) -> None:
    found = run("bad_place", kind)
    assert found["states"] == {"finished": 180}
    bad = found["bad"]
    assert not [seat for seat in found["seats"] if seat.startswith(bad)]
    told = [text for text in found["warnings"] if "gets no more work" in text]
    node = bad.partition("/")[0][:8]
    n_deaths = sum(text.startswith("a worker process died") for text in found["warnings"])
    if kind == "device":
        # On a busy machine the others may be done before a third worker has started there.
        assert len(told) == (n_deaths >= 3)
        assert all(text.startswith(f"GPU 1 of node {node} ") for text in told)
        assert 1 <= n_deaths <= 3
    else:
        assert all(node in text for text in told)
        assert sum(text.startswith("node ") for text in told) <= 1
        assert 2 <= n_deaths <= 12
