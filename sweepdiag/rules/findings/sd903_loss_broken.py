"""SD903: a loss of the user's own that does not measure what it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.records import Severity
from sweepdiag.rules.findings.base import Check, format_value
from sweepdiag.rules.findings.sd904_outputs_not_expected import misreads_probabilities
from sweepdiag.wording import plural

if TYPE_CHECKING:
    import pandas as pd

    from sweepdiag.features.curves import FloatArray
    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["LossBroken"]

_GROWS = 1.5
"""Loss of samples taken twice over that of taking them once: 1 for a mean, 2 for a sum."""

_FALL = 0.2
"""Fall of the training loss, relative to its start, from which a training has gone somewhere."""

_BETTER = 0.05
"""Gain of the metric (of an accuracy as a share of what was wrong at the start, or with the most
frequent class; otherwise relative to its start) from which predictions have become better."""

_LOWEST_PART = 3
"""One in so many evaluations of a training counts: those with the lowest loss."""

_UNKNOWN = "unknown"
"""Name of the loss of curves that other programs have logged."""

_NAMED = frozenset({"cross_entropy", "binary_cross_entropy", "mse"})
_FEWEST = 3
_MOST_NAMED = 5
_TINY = 1e-12


class LossBroken(Check):
    """The loss falls and predictions get no better, or it is a sum, or leaves a class out.

    What it checks: for a loss of the user's own, whether predictions get better as the training
    loss falls, whether it is a mean over the batch, and whether every class counts.

    Why it matters: a loss of the wrong sign is minimised by being wrong, without any error. A sum
    over the batch instead of a mean makes every learning rate too high by the batch size, and
    losses of sets of different size cannot be compared. A class that does not count, such as that
    of ignore_index, is never learned, and accuracy counts its samples as wrong.

    What it needs: a loss of the user's own, and a metric, a look at the samples or a first step.
    Of other programs' curves the loss is not known.

    How it is detected: at least three trainings reduced their loss by 20 % or more. The half of
    them with the lowest losses (at least three) is looked at: the mean of the metric (that of
    training where it was recorded) over the third of a training's evaluations with the lowest loss
    is not better, in the median, than at its start: by 5 % of it, or for shares such as an
    accuracy by 5 % of what was still wrong at the start or with the most frequent class. One
    lucky evaluation is none. Or: taken twice, the same samples with random outputs have 1.5 times
    the loss or more. Or: the loss of one sample per class has no gradient for a class that occurs
    in training.

    Known false alarms: metrics that measure something else than the loss on purpose; imbalanced
    classes, where accuracy cannot rise.

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
        if view.facts is None or view.facts.loss == _UNKNOWN:
            return self.not_applicable("the loss is not known")
        if view.facts.loss in _NAMED:
            return self.not_applicable("the loss is one of sweepdiag's own")
        growth = view.data.loss_growth
        gains = _metric_gains(view)
        evidence = f"{plural(len(gains), 'training')} reduced the loss by 20 % or more"
        gain = _typical_gain(gains)
        if gain is not None and gain < _BETTER:
            return self.finding(
                "The loss falls and predictions get no better",
                f"{evidence}; where the loss is lowest, the metric is no better than at the start "
                f"(gain {format_value(gain)}, in the median over the half with the lowest losses)",
                "Look at the sign of the loss, and at what it expects: logits, log-probabilities "
                "or probabilities.",
                severity=Severity.ERROR,
                n_fallen=len(gains),
                typical_gain=gain,
            )
        if growth is not None and growth >= _GROWS:
            return self.finding(
                "The loss grows with the number of samples",
                f"the same samples taken twice have {format_value(growth)} times the loss",
                "Return the mean over the batch, not the sum.",
                severity=Severity.ERROR,
                loss_growth=growth,
            )
        ignored = () if view.step is None else view.step.ignored_classes
        if ignored:
            return self.finding(
                "The loss leaves out a class",
                f"samples of class {', '.join(map(str, ignored[:_MOST_NAMED]))} occur in training "
                "and never count in the loss",
                "Look at ignore_index and at weights of 0; class numbers begin at 0.",
                ignored_classes=list(ignored),
            )
        if len(gains) < _FEWEST and growth is None:
            return self.not_applicable("fewer than three trainings with a metric reduced the loss")
        return self.passed("Predictions get better as the loss falls", evidence, growth=growth)


def _typical_gain(gains: list[tuple[float, float]]) -> float | None:
    """Return the median gain of the half with the lowest losses; ``None`` of too few."""
    if len(gains) < _FEWEST:
        return None
    lowest = sorted(gains)[: max(_FEWEST, len(gains) // 2)]
    return float(np.median([gain for _, gain in lowest]))


def _metric_gains(view: SweepView) -> list[tuple[float, float]]:
    """Return the lowest loss of each training whose loss fell far, and its gain of the metric.

    Losses may fall below any number, so that only finite evaluations count.
    """
    if view.metric_mode is None or misreads_probabilities(view.step):
        return []
    gains = []
    for _, curve in view.curves.groupby("trial_id", sort=False):
        loss = curve["train_loss"].to_numpy(dtype=float)
        metric = _metric_of(curve)
        known = np.isfinite(loss) & np.isfinite(metric)
        if known.sum() < 2:
            continue
        loss, metric = loss[known], metric[known]
        if loss.min() < loss[0] - _FALL * abs(loss[0]):
            n_lowest = max(1, loss.size // _LOWEST_PART)
            reached = metric[np.argsort(loss, kind="stable")[:n_lowest]].mean()
            gain = _gain(view, metric, float(reached))
            if gain is not None:
                gains.append((float(loss.min()), gain))
    return gains


def _metric_of(curve: pd.DataFrame) -> FloatArray:
    """Return the metric of training where it was recorded, else that of validation."""
    if "train_metric" in curve and curve["train_metric"].notna().any():
        return curve["train_metric"].to_numpy(dtype=float)
    return curve["val_metric"].to_numpy(dtype=float)


def _gain(view: SweepView, metric: FloatArray, reached: float) -> float | None:
    """Return how much better a metric became, as a share; ``None`` where it could not."""
    start = float(metric[0])
    if view.metric_mode == "min":
        return (start - reached) / max(abs(start), _TINY)
    if metric.min() < 0 or metric.max() > 1:
        return (reached - start) / max(abs(start), _TINY)
    is_accuracy = view.facts is not None and view.facts.metric == "accuracy"
    start = max(start, (view.data.largest_class or 0.0) if is_accuracy else 0.0)
    # The share of what was wrong is never less than the gain in points.
    return (reached - start) / (1 - start) if start < 1 - _TINY else None
