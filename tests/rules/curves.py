"""Typical learning curves, and shorthand for judging them."""

from __future__ import annotations

from typing import Any

import numpy as np

from sweepdiag.records import SweepFacts, Verdict
from sweepdiag.rules import judge_curves
from tests.features.curves import curve

START = float(np.log(10.0))
FACTS = SweepFacts(
    workload="test",
    task="classification",
    baseline_train_loss=START,
    baseline_val_loss=START,
    metric="accuracy",
    metric_mode="max",
    loss_floor=0.0,
)
NAN, INF = float("nan"), float("inf")
Losses = tuple[np.ndarray, np.ndarray]


def noisy(losses: Losses, *, noise: float = 0.005, seed: int = 0) -> Losses:
    rng = np.random.default_rng(seed)
    train, val = losses
    return (
        train * (1 + noise * rng.standard_normal(train.size)),
        val * (1 + noise * rng.standard_normal(val.size)),
    )


def healthy(n: int = 30) -> Losses:
    t = np.arange(n)
    train = 0.1 + (START - 0.1) * np.exp(-t / (n / 10))
    return noisy((train, train + 0.02))


def u_shaped(n: int = 30) -> Losses:
    t = np.arange(n)
    train = START * np.exp(-t / (n / 8))
    val = 0.1 + START * np.exp(-t / (n / 8)) + 0.3 * np.maximum(t / n - 0.4, 0)
    return noisy((train, val))


def overfit(n: int = 30) -> Losses:
    t = np.arange(n)
    train = START * np.exp(-t / (n / 4))
    val = 0.9 + (START - 0.9) * np.exp(-t / (n / 8))
    return noisy((train, val), noise=0.002)


def slow(n: int = 30) -> Losses:
    train = START - 0.8 * np.arange(n) / n
    return noisy((train, train + 0.01), noise=0.002)


def flat(n: int = 30) -> Losses:
    return noisy((np.full(n, START), np.full(n, START)), noise=0.002)


def exploding(n: int = 30) -> Losses:
    train, val = healthy(n)
    late = np.arange(n) >= n // 2
    return np.where(late, 5.0, train), np.where(late, 5.0, val)


def judge(losses: Losses, *, facts: SweepFacts | None = FACTS, **options: Any) -> Verdict:
    options.setdefault("n_resamples", 16)
    train, val = losses
    return judge_curves(curve(train, val), facts=facts, **options)[0]


def short(train: list[float], val: list[float]) -> Losses:
    return np.asarray(train, dtype=float), np.asarray(val, dtype=float)
