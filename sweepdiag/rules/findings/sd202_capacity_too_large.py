"""SD202: networks that learn the training set by heart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.records import VerdictClass
from sweepdiag.rules.base import percent
from sweepdiag.rules.findings.base import Check, format_value
from sweepdiag.rules.findings.sd201_capacity_too_small import best_by_capacity
from sweepdiag.wording import plural

if TYPE_CHECKING:
    import pandas as pd

    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["CapacityTooLarge"]

_OVERFITS = (VerdictClass.U_SHAPED.value, VerdictClass.OVERFIT.value)
_LARGER_SHARE = 0.25

_FAR, _FARTHER = 0.25, 2.0
"""Rise of the validation loss over its best at the largest capacity, and over that at the
smallest, from which larger networks overfit farther if not more often."""

_MUCH_LARGER_SHARE = 0.5
_FREQUENT = 0.75
"""Growth of that share, and the share at the largest capacity, that are more than a few
settings."""

_MOST_NOISE = 0.1
"""Noise between seeds, relative to the best value, up to which two capacities may be equal."""


class CapacityTooLarge(Check):
    """Overfitting becomes more frequent as networks get larger.

    What it checks: per capacity, the share of usable configurations whose verdict is ``u_shaped``
    or ``overfit``, at learning rates, batch sizes and further settings that all compared
    capacities have in common.

    Why it matters: where overfitting grows with capacity, less capacity, regularisation or an
    earlier stop cure it. Where it is as frequent at every capacity, there is too little data or
    the validation set comes from elsewhere.

    What it needs: a ``capacity`` axis with at least two values, enough evaluations, and settings
    at which both the smallest and the largest capacity learn.

    How it is detected: settings count as equal if their learning rates lie in the same half
    decade and all else is the same. The share at the largest capacity is at least 25 percentage
    points above the share at the smallest, and validation loss does not end less far above its
    best there; or it ends 25 % above its best, and twice as far as at the smallest, in the median
    over settings. It is a finding if the largest capacity
    is also no better at its best epoch than a smaller one, overfits at three of four settings, and
    the share grows by 50 points or the rise is twice as far; a tip otherwise.

    Known false alarms: small networks that underfit cannot overfit; the comparison is then between
    two faults.

    What to do: stop at the turning epoch, or prefer the smallest capacity that reaches the same
    loss. Overfitting is looked for in all trials, not only the best: choosing the best one hides
    it.

    References:
        Godbole et al., "Deep Learning Tuning Playbook", 2023.
    """

    code = "SD202"
    name = "capacity-too-large"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether overfitting grows with the capacity."""
        if view.axis("capacity") is None:
            return self.not_applicable("there is no capacity axis with at least two values")
        reason = view.lack_of_evaluations(thresholds.min_evaluations)
        if reason:
            return self.not_applicable(reason)
        if view.usable["capacity"].nunique() < 2:
            return self.not_applicable("fewer than two capacities learned anything")
        shares, rises, n_settings = _matched(view)
        if not n_settings:
            return self.not_applicable(
                "the smallest and the largest capacity learn at no common setting"
            )
        listed = ", ".join(
            f"{100 * share:.0f} % at {format_value(capacity)}"
            for capacity, share in zip(shares.index.to_numpy(), shares.to_numpy(), strict=True)
        )
        evidence = (
            f"at {plural(n_settings, 'common setting')}, overfitting by capacity: {listed}; "
            f"validation loss ends above its best by {percent(rises.iloc[0])} at the smallest and "
            f"{percent(rises.iloc[-1])} at the largest"
        )
        numbers: dict[str, Any] = {"overfit_share": shares.to_dict(), "rise": rises.to_dict()}
        grows_far = rises.iloc[-1] >= max(_FAR, _FARTHER * rises.iloc[0])
        # More of them that overfit, and less far, is as good as none.
        grows_often = shares.iloc[-1] - shares.iloc[0] >= _LARGER_SHARE
        grows_often = grows_often and rises.iloc[-1] >= rises.iloc[0]
        if not (grows_often or grows_far):
            if shares.iloc[0] >= 0.5:
                return self.tip(
                    "Overfitting at every capacity",
                    evidence,
                    "More data or regularisation: capacity is not the cause.",
                    **numbers,
                )
            return self.passed("Overfitting does not grow with capacity", evidence, **numbers)
        best = best_by_capacity(view)["monitor"]
        costs = view.cost_sign * best.to_numpy()
        level = view.share_unit.at(float(best.iloc[-1]))
        noise = view.seed_margin(float(best.iloc[-1]), thresholds.seed_noise) or 0.0
        tolerance = max(thresholds.u_shape_rise * level, min(noise, _MOST_NOISE * level))
        is_clear = grows_far or shares.iloc[-1] - shares.iloc[0] >= _MUCH_LARGER_SHARE
        is_clear = is_clear and shares.iloc[-1] >= _FREQUENT
        if is_clear and len(costs) > 1 and costs[:-1].min() <= costs[-1] + tolerance:
            smaller = float(best.index.to_numpy()[costs[:-1].argmin()])
            return self.finding(
                "The largest capacity overfits and brings nothing",
                f"{evidence}; a smaller one reaches the same {view.monitor}",
                f"Prefer capacity {format_value(smaller)}.",
                **numbers,
            )
        return self.tip(
            "Larger networks overfit more often",
            evidence,
            "Stop at the turning epoch, or add regularisation.",
            **numbers,
        )


def _matched(view: SweepView) -> tuple[pd.Series[float], pd.Series[float], int]:
    """Return, per capacity, the share that overfits, the median rise, and how many settings count.

    Small networks are slow at low learning rates and large ones unstable at high ones, so that
    only settings count at which the smallest and the largest capacity both learn.
    """
    table = view.usable.copy()
    others = view.other_axes("capacity")
    if view.axis("lr") is not None:
        table["lr"] = np.round(2 * np.log10(table["lr"].astype(float).clip(lower=1e-300)))
    table["capacity"] = table["capacity"].astype(float)
    table["overfits"] = table["verdict"].isin(_OVERFITS).astype(float)
    best = table["best_val_loss"]
    level = view.loss_unit.at(best.to_numpy(dtype=float))
    table["rise"] = ((table["last_val_loss"] - best) / level).fillna(0.0)
    table["setting"] = list(zip(*(table[name] for name in others), strict=True)) if others else 0
    tables = [
        table.pivot_table(index="setting", columns="capacity", values=name, aggfunc="mean")
        for name in ("overfits", "rise")
    ]
    shares, rises = (pivot.sort_index(axis=1) for pivot in tables)
    is_matched = shares.iloc[:, 0].notna() & shares.iloc[:, -1].notna()
    return (
        shares[is_matched].mean().dropna(),
        rises.reindex(shares.index)[is_matched].median().dropna(),
        int(is_matched.sum()),
    )
