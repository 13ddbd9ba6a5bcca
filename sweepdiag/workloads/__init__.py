"""What a sweep trains: built-in tasks, and the user's own models and training loops.

A ``Workload`` says what to train in a few lines; ``load_workload`` finds one by its reference;
``prepare`` turns its data into the samples that every trial of a sweep shares.
"""

from __future__ import annotations

from sweepdiag.workloads.base import TrainLoop, Workload
from sweepdiag.workloads.data import PreparedWorkload, prepare
from sweepdiag.workloads.losses import (
    FittingMetric,
    baseline,
    check_outputs,
    loss_function,
    metric_function,
)
from sweepdiag.workloads.memory import pack_room_bytes
from sweepdiag.workloads.randomness import seeded, stream_seed
from sweepdiag.workloads.registry import load_workload, source_hashes, workload_names
from sweepdiag.workloads.samples import Samples, StreamedSamples

__all__ = [
    "FittingMetric",
    "PreparedWorkload",
    "Samples",
    "StreamedSamples",
    "TrainLoop",
    "Workload",
    "baseline",
    "check_outputs",
    "load_workload",
    "loss_function",
    "metric_function",
    "pack_room_bytes",
    "prepare",
    "seeded",
    "source_hashes",
    "stream_seed",
    "workload_names",
]
