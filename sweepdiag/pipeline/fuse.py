"""Ending a sweep early where too many of its trials fail to execute."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sweepdiag.errors import FailedTrialsError
from sweepdiag.messages import headline
from sweepdiag.records import JUDGED_STATES, State, TrialEnded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.records import Event, Trial
    from sweepdiag.store import History

__all__ = ["FailureFuse"]


class FailureFuse:
    """Blows once more than a share of the planned trials has failed to execute.

    Only trials of this session count, so that a sweep which was stopped can be resumed, and lose
    as many again. A share of all that are planned, not of those that have ended: the first trial
    to fail says little. A training that diverges has not failed.

    Args:
        history: The sweep's state, for what is planned.
        max_fraction: Share of the planned trials that may fail, in [0, 1].
    """

    def __init__(self, history: History, *, max_fraction: float) -> None:
        self._history = history
        self._max_fraction = max_fraction
        self._states: Counter[State] = Counter()
        self._first: TrialEnded | None = None

    def update(self, events: Sequence[Event], *, n_left: int) -> None:
        """Take note of events that have been recorded.

        Args:
            events: What workers have told.
            n_left: Trials that are not done; where there is none, nothing is left to be stopped.

        Raises:
            FailedTrialsError: If too many trials have failed.
        """
        for event in events:
            if isinstance(event, TrialEnded) and event.state not in JUDGED_STATES:
                self._states[event.state] += 1
                self._first = self._first or event
        n_failed, n_planned = self._states.total(), len(self._history.trials)
        if n_left and self._first is not None and n_failed > self._max_fraction * n_planned:
            trial = self._history.trials[self._first.trial_id].trial
            counts = ", ".join(f"{count} {state}" for state, count in sorted(self._states.items()))
            message = (
                f"{n_failed} of {n_planned} trials failed to execute ({counts}): more than "
                f"execution.max_failed_fraction allows, which is {self._max_fraction:g}\n"
                f"The first was {_describe(trial)}, {self._first.state}: "
                f"{headline(self._first.reason)}"
            )
            raise FailedTrialsError(message)


def _describe(trial: Trial) -> str:
    values = ", ".join(f"{name} {value}" for name, value in trial.axes.items())
    return f"{trial.trial_id} ({values}, seed {trial.seed})"
