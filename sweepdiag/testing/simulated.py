"""A sweep computed from formulas, for tests of everything that comes after training.

No network is trained: training loss decays at a speed set by the learning rate, stays above a
floor set by the capacity, and explodes beyond a stability edge set by the batch size; validation
loss turns upwards where the capacity is large and the rate high enough to get there. The tables
have exactly the columns of a run folder's.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.records import Axis, Plan, Scale, State, SweepFacts, Trial

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SimulatedSweep", "simulate_sweep", "simulated_losses"]

_BASELINE = float(np.log(10.0))


@dataclass(frozen=True, kw_only=True)
class SimulatedSweep:
    """A plan, the facts of its task, and the two tables that training would have left.

    Attributes:
        plan: Axes ``lr``, ``batch_size``, ``capacity`` and their trials.
        facts: As for a ten-class classification.
        trials: Columns of ``trials.parquet``.
        curves: Columns of ``curves.parquet``.
    """

    plan: Plan
    facts: SweepFacts
    trials: pd.DataFrame
    curves: pd.DataFrame


def simulate_sweep(
    *,
    lrs: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
    batch_sizes: tuple[int, ...] = (16, 64, 256),
    capacities: tuple[int, ...] = (4, 16, 64),
    n_seeds: int = 2,
    epochs: int = 30,
    noise: float = 0.01,
    edge_lr: float = 0.8,
) -> SimulatedSweep:
    """Return a sweep whose every class of curve has a known place.

    Args:
        lrs: Learning rates; curves above ``edge_lr * batch_size / 64`` diverge to NaN.
        batch_sizes: Batch sizes; a larger batch learns more slowly and stays stable further up.
        capacities: Widths; the smallest underfit, the largest overfit.
        n_seeds: Seeds per configuration.
        epochs: Evaluations per curve, beside the one before training.
        noise: Standard deviation of the relative noise of the losses.
        edge_lr: Stability edge at batch size 64.

    Returns:
        The simulated sweep; the same arguments give the same tables.
    """
    import pandas as pd

    axes = (
        Axis(name="lr", values=lrs, scale=Scale.LOG, is_structural=False),
        Axis(name="batch_size", values=batch_sizes, scale=Scale.LOG, is_structural=True),
        Axis(name="capacity", values=capacities, scale=Scale.LOG, is_structural=True),
    )
    trials: list[Trial] = []
    trial_rows: list[dict[str, object]] = []
    curve_tables: list[pd.DataFrame] = []
    grid = itertools.product(lrs, batch_sizes, capacities)
    for config_index, (lr, batch_size, capacity) in enumerate(grid):
        for seed in range(n_seeds):
            trial = Trial(
                trial_id=f"{config_index:08x}{seed:08x}",
                config_id=f"{config_index:016x}",
                axes={"lr": lr, "batch_size": batch_size, "capacity": capacity},
                seed=seed,
            )
            trials.append(trial)
            trial_rows.append(
                {
                    "trial_id": trial.trial_id,
                    "config_id": trial.config_id,
                    **trial.axes,
                    "seed": seed,
                    "n_parameters": capacity * 75 + 10,
                    "state": State.FINISHED.value,
                    "reason": "",
                    "attempt": 1,
                    "device": "cpu",
                    "seconds": 0.1,
                    "peak_memory_mb": 300.0,
                }
            )
            train, val = simulated_losses(
                lr=lr,
                batch_size=batch_size,
                capacity=capacity,
                epochs=epochs,
                noise=noise,
                edge_lr=edge_lr,
                rng=np.random.default_rng([config_index, seed]),
            )
            curve_tables.append(_curve_table(trial.trial_id, train, val, batch_size))
    return SimulatedSweep(
        plan=Plan(axes=axes, trials=tuple(trials)),
        facts=SweepFacts(
            workload="simulated",
            task="classification",
            loss="cross_entropy",
            metric="accuracy",
            metric_mode="max",
            n_train=1200,
            n_train_eval=400,
            n_validation=400,
            baseline_train_loss=_BASELINE,
            baseline_val_loss=_BASELINE,
            baseline_metric=0.1,
            loss_floor=0.0,
        ),
        trials=pd.DataFrame(trial_rows),
        curves=pd.concat(curve_tables, ignore_index=True),
    )


def simulated_losses(
    *,
    lr: float,
    batch_size: int,
    capacity: int,
    epochs: int,
    rng: np.random.Generator,
    noise: float = 0.01,
    edge_lr: float = 0.8,
) -> tuple[np.ndarray, np.ndarray]:
    """Return training and validation losses of one trial, shape ``(epochs + 1,)`` each.

    Args:
        lr: Learning rate; above ``edge_lr * batch_size / 64`` both become NaN.
        batch_size: A larger batch learns more slowly and stays stable further up.
        capacity: Width; the smallest underfit, the largest overfit.
        epochs: Evaluations beside the one before training.
        rng: Draws the noise.
        noise: Standard deviation of the relative noise of the losses.
        edge_lr: Stability edge at batch size 64.
    """
    t = np.arange(epochs + 1, dtype=float)
    speed = min(60.0 * lr * (16.0 / batch_size) ** 0.5, 3.0)
    floor = 1.2 / (1.0 + capacity / 8.0) ** 1.5
    train = floor + (_BASELINE - floor) * np.exp(-speed * t)
    overfitting = 0.02 * max(capacity - 16, 0) / 48 * min(speed, 1.0)
    val = train + 0.06 * (1.0 - np.exp(-speed * t)) + overfitting * np.maximum(t - 6.0, 0.0)
    train = train * (1.0 + noise * rng.standard_normal(t.size))
    val = val * (1.0 + noise * rng.standard_normal(t.size))
    if lr > edge_lr * batch_size / 64:
        train[2:], val[2:] = np.nan, np.nan
        train[1], val[1] = 1e6, 1e6
    return train, val


def _curve_table(
    trial_id: str, train: np.ndarray, val: np.ndarray, batch_size: int
) -> pd.DataFrame:
    import pandas as pd

    epochs = np.arange(train.size)
    return pd.DataFrame(
        {
            "trial_id": trial_id,
            "attempt": 1,
            "epoch": epochs.astype(float),
            "step": epochs * (1200 // batch_size),
            "train_loss": train,
            "val_loss": val,
            "train_loss_running": np.where(epochs == 0, np.nan, train),
            "train_metric": np.exp(-train),
            "val_metric": np.exp(-val),
            "seconds": epochs * 0.003,
        }
    )
