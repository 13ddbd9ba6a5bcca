"""Thousands of curves of every kind that a form of the features must survive."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sweepdiag.features import CurveArrays

NAN, INF = np.nan, np.inf
_REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "curves.parquet"
_LENGTHS = (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 19, 20, 21, 40, 75)
_SCALES = (1.0, 1.0, 1.0, 1e-3, 1e30, 1e300, 1e-300)


def generated_curves(seed: int, n_curves: int) -> CurveArrays:
    """Return curves of all lengths, scales and faults, in one set.

    Among them: noisy, smooth, flat and stepped losses; integers, so that values tie; overfitting,
    spikes and noise; NaN and infinities in the middle, at the end and everywhere; validation
    absent or at every third evaluation; uneven epochs; negative losses.
    """
    rng = np.random.default_rng(seed)
    n_points = max(_LENGTHS)
    arrays = np.full((4, n_curves, n_points), NAN)
    lengths = rng.choice(_LENGTHS, n_curves).astype(np.int64)
    for i, n in enumerate(lengths):
        arrays[:, i, :n] = _curve(rng, int(n))
    return CurveArrays(
        run_ids=tuple(map(str, range(n_curves))),
        epochs=arrays[0],
        train_loss=arrays[1],
        val_loss=arrays[2],
        val_metric=arrays[3],
        lengths=lengths,
    )


def reference_curves() -> CurveArrays:
    """Return the curves of the committed reference sweep."""
    import pandas as pd

    table = pd.read_parquet(_REFERENCE)
    return CurveArrays.from_long(
        table["trial_id"].to_numpy(),
        table["epoch"].to_numpy(),
        table["train_loss"].to_numpy(),
        table["val_loss"].to_numpy(),
        table["val_metric"].to_numpy(),
    )


def _curve(rng: np.random.Generator, n: int) -> np.ndarray:
    epochs = np.arange(n) if rng.random() < 0.5 else np.cumsum(rng.uniform(0.1, 3.0, n))
    place = np.arange(n) / max(n, 1)
    train = np.exp(-rng.uniform(0, 5) * place) + rng.uniform(0, 0.3)
    val = train + rng.uniform(0, 0.5) + rng.choice([0.0, 1.0]) * np.maximum(place - 0.4, 0)
    losses = np.stack([train, val])
    losses += rng.choice([0.0, 1e-3, 0.1]) * rng.standard_normal((2, n))
    _deform(rng, losses)
    losses *= rng.choice(_SCALES)
    _break(rng, losses)
    metric = rng.random(n) if rng.random() < 0.7 else np.full(n, NAN)
    metric[rng.random(n) < rng.choice([0.0, 0.3])] = NAN
    return np.concatenate([epochs[None], losses, metric[None]])


def _deform(rng: np.random.Generator, losses: np.ndarray) -> None:
    match rng.integers(8):
        case 0:
            losses[:] = rng.choice([0.0, 1.0, -2.5])
        case 1:
            losses[:] = np.round(losses * 4)
        case 2:
            losses[rng.random(losses.shape) < 0.1] += rng.choice([1.0, 1e6])
        case 3:
            losses[:] = np.ceil(losses * 3 - 0.5) / 3 + 1e-3 * rng.standard_normal(losses.shape)
        case 4:
            losses -= 1.3
        case _:
            pass


def _break(rng: np.random.Generator, losses: np.ndarray) -> None:
    n = losses.shape[1]
    match rng.integers(10):
        case 0:
            losses[rng.random(losses.shape) < 0.1] = rng.choice([NAN, INF, -INF])
        case 1:
            losses[:, n - n // 3 :] = rng.choice([NAN, INF])
        case 2:
            losses[1] = NAN
        case 3:
            losses[1, np.arange(n) % 3 != 2] = NAN
        case 4:
            losses[int(rng.integers(2))] = rng.choice([NAN, INF])
        case 5:
            losses[rng.random(losses.shape) < 0.5] = NAN
        case 6:
            losses[:, : n // 4] = NAN
        case _:
            pass
