import numpy as np
import pytest
import torch

from sweepdiag.records import Pack, SplitSettings, TrainingSettings, Trial
from sweepdiag.training import PackTrainer, fix_summation_order, timed_trial
from sweepdiag.workloads import Workload, prepare

# Before anything is computed here: whichever test comes first in a process.
fix_summation_order()


def mlp(capacity=8, n_inputs=12, n_classes=3):
    return torch.nn.Sequential(
        torch.nn.Linear(n_inputs, capacity),
        torch.nn.ReLU(),
        torch.nn.Linear(capacity, capacity),
        torch.nn.ReLU(),
        torch.nn.Linear(capacity, n_classes),
    )


def classes(n_samples=120, n_inputs=12, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 3, n_samples)
    inputs = rng.normal(size=(n_samples, n_inputs)) + targets[:, None]
    return inputs.astype(np.float32), targets


def prepared(model=mlp, **changes):
    arguments = {"name": "small", "train": classes(), "model": model, **changes}
    return prepare(Workload(**arguments), SplitSettings())


def trial(lr=0.1, *, seed=0, batch_size=16, **axes):
    axes = {"lr": lr, "batch_size": batch_size, **axes}
    name = "-".join(f"{key}={value!r}" for key, value in sorted(axes.items()))
    return Trial(trial_id=f"{name}/{seed}", config_id=name, axes=axes, seed=seed)


def pack(*trials):
    return Pack(trials=trials, attempts=(1,) * len(trials))


def train(packed, *, workload=None, settings=None, device="cpu"):
    trainer = PackTrainer(
        prepared=workload or prepared(),
        settings=settings or TrainingSettings(epochs=3),
        device=device,
    )
    return [event for events in trainer.train(packed) for event in events]


def curves(events):
    """Return the numbers of each trial's curve, without its times."""
    found = {}
    for event in events:
        if hasattr(event, "point"):
            p = event.point
            row = (
                p.epoch,
                p.step,
                p.train_loss,
                p.val_loss,
                p.train_loss_running,
                p.train_metric,
                p.val_metric,
            )
            found.setdefault((event.trial_id, event.attempt), []).append(row)
    return {key: np.array(rows) for key, rows in found.items()}


def assert_same_bits(some, others):
    assert some.keys() == others.keys()
    for key in some:
        np.testing.assert_array_equal(some[key], others[key], err_msg=str(key))


@pytest.fixture(autouse=True)
def _torch_state_is_left_alone():
    n_threads, state = torch.get_num_threads(), torch.get_rng_state()
    yield
    assert torch.get_num_threads() == n_threads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.fixture
def _fusing_pays(monkeypatch):
    """Have what can be fused be fused, however long it takes on this machine just now."""
    monkeypatch.setattr(timed_trial, "_LONG_STEP_S", float("inf"))
    monkeypatch.setattr(timed_trial, "_CLEARLY_LESS", float("inf"))
