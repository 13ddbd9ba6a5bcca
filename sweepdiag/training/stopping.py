"""When the rule that ends hopeless trainings is asked, and about what."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from sweepdiag.features import CurveArrays

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sweepdiag.features.curves import FloatArray
    from sweepdiag.records import CurvePoint

    StopRule: TypeAlias = Callable[[CurveArrays, FloatArray], Sequence[str | None]]
    """From curves so far, and the epochs of all evaluations of a whole training, to why each
    should end now; ``None`` where it should not."""

__all__ = ["LEAST_NEWS", "LoopJudge"]

LEAST_NEWS = 0.05
"""The stop rule is asked again when there are so many more evaluations than last time, as a share:
by then the curves may look otherwise, and the answer costs as much as some hundred steps."""


class LoopJudge:
    """Asks a stop rule about the curve of one user's loop, point by point.

    When a loop will evaluate is its own business, so it is expected to go on as it did on average,
    up to the budget of epochs. The answers depend on the points alone, not on when they come.

    Args:
        stop_rule: The rule; ``None``: nothing is ever a reason to stop.
        trial_id: Names the curve.
        n_epochs: The budget.
    """

    def __init__(self, stop_rule: StopRule | None, *, trial_id: str, n_epochs: float) -> None:
        self._stop_rule = stop_rule
        self._trial_id = trial_id
        self._n_epochs = n_epochs
        self._points: list[CurvePoint] = []
        self._n_judged = 0

    def reason_to_stop(self, point: CurvePoint) -> str:
        """Take note of the next point; return why the training should end now, or nothing.

        Args:
            point: What the loop has reported.
        """
        if self._stop_rule is None:
            return ""
        self._points.append(point)
        n_points = len(self._points)
        if n_points < 2 or n_points < (1 + LEAST_NEWS) * self._n_judged:
            return ""
        epochs = self._epochs()
        if len(epochs) == n_points:
            return ""  # at the last evaluation it ends anyway
        self._n_judged = n_points
        (reason,) = self._stop_rule(self._curve(epochs[:n_points]), epochs)
        return reason or ""

    def _epochs(self) -> FloatArray:
        """Return the epochs of the evaluations so far, and of those that are to be expected."""
        known = np.array([point.epoch for point in self._points], dtype=np.float64)
        spacing = (known[-1] - known[0]) / (len(known) - 1)
        n_ahead = max(int((self._n_epochs - known[-1]) / spacing + 1e-9), 0)
        return np.concatenate([known, known[-1] + spacing * np.arange(1, n_ahead + 1)])

    def _curve(self, epochs: FloatArray) -> CurveArrays:
        n_points = len(epochs)
        return CurveArrays(
            run_ids=(self._trial_id,),
            epochs=epochs[None, :],
            train_loss=np.array([[point.train_loss for point in self._points]]),
            val_loss=np.array([[point.val_loss for point in self._points]]),
            val_metric=np.full((1, n_points), np.nan),
            lengths=np.array([n_points], dtype=np.int64),
        )
