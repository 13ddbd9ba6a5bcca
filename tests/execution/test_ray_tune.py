from __future__ import annotations

import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sweepdiag.errors import ConfigError, LaunchError
from sweepdiag.execution import Executor, SerialExecutor
from sweepdiag.execution.recovery import SlotHealth
from sweepdiag.records import Event, Pack, PointMeasured, State, TrialEnded, plain
from sweepdiag.testing import executors as checks
from sweepdiag.testing.executors import ScriptedWorker, events_by_trial, scripted_packs
from tests.execution.test_ray import Unpicklable, tell_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sweepdiag.execution._ray_tune import TuneExecutor

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def executor() -> Iterator[TuneExecutor]:
    """One Ray for all tests of this file: it takes seconds to start."""
    from sweepdiag.execution._ray_tune import TuneExecutor

    with TuneExecutor(2) as executor:
        yield executor


def alone(*acts: str, **how: Any) -> list[Pack]:
    """Return packs of one trial each, that do what they are told."""
    return scripted_packs([[act] for act in acts], **how)


def ends(executor: Executor, packs: list[Pack], worker: Any) -> list[TrialEnded]:
    events = itertools.chain.from_iterable(executor.run(packs, worker))
    return [event for event in events if isinstance(event, TrialEnded)]


def test_is_an_executor(executor: TuneExecutor) -> None:
    assert isinstance(executor, Executor)
    assert executor.n_workers == 2
    assert list(executor.run([], ScriptedWorker())) == []


def test_tune_delivers_the_events_of_the_serial_executor(
    executor: TuneExecutor, capfd: pytest.CaptureFixture[str]
) -> None:
    packs = alone("train", "raise", "train", "silent", "train")
    serial = events_by_trial(SerialExecutor().run(packs, ScriptedWorker()))
    before = dict(os.environ)
    tuned = events_by_trial(executor.run(packs, ScriptedWorker()))
    assert plain(tuned) == plain(serial)
    assert dict(os.environ) == before
    assert capfd.readouterr() == ("", "")


def test_trials_whose_process_dies_begin_again_once_as_another_attempt(
    executor: TuneExecutor, capfd: pytest.CaptureFixture[str]
) -> None:
    packs = alone("kill", "train", "exit", "train")
    delivered = events_by_trial(executor.run(packs, ScriptedWorker()))
    for pack in packs:
        (trial,) = pack.trials
        events = delivered[trial.trial_id]
        (end,) = [event for event in events if isinstance(event, TrialEnded)]
        assert events[-1] is end
        points = [event for event in events if isinstance(event, PointMeasured)]
        steps = Counter((point.attempt, point.point.step) for point in points)
        assert max(steps.values()) == 1
        if trial.axes["act"] == "train":
            assert (end.state, end.attempt, len(points)) == (State.FINISHED, 1, 4)
        else:
            # Its curve is that of the second attempt alone: what Tune begins again is not spliced.
            assert (end.state, end.attempt) == (State.FAILED, 2)
            assert sorted(steps) == [(1, 0), (2, 0)]
            assert end.reason.startswith("worker process died twice: ")
    assert capfd.readouterr() == ("", "")


def test_streams_while_training(executor: TuneExecutor, tmp_path: Path) -> None:
    checks.check_streams_while_training(executor, tmp_path / "gate")


def test_an_abandoned_run_ends_at_once_and_the_executor_goes_on(executor: TuneExecutor) -> None:
    run = executor.run(alone("train", "train", "train"), ScriptedWorker(pause_s=600.0))
    for _ in range(2):  # the process that has begun is in the middle of a step then
        next(run)
    with pytest.raises(LaunchError, match="already running"):
        next(executor.run(alone("train"), ScriptedWorker()))
    began = time.monotonic()
    run.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 8.0
    (end,) = ends(executor, alone("train"), ScriptedWorker())
    assert end.state is State.FINISHED


def tell_process(pack: Pack, *, device: str) -> Iterator[list[Event]]:
    told = f"{os.getpid()} {Path.cwd()}"
    trial_id = pack.trials[0].trial_id
    yield [TrialEnded(trial_id=trial_id, attempt=1, state=State.FINISHED, reason=told)]


def test_processes_are_used_again_where_the_sweep_was_started(executor: TuneExecutor) -> None:
    told = [end.reason.split() for end in ends(executor, alone(*["train"] * 8), tell_process)]
    assert len(told) == 8
    assert len({pid for pid, _ in told}) <= executor.n_workers
    assert {place for _, place in told} == {str(Path.cwd())}


