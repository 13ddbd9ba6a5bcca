"""Executors on a Ray that is not their own, and on places that do not come free."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sweepdiag.errors import LaunchError
from sweepdiag.execution import resolve_devices
from sweepdiag.execution.processes import find_processes
from sweepdiag.records import Deadlines, Event, Pack, State, TrialEnded
from sweepdiag.testing import executors as checks
from sweepdiag.testing.executors import ScriptedWorker, scripted_packs

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.ray, pytest.mark.slow]

N_CPUS = 2
N_GPUS = 4


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("token") / "token"
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32))
    return path


@pytest.fixture(scope="module", autouse=True)
def callers_ray(token: Path) -> Iterator[str]:
    """A Ray as the caller's own code would have started it; its address."""
    import ray

    from sweepdiag.execution import _ray_state

    variables = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "CUDA_VISIBLE_DEVICES": "0,1,2,3",
    }
    with _ray_state.borrowed_process_state(variables), _ray_state.loopback_only():
        _ray_state.forget_token()
        context = ray.init(
            address="local",
            num_cpus=N_CPUS,
            num_gpus=N_GPUS,
            include_dashboard=False,
            object_store_memory=100 * 2**20,
            _node_ip_address="127.0.0.1",
            log_to_driver=False,
        )
    yield context.address_info["gcs_address"]
    ray.shutdown()
    _ray_state.forget_token()


def tell_environment(pack: Pack, *, device: str) -> Iterator[list[Event]]:
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "SWEEPDIAG_RUN_ID")
    told = "/".join([device, *(os.environ.get(name, "unset") for name in names)])
    for trial in pack.trials:
        time.sleep(0.5)  # long enough for every worker to get a pack
        yield [TrialEnded(trial_id=trial.trial_id, attempt=1, state=State.FINISHED, reason=told)]


def hang_at_hang(pack: Pack, *, device: str) -> Iterator[list[Event]]:
    for trial, attempt in zip(pack.trials, pack.attempts, strict=True):
        if trial.axes["act"] == "hang":
            time.sleep(600)
        yield [TrialEnded(trial_id=trial.trial_id, attempt=attempt, state=State.FINISHED)]


def test_callers_ray_serves_and_goes_on() -> None:
    import ray

    from sweepdiag.execution._ray import RayExecutor

    with RayExecutor(2) as executor:
        checks.check_delivers_every_event(executor)
        (told,) = _reasons(executor.run(scripted_packs([["train"]]), tell_environment))
    *limits, run_id = told.split("/")
    assert limits == ["cpu", "", "1"]
    assert find_processes(run_id) == []
    assert ray.is_initialized()


def test_ray_that_is_too_small_is_refused_at_once() -> None:
    from sweepdiag.execution._ray import RayExecutor

    with pytest.raises(LaunchError, match="64 workers need 64 CPUs, the running Ray has 2"):
        RayExecutor(64)
    with pytest.raises(LaunchError, match="8 workers need 8 GPUs, the running Ray has 4"):
        RayExecutor(8, gpus=8)


def test_each_worker_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from sweepdiag.execution._ray import RayExecutor

    monkeypatch.setenv("SWEEPDIAG_FAKE_GPUS", str(N_GPUS))
    with RayExecutor(N_GPUS, gpus=N_GPUS, start_timeout_s=60.0) as executor:
        packs = scripted_packs([["train"]] * N_GPUS)
        told: set[str] = set()
        while len(told) < N_GPUS:  # a late worker may leave its pack to an early one
            reasons = _reasons(executor.run(packs, tell_environment))
            told.update(reason.rpartition("/")[0] for reason in reasons)
    assert told == {f"cpu/{index}/1" for index in range(N_GPUS)}


def test_worker_that_sends_nothing_is_given_up() -> None:
    from sweepdiag.execution._ray import RayExecutor

    packs = scripted_packs([["train", "hang", "train"], ["train"]])
    with RayExecutor(1, deadlines=Deadlines(start_s=3.0, silence_s=3.0)) as executor:
        batches = list(executor.run(packs, hang_at_hang))
    ends = [event for batch in batches for event in batch if isinstance(event, TrialEnded)]
    hung, mate = packs[0].trials[1:]
    assert {end.trial_id for end in ends if end.state is State.TIMED_OUT} == {hung.trial_id}
    assert sorted(end.state for end in ends) == [*[State.FINISHED] * 3, State.TIMED_OUT]
    by_trial = {end.trial_id: end for end in ends}
    assert by_trial[hung.trial_id].reason == "no first evaluation within 3 s"
    assert by_trial[mate.trial_id].attempt == 2


