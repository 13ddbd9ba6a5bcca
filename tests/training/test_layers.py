"""Every kind of layer trained fused and alone: the same bits, or how far apart."""

import copy
import dataclasses
import re

import numpy as np
import pytest
import torch
from torch import nn

from sweepdiag.records import State, TrainingSettings, TrialEnded
from sweepdiag.training import PackTrainer
from sweepdiag.training.fused_model import FusedModel
from sweepdiag.training.members import common_timetable
from sweepdiag.training.plans import Tier
from sweepdiag.training.programs import FusedProgram, UnfusedProgram
from tests.training.conftest import pack, prepared, trial

N_STEPS = 4


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(12, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x):
        hidden = self.first(x)
        return self.last(hidden + torch.relu(self.inner(hidden)))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.last(torch.relu(self.second(torch.relu(self.first(x)))))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.attention(x, x, x, need_weights=False)[0].mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.recurrent, self.last = kind(8, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.recurrent(x)[0][:, -1])


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.last = nn.Embedding(10, 8), nn.Linear(8, 3)
        self.recurrent = nn.GRU(8, 8, batch_first=True)

    def forward(self, x):
        lengths = (x != 0).sum(1).clamp(min=1)
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(x), lengths, batch_first=True, enforce_sorted=False
        )
        return self.last(self.recurrent(packed)[1][-1])


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.last = nn.Embedding(10, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.embedding(x).mean(1))


class FrozenNorm(nn.BatchNorm1d):
    def train(self, mode=True):
        del mode
        return super().train(False)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return x * self.scale


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)


class Deciding(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(12, 3)

    def forward(self, x):
        outputs = self.layer(x)
        return outputs if outputs.sum() > 0 else 2.0 * outputs


def between(*layers):
    return nn.Sequential(nn.Linear(12, 16), *layers, nn.Linear(16, 3))


def after(n_features, *layers):
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(n_features, 3))


class ResidualInPlace(nn.Module):
    """As torchvision writes them."""

    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(2, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.conv2, self.norm2 = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.down, self.relu = nn.Conv2d(2, 16, 1), nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        out += self.down(x)
        return self.relu(out)


EXACT = {
    "relu": ("vectors", lambda: between(nn.ReLU())),
    "relu in place": ("vectors", lambda: between(nn.ReLU(inplace=True))),
    "tanh": ("vectors", lambda: between(nn.Tanh())),
    "gelu": ("vectors", lambda: between(nn.GELU())),
    "sigmoid": ("vectors", lambda: between(nn.Sigmoid())),
    "elu": ("vectors", lambda: between(nn.ELU())),
    "residual": ("vectors", Residual),
    "tied weights": ("vectors", Tied),
    "max pooling": ("images", lambda: after(32, nn.MaxPool2d(2))),
    "mean pooling": ("images", lambda: after(32, nn.AvgPool2d(2))),
    "linear on sequences": ("sequences", lambda: after(48, nn.Linear(8, 8), nn.ReLU())),
}
"""Fused, these have the bits that they have alone."""

ONE_BY_ONE = {
    "batch norm": ("vectors", lambda: between(nn.BatchNorm1d(16), nn.ReLU())),
    "batch norm without statistics": (
        "vectors",
        lambda: between(nn.BatchNorm1d(16, track_running_stats=False, affine=False)),
    ),
    "batch norm on images": ("images", lambda: after(128, nn.BatchNorm2d(2), nn.ReLU())),
    "layer norm": ("vectors", lambda: between(nn.LayerNorm(16), nn.ReLU())),
    "layer norm without bias": ("vectors", lambda: between(nn.LayerNorm(16, bias=False))),
    "group norm": ("images", lambda: after(128, nn.GroupNorm(2, 2), nn.ReLU())),
    "conv1d": ("signals", lambda: after(60, nn.Conv1d(4, 6, 3, padding=1), nn.ReLU())),
    "conv2d": ("images", lambda: after(256, nn.Conv2d(2, 4, 3, padding=1), nn.ReLU())),
    "conv2d by groups": (
        "images",
        lambda: after(64, nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, bias=False)),
    ),
    "conv2d of the same size": (
        "images",
        lambda: after(256, nn.Conv2d(2, 4, 3, padding="same"), nn.ReLU()),
    ),
    "silu": ("vectors", lambda: between(nn.SiLU())),
    "silu in place": ("vectors", lambda: between(nn.BatchNorm1d(16), nn.SiLU(inplace=True))),
    "residual block in place": ("images", lambda: after(256, ResidualInPlace(), nn.MaxPool2d(2))),
    "layer norm, relu in place": (
        "vectors",
        lambda: between(nn.LayerNorm(16), nn.ReLU(inplace=True)),
    ),
    "frozen batch norm": ("vectors", lambda: between(FrozenNorm(16))),
    "scalar parameter": ("vectors", lambda: between(Scaled())),
}
"""Exact as well, because the fused step takes them member by member."""

TRACED_ONLY = {
    "dropout": ("vectors", lambda: between(nn.Dropout(0.3), nn.ReLU(), nn.Dropout(0.5))),
    "dropout in place": ("vectors", lambda: between(nn.Dropout(0.3, inplace=True))),
    "embedding": ("tokens", Embedded),
}
"""Exact in a traced step."""

CLOSE = {
    # Its gradient is that of PyTorch's attention for many heads at once.
    "attention": ("sequences", Attention),
}
"""Fused, these round otherwise than alone, by so much after a few steps."""
TOLERANCE = 1e-4

