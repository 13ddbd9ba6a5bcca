"""SD307: validation inputs that come from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.records import VerdictClass
from sweepdiag.rules.findings.base import Check, format_value

if TYPE_CHECKING:
    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["ValidationShifted", "early_gap"]

_SHIFT = 0.25
"""Shift of the mean, in deviations of training, beyond chance. Random splits have 0."""

_EARLY_FALL = 0.5
"""Share of the whole fall of the training loss until which a network has learned nothing by
heart yet."""

_EARLY_GAP = 0.5
"""Validation over training loss minus one by then, from which the sets differ."""

_FEWEST = 3

_OVERFITTING = (VerdictClass.OVERFIT.value, VerdictClass.U_SHAPED.value)


class ValidationShifted(Check):
    """Validation samples differ from training samples in a way that learning does not bridge.

    What it checks: the means of the inputs' features in the two sets, and the gap between the two
    losses early in training, when nothing has been learned by heart yet.

    Why it matters: settings are chosen on validation. If its inputs are scaled, cropped or
    recorded in another way, the choice is made for another task, and no setting closes the gap.

    What it needs: a look at the samples; or, for a tip, validation losses that have a floor.

    How it is detected: the means differ by a quarter of a deviation or more in the root mean
    square over features, beyond what chance explains. Without the samples: when training loss has
    made half of its fall, validation loss lies 50 % above it, in the median over configurations.
    Augmentation moves the means of training alone: where only reading training samples draws
    random numbers, the shift is a finding with such a gap, and without it a tip.

    Known false alarms: splits by time or by person are shifted on purpose; then the gap is what
    one wants to know. Augmentation that draws no random number when a sample is read.

    What to do: compare the preprocessing of the two sets, and how they were split. If the shift is
    wanted, expect the gap, and choose settings by a validation set of the kind that counts.

    References:
        Quiñonero-Candela et al., "Dataset Shift in Machine Learning", 2009; Rabanser, Günnemann
        and Lipton, "Failing Loudly", 2019.
    """

    code = "SD307"
    name = "validation-shifted"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether validation comes from elsewhere."""
        del thresholds
        if view.judged.empty or view.judged["best_val_loss"].isna().all():
            return self.not_applicable("no trial with a validation loss was judged")
        gap = early_gap(view)
        shift = view.data.validation_shift
        if shift is None and gap is None:
            return self.not_applicable("neither the samples nor an early gap are known")
        told = "" if gap is None else f"halfway of its fall, {format_value(1 + gap)} times it"
        if shift is None:
            evidence = f"validation loss over training loss: {told}"
            if gap is not None and gap >= _EARLY_GAP and _mostly_overfit(view):
                return self.passed(
                    "An early gap that overfitting explains",
                    f"{evidence}; most configurations that learn overfit",
                    early_gap=gap,
                )
            if gap is not None and gap >= _EARLY_GAP:
                return self.tip(
                    "Validation is worse than training from early on",
                    evidence,
                    "Compare inputs and labels of the two sets.",
                    early_gap=gap,
                )
            return self.passed("No early gap", evidence, early_gap=gap)
        evidence = (
            f"the means of the features differ by {format_value(shift)} deviations of training, "
            "beyond chance"
        )
        if told:
            evidence += f"; validation loss over training loss: {told}"
        if shift < _SHIFT:
            return self.passed("Validation inputs are like training inputs", evidence, shift=shift)
        if view.data.only_train_is_random and (gap is None or gap < _EARLY_GAP):
            return self.tip(
                "Training inputs differ from validation inputs, as augmentation makes them",
                f"reading training samples alone draws random numbers; {evidence}",
                "Augmentation explains this; to be sure, compare with a sweep without it.",
                shift=shift,
                early_gap=gap,
            )
        return self.finding(
            "Validation inputs differ from training inputs",
            evidence,
            "Compare how the two sets were recorded, preprocessed and split.",
            shift=shift,
            early_gap=gap,
        )


def _mostly_overfit(view: SweepView) -> bool:
    """Return whether more than half of what learns overfits, so that a gap is no wonder."""
    return bool(view.usable["verdict"].isin(_OVERFITTING).mean() > 0.5)


def early_gap(view: SweepView) -> float | None:
    """Return the median gap when training loss has made half of its fall, relative to it.

    Args:
        view: The sweep.

    Returns:
        Validation over training loss minus one, both above the floor; ``None`` where no training
        learned anything, or the loss has no floor, so that there is no ratio.
    """
    gap: float | None = view.once("early gap", lambda: _early_gap(view))
    return gap


def _early_gap(view: SweepView) -> float | None:
    floor = view.loss_floor
    if floor is None:
        return None
    ids = view.trials.loc[view.trials["config_id"].isin(view.usable["config_id"]), "trial_id"]
    curves = view.curves[view.curves["trial_id"].isin(ids)]
    losses = curves[["train_loss", "val_loss"]].to_numpy(dtype=float) - floor
    gaps = []
    for rows in curves.groupby("trial_id").indices.values():
        train, validation = losses[rows].T
        if train.size < _FEWEST or not np.isfinite(train).all() or train[0] <= train.min():
            continue
        early = train <= train[0] - _EARLY_FALL * (train[0] - train.min())
        place = int(early.argmax())
        if np.isfinite(validation[place]) and train[place] > 0:
            gaps.append(validation[place] / train[place] - 1)
    return float(np.median(gaps)) if gaps else None
