"""Overfit or not, as other tools and published rules say it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from sweepdiag.features import CurveArrays

__all__ = ["other_tools"]

_WINDOW = 5
_REBOUND = 0.035


def other_tools() -> dict[str, Callable[[CurveArrays], np.ndarray]]:
    """Return by name what says of each curve whether it overfits."""
    return {"rebound_rule": rebound, "trainspotter": trainspotter, "sk_autod": sk_autod}


def rebound(curves: CurveArrays) -> np.ndarray:
    """Say overfit where the 5-epoch mean of the validation loss ends 3.5 % above its minimum."""
    return np.array([_rebounds(*series) for series in _series(curves)])


def _rebounds(train: np.ndarray, val: np.ndarray) -> bool:
    del train
    if len(val) < _WINDOW:
        return False
    smooth = np.convolve(val, np.ones(_WINDOW) / _WINDOW, "valid")
    return bool(smooth[-1] > (1 + _REBOUND) * smooth.min())


def trainspotter(curves: CurveArrays) -> np.ndarray:
    """Ask trainspotter's detector of overfitting."""
    from trainspotter import Run
    from trainspotter.detectors import OverfittingDetector

    def ask(train: np.ndarray, val: np.ndarray) -> bool:
        run = Run()
        for step, (t, v) in enumerate(zip(train, val, strict=True)):
            run.add_point("train/loss", step, float(t))
            run.add_point("eval/loss", step, float(v))
        run.finalize()
        return bool(OverfittingDetector().run(run))

    return np.array([ask(*series) for series in _series(curves)])


def sk_autod(curves: CurveArrays) -> np.ndarray:
    """Ask sk-autod's detector of overfitting."""
    from sk_autod import diagnose
    from sk_autod.detectors.overfitting import OverfittingDetector

    def ask(train: np.ndarray, val: np.ndarray) -> bool:
        findings = diagnose(train.tolist(), val.tolist(), [OverfittingDetector()]).findings
        return bool(findings)

    return np.array([ask(*series) for series in _series(curves)])


def _series(curves: CurveArrays) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (curves.train_loss[i, :n], curves.val_loss[i, :n]) for i, n in enumerate(curves.lengths)
    ]
