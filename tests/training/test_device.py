"""A fused step on a device that has no memory: nothing in it may touch the host.

``meta`` stands in for a GPU. Under ``FakeTensorMode`` an operation on tensors of two devices is an
error, as on a GPU, and so is a number that Python asks for.
"""

import collections
import contextlib
import types
import warnings

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sweepdiag.records import OptimizerSettings, TrainingSettings
from sweepdiag.training import (
    fused_model,
    graphs,
    members,
    programs,
    seeds,
    step_tables,
    transfers,
)
from tests.training.cases import MIXED, OPTIMIZERS, SCHEDULES
from tests.training.conftest import mlp, prepared, trial
from tests.training.test_capture import program_of

DEVICE = "meta"
ALIKE = [trial(lr, seed=s, capacity=16) for s, lr in enumerate((0.01, 0.1))]


class Watch(TorchDispatchMode):
    """Counts operations by the devices of their tensors."""

    def __init__(self):
        super().__init__()
        self.on = collections.defaultdict(list)

    def __torch_dispatch__(self, operation, classes, args=(), kwargs=None):
        del classes
        result = operation(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, torch.Tensor)]
        self.on[frozenset(x.device.type for x in tensors)].append(operation.name())
        return result


class WatchingRecorder:
    """Looks at steps once they are traced."""

    def __init__(self, watches):
        self._n_seen = 0
        self._watches = watches

    def warm_up(self, step):
        self._n_seen += 1
        with Watch() if self._n_seen == 3 else contextlib.nullcontext() as watch:
            step()
        if watch is not None:
            self._watches.append(watch)
        return ""

    def record(self, step):
        return step


def normed(capacity):
    first, *others = mlp(capacity)
    return torch.nn.Sequential(first, torch.nn.BatchNorm1d(capacity), *others)


@pytest.fixture
def device(monkeypatch):
    """Have ``meta`` do as a GPU does; return what is seen of its steps."""
    watches = []
    monkeypatch.setattr(programs, "recorder_for", lambda device: WatchingRecorder(watches))
    for module in (transfers, step_tables):
        monkeypatch.setattr(module, "pinned", lambda tensor, device: tensor)
    monkeypatch.setattr(programs, "Reading", lambda numbers, convert: numbers)
    monkeypatch.setattr(programs, "read_evaluations", lambda means: means)
    # Weights are made on the device: a module of fake tensors cannot be moved.
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, device: self)
    monkeypatch.setattr(members, "check_model_outputs", lambda model, prepared: None)
    # Constants of a program are read when it is traced; fake ones have no numbers.
    monkeypatch.setattr(graphs, "graph_digest", lambda root, graph: "")
    # No fake order of samples may be remembered for other tests.
    monkeypatch.setattr(seeds, "_epoch_order", seeds._epoch_order.__wrapped__)
    return watches


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: f"{o.name}-{o.momentum}")
@pytest.mark.parametrize("trials", [ALIKE, MIXED], ids=["alike", "mixed"])
@pytest.mark.parametrize("model", [mlp, normed])
@pytest.mark.parametrize("is_traced", [True, False])
def test_a_step_and_an_evaluation_stay_on_the_device(
    device, monkeypatch, optimizer, trials, model, is_traced
):
    def on_device(capacity):
        with torch.device(DEVICE):
            return model(capacity)

    # Fake buffers cannot be copied either.
    anew = types.SimpleNamespace(deepcopy=lambda module: on_device(16))
    monkeypatch.setattr(fused_model, "copy", anew)
    workload = prepared(on_device)
    settings = TrainingSettings(optimizer=optimizer, schedule=SCHEDULES[2], epochs=3)
    with warnings.catch_warnings(), FakeTensorMode(allow_non_fake_inputs=True):
        warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")
        program = program_of(
            trials,
            workload=workload.to(DEVICE, memory_gb=1.0),
            settings=settings,
            is_traced=is_traced,
            device=DEVICE,
        )
        for step in range(4):
            means = program.evaluate()
            losses = program.advance(step, step + 1)
    assert means.device.type == losses.device.type == DEVICE
    assert len(device) == 2
    for watch in device:
        assert set(watch.on) <= {frozenset({DEVICE}), frozenset()}
        assert len(watch.on[frozenset({DEVICE})]) > 20


def test_what_a_step_brings_from_the_host_is_noticed(device):
    def loss(outputs, targets):
        weights = torch.tensor([1.0, 2.0, 3.0]).to(outputs.device)
        return torch.nn.functional.cross_entropy(outputs, targets, weight=weights)

    def on_device(capacity):
        with torch.device(DEVICE):
            return mlp(capacity)

    settings = TrainingSettings(optimizer=OptimizerSettings(), epochs=3)
    with warnings.catch_warnings(), FakeTensorMode(allow_non_fake_inputs=True):
        warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")
        workload = prepared(on_device, loss=loss).to(DEVICE, memory_gb=1.0)
        program = program_of(ALIKE, workload=workload, settings=settings, device=DEVICE)
        program.advance(0, 4)
    (watch,) = device
    assert frozenset({"cpu", DEVICE}) in watch.on
