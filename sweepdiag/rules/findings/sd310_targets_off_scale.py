"""SD310: targets of a regression that are far from the size of 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.rules.findings.base import BAD_CLASSES, Check, format_value
from sweepdiag.wording import plural

if TYPE_CHECKING:
    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["TargetsOffScale"]

_LARGEST_SIZE, _SMALLEST_DEVIATION = 10.0, 0.01
"""Root mean square, and deviation, of targets of the wrong size; standardised ones have 1."""

_LARGEST_RATIO = 2.0
"""First loss over that of the best constant prediction. An untrained network on standardised
targets stays below 1.5."""

_MOST_BAD = 0.5
"""Share of the configurations that do not train."""


class TargetsOffScale(Check):
    """Targets of a regression are much larger than 1, or hardly differ, and training suffers.

    What it checks: the size of the training targets, the first training loss against that of the
    best constant prediction, and how many configurations train at all.

    Why it matters: an untrained network puts out numbers of the size of 1. If targets are of the
    size of 1,000, the first loss is a million and so are its gradients: nearly all learning
    rates diverge, and those that are low enough take the whole budget to find the mean. If targets
    differ by 0.0001 only, the loss of guessing lies far below all that is trained.

    What it needs: a regression, and a look at the samples.

    How it is detected: the root mean square of the targets is above 10, or their deviation below
    0.01, and the median over configurations of the loss at epoch 0 is more than twice that of the
    best constant prediction, or at least half of the configurations do not train. Otherwise
    targets of such a size are a tip.

    Known false alarms: networks that were trained on these targets before, or turn their outputs
    back to the targets' size themselves, are a tip at most, unless rates are far off.

    What to do: train on (target - mean) / deviation, with mean and deviation of the training set,
    and turn predictions back.

    References:
        LeCun et al., "Efficient BackProp", 1998; Bishop, "Pattern Recognition and Machine
        Learning", 2006, chapter 5.
    """

    code = "SD310"
    name = "targets-off-scale"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether targets are off scale, and whether that is seen in training."""
        del thresholds
        reason = _why_unknown(view)
        size, deviation = view.data.target_size, view.data.target_deviation
        if reason or size is None or deviation is None:
            return self.not_applicable(reason)
        numbers: dict[str, Any] = {"target_size": size, "target_deviation": deviation}
        evidence = (
            f"the root mean square of the training targets is {format_value(size)}, their "
            f"deviation {format_value(deviation)}"
        )
        if size <= _LARGEST_SIZE and deviation >= _SMALLEST_DEVIATION:
            return self.passed("Targets have a usual size", evidence, **numbers)
        trouble = _trouble(view)
        action = (
            "Train on (target - mean) / deviation, with mean and deviation of the training set, "
            "and turn predictions back."
        )
        title = "Targets are off scale"
        if not trouble:
            return self.tip(title, evidence, action, **numbers)
        return self.finding(title, f"{evidence}; {trouble}", action, **numbers)


def _why_unknown(view: SweepView) -> str:
    if view.facts is not None and view.facts.task not in {"regression", "custom"}:
        return "the task is no regression"
    if view.data.target_size is None:
        return "the targets are not known"
    return "no trial was judged" if view.judged.empty else ""


def _trouble(view: SweepView) -> str:
    """Return how training suffers; empty if it does not."""
    told = []
    baseline = None if view.facts is None else view.facts.baseline_train_loss
    losses = view.curves.loc[view.curves["epoch"] == 0, "train_loss"].to_numpy(dtype=float)
    first = float(np.median(losses)) if losses.size else float("nan")
    if baseline and first > _LARGEST_RATIO * baseline:
        told.append(
            f"the first training loss is {format_value(first)} in the median, a constant "
            f"prediction has {format_value(baseline)}"
        )
    bad = view.judged["verdict"].isin(BAD_CLASSES)
    if float(bad.mean()) >= _MOST_BAD:
        n_judged = plural(len(bad), "configuration")
        told.append(f"{int(bad.sum())} of {n_judged} do not train")
    return "; ".join(told)
