from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from sweepdiag import run_sweep
from sweepdiag.errors import LaunchError, StoreError
from sweepdiag.execution import SerialExecutor, StopRequests
from sweepdiag.records import State
from sweepdiag.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sweepdiag.execution import PackWorker
    from sweepdiag.records import Event, Pack

SWEEP: dict[str, Any] = {
    "workload": "synthetic",
    "workload_parameters": {"n_train": 64, "n_validation": 32},
    "parameters": {"lr": [0.01, 0.1], "batch_size": [32], "capacity": [4]},
    "seeds": 2,
    "epochs": 3,
    "execution": {"executor": "serial", "pack_size": 1},
}


class Stopped(BaseException):
    """As the command line raises it at SIGTERM."""


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Handlers as the command line has them."""

    def stop(number: int, _frame: object) -> None:
        raise Stopped(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGUSR2)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def swallow(number: int = signal.SIGINT) -> None:
    """Do with a request what a destructor does."""
    with contextlib.suppress(BaseException):
        signal.raise_signal(number)


def raised_by(block: Callable[[StopRequests], None]) -> str:
    """Return the name of what comes out of a block in which requests are remembered."""
    try:
        with StopRequests() as stops:
            block(stops)
    except BaseException as error:  # noqa: BLE001 - requests are no errors
        return type(error).__name__
    return "nothing"


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "Stopped")]
)
def test_a_request_that_was_swallowed_is_raised_by_the_next_check(number: int, name: str) -> None:
    def block(stops: StopRequests) -> None:
        stops.check()
        swallow(number)
        stops.check()
        pytest.fail("the request was lost")

    assert raised_by(block) == name


def test_a_request_that_nobody_has_looked_for_is_raised_in_the_end() -> None:
    assert raised_by(lambda _: swallow()) == "KeyboardInterrupt"
    assert raised_by(lambda _: None) == "nothing"


def test_held_requests_wait_for_the_end_of_the_block() -> None:
    reached = []

    def block(stops: StopRequests) -> None:
        with stops.held():
            signal.raise_signal(signal.SIGUSR2)
            reached.append("the end")
        reached.append("beyond it")

    assert raised_by(block) == "Stopped"
    assert reached == ["the end"]


def test_a_second_request_does_not_wait() -> None:
    reached = []

    def block(stops: StopRequests) -> None:
        with stops.held():
            signal.raise_signal(signal.SIGTERM)
            reached.append("the second one")
            signal.raise_signal(signal.SIGTERM)
            reached.append("the end")

    assert raised_by(block) == "Stopped"
    assert reached == ["the second one"]


def test_what_goes_wrong_after_a_request_follows_from_it() -> None:
    def fail(stops: StopRequests) -> None:
        swallow()
        raise SystemError("a result with an exception set")  # noqa: EM101

    def fail_while_held(stops: StopRequests) -> None:
        with stops.held():
            fail(stops)

    assert raised_by(fail) == "KeyboardInterrupt"
    assert raised_by(fail_while_held) == "KeyboardInterrupt"


def test_errors_of_files_are_told_even_then() -> None:
    def fail(stops: StopRequests) -> None:
        swallow()
        raise StoreError("the disk is full")  # noqa: EM101

    assert raised_by(fail) == "StoreError"


def test_errors_without_a_request_stay_what_they_are() -> None:
    def fail(stops: StopRequests) -> None:
        with stops.held():
            raise LaunchError("no Ray")  # noqa: EM101

    assert raised_by(fail) == "LaunchError"


def test_handlers_are_given_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopRequests(), StopRequests():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_handlers_are_given_back_by_blocks_that_overlap() -> None:
    before = signal.getsignal(signal.SIGTERM)
    first, second = StopRequests(), StopRequests()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGTERM) is before


def test_signals_that_end_the_process_still_do() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with StopRequests():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_other_threads_do_without() -> None:
    done = []

    def block() -> None:
        with StopRequests() as stops, stops.held():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert done == [signal.default_int_handler]


class Swallowing(SerialExecutor):
    """Loses the first interrupt, which comes when the second trial has ended."""

    def run(self, packs: Sequence[Pack], worker: PackWorker) -> Iterator[list[Event]]:
        n_ended = 0
        for events in super().run(packs, worker):
            n_ended += any(getattr(event, "state", None) for event in events)
            if n_ended == 2:
                swallow()
            yield events


def test_an_executor_that_loses_an_interrupt_stops_its_sweep_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweepdiag.execution.make_executor", lambda *_, **__: Swallowing())
    with pytest.raises(KeyboardInterrupt):
        run_sweep(**SWEEP, output=tmp_path / "run")
    history, damages = RunFolder(tmp_path / "run").read_history()
    assert damages == []
    assert history.count_states() == {State.FINISHED: 2, State.PENDING: 2}
    monkeypatch.undo()
    whole = run_sweep(**SWEEP, output=tmp_path / "run")
    assert set(whole.trials["state"]) == {"finished"}
