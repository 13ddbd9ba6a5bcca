"""What a plan depends on changes its key, and nothing else does."""

import functools
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn

from sweepdiag.records import OptimizerSettings, PackSettings, TrainingSettings
from sweepdiag.training import plan_key
from sweepdiag.training.described import described, described_model
from sweepdiag.training.members import build_member, common_timetable
from sweepdiag.training.plan_key import digest, plan_facts
from tests.training.conftest import classes, mlp, pack, prepared, trial


class Net(nn.Module):
    def __init__(self, slope=0.1, bias=True, act=torch.relu):
        super().__init__()
        self.layer, self.slope, self.act = nn.Linear(12, 3, bias=bias), slope, act

    def forward(self, x):
        return self.act(self.layer(x)) * self.slope


def own_loss(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, label_smoothing=0.1)


def facts(
    model=Net, *, n=3, settings=None, packing=None, batch_size=16, lr=0.1, axes=None, **workload
):
    settings = settings or TrainingSettings(epochs=3)
    data = prepared(model, **workload)
    trials = [trial(lr, seed=seed, batch_size=batch_size, **(axes or {})) for seed in range(n)]
    members = [build_member(t, 1, prepared=data, settings=settings, device="cpu") for t in trials]
    return plan_facts(
        members,
        prepared=data,
        timetable=common_timetable(pack(*trials).trials, data, settings),
        device="cpu",
        numerics=settings.numerics,
        record=settings.record,
        packing=packing or PackSettings(),
    )


def settings_with(**changes):
    return TrainingSettings(**{"epochs": 3, **changes})


SAME = {
    "again": {},
    "learning rate": {"lr": 0.3},
    "another momentum": {"axes": {"momentum": 0.5}},
}
OTHERS = {
    "layer": {"model": lambda: Net(bias=False)},
    "attribute": {"model": lambda: Net(slope=0.2)},
    "function held": {"model": lambda: Net(act=torch.tanh)},
    "lambda held": {"model": lambda: Net(act=lambda x: x.relu())},
    "width": {"model": functools.partial(mlp, 9)},
    "depth": {"model": lambda: nn.Sequential(Net(), nn.ReLU())},
    "dtype": {"model": lambda: Net().double().float().requires_grad_(False)},
    "optimizer": {"settings": settings_with(optimizer=OptimizerSettings(name="adam"))},
    "no momentum": {"settings": settings_with(optimizer=OptimizerSettings(momentum=0.0))},
    "nesterov": {"settings": settings_with(optimizer=OptimizerSettings(nesterov=True))},
    "weight decay": {"settings": settings_with(optimizer=OptimizerSettings(weight_decay=0.1))},
    "epochs": {"settings": settings_with(epochs=4)},
    "evaluations": {"settings": settings_with(evaluate_every_steps=2)},
    "numerics": {"settings": settings_with(numerics="fast")},
    "record": {"settings": settings_with(record=("gradients",))},
    "loss": {"loss": own_loss},
    "batch size": {"batch_size": 8},
    "members": {"n": 4},
    "data": {"train": classes(seed=1)},
    "samples": {"train": classes(130)},
    "tier": {"packing": PackSettings(tier="traced")},
    "pack width": {"packing": PackSettings(width=2)},
    "threads": {"packing": PackSettings(threads=2)},
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_what_plans_do_not_depend_on_keeps_the_key(change):
    assert digest(facts(**change)) == digest(facts())


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_what_plans_depend_on_changes_the_key(change):
    assert digest(facts(**change)) != digest(facts())


@pytest.mark.parametrize("name", ["_versions", "_modes", "_machine"])
def test_so_do_versions_modes_and_the_machine(monkeypatch, name):
    before = digest(facts())
    monkeypatch.setattr(plan_key, name, lambda *_: {"torch": "another"})
    assert digest(facts()) != before


def test_every_fact_is_in_the_key():
    found = facts()
    keys = {digest({**found, name: "another"}) for name in found} | {digest(found)}
    assert len(keys) == len(found) + 1


def test_modes_of_the_process_count(monkeypatch):
    before = plan_key._modes()
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    assert plan_key._modes() != before


def test_how_many_threads_to_begin_with_does_not_count(monkeypatch):
    before = plan_key._modes()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert plan_key._modes() == before


# --- code in words ---


@pytest.fixture(autouse=True)
def _own_random_numbers(_torch_state_is_left_alone):
    with torch.random.fork_rng():
        yield


def made(source, name="made"):
    scope = {"torch": torch, "nn": nn, "__name__": "a_users_module"}
    exec(textwrap.dedent(source), scope)
    return scope[name]


MODULE = """
WIDTH = {width}
def helper(x):
    return x * {factor}
class Holder:
    def __init__(self):
        self.sign = {sign}
    def __call__(self, x):
        return x * self.sign
class made(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.holder = Holder()
        self.register_forward_hook({hook})
    def forward(self, x):
        y = helper(self.layer(x)) + WIDTH
        return self.holder({inside}(y))
"""
WORDS = {"width": 1, "factor": 2.0, "sign": 1, "inside": "torch.relu", "hook": "print"}


@pytest.mark.parametrize(
    "change",
    [
        {"width": 2},
        {"factor": 3.0},
        {"sign": -1},
        {"inside": "torch.tanh"},
        {"inside": "(lambda z: z + 1)"},
        {"hook": "lambda *_: None"},
    ],
    ids=str,
)
def test_edited_code_of_the_same_name_is_other_code(change):
    first = json.dumps(described_model(made(MODULE.format(**WORDS))()))
    assert json.dumps(described_model(made(MODULE.format(**WORDS))())) == first
    assert json.dumps(described_model(made(MODULE.format(**{**WORDS, **change}))())) != first


def test_shared_parameters_are_not_separate_ones():
    separate = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    assert described_model(separate) != described_model(tied)


def test_modes_of_modules_count():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.1))
    before = described_model(model)
    model[1].eval()
    assert described_model(model) != before


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (1, 1.0),
        (1, True),
        ("1", 1),
        ([1], (1,)),
        ({"a": 1}, {"a": 2}),
        (np.arange(3), np.arange(3.0)),
        (torch.ones(3), torch.zeros(3)),
        (torch.ones(3), torch.ones(3, 1)),
        (torch.float32, torch.float64),
        (functools.partial(max, 1), functools.partial(max, 2)),
        (nn.CrossEntropyLoss(), nn.CrossEntropyLoss(torch.ones(3))),
        (nn.CrossEntropyLoss(torch.ones(3)), nn.CrossEntropyLoss(2 * torch.ones(3))),
        (torch.relu, torch.tanh),
        (nn.functional.relu, nn.functional.gelu),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_in_words(value, other):
    assert described(value) != described(other)
    assert described(value) == described(value)


def test_what_refers_to_itself_has_an_end():
    around = []
    around.append(around)
    model = Net()
    model.parts = [model, around]
    assert json.dumps(described_model(model)) == json.dumps(described_model(model))


def test_another_process_says_the_same(tmp_path):
    (tmp_path / "users.py").write_text(
        "import json, torch\nfrom torch import nn\n"
        "from sweepdiag.training.described import described_model\n"
        + MODULE.format(**{**WORDS, "hook": "lambda *_: {'a', 'b', 'c'}"})
        + "\nif __name__ == 'users': print(json.dumps(described_model(made())))\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", "import users"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            env={**dict(os.environ), "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
