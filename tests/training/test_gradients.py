import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from sweepdiag.records import RECORDED_FIELDS, OptimizerSettings, TrainingSettings
from sweepdiag.training import PackTrainer, Tier
from sweepdiag.training.fused_model import FusedModel
from sweepdiag.training.gradients import row_norms
from tests.training.conftest import (
    assert_same_bits,
    classes,
    curves,
    mlp,
    pack,
    prepared,
    train,
    trial,
)

TIERS = [Tier.UNFUSED, Tier.TRACED, Tier.VMAP]
RECORDING = TrainingSettings(epochs=3, record=("gradients",))


def events_by(monkeypatch, tier, packed, workload, settings=RECORDING):
    """Train a pack in a way that is not left to its speed on this machine."""

    def model_of(trainer, packed, timetable):
        if tier is Tier.UNFUSED:
            return None, 1, 1
        model = trainer._build(packed.trials[0], 1).model
        fused = FusedModel(
            model,
            prepared=workload,
            is_traced=tier is Tier.TRACED,
            is_watched=bool(settings.record),
        )
        return fused, len(packed.trials), 1

    with monkeypatch.context() as patch:
        patch.setattr(PackTrainer, "_fused_model", model_of)
        return train(packed, workload=workload, settings=settings)


def recorded(events):
    """Return what was recorded with each trial's curve, shape ``(n_points, 3)``."""
    found = {}
    for event in events:
        if hasattr(event, "point"):
            row = [getattr(event.point, name) for name in RECORDED_FIELDS]
            found.setdefault(event.trial_id, []).append(row)
    return {key: np.array(rows) for key, rows in found.items()}


# --- values worked out by hand ---


