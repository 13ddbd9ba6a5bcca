"""SD306: too few training samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.rules.base import percent
from sweepdiag.rules.findings.base import Check, format_value

if TYPE_CHECKING:
    import pandas as pd

    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["TrainingSetTiny"]

_FEW = 100
_FEW_PER_CLASS = 10

_GAP = 0.5
"""Share of the best validation loss below which training loss falls: what is learned by heart."""


class TrainingSetTiny(Check):
    """There are so few training samples that networks learn them by heart.

    What it checks: the number of training samples, and how far training and validation loss are
    apart.

    Why it matters: with a few dozen samples every network that can fit them overfits, whatever
    the settings; which configuration is best is then largely a matter of which samples there are.

    What it needs: the number of training samples; a loss that has a floor.

    How it is detected: fewer than 100 samples, or fewer than ten per class, and the configurations
    that learn end, in their median, with a training loss below half of their best validation loss.
    Few samples without such a gap are a tip.

    Known false alarms: tasks so easy that a few samples are enough have a gap as well if training
    loss shrinks for ever.

    What to do: more data, augmentation, a pretrained or simpler model, cross-validation instead of
    one split.

    References:
        Hestness et al., "Deep Learning Scaling is Predictable, Empirically", 2017.
    """

    code = "SD306"
    name = "training-set-tiny"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether there are too few training samples."""
        del thresholds
        n = None if view.facts is None else view.facts.n_train
        if n is None:
            return self.not_applicable("the number of training samples is unknown")
        usable = view.usable[view.usable["best_val_loss"].notna()]
        if usable.empty:
            return self.not_applicable("no configuration learned anything")
        n_classes = view.data.n_classes or 0
        gap = _gap(view, usable)
        evidence = f"{n} training samples" + (f" of {n_classes} classes" if n_classes else "")
        if gap is not None:
            evidence += (
                f"; lowest training loss over lowest validation loss: {format_value(gap)} in the "
                "median over configurations that learn"
            )
        numbers: dict[str, Any] = {"n_train": n, "gap": gap}
        if n >= max(_FEW, _FEW_PER_CLASS * n_classes):
            return self.passed("The training set is not tiny", evidence, **numbers)
        if gap is None:
            return self.not_applicable(
                f"{evidence}; the loss has no floor, so that training and validation loss have "
                "no ratio"
            )
        if gap >= _GAP:
            return self.tip(
                "The training set is tiny",
                evidence,
                f"{_how_close(gap)}: more data may still help.",
                **numbers,
            )
        return self.finding(
            "The training set is tiny",
            evidence,
            "Get more data, augment, start from a pretrained model, or cross-validate.",
            **numbers,
        )


def _gap(view: SweepView, usable: pd.DataFrame) -> float | None:
    """Return the median ratio of the lowest losses; ``None`` where there is none."""
    floor = view.loss_floor
    if floor is None:
        return None
    known = usable[usable["best_val_loss"] > floor]
    ratios = (known["best_train_loss"] - floor) / (known["best_val_loss"] - floor)
    return float(np.median(ratios)) if len(ratios) else None


def _how_close(gap: float) -> str:
    """Return how far validation lies above training, as training loss over validation loss."""
    if gap >= 1:
        return "Validation is no worse than training"
    return f"Validation follows training to within {percent(1 - gap)}"
