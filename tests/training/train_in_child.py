"""Trains in a process of its own, whose memory is nobody else's; prints what it saw as JSON."""

import ctypes
import json
import resource
import sys
from pathlib import Path

import torch
from torch import nn

from sweepdiag.records import OptimizerSettings, TrainingSettings, TrialEnded
from sweepdiag.training import PackTrainer, engine, timed_trial
from tests.training.conftest import classes, pack, prepared, trial

_MB = 1e6


class Image(nn.Module):
    def forward(self, x):
        return x.view(len(x), 1, 20, 20)


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5000, 32)
        self.layer = nn.Linear(32, 3)

    def forward(self, x):
        return self.layer(self.embedding((100 * x.abs()).long().clamp(0, 4999)).mean(1))


MODELS = {
    "mlp": lambda: nn.Sequential(
        nn.Linear(12, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 3),
    ),
    "cnn": lambda: nn.Sequential(
        nn.Linear(12, 400), Image(), nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(8 * 9 * 9, 3),
    ),
    "embedding": Words,
}  # fmt: skip


SETTINGS = TrainingSettings(epochs=2, optimizer=OptimizerSettings(name="adam"))


def status_mb(name):
    """Return a size from the process's status, such as ``VmRSS``."""
    text = Path("/proc/self/status").read_text()
    return 1024 * int(text.split(f"{name}:")[1].split()[0]) / _MB


def measured_and_real(name, n_members):
    """Return what a pack is said to need, and by how much the process grows in training it."""
    timed_trial._LONG_STEP_S = timed_trial._CLEARLY_LESS = float("inf")
    workload = prepared(MODELS[name], train=classes(n_samples=1500))
    trainer = PackTrainer(prepared=workload, settings=SETTINGS, device="cpu")
    packed = pack(*(trial(0.01, seed=seed, batch_size=64) for seed in range(n_members)))
    plan = trainer.plan(packed)
    ctypes.CDLL(None).malloc_trim(0)
    before_mb = status_mb("VmRSS")
    ends = [e for batch in trainer.train(packed) for e in batch if isinstance(e, TrialEnded)]
    return {
        "tier": str(plan.tier),
        "width": plan.width,
        "needed_mb": plan.memory.of(plan.width or n_members) / _MB,
        "grown_mb": max(end.peak_memory_mb for end in ends) - before_mb,
    }


def trained_in_little_room(room_mb):
    """Train a pack that is not split up front, and a model that is too large, in little memory."""
    sizes = []
    make = engine.make_program

    def counted(model, members, **arguments):
        sizes.append(len(members))
        return make(model, members, **arguments)

    def model(capacity):
        return nn.Sequential(nn.Linear(12, capacity), nn.ReLU(), nn.Linear(capacity, 3))

    timed_trial._LONG_STEP_S = timed_trial._CLEARLY_LESS = float("inf")
    workload = prepared(model, train=classes(n_samples=600))
    trainer = PackTrainer(
        prepared=workload,
        settings=SETTINGS,
        device="cpu",
        room_bytes=lambda: float("inf"),
    )
    wide = [trial(0.01, seed=seed, batch_size=64, capacity=8000) for seed in range(15)]
    packs = [
        pack(*wide),
        pack(trial(0.01, capacity=50_000_000)),
        pack(trial(0.01, capacity=8)),
    ]
    trainer.plan(pack(*wide[:8]))  # counts for 15 as well, and takes half the memory
    engine.make_program = counted
    limit = int((status_mb("VmSize") + room_mb) * _MB)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    states = []
    for packed in packs:
        events = [e for batch in trainer.train(packed) for e in batch]
        states.append([str(e.state) for e in events if isinstance(e, TrialEnded)])
    return {"sizes": sizes, "states": states}


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, *arguments = sys.argv[1:]
    told = (
        measured_and_real(arguments[0], int(arguments[1]))
        if what == "need"
        else trained_in_little_room(float(arguments[0]))
    )
    sys.stdout.write(json.dumps(told) + "\n")