class Slope(nn.Module):
    """``w x`` with w = 3 at first."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([3.0]))

    def forward(self, inputs):
        return inputs * self.w


def slope_workload():
    # The mean of (w x - x)² over x = 1, 2 is 2.5 (w - 1)², its derivative 5 (w - 1).
    x = np.array([[1.0], [2.0]], dtype=np.float32)
    return prepared(Slope, train=(x, x), validation=(x, x), task="regression")


@pytest.mark.parametrize("tier", TIERS)
def test_norm_and_ratio_of_a_line_are_those_worked_out_by_hand(monkeypatch, tier):
    settings = TrainingSettings(
        optimizer=OptimizerSettings(momentum=0.0), epochs=2, record=("gradients",)
    )
    packed = pack(trial(0.1, batch_size=2), trial(0.2, batch_size=2))
    found = recorded(events_by(monkeypatch, tier, packed, slope_workload(), settings))
    slow, fast = (found[t.trial_id] for t in packed.trials)
    # w = 3, 2, 1.5: gradients 10 and 5, updates 1 and 0.5
    np.testing.assert_allclose(slow[1:, :2], [[10, 1 / 3], [5, 1 / 4]], rtol=1e-6)
    # w = 3, 1, 1: gradients 10 and 0, updates 2 and 0
    np.testing.assert_allclose(fast[1:, :2], [[10, 2 / 3], [0, 0]], rtol=1e-6, atol=1e-6)
    assert np.isnan(slow[0, :2]).all()  # before any step
    assert np.isnan(slow[:, 2]).all()  # no activation


@pytest.mark.parametrize("tier", TIERS)
def test_a_norm_is_the_mean_over_steps_and_a_ratio_that_of_the_last(monkeypatch, tier):
    settings = TrainingSettings(
        optimizer=OptimizerSettings(momentum=0.0),
        epochs=2,
        evaluate_every_steps=2,
        record=("gradients",),
    )
    packed = pack(trial(0.1, batch_size=2))
    (found,) = recorded(events_by(monkeypatch, tier, packed, slope_workload(), settings)).values()
    np.testing.assert_allclose(found[1:, :2], [[7.5, 1 / 4]], rtol=1e-6)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weight_decay_is_in_the_update_and_not_in_the_gradient(monkeypatch, tier, name):
    optimizer = OptimizerSettings(name=name, momentum=0.0, weight_decay=0.5)
    settings = TrainingSettings(optimizer=optimizer, epochs=1, record=("gradients",))
    packed = pack(trial(0.1, batch_size=2), trial(0.2, batch_size=2))
    found = recorded(events_by(monkeypatch, tier, packed, slope_workload(), settings))
    # sgd: 0.1 (10 + 0.5 · 3). Adam's first step has the length of its rate: 0.1 + 0.1 · 0.5 · 3.
    update = 1.15 if name == "sgd" else 0.25
    first = found[packed.trials[0].trial_id]
    np.testing.assert_allclose(first[1, :2], [10, update / 3], rtol=1e-5)


@pytest.mark.parametrize(
    ("rows", "tolerance"),
    [
        (torch.linspace(-1.0, 1.0, 600_000).view(3, -1), 1e-6),
        (torch.full((3, 200_000), 0.1), 1e-5),  # every rounding goes the same way
    ],
)
def test_norms_of_long_rows_are_close_and_those_of_each_row_alone(rows, tolerance):
    others = torch.ones(3, 4, dtype=torch.float64)
    norms = row_norms([rows, others])
    assert norms.dtype == torch.float64
    exact = (rows.double().square().sum(dim=1) + 4).sqrt()
    np.testing.assert_allclose(norms, exact, rtol=tolerance)
    alone = torch.cat([row_norms([rows[i : i + 1].clone(), others[:1]]) for i in range(3)])
    np.testing.assert_allclose(alone, norms, rtol=1e-14)


def test_a_row_that_is_nan_leaves_the_others():
    norms = row_norms([torch.tensor([[3.0, 4.0], [math.nan, 1.0], [math.inf, 1.0]])])
    np.testing.assert_array_equal(norms, [5.0, math.nan, math.inf])


# --- dead units ---


def with_dead(*, n_dead, capacity=8):
    network = mlp(capacity)
    with torch.no_grad():
        network[0].bias[:n_dead] = -1e3
    return network


@pytest.mark.parametrize("tier", TIERS)
def test_units_that_are_never_above_zero_are_dead(monkeypatch, tier):
    workload = prepared(with_dead)
    packed = pack(*(trial(1e-9, seed=seed, n_dead=3) for seed in (0, 1)))
    found = recorded(events_by(monkeypatch, tier, packed, workload))
    for t in packed.trials:
        fractions = found[t.trial_id][:, 2]
        assert (fractions >= 3 / 16).all()
        assert (fractions * 16 == np.round(fractions * 16)).all()
        assert len(set(fractions)) == 1


def test_an_output_layer_of_dead_units_is_exact(monkeypatch):
    def model():
        network = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
        with torch.no_grad():
            network[0].bias.fill_(1e3)
            network[0].bias[:5] = -1e3
        return network

    for tier in TIERS:
        packed = pack(trial(1e-9), trial(1e-8))
        for rows in recorded(events_by(monkeypatch, tier, packed, prepared(model))).values():
            np.testing.assert_array_equal(rows[:, 2], 5 / 8)


def test_a_unit_that_lives_for_one_sample_of_many_is_alive(monkeypatch):
    inputs, targets = np.zeros((700, 2), dtype=np.float32), np.arange(700) % 2
    inputs[650, 0] = 1.0

    def model():
        network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2))
        with torch.no_grad():
            network[0].weight.copy_(torch.eye(2))
        return network

    workload = prepared(model, train=(inputs, targets), validation=(inputs, targets))
    assert len(workload.train_eval.targets) == 700  # two pieces
    for tier in TIERS:
        packed = pack(trial(1e-9), trial(1e-8))
        for rows in recorded(events_by(monkeypatch, tier, packed, workload)).values():
            np.testing.assert_array_equal(rows[:, 2], 1 / 2)


# --- the same numbers however a member is trained, and the same curves ---


def with_batch_norm(capacity):
    return nn.Sequential(
        nn.Linear(12, capacity), nn.BatchNorm1d(capacity), nn.ReLU(), nn.Linear(capacity, 3)
    )


def with_dropout(capacity):
    return nn.Sequential(mlp(capacity), nn.ReLU(), nn.Dropout(0.3))


def with_convolution(capacity):
    return nn.Sequential(
        nn.Unflatten(1, (1, 12)),
        nn.Conv1d(1, capacity, 3),
        nn.ReLU6(),
        nn.Flatten(),
        nn.Linear(capacity * 10, 3),
    )


class AlwaysNoisy(nn.Module):
    """Draws random numbers in eval mode too."""

    def __init__(self, capacity):
        super().__init__()
        self.network = mlp(capacity)

    def forward(self, inputs):
        return functional.dropout(self.network(inputs), 0.3, training=True)


def frozen(capacity):
    network = mlp(capacity)
    network[0].requires_grad_(False)
    return network


@pytest.mark.parametrize(
    "model", [mlp, with_batch_norm, with_dropout, with_convolution, AlwaysNoisy, frozen]
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_recording_changes_no_bit_and_is_the_same_fused_and_alone(monkeypatch, model, optimizer):
    workload = prepared(model)
    settings = dataclasses.replace(
        RECORDING, optimizer=OptimizerSettings(name=optimizer, weight_decay=0.01)
    )
    silent = dataclasses.replace(settings, record=())
    packed = pack(*(trial(lr, seed=i, capacity=16) for i, lr in enumerate((1e-3, 1e30, 0.03))))
    runs = {
        tier: events_by(monkeypatch, tier, packed, workload, settings)
        for tier in (Tier.UNFUSED, Tier.TRACED)
    }
    for tier, events in runs.items():
        without = events_by(monkeypatch, tier, packed, workload, silent)
        assert_same_bits(curves(events), curves(without))
        assert all(np.isnan(rows).all() for rows in recorded(without).values())
    alone, together = (recorded(events) for events in runs.values())
    for key, rows in alone.items():
        np.testing.assert_allclose(together[key], rows, rtol=1e-5)
    for healthy in (packed.trials[0], packed.trials[2]):
        assert np.isfinite(alone[healthy.trial_id][1:]).all()


def test_a_member_that_diverges_leaves_what_is_recorded_of_others(monkeypatch):
    workload = prepared()
    good, bad = trial(0.1, capacity=16), trial(1e30, capacity=16)
    both = recorded(events_by(monkeypatch, Tier.TRACED, pack(bad, good), workload))
    alone = recorded(events_by(monkeypatch, Tier.TRACED, pack(good), workload))
    np.testing.assert_array_equal(both[good.trial_id], alone[good.trial_id])
    assert np.isnan(both[bad.trial_id][-1]).all()


class Counting(nn.Module):
    """Its outputs depend on how often it has run."""

    def __init__(self):
        super().__init__()
        self.network = mlp()
        self.n_runs = 0

    def forward(self, inputs):
        self.n_runs += 1
        return self.network(inputs) * (1 + 1e-3 * self.n_runs)


class Encoder(nn.Module):
    """Takes PyTorch's fast path in eval mode, unless a module of it has a hook."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(
            12, 2, dim_feedforward=16, activation=nn.ReLU(), batch_first=True
        )
        self.last = nn.Linear(12, 3)

    def forward(self, inputs):
        return self.last(self.encoder(inputs[:, None])[:, 0])