def test_slow_caller_is_no_silence_of_the_worker() -> None:
    from sweepdiag.execution._ray import RayExecutor

    with RayExecutor(1, deadlines=Deadlines(start_s=3.0, silence_s=3.0)) as executor:
        run = executor.run(scripted_packs([["train"]]), ScriptedWorker(n_points=8, pause_s=0.2))
        next(run)
        time.sleep(4.0)
        ends = [event for batch in run for event in batch if isinstance(event, TrialEnded)]
    assert [end.state for end in ends] == [State.FINISHED]


def test_worker_that_finds_no_room_is_done_without() -> None:
    from sweepdiag.execution._ray import RayExecutor

    with RayExecutor(N_CPUS - 1) as greedy, RayExecutor(2) as executor:
        packs = scripted_packs([["train"]] * 4)
        assert len(_reasons(greedy.run(packs, ScriptedWorker(pause_s=0.3)))) == 4
        checks.check_delivers_every_event(executor)


def test_no_room_for_any_worker_is_an_error() -> None:
    from sweepdiag.execution._ray import RayExecutor

    with RayExecutor(N_CPUS) as greedy, RayExecutor(1, start_timeout_s=1.0) as executor:
        packs = scripted_packs([["train"]] * N_CPUS)
        list(greedy.run(packs, ScriptedWorker(pause_s=0.5)))
        with pytest.raises(LaunchError, match="none was ready within 1 s"):
            list(executor.run(packs, ScriptedWorker()))


def test_gpus_of_a_cluster_are_those_it_announces() -> None:
    devices = resolve_devices(None, address="ignored: this process has a Ray")
    assert devices.count == N_GPUS
    with pytest.raises(LaunchError, match="the Ray cluster at here has 4"):
        resolve_devices(5, address="here")


def test_other_process_joins_and_leaves(callers_ray: str, token: Path, tmp_path: Path) -> None:
    lives = Path(__file__).parent / "lives.py"
    done = subprocess.run(
        [sys.executable, str(lives), "joined", str(tmp_path / "found"), callers_ray],
        env=_environment(token),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads((tmp_path / "found").read_text()) == {
        "n_gpus": N_GPUS,
        "connected_after_counting": False,
        "connected_after_closing": False,
    }


def _environment(token: Path) -> dict[str, str]:
    return {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


def _reasons(batches: Iterator[list[Event]]) -> list[str]:
    events = itertools.chain.from_iterable(batches)
    return [event.reason for event in events if isinstance(event, TrialEnded)]


def test_tune_on_the_callers_ray_gives_each_trial_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from sweepdiag.execution._ray_tune import TuneExecutor

    monkeypatch.setenv("SWEEPDIAG_FAKE_GPUS", str(N_GPUS))
    with TuneExecutor(2, gpus=2) as executor:
        packs = scripted_packs([["train"]] * 4)
        told = [reason.split("/") for reason in _reasons(executor.run(packs, tell_environment))]
    assert len(told) == 4
    assert {device for device, *_ in told} == {"cpu"}
    assert {index for _, index, *_ in told} <= {str(index) for index in range(N_GPUS)}
    (run_id,) = {run_id for *_, run_id in told}
    assert find_processes(run_id) == []
    assert ray.is_initialized()


@pytest.mark.parametrize("executor", ["ray", "tune"])
def test_a_cluster_is_joined_from_the_command_line(
    callers_ray: str, token: Path, tmp_path: Path, executor: str
) -> None:
    """The loop's file is named relative to where the command runs, which is not the cluster's."""
    (tmp_path / "loop.py").write_text(
        "def train(config, report):\n"
        "    for epoch in range(config['epochs'] + 1):\n"
        "        loss = config['lr'] ** epoch\n"
        "        report(epoch=epoch, train_loss=loss, val_loss=loss)\n"
    )
    options = [f"--executor={executor}", f"--address={callers_ray}", "--gpus=0", "--workers=2"]
    what = ["loop.py:train", "--lr=0.5,0.9", "--seeds=1", "--epochs=5", "--output=run"]
    done = subprocess.run(
        [sys.executable, "-m", "sweepdiag", "run", *what, *options],
        env=_environment(token),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2 trials, 2 judged" in done.stdout
