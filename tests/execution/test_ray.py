from __future__ import annotations

import ctypes
import itertools
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from sweepdiag.errors import ConfigError, LaunchError
from sweepdiag.execution import Executor, SerialExecutor
from sweepdiag.execution.recovery import SlotHealth
from sweepdiag.records import Event, Pack, State, TrialEnded, TrialStarted, plain
from sweepdiag.testing import executors as checks
from sweepdiag.testing.executors import ScriptedWorker, events_by_trial, scripted_packs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sweepdiag.execution._ray import RayExecutor

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def executor() -> Iterator[RayExecutor]:
    """One Ray for all tests of this file: it takes seconds to start."""
    from sweepdiag.execution._ray import RayExecutor

    with RayExecutor(2) as executor:
        yield executor


def ends(executor: Executor, packs: list[Pack], worker: Any) -> list[TrialEnded]:
    events = itertools.chain.from_iterable(executor.run(packs, worker))
    return [event for event in events if isinstance(event, TrialEnded)]


@pytest.mark.parametrize(
    "check",
    [
        checks.check_delivers_every_event,
        checks.check_runs_again,
        checks.check_failing_pack_leaves_others_alone,
        checks.check_missing_ends_are_reported,
        checks.check_stops_when_abandoned,
    ],
)
def test_conforms(executor: RayExecutor, check: Callable[[Executor], None]) -> None:
    check(executor)


def test_packs_that_take_turns_in_a_worker_conform(executor: RayExecutor) -> None:
    executor._packs_per_worker = 2
    try:
        checks.check_delivers_every_event(executor)
        checks.check_failing_pack_leaves_others_alone(executor)
        checks.check_missing_ends_are_reported(executor)
        checks.check_dying_trial_is_isolated(executor)
    finally:
        executor._packs_per_worker = 1


@pytest.mark.parametrize("act", ["kill", "exit"])
def test_dying_trial_is_isolated(executor: RayExecutor, act: str) -> None:
    checks.check_dying_trial_is_isolated(executor, act)


def test_streams_while_training(executor: RayExecutor, tmp_path: Path) -> None:
    checks.check_streams_while_training(executor, tmp_path / "gate")


def test_is_an_executor(executor: RayExecutor) -> None:
    assert isinstance(executor, Executor)
    assert executor.n_workers == 2


def test_serial_and_ray_deliver_the_same_events(executor: RayExecutor) -> None:
    packs = scripted_packs([["train", "raise"], ["train"] * 3, ["silent"], ["train"]])
    serial = events_by_trial(SerialExecutor().run(packs, ScriptedWorker()))
    parallel = events_by_trial(executor.run(packs, ScriptedWorker()))
    assert plain(parallel) == plain(serial)


def test_packs_train_at_the_same_time(executor: RayExecutor, tmp_path: Path) -> None:
    def meet(pack: Pack, *, device: str) -> Iterator[list[Event]]:
        (trial,) = pack.trials
        (tmp_path / trial.trial_id).touch()
        deadline = time.monotonic() + 30
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        state = State.FINISHED if len(list(tmp_path.iterdir())) == 2 else State.FAILED
        yield [TrialEnded(trial_id=trial.trial_id, attempt=1, state=state)]

    met = ends(executor, scripted_packs([["train"], ["train"]]), meet)
    assert [end.state for end in met] == [State.FINISHED] * 2


@dataclass(frozen=True)
class CountingWorker:
    """Says in the reason how often this object, in this process, has been called."""

    calls: list[int]

    def __call__(self, pack: Pack, *, device: str) -> Iterator[list[Event]]:
        self.calls.append(os.getpid())
        reason = f"{os.getpid()} {len(self.calls)}"
        trial_id = pack.trials[0].trial_id
        yield [TrialStarted(trial_id=trial_id, attempt=1, device=device)]
        yield [TrialEnded(trial_id=trial_id, attempt=1, state=State.FINISHED, reason=reason)]


def test_processes_and_their_worker_live_on_between_packs_and_runs(executor: RayExecutor) -> None:
    worker = CountingWorker([])
    packs = scripted_packs([["train"]] * 6)
    reasons = [end.reason for end in ends(executor, packs, worker) + ends(executor, packs, worker)]
    calls_by_pid: dict[str, list[int]] = {}
    for reason in reasons:
        pid, count = reason.split()
        calls_by_pid.setdefault(pid, []).append(int(count))
    assert len(calls_by_pid) <= executor.n_workers
    for calls in calls_by_pid.values():
        assert sorted(calls) == list(range(1, len(calls) + 1))


def tell_environment(pack: Pack, *, device: str) -> Iterator[list[Event]]:
    names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "SWEEPDIAG_RUN_ID")
    told = " ".join(f"{name}={os.environ.get(name)}" for name in names)
    trial_id = pack.trials[0].trial_id
    yield [TrialEnded(trial_id=trial_id, attempt=1, state=State.FINISHED, reason=told)]


def test_workers_see_one_thread_no_gpu_and_their_run(executor: RayExecutor) -> None:
    (end,) = ends(executor, scripted_packs([["train"]]), tell_environment)
    assert end.reason.startswith("OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES= SWEEPDIAG_RUN_ID=")
    assert not end.reason.endswith(("=", "None"))
    assert "SWEEPDIAG_RUN_ID" not in os.environ


