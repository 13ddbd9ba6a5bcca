"""One run of packs through Ray Tune, from the outside: a thread that pushes becomes a generator.

Tune blocks until its experiment is over, and takes SIGINT and SIGUSR1 for itself where it runs in
the main thread. So it runs in another one, and the signals stay ours.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import queue
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import LaunchError
from sweepdiag.execution._ray_deaths import cause_of_death, is_for_memory
from sweepdiag.execution._ray_tune_callback import Message, make_callback, make_stopper
from sweepdiag.execution._ray_tune_trial import make_trainable
from sweepdiag.execution.recovery import PackProgress, SlotHealth
from sweepdiag.messages import describe_error
from sweepdiag.records import State, TrialEnded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sweepdiag.execution._ray_session import RaySession
    from sweepdiag.execution._ray_tune_trial import TrialSource
    from sweepdiag.records import Event

__all__ = ["TuneRun"]

_log = logging.getLogger(__name__)

_MESSAGES_AHEAD = 16
"""Tune pauses when so many messages have not been taken, and its workers with it."""

_POLL_S = 1.0
"""How often is looked whether any worker has started."""

_PUT_S = 0.1
"""How often is looked whether anybody is left to take a message."""

_END_S = 15.0
"""How long Tune may take to end its workers; what is left then ends with Ray."""

_VARIABLES = {
    # Three files per trial that nobody reads, and most of what a trial costs.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Without this a trial that reports nothing ends the whole experiment.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # Tune's own record of the experiment is never read: the journal is the truth.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # The new output prints tables even where it is asked to be silent.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    # The user's loop is found, and finds its files, from where the sweep was started.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TUNE_CALLBACKS": None,
    # Tune refuses to run where these are set.
    "TUNE_RESULT_DIR": None,
    "RAY_AIR_LOCAL_CACHE_DIR": None,
}
"""What Tune reads while it runs; ``None``: unset."""


class TuneRun:
    """Hands packs of one trial each to Tune and takes what their trials report.

    Args:
        source: Packs and worker.
        session: The Ray that Tune runs on.
        n_workers: Trials at the same time.
        has_gpu: Whether each of them owns a GPU.
        start_timeout_s: How long the run goes on while no worker at all has started.
    """

    def __init__(
        self,
        source: TrialSource,
        session: RaySession,
        *,
        n_workers: int,
        has_gpu: bool,
        start_timeout_s: float,
    ) -> None:
        self._source = source
        self._session = session
        self._n_workers = n_workers
        self._has_gpu = has_gpu
        self._start_timeout_s = start_timeout_s
        self._progress = [PackProgress(pack) for pack in source.packs]
        self._health = SlotHealth()
        self._has_started = False
        self._messages: queue.Queue[Message | None] = queue.Queue(_MESSAGES_AHEAD * n_workers)
        self._is_abandoned = threading.Event()
        self._failure: BaseException | None = None

    def events(self) -> Iterator[list[Event]]:
        """Yield batches until every trial has ended."""
        with tempfile.TemporaryDirectory(prefix="sweepdiag-tune-") as folder, _tune_variables():
            thread = threading.Thread(
                target=self._fit, args=(folder,), name="sweepdiag-tune", daemon=True
            )
            thread.start()
            try:
                for message in self._received():
                    events = self._told(message)
                    if events:
                        yield events
            finally:
                self._abandon(thread)
        self._check_end()

    def _check_end(self) -> None:
        """Make sure that Tune has ended well, and every trial with it.

        Raises:
            LaunchError: If that is not so.
        """
        if self._failure is not None:
            message = f"Ray Tune failed: {describe_error(self._failure)}"
            raise LaunchError(message) from self._failure
        n_open = sum(bool(progress.unfinished().trials) for progress in self._progress)
        if n_open:
            message = f"Ray Tune ended its experiment with {n_open} trials that had not ended"
            raise LaunchError(message)

    def _received(self) -> Iterator[Message]:
        """Yield what Tune tells until it is done.

        Raises:
            LaunchError: If no worker starts.
        """
        deadline = time.monotonic() + self._start_timeout_s
        while True:
            try:
                message = self._messages.get(timeout=_POLL_S)
            except queue.Empty:
                if not self._has_started and time.monotonic() > deadline:
                    reason = f"none was ready within {self._start_timeout_s:g} s"
                    text = f"no worker can be started: {reason}"
                    raise LaunchError(text) from None
                continue
            if message is None:
                return
            yield message

    def _told(self, message: Message) -> list[Event]:
        """Return the events that a message comes to.

        Raises:
            LaunchError: If the worker cannot be loaded in another process.
        """
        if message.obstacle:
            text = f"the worker cannot be loaded in a process of its own: {message.obstacle}"
            raise LaunchError(text)
        if message.death:
            return self._died(message)
        self._has_started = True
        progress = self._progress[message.place]
        # Tune begins a trial again without a word to it: the number of the attempt is ours.
        (attempt,) = progress.pack.attempts
        events = [dataclasses.replace(event, attempt=attempt) for event in message.events]
        progress.record(events)
        if any(isinstance(event, TrialEnded) for event in events):
            self._health.finished_trial(0)
        return events

    def _died(self, message: Message) -> list[Event]:
        """Return the events for a worker process that is gone."""
        progress = self._progress[message.place]
        unfinished = progress.unfinished()
        if not unfinished.trials:
            return []
        cause = cause_of_death(message.death, self._session)
        _log.warning("a worker process died: %s", cause.partition("\n")[0])
        self._health.died_training(0, cause)
        if message.is_given_up:
            state = State.OUT_OF_MEMORY if is_for_memory(message.death) else State.FAILED
            return progress.end_unfinished(state, f"worker process died twice: {cause}")
        (attempt,) = unfinished.attempts
        again = dataclasses.replace(unfinished, attempts=(attempt + 1,))
        self._progress[message.place] = PackProgress(again)
        return []

    def _fit(self, folder: str) -> None:
        """Run the experiment; in a thread of its own."""
        try:
            self._tuner(folder).fit()
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits for it
            self._failure = error
        finally:
            self._put(None)

    def _tuner(self, folder: str) -> Any:
        from ray import tune

        places = list(range(len(self._source.packs)))
        return tune.Tuner(
            make_trainable(self._source, has_gpu=self._has_gpu),
            param_space={"place": tune.grid_search(places)},
            tune_config=tune.TuneConfig(max_concurrent_trials=self._n_workers, reuse_actors=True),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=str(Path(folder).resolve()),
                verbose=0,
                stop=make_stopper(self._is_abandoned),
                callbacks=[make_callback(self._put, self._is_abandoned)],
                # A second chance for a trial whose process dies, as everywhere.
                failure_config=tune.FailureConfig(max_failures=1),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )

    def _put(self, message: Message | None) -> None:
        """Hand a message over; nobody takes any more once the run is abandoned."""
        while not self._is_abandoned.is_set():
            with contextlib.suppress(queue.Full):
                self._messages.put(message, timeout=_PUT_S)
                return

    def _abandon(self, thread: threading.Thread) -> None:
        """End Tune, with the trials that it has under way, if it has not ended by itself."""
        self._is_abandoned.set()
        thread.join(_END_S)
        if thread.is_alive():
            _log.warning("Ray Tune did not end within %g s", _END_S)


@contextlib.contextmanager
def _tune_variables() -> Iterator[None]:
    """Set what Tune reads from the environment, and put back what was there."""
    before = {name: os.environ.get(name) for name in _VARIABLES}
    _set_variables(_VARIABLES)
    try:
        yield
    finally:
        _set_variables(before)


def _set_variables(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