@pytest.mark.parametrize("model", [Counting, Encoder])
def test_models_that_would_notice_are_left_alone(model):
    workload, packed = prepared(model), pack(trial(0.01), trial(0.02))
    events = train(packed, workload=workload, settings=RECORDING)
    silent = dataclasses.replace(RECORDING, record=())
    assert_same_bits(curves(events), curves(train(packed, workload=workload, settings=silent)))
    assert all(np.isfinite(rows[1:, :2]).all() for rows in recorded(events).values())


def test_sparse_gradients_are_recorded():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(5, 4, sparse=True)
            self.last = nn.Linear(4, 3)

        def forward(self, inputs):
            return self.last(self.embedding(inputs.long().clamp(0, 4)).mean(dim=1))

    settings = dataclasses.replace(RECORDING, optimizer=OptimizerSettings(momentum=0.0))
    events = train(pack(trial()), workload=prepared(Words), settings=settings)
    (rows,) = recorded(events).values()
    assert np.isfinite(rows[1:, :2]).all()


def test_a_pack_that_the_trainer_chooses_to_fuse_is_recorded_too():
    inputs, targets = classes()
    workload = prepared(train=(inputs, targets))
    packed = pack(*(trial(lr, capacity=16) for lr in np.geomspace(0.01, 0.3, 8)))
    found = recorded(train(packed, workload=workload, settings=RECORDING))
    assert all(np.isfinite(rows[1:]).all() for rows in found.values())