class StrangeError(Exception):
    """An exception that cannot be unpickled, as those of some libraries."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def test_exception_that_does_not_travel_still_fails_its_trials(executor: RayExecutor) -> None:
    def fail(pack: Pack, *, device: str) -> Iterator[list[Event]]:
        yield []
        first, second = "this", "that\x1b[31m" + "x" * 10_000
        raise StrangeError(first, second)

    (end,) = ends(executor, scripted_packs([["train"]]), fail)
    assert (end.state, end.attempt) == (State.FAILED, 1)
    assert end.reason.startswith("StrangeError: this and that")
    assert end.reason.endswith(")")
    assert len(end.reason.encode()) <= 2048
    assert "\x1b" not in end.reason


def test_training_that_exits_costs_its_pack_only(executor: RayExecutor) -> None:
    def leave(pack: Pack, *, device: str) -> Iterator[list[Event]]:
        yield []
        sys.exit("no such column")

    (end,) = ends(executor, scripted_packs([["train"]]), leave)
    assert (end.state, end.attempt) == (State.FAILED, 1)
    assert end.reason.startswith("SystemExit: no such column")


def test_crash_in_native_code_is_told_with_its_last_words(executor: RayExecutor) -> None:
    def crash(pack: Pack, *, device: str) -> Iterator[list[Event]]:
        yield []
        sys.stderr.write("about to read address zero\n")
        sys.stderr.flush()
        ctypes.string_at(0)

    (end,) = ends(executor, scripted_packs([["train"]]), crash)
    assert end.state is State.FAILED
    assert end.attempt == 2
    assert end.reason.startswith("worker process died twice: ")
    assert "about to read address zero" in end.reason
    assert "Segmentation fault" in end.reason
    assert "in crash" in end.reason


@pytest.fixture
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    from sweepdiag.execution import _ray_run

    monkeypatch.setattr(_ray_run, "SlotHealth", lambda: SlotHealth(limit=2))


@pytest.mark.usefixtures("_little_patience")
def test_workers_that_only_ever_die_are_an_error(executor: RayExecutor) -> None:
    packs = scripted_packs([["exit"] * 4], at_step=0)
    with pytest.raises(LaunchError, match="2 workers in a row died before any trial ended"):
        list(executor.run(packs, ScriptedWorker()))


@pytest.mark.usefixtures("_little_patience")
def test_workers_that_die_at_their_start_are_an_error(executor: RayExecutor) -> None:
    packs = scripted_packs([["train"], ["train"]])
    with pytest.raises(
        LaunchError, match=r"no worker can be started: it was killed .* or crashed"
    ):
        list(executor.run(packs, Unpicklable("deadly")))


def test_worker_of_a_module_that_only_the_caller_can_find(
    executor: RayExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
        from sweepdiag.records import State, TrialEnded
        def work(pack, *, device):
            yield [TrialEnded(trial_id=pack.trials[0].trial_id, attempt=1, state=State.FINISHED)]
    """
    (tmp_path / "only_here.py").write_text(source.replace("\n        ", "\n"))
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # type: ignore[import-not-found]

    (end,) = ends(executor, scripted_packs([["train"]]), only_here.work)
    assert end.state is State.FINISHED


@dataclass
class Unpicklable:
    when: str

    def __call__(self, pack: Pack, *, device: str) -> Iterator[list[Event]]:
        yield [TrialStarted(trial_id=pack.trials[0].trial_id, attempt=1, device=device)]

    def __reduce__(self) -> Any:
        if self.when == "here":
            message = "open files stay at home"
            raise TypeError(message)
        if self.when == "deadly":
            return os._exit, (3,)
        return _refuse, ("no such library there",)


def _refuse(message: str) -> NoReturn:
    raise OSError(message)


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("here", "cannot be pickled for other processes: TypeError: open files stay at home"),
        ("there", "cannot be loaded in a process of its own: OSError: no such library there"),
    ],
)
def test_worker_that_cannot_travel_is_an_error(
    executor: RayExecutor, when: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LaunchError, match=message):
        list(executor.run(scripted_packs([["train"]]), Unpicklable(when)))
    assert capfd.readouterr() == ("", "")


def test_slow_caller_slows_the_worker_down(executor: RayExecutor, tmp_path: Path) -> None:
    log = tmp_path / "log"

    def chatter(pack: Pack, *, device: str) -> Iterator[list[Event]]:
        trial_id = pack.trials[0].trial_id
        for _ in range(500):
            with log.open("a") as file:
                file.write("x")
            yield [TrialStarted(trial_id=trial_id, attempt=1, device=device)]
        yield [TrialEnded(trial_id=trial_id, attempt=1, state=State.FINISHED)]

    run = executor.run(scripted_packs([["train"]]), chatter)
    next(run)
    time.sleep(1.0)
    assert len(log.read_text()) < 100
    assert sum(1 for _ in run) == 500


def test_one_run_at_a_time(executor: RayExecutor) -> None:
    run = executor.run(scripted_packs([["train"]]), ScriptedWorker())
    next(run)
    with pytest.raises(LaunchError, match="already running"):
        next(executor.run(scripted_packs([["train"]]), ScriptedWorker()))
    assert len(list(run)) > 0


@pytest.mark.parametrize(("n_workers", "gpus"), [(0, 0), (2, 1), (2, -1)])
def test_senseless_numbers_are_refused_before_ray_starts(n_workers: int, gpus: int) -> None:
    from sweepdiag.execution._ray import RayExecutor

    with pytest.raises(ConfigError, match="must be"):
        RayExecutor(n_workers, gpus=gpus)