UNFUSED = {
    "random numbers": ("vectors", lambda: between(Noisy()), "random operation"),
    "packed": ("tokens", Packed, "data-dependent .*packed sequences"),
    "lstm": ("sequences", lambda: Recurrent(nn.LSTM), "aten::lstm"),
    "gru": ("sequences", lambda: Recurrent(nn.GRU), "aten::gru"),
    "decision": ("vectors", Deciding, "data-dependent|.item"),
}
"""These are trained one by one, and a warning names the operation."""


def samples(kind):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 160)
    if kind == "tokens":
        return rng.integers(0, 7, (160, 6)) + targets[:, None], targets
    shape = {"vectors": (12,), "images": (2, 8, 8), "sequences": (6, 8), "signals": (4, 10)}[kind]
    shift = targets.reshape(-1, *[1] * len(shape))
    return (rng.normal(size=(160, *shape)) + shift).astype(np.float32), targets


def trained(kind, model, *, is_traced, batch_size=16, n_steps=N_STEPS):
    """Return the parameters and losses of four members after a few steps, fused and alone."""
    workload = prepared(model, train=samples(kind))
    trainer = PackTrainer(prepared=workload, settings=TrainingSettings(epochs=1), device="cpu")
    trials = [
        trial(lr, seed=seed, batch_size=batch_size)
        for seed, lr in enumerate((0.003, 0.01, 0.03, 0.1))
    ]
    timetable = common_timetable(trials, workload, TrainingSettings(epochs=1))
    members = [trainer._build(t, 1) for t in trials]
    common = {"prepared": workload, "timetable": timetable, "device": "cpu"}
    fused = FusedProgram(
        members,
        model=FusedModel(members[0].model, prepared=workload, is_traced=is_traced),
        **common,
    )
    copies = [dataclasses.replace(m, model=copy.deepcopy(m.model)) for m in members]
    alone = [UnfusedProgram(member, **common) for member in copies]
    found = [np.array(fused.advance(0, n_steps).result())]
    expected = [
        np.array([loss for program in alone for loss in program.advance(0, n_steps).result()])
    ]
    for name, parameters in fused.parameters.views.items():
        found.append(parameters.numpy())
        expected.append(
            np.stack([dict(m.model.named_parameters())[name].detach().numpy() for m in copies])
        )
    measured = fused.evaluate().result()
    measured_alone = [
        evaluation for program in alone for evaluation in program.evaluate().result()
    ]
    for values, evaluations in ((found, measured), (expected, measured_alone)):
        values.append(np.array([[t.loss, v.loss, v.metric] for t, v in evaluations]))
    return found, expected


@pytest.mark.parametrize("is_traced", [True, False], ids=["traced", "vmap"])
@pytest.mark.parametrize("layer", EXACT | ONE_BY_ONE)
def test_bits_are_those_of_a_single_training(layer, is_traced):
    assert_exact((EXACT | ONE_BY_ONE)[layer], is_traced=is_traced)


@pytest.mark.parametrize("layer", ["sigmoid", "elu", "gelu", "silu", "tanh"])
@pytest.mark.parametrize("width", [1, 3, 11])
def test_bits_stay_where_layers_do_not_fill_vector_registers(layer, width):
    activation = {
        "sigmoid": nn.Sigmoid, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh
    }[layer]  # fmt: skip
    case = ("vectors", lambda: nn.Sequential(
        nn.Linear(12, width), activation(), nn.Linear(width, 3)
    ))  # fmt: skip
    assert_exact(case, is_traced=True, batch_size=3, n_steps=20)


@pytest.mark.parametrize("layer", TRACED_ONLY)
def test_bits_of_a_traced_step_are_those_of_a_single_training(layer):
    assert_exact(TRACED_ONLY[layer], is_traced=True)


def assert_exact(case, *, is_traced, **options):
    found, expected = trained(*case, is_traced=is_traced, **options)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("layer", CLOSE)
def test_numbers_are_close_to_those_of_a_single_training(layer):
    found, expected = trained(*CLOSE[layer], is_traced=True)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.usefixtures("_fusing_pays")
def test_one_cause_is_told_once_for_all_sizes(caplog):
    workload = prepared(lambda width: Deciding(), train=samples("vectors"))
    trainer = PackTrainer(prepared=workload, settings=TrainingSettings(epochs=1), device="cpu")
    for width in (4, 8):
        assert trainer.plan(pack(trial(width=width), trial(0.2, width=width))).tier is Tier.UNFUSED
    assert sum("cannot be fused" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.usefixtures("_fusing_pays")
@pytest.mark.parametrize("layer", UNFUSED)
def test_what_cannot_be_fused_is_trained_alone_with_one_warning(layer, caplog):
    kind, model, operation = UNFUSED[layer]
    workload = prepared(model, train=samples(kind))
    trainer = PackTrainer(prepared=workload, settings=TrainingSettings(epochs=1), device="cpu")
    events = [e for _ in range(2) for es in trainer.train(pack(trial(), trial(0.2))) for e in es]
    warnings = [r.getMessage() for r in caplog.records if r.name.startswith("sweepdiag")]
    assert len(warnings) == 1
    assert "cannot be fused" in warnings[0]
    assert re.search(operation, warnings[0])
    (plan,) = trainer._plans.values()
    assert plan.tier is Tier.UNFUSED
    ends = [event.state for event in events if isinstance(event, TrialEnded)]
    assert ends == [State.FINISHED] * 4
