"""SD903: a loss of the user's own that does not measure what it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.records import Severity
from sweepdiag.rules.base import percent
from sweepdiag.rules.findings.base import Check, format_value

if TYPE_CHECKING:
    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["LossBroken"]

_GROWS = 1.5
"""Loss of samples taken twice over that of taking them once: 1 for a mean, 2 for a sum."""

_FALL = 0.02
"""Fall of the training loss, relative to its start, from which a training has gone somewhere."""

_CHANGE = 0.02
"""Change of the metric, relative to its start (for accuracy in points), that counts."""

_MOSTLY = 0.6
_FEWEST = 3


class LossBroken(Check):
    """The loss falls while predictions get worse, or it grows with the number of samples.

    What it checks: whether the metric gets better as the training loss falls; and, for a loss of
    the user's own, whether it is a mean over the batch.

    Why it matters: a loss of the wrong sign is minimised by being wrong, without any error. A sum
    over the batch instead of a mean makes every learning rate too high by the batch size, and
    losses of sets of different size cannot be compared.

    What it needs: a loss of the user's own, or a metric.

    How it is detected: in 60 % or more of the trainings whose loss fell by more than 2 % the
    validation metric ends worse than it began, and in none better by as much. Or: taken twice, the
    same random samples have 1.5 times the loss or more.

    Known false alarms: metrics that measure something else than the loss on purpose.

    What to do: look at the sign, at the reduction (mean over the batch), and at whether the loss
    expects logits or probabilities.

    References:
        Karpathy, "A Recipe for Training Neural Networks", 2019.
    """

    code = "SD903"
    name = "loss-broken"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether the loss measures what it should."""
        del thresholds
        if view.judged.empty:
            return self.not_applicable("no trial was judged")
        growth = view.data.loss_growth
        worse, better, n_fallen = _metric_changes(view)
        evidence = (
            f"of {n_fallen} trainings whose loss fell, the validation metric ends worse than it "
            f"began in {percent(worse)} and better in {percent(better)}"
        )
        if n_fallen >= _FEWEST and worse >= _MOSTLY and better == 0:
            return self.finding(
                "Predictions get worse as the loss falls",
                evidence,
                "Look at the sign of the loss, and at what it expects: logits or probabilities.",
                severity=Severity.ERROR,
                worse_share=worse,
            )
        if growth is not None and growth >= _GROWS:
            return self.finding(
                "The loss grows with the number of samples",
                f"the same samples taken twice have {format_value(growth)} times the loss",
                "Return the mean over the batch, not the sum.",
                severity=Severity.ERROR,
                loss_growth=growth,
            )
        if n_fallen < _FEWEST and growth is None:
            return self.not_applicable("fewer than three trainings with a metric reduced the loss")
        numbers = {"worse_share": worse, "loss_growth": growth}
        return self.passed("Predictions get better as the loss falls", evidence, **numbers)


def _metric_changes(view: SweepView) -> tuple[float, float, int]:
    """Return the shares of falling trainings whose metric ends worse and better, and their number.

    Losses may fall below any number; the last finite evaluation counts.
    """
    sign = {"max": 1.0, "min": -1.0}.get(view.metric_mode or "")
    if sign is None:
        return 0.0, 0.0, 0
    changes = []
    for _, curve in view.curves.groupby("trial_id", sort=False):
        loss = curve["train_loss"].to_numpy(dtype=float)
        metric = sign * curve["val_metric"].to_numpy(dtype=float)
        known = np.isfinite(loss) & np.isfinite(metric)
        if known.sum() < 2:
            continue
        loss, metric = loss[known], metric[known]
        if loss[-1] < loss[0] - _FALL * abs(loss[0]):
            least = _CHANGE * (1.0 if _is_accuracy(view) else abs(metric[0]))
            changes.append(np.sign(metric[-1] - metric[0]) * (abs(metric[-1] - metric[0]) > least))
    if not changes:
        return 0.0, 0.0, 0
    return float(np.mean(np.array(changes) < 0)), float(np.mean(np.array(changes) > 0)), len(changes)


def _is_accuracy(view: SweepView) -> bool:
    return view.facts is not None and view.facts.metric == "accuracy"
