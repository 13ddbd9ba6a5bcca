"""Trainings that go wrong in every way, as models (``build``) and as a loop (``train``)."""

import ctypes
import os
import resource
import sys
import time
from pathlib import Path

import torch

from sweepdiag import Workload

LOUD = "\x1b[31mno luck\x07\u202e " + 3000 * "\u00e9"


def misbehave(act):
    if act == "raises":
        raise ValueError(LOUD)
    if act == "exits":
        sys.exit("enough")
    if act == "os_exits":
        os._exit(3)
    if act == "segfaults":
        ctypes.string_at(0)
    if act == "hangs":
        time.sleep(1e6)
    if act == "memory":
        n_pages = int(Path("/proc/self/statm").read_text().split()[0])
        used = n_pages * os.sysconf("SC_PAGE_SIZE")
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000, before[1]))
        try:
            bytearray(400_000_000)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
    if act == "cuda_memory":
        message = "CUDA out of memory. Tried to allocate 2.00 GiB"
        raise torch.OutOfMemoryError(message)


class Model(torch.nn.Module):
    """Linear; at its third training step it does what it is told."""

    def __init__(self, act):
        super().__init__()
        self.act, self.n_steps = act, 0
        self.linear = torch.nn.Linear(5, 1)

    def forward(self, x):
        if self.training:
            self.n_steps += 1
        if self.n_steps >= 3:
            misbehave(self.act)
        return self.linear(x)


def build():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(96, 5, generator=generator)
    y = x.sum(1, keepdim=True)
    return Workload(
        name="misbehaving",
        version="1",
        task="regression",
        train=(x[:64], y[:64]),
        validation=(x[64:], y[64:]),
        model=Model,
        axes={"lr": [0.1], "batch_size": [16], "act": ["fine", "raises"]},
        settings={"epochs": 8, "seeds": 1},
    )


def train(config, report):
    act, last = config["act"], config["epochs"]
    nan_at = {"nan_first": 0, "nan_middle": last // 2, "nan_last": last}.get(act, last + 1)
    if act == "hangs_at_start":
        time.sleep(1e6)
    if act == "nothing":
        return
    for epoch in range(last + 1):
        loss = float("nan") if epoch >= nan_at else 0.5**epoch
        # The failed are the best by far until they fail.
        if act not in {"fine", "better"}:
            loss /= 1000
        if act == "wrong_type" and epoch == 2:
            loss = "low"
        report(epoch=epoch, train_loss=loss, val_loss=loss)
        if epoch == 2:
            misbehave(act)
