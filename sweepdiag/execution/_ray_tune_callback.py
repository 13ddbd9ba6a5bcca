"""What Ray Tune is asked to call: it tells what happens, and ends the experiment when told to."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from sweepdiag.records import Event

__all__ = ["Message", "make_callback", "make_stopper"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What Tune tells of a trial.

    Attributes:
        place: Of its pack among those of the run.
        events: What it sent.
        obstacle: Why the worker cannot be loaded in its process.
        death: How Ray puts the end of its process; empty while it lives.
        is_given_up: Whether Tune will not try it again.
    """

    place: int
    events: Sequence[Event] = ()
    obstacle: str = ""
    death: str = ""
    is_given_up: bool = False


class _Teller:
    """Passes on what happens to trials, in Tune's own thread.

    Args:
        put: Takes a message; may block, which holds Tune up.
        is_abandoned: Set when the run is to end before its trials have.
    """

    def __init__(self, put: Callable[[Message], None], is_abandoned: threading.Event) -> None:
        self._put = put
        self._is_abandoned = is_abandoned
        self._actors: dict[int, Any] = {}

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Pass on what a step has told; Tune keeps the rest of its result."""
        place = trial.config["place"]
        if "actor" in result:
            self._actors[place] = result.pop("actor")
        if result["done"]:
            self._actors.pop(place, None)
        events, obstacle = result.pop("events", ()), result.pop("obstacle", "")
        self._put(Message(place=place, events=events, obstacle=obstacle))

    def on_trial_recover(self, *, trial: Any, **_: Any) -> None:
        """Tell that a trial's process is gone, and Tune begins it again."""
        self._tell_death(trial, is_given_up=False)

    def on_trial_error(self, *, trial: Any, **_: Any) -> None:
        """Tell that a trial's process is gone, for the last time."""
        self._tell_death(trial, is_given_up=True)

    def on_step_end(self, **_: Any) -> None:
        """Kill the processes of trials under way once nobody waits for them.

        Tune asks them to stop, which they hear only when their training reports, and waits.
        """
        if self._is_abandoned.is_set():
            import ray

            for actor in self._actors.values():
                ray.kill(actor, no_restart=True)
            self._actors.clear()

    def _tell_death(self, trial: Any, *, is_given_up: bool) -> None:
        place = trial.config["place"]
        self._actors.pop(place, None)
        self._put(Message(place=place, death=_last_error(trial), is_given_up=is_given_up))


def make_callback(put: Callable[[Message], None], is_abandoned: threading.Event) -> Any:
    """Return what Tune calls when something happens to a trial.

    Args:
        put: Takes what there is to tell; may block, which holds Tune up.
        is_abandoned: Set when the run is to end before its trials have.
    """
    from ray import tune

    class Teller(_Teller, tune.Callback):  # type: ignore[misc]  # only the arguments in use
        def __reduce__(self) -> tuple[Any, tuple[()]]:
            return tune.Callback, ()  # Tune pickles its settings; nobody ever reads them again

    return Teller(put, is_abandoned)


def make_stopper(is_abandoned: threading.Event) -> Any:
    """Return what ends the whole experiment when the run is abandoned, and no trial by itself."""
    from ray import tune

    class Abandonment(tune.Stopper):
        def __reduce__(self) -> tuple[Any, tuple[()]]:
            return tune.stopper.NoopStopper, ()

        def __call__(self, _trial_id: str, _result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return is_abandoned.is_set()

    return Abandonment()


def _last_error(trial: Any) -> str:
    """Return what Tune has written, as text, of a trial's last failure."""
    text = ""
    with contextlib.suppress(OSError, TypeError):
        text = Path(trial.error_file).read_text(errors="replace")
    return text.rpartition("Failure #")[2].partition("\n")[2].strip() or "its process is gone"
