"""Workers for benchmarks: one that trains nothing, one that notes when it begins."""

from __future__ import annotations

import math
import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from _bench.processes import core_seconds
from sweepdiag.pipeline.worker import SweepWorker
from sweepdiag.records import CurvePoint, PointMeasured, State, TrialEnded, TrialStarted
from sweepdiag.testing import simulated_losses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sweepdiag.records import Event, Pack, Trial

__all__ = ["MARKS_VARIABLE", "MarkedWorker", "NoOpWorker", "arguments_of"]

MARKS_VARIABLE = "SWEEPDIAG_BENCH_MARKS"
"""Folder in which ``MarkedWorker`` leaves a file per process."""


def arguments_of(worker: SweepWorker) -> dict[str, Any]:
    """Return what a worker was made with, to make another kind of it."""
    return {f.name: getattr(worker, f.name) for f in fields(worker) if f.init}


class MarkedWorker(SweepWorker):
    """Trains, and notes what its process had taken when it was ready to: all loaded and built."""

    def __call__(self, pack: Pack, *, device: str) -> Iterator[list[Event]]:
        mark = Path(os.environ[MARKS_VARIABLE]) / str(os.getpid())
        if not mark.exists():
            import torch

            self.trainer(device)
            # The first optimizer of a process imports a second's worth of PyTorch.
            torch.optim.SGD([torch.zeros(1)])
            mark.write_text(str(core_seconds()[os.getpid()]))
        return super().__call__(pack, device=device)


class NoOpWorker(SweepWorker):
    """Sends what a pack in training sends, batch by batch, without training it."""

    def __call__(self, pack: Pack, *, device: str) -> Iterator[list[Event]]:
        """Yield a batch per evaluation, as a fused training does."""
        members = list(zip(pack.trials, pack.attempts, strict=True))
        yield [
            TrialStarted(trial_id=trial.trial_id, attempt=attempt, device=device, n_parameters=1)
            for trial, attempt in members
        ]
        curves = [_points(trial, self.settings.epochs) for trial in pack.trials]
        for points in zip(*curves, strict=True):
            yield [
                PointMeasured(trial_id=trial.trial_id, attempt=attempt, point=point)
                for (trial, attempt), point in zip(members, points, strict=True)
            ]
        yield [
            TrialEnded(
                trial_id=trial.trial_id,
                attempt=attempt,
                state=State.FINISHED,
                seconds=0.1,
                peak_memory_mb=300.0,
            )
            for trial, attempt in members
        ]


def _points(trial: Trial, epochs: int) -> list[CurvePoint]:
    axes = trial.axes
    train, val = simulated_losses(
        lr=float(axes["lr"]),
        batch_size=int(axes["batch_size"]),
        capacity=int(axes["capacity"]),
        epochs=epochs,
        rng=np.random.default_rng(int(trial.trial_id, 16)),
    )
    steps = 1200 // int(axes["batch_size"])
    return [
        CurvePoint(
            epoch=float(epoch),
            step=epoch * steps,
            train_loss=_nine_digits(train[epoch]),
            val_loss=_nine_digits(val[epoch]),
            train_loss_running=_nine_digits(train[epoch]) if epoch else math.nan,
            train_metric=_nine_digits(math.exp(-train[epoch])),
            val_metric=_nine_digits(math.exp(-val[epoch])),
            seconds=round(epoch * 0.003, 6),
        )
        for epoch in range(epochs + 1)
    ]


def _nine_digits(value: float) -> float:
    """Round to what a float32 holds, as trainings do."""
    return float(f"{value:.9g}")
