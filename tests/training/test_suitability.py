"""Models that do more in Python than a traced step could know of."""

import random

import numpy as np
import pytest
import torch

from sweepdiag.records import TrainingSettings
from sweepdiag.training import PackTrainer, Tier
from tests.training.conftest import assert_same_bits, classes, curves, mlp, pack, prepared, trial


class Base(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = mlp(16)


class LayerDrop(Base):
    def forward(self, x):
        return self.network(x) if random.random() < 0.95 else self.network(2.0 * x)


class Counting(Base):
    n = 0

    def forward(self, x):
        self.n += 1
        return self.network(x) if self.n < 20 else self.network(2.0 * x)


class Replacing(Base):
    def __init__(self):
        super().__init__()
        self.register_buffer("n", torch.zeros(()))

    def forward(self, x):
        self.n = self.n + 1.0
        return self.network(x) * torch.where(self.n > 20, 2.0, 1.0)


class RandomProjection(Base):
    """Holds a tensor of its trial's own that is no buffer."""

    def __init__(self):
        super().__init__()
        self.projection = torch.randn(12, 12)

    def forward(self, x):
        return self.network(x @ self.projection)


class CountingInBuffer(Base):
    def __init__(self):
        super().__init__()
        self.register_buffer("n", torch.zeros(()))

    def forward(self, x):
        n = self.n.clone()
        self.n.add_(1.0)
        return self.network(x) * torch.where(n > 20, 2.0, 1.0)


class Backbone(Base):
    """Has parameters that get no gradient, without being marked as frozen."""

    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Linear(12, 12)

    def forward(self, x):
        with torch.no_grad():
            features = self.backbone(x)
        return self.network(features)


MODELS = [LayerDrop, Counting, Replacing, RandomProjection, CountingInBuffer, Backbone]


def together_and_alone(workload, trials, settings):
    trainer = PackTrainer(prepared=workload, settings=settings, device="cpu")
    found = curves([event for events in trainer.train(pack(*trials)) for event in events])
    expected = {}
    for t in trials:
        alone = PackTrainer(prepared=workload, settings=settings, device="cpu")
        expected |= curves([event for events in alone.train(pack(t)) for event in events])
    return trainer, found, expected


@pytest.mark.parametrize("model", MODELS)
def test_a_curve_does_not_depend_on_its_pack(model):
    trials = [
        trial(lr, seed=seed, weight_decay=decay)
        for seed, (lr, decay) in enumerate([(0.01, 0.0), (0.1, 0.1), (0.03, 0.0), (0.1, 0.0)])
    ]
    _, found, expected = together_and_alone(prepared(model), trials, TrainingSettings(epochs=6))
    assert_same_bits(found, expected)


@pytest.mark.parametrize("model", [LayerDrop, Counting, Replacing])
def test_such_a_model_is_trained_alone_with_a_warning(model, caplog):
    trials = [trial(lr) for lr in (0.01, 0.1)]
    trainer, _, _ = together_and_alone(prepared(model), trials, TrainingSettings(epochs=1))
    (plan,) = trainer._plans.values()
    assert plan.tier is Tier.UNFUSED
    assert "cannot be fused: forward" in caplog.text


def test_a_capacity_of_one_gives_the_curves_it_gives_alone():
    inputs, targets = classes(2000)
    workload = prepared(lambda: mlp(1, n_classes=10), train=(inputs, targets))
    trials = [trial(lr, seed=1, batch_size=32) for lr in np.geomspace(1e-3, 1.0, 8)]
    _, found, expected = together_and_alone(workload, trials, TrainingSettings(epochs=1))
    assert_same_bits(found, expected)


@pytest.mark.parametrize("shape", [(), (2,)])
@pytest.mark.parametrize("batch_size", [7, 16])
def test_binary_targets_fuse_with_the_same_bits(shape, batch_size):
    inputs, targets = classes()
    targets = (np.stack([targets] * shape[0], 1) if shape else targets) > 0
    workload = prepared(
        lambda: mlp(16, n_classes=shape[0] if shape else 1),
        train=(inputs, targets.astype(np.float32)),
        task="binary",
    )
    trials = [trial(lr, batch_size=batch_size) for lr in (0.01, 0.03, 0.1, 1.0)]
    trainer, found, expected = together_and_alone(workload, trials, TrainingSettings(epochs=3))
    (plan,) = trainer._plans.values()
    assert plan.tier is Tier.TRACED or "does not pay" in plan.reason
    assert_same_bits(found, expected)
