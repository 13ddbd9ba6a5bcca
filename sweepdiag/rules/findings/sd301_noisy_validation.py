"""SD301: where the noise of the validation loss comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.features import CurveArrays, compute_features
from sweepdiag.records import Tag
from sweepdiag.rules.findings.base import Check

if TYPE_CHECKING:
    import pandas as pd

    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["NoisyValidation"]

_NOISY_SHARE = 0.2
_CLEAR_SLOPE = 0.15
_MIN_CONFIGURATIONS = 6

_COARSE = 0.03
"""Standard error of the accuracy from which a validation set is small: that of about 100 samples
at 90 %. In larger sets equal accuracies are no fault of the set."""


class NoisyValidation(Check):
    """The validation loss jumps from evaluation to evaluation.

    What it checks: how the noise of the validation loss changes with the learning rate and the
    batch size.

    Why it matters: noise makes the best epoch and the best configuration a matter of luck. Noise
    of the optimiser is cured by a lower rate or a larger batch; noise of a small validation set
    only by more validation data.

    What it needs: validation losses, and an ``lr`` or ``batch_size`` axis with six noisy
    configurations to tell the two apart.

    How it is detected: at least 20 % of the usable configurations are tagged
    ``noisy_validation``. Then a straight line of log noise (relative to the level) against log
    rate and log batch: a clear rise with the rate or fall with the batch is the optimiser;
    neither, the validation set. Quiet or not, a set is too small where the binomial standard error
    of the accuracy is at least 3 points and the best quarter differ by less than twice that.

    Known false alarms: at rates where training has hardly begun there is little noise of either
    kind, so that narrow lr axes say more than wide ones.

    What to do: see the cause that the evidence names. Averaging weights or decaying the rate helps
    against optimiser noise as well.

    References:
        Godbole et al., "Deep Learning Tuning Playbook", 2023; McCandlish et al., "An Empirical
        Model of Large-Batch Training", 2018.
    """

    code = "SD301"
    name = "noisy-validation"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether validation is noisy and why."""
        table = view.usable[view.usable["best_val_loss"].notna()]
        if table.empty:
            return self.not_applicable("no curve with a validation loss learned anything")
        is_noisy = table["tags"].map(lambda tags: Tag.NOISY_VALIDATION.value in list(tags))
        share = float(is_noisy.astype(bool).mean())
        evidence = f"{100 * share:.0f} % of the configurations that learn have a noisy validation"
        coarse = _coarse_metric(view, table, thresholds)
        if coarse:
            return self.finding(
                "The validation set is too small to tell the good configurations apart",
                coarse,
                "Validate on more samples.",
                noisy_share=share,
            )
        if share < _NOISY_SHARE:
            return self.passed("Validation is quiet", f"{evidence} loss", noisy_share=share)
        axes = [name for name in ("lr", "batch_size") if view.axis(name) is not None]
        slopes = _noise_slopes(view, table, axes)
        if slopes is None:
            lack = (
                f"with fewer than {_MIN_CONFIGURATIONS} configurations whose noise is known"
                if axes
                else "without an lr or batch_size axis"
            )
            return self.tip(
                "Validation is noisy",
                f"{evidence} loss; {lack} its cause cannot be told",
                "Lower the learning rate, raise the batch size or validate on more samples.",
                noisy_share=share,
            )
        listed = " and ".join(_trend(name, slope) for name, slope in slopes.items())
        evidence = f"{evidence} loss; it {listed}"
        is_optimiser = (
            slopes.get("lr", 0.0) >= _CLEAR_SLOPE or slopes.get("batch_size", 0.0) <= -_CLEAR_SLOPE
        )
        if is_optimiser:
            return self.tip(
                "Validation noise comes from the optimiser",
                evidence,
                "Lower the learning rate, let it decay, or raise the batch size.",
                noisy_share=share,
                slopes=slopes,
            )
        return self.finding(
            "The validation set is too small",
            evidence + _set_size(view),
            "Validate on more samples, or compare means of several evaluations.",
            noisy_share=share,
            slopes=slopes,
        )


def _noise_slopes(
    view: SweepView, table: pd.DataFrame, axes: list[str]
) -> dict[str, float] | None:
    """Return the exponents of the noise in each axis, or ``None`` if there is too little."""
    trials = view.trials.merge(table[["config_id"]], on="config_id")
    curves = view.curves[view.curves["trial_id"].isin(trials["trial_id"])]
    if not axes or curves.empty:
        return None
    arrays = CurveArrays.from_long(
        curves["trial_id"].to_numpy(),
        curves["epoch"].to_numpy(),
        curves["train_loss"].to_numpy(),
        curves["val_loss"].to_numpy(),
    )
    features = compute_features(arrays)
    place = trials.set_index("trial_id").loc[list(arrays.run_ids)]
    known = place[axes].astype(float)
    noise = features.column("val_noise_level")
    is_known = np.isfinite(noise) & (noise > 0) & (known > 0).all(axis=1).to_numpy()
    if place.loc[is_known, "config_id"].nunique() < _MIN_CONFIGURATIONS:
        return None
    design = np.column_stack([np.ones(is_known.sum()), np.log(known.to_numpy()[is_known])])
    solution = np.linalg.lstsq(design, np.log(noise[is_known]), rcond=None)[0]
    return {name: float(slope) for name, slope in zip(axes, solution[1:], strict=True)}


def _trend(name: str, slope: float) -> str:
    if abs(slope) < _CLEAR_SLOPE:
        return f"hardly depends on {name}"
    verb = "grows" if slope > 0 else "falls"
    return f"{verb} with {name} (to the power of {slope:.2f})"


def _coarse_metric(view: SweepView, table: pd.DataFrame, thresholds: Thresholds) -> str:
    """Return the evidence that samples are too few to rank by accuracy; empty if they are not."""
    facts = view.facts
    known = table["best_val_metric"].dropna().astype(float).sort_values(ascending=False)
    if facts is None or facts.metric != "accuracy" or not facts.n_validation or len(known) < 2:
        return ""
    n = facts.n_validation
    good = known.head(max(2, round(thresholds.good_share * len(known))))
    # Two right and two wrong samples more (Agresti and Coull): ten of ten do not prove 100 %.
    share = (n * float(good.median()) + 2) / (n + 4)
    error = float(np.sqrt(share * (1 - share) / (n + 4)))
    difference = float(good.max() - good.min())
    if error < _COARSE or difference > 2 * error:
        return ""
    return (
        f"with {n} samples an accuracy is known to about {100 * error:.1f} points; the "
        f"{len(good)} best configurations differ by {100 * difference:.1f}"
    )


def _set_size(view: SweepView) -> str:
    if view.facts is None or view.facts.n_validation is None:
        return ""
    n = view.facts.n_validation
    return f"; a share of {n} samples is known to about {100 * 0.5 / np.sqrt(n):.1f} points"