def test_tune_takes_no_signal_and_leaves_no_file(
    executor: TuneExecutor, temporary_place: Path
) -> None:
    numbers = (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    worker = ScriptedWorker(n_points=20, pause_s=0.02)
    written: set[str] = set()
    folders: set[Path] = set()
    for _ in executor.run(alone("train", "train"), worker):
        assert [signal.getsignal(number) for number in numbers] == before
        for folder in temporary_place.glob("sweepdiag-tune-*"):
            assert folder.stat().st_mode & 0o777 == 0o700
            folders.add(folder)
            written.update(path.name for path in folder.rglob("*"))
    assert written  # the folder is that of this run
    assert not [name for name in written if name.startswith(("result", "progress", "events"))]
    assert folders
    assert list(temporary_place.iterdir()) == []


def test_workers_see_one_thread_no_gpu_and_their_run(executor: TuneExecutor) -> None:
    (end,) = ends(executor, alone("train"), tell_environment)
    assert end.reason.startswith("OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES= SWEEPDIAG_RUN_ID=")
    assert not end.reason.endswith(("=", "None"))


def test_a_pack_of_several_is_refused(executor: TuneExecutor) -> None:
    with pytest.raises(ConfigError, match="a Tune trial reports one training, got a pack of 2"):
        list(executor.run(scripted_packs([["train"], ["train", "train"]]), ScriptedWorker()))


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("here", "cannot be pickled for other processes: TypeError: open files stay at home"),
        ("there", "cannot be loaded in a process of its own: OSError: no such library there"),
    ],
)
def test_worker_that_cannot_travel_is_an_error(
    executor: TuneExecutor, when: str, message: str
) -> None:
    with pytest.raises(LaunchError, match=message):
        list(executor.run(alone("train"), Unpicklable(when)))


def test_workers_that_only_ever_die_are_an_error(
    executor: TuneExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweepdiag.execution import _ray_tune_run

    monkeypatch.setattr(_ray_tune_run, "SlotHealth", lambda: SlotHealth(limit=2))
    with pytest.raises(LaunchError, match="2 workers in a row died before any trial ended"):
        list(executor.run(alone("exit", "exit", at_step=0), ScriptedWorker()))


def test_slow_caller_slows_the_trial_down(executor: TuneExecutor, tmp_path: Path) -> None:
    log = tmp_path / "log"

    def chatter(pack: Pack, *, device: str) -> Iterator[list[Event]]:
        worker = ScriptedWorker(n_points=300)
        for events in worker(pack, device=device):
            with log.open("a") as file:
                file.write("x")
            yield events

    run = executor.run(alone("train"), chatter)
    next(run)
    time.sleep(3.0)
    assert len(log.read_text()) < 100
    assert sum(1 for _ in run) == 301


def test_processes_that_ray_ends_for_memory_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a process of its own: Ray takes what it reads of memory from the first start in one."""
    program = (
        "from sweepdiag.execution._ray_tune import TuneExecutor\n"
        "from sweepdiag.testing.executors import ScriptedWorker, scripted_packs\n"
        "with TuneExecutor(1) as executor:\n"
        "    worker = ScriptedWorker(n_points=50, pause_s=0.5)\n"
        "    for events in executor.run(scripted_packs([['train']]), worker):\n"
        "        last = events[-1]\n"
        "print(last.state, last.attempt, last.reason)\n"
    )
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.001")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.startswith("out_of_memory 2 worker process died twice: ")
    assert "low on memory" in done.stdout


@pytest.mark.parametrize(("n_workers", "gpus"), [(0, 0), (2, 1), (2, -1)])
def test_senseless_numbers_are_refused_before_ray_starts(n_workers: int, gpus: int) -> None:
    from sweepdiag.execution._ray_tune import TuneExecutor

    with pytest.raises(ConfigError, match="must be"):
        TuneExecutor(n_workers, gpus=gpus)


def test_what_tune_is_asked_to_call_can_be_pickled_as_what_it_is() -> None:
    from ray import tune

    from sweepdiag.execution._ray_tune_callback import make_callback, make_stopper

    is_abandoned = threading.Event()
    asked = [(make_stopper(is_abandoned), tune.Stopper)]
    asked.append((make_callback(print, is_abandoned), tune.Callback))
    for value, kind in asked:
        assert isinstance(pickle.loads(pickle.dumps(value)), kind)
