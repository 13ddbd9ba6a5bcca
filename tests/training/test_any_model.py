"""Small models of random make, trained in a pack and alone: the same curves, bit for bit."""

import dataclasses
import random
from functools import partial

import numpy as np
import pytest
from torch import nn

from sweepdiag.records import OptimizerSettings, ScheduleSettings, TrainingSettings
from sweepdiag.training import PackTrainer
from tests.training.conftest import curves, pack, prepared, trial

N_MODELS = 24
N_COMPARED = 3

ACTIVATIONS = [nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.ELU, nn.Sigmoid, nn.LeakyReLU, nn.Softplus]
OPTIMIZERS = [
    OptimizerSettings(),
    OptimizerSettings(momentum=0.0),
    OptimizerSettings(nesterov=True, weight_decay=0.01),
    OptimizerSettings(name="adam"),
    OptimizerSettings(name="adamw", weight_decay=0.1),
]
SCHEDULES = [
    ScheduleSettings(),
    ScheduleSettings(name="cosine", warmup_epochs=0.5),
    ScheduleSettings(name="step", step_epochs=1),
]


def network(n_inputs, n_outputs, *, width, depth, activation, norm, dropout):
    layers, n = [], n_inputs
    for _ in range(depth):
        layers += [nn.Linear(n, width), *([norm(width)] if norm else []), activation()]
        layers += [nn.Dropout(dropout)] if dropout else []
        n = width
    return nn.Sequential(*layers, nn.Linear(n, n_outputs))


def any_workload(choose, seed):
    """Return a workload, and a batch size that suits it."""
    n_inputs, n_samples = choose([1, 7, 12, 500]), choose([120, 700, 1500])
    task = choose(["classification", "classification", "regression", "binary"])
    norm = choose([None, None, nn.BatchNorm1d, nn.LayerNorm])
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, n_samples)
    targets = {
        "classification": classes,
        "regression": classes.astype(np.float32),
        "binary": (classes > 0).astype(np.float32),
    }[task]
    inputs = (rng.normal(size=(n_samples, n_inputs)) + classes[:, None]).astype(np.float32)
    model = partial(
        network,
        n_inputs,
        choose([3, 10, 20]) if task == "classification" else 1,
        width=choose([1, 2, 3, 5, 8, 11, 16, 17, 32]),
        depth=choose([1, 2]),
        activation=choose(ACTIVATIONS),
        norm=norm,
        dropout=choose([0.0, 0.0, 0.2]),
    )
    # One sample has no variance to divide by.
    batch_size = choose([3 if norm is nn.BatchNorm1d else 1, 3, 7, 16, 32, 50])
    return prepared(model, train=(inputs, targets), task=task), batch_size


@pytest.mark.parametrize("seed", range(N_MODELS))
def test_a_pack_gives_the_curves_that_its_members_give_alone(seed):
    choose = random.Random(seed).choice
    workload, batch_size = any_workload(choose, seed)
    n_steps = len(workload.train.targets) // batch_size
    optimizer = choose(OPTIMIZERS)
    settings = TrainingSettings(
        optimizer=optimizer,
        schedule=choose(SCHEDULES),
        epochs=1 if n_steps > 60 else 3,
        evaluate_every_steps=choose([None, 7]) if n_steps < 300 else None,
    )
    highest = 1.0 if optimizer.name == "sgd" else -0.5
    rates = np.random.default_rng(seed).uniform(-3.0, highest, choose([2, 5, 9, 16]))
    trials = [
        trial(float(10.0**rate), seed=place % 3, batch_size=batch_size)
        for place, rate in enumerate(rates)
    ]

    def curves_of(*chosen, record=()):
        recording = dataclasses.replace(settings, record=record)
        trainer = PackTrainer(prepared=workload, settings=recording, device="cpu")
        events = [event for events in trainer.train(pack(*chosen)) for event in events]
        return {trial_id: curve for (trial_id, _), curve in curves(events).items()}

    # What is recorded beside a curve has no part in it.
    together = curves_of(*trials, record=("gradients",) if seed % 2 else ())
    for t in trials[:N_COMPARED]:
        np.testing.assert_array_equal(together[t.trial_id], curves_of(t)[t.trial_id])
