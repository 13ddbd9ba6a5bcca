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


def make_callback(put: Callable[[Message], None], is_abandoned: threading.Event) -> Any:
    """Return a callback that passes on what happens to trials, in Tune's own thread.

    Args:
        put: Takes a message; may block, which holds Tune up.
        is_abandoned: Set when the run is to end before its trials have.
    """
    from ray import tune

    class Teller(tune.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self._actors: dict[int, Any] = {}

        def __reduce__(self) -> tuple[Any, tuple[()]]:
            return tune.Callback, ()  # Tune pickles its settings; nobody ever reads them again

        def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: Any) -> None:
            place = trial.config["place"]
            if "actor" in result:
                self._actors[place] = result.pop("actor")
            if result["done"]:
                self._actors.pop(place, None)
            put(
                Message(
                    place=place,
                    events=result.pop("events", ()),
                    obstacle=result.pop("obstacle", ""),
                )
            )

        def on_trial_recover(self, *, trial: Any, **_: Any) -> None:
            self._tell_death(trial, is_given_up=False)

        def on_trial_error(self, *, trial: Any, **_: Any) -> None:
            self._tell_death(trial, is_given_up=True)

        def on_step_end(self, **_: Any) -> None:
            if is_abandoned.is_set():
                self._end_trials()

        def _tell_death(self, trial: Any, *, is_given_up: bool) -> None:
            place = trial.config["place"]
            self._actors.pop(place, None)
            put(Message(place=place, death=_last_error(trial), is_given_up=is_given_up))

        def _end_trials(self) -> None:
            """Kill the processes of trials under way.

            Tune asks them to stop, which they hear only when their training reports, and waits.
            """
            import ray

            for actor in self._actors.values():
                ray.kill(actor, no_restart=True)
            self._actors.clear()

    return Teller()


def make_stopper(is_abandoned: threading.Event) -> Any:
    """Return what ends the whole experiment when the run is abandoned, and no trial by itself."""
    from ray import tune

    class Abandonment(tune.Stopper):  # type: ignore[misc]
        def __reduce__(self) -> tuple[Any, tuple[()]]:
            return tune.Callback, ()

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
