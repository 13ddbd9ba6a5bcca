import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from sweepdiag.training.dead_units import UnitSums, dead_fractions


@pytest.fixture(autouse=True)
def _draws_are_its_own():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def sums_of(model, *inputs):
    units = UnitSums(model)
    with torch.no_grad(), units.watching():
        for of_pass in inputs:
            model(of_pass)
    return units.take()


def fraction(model, *inputs):
    sums = [of_call[None] for of_call in sums_of(model, *inputs)]
    return dead_fractions([sums], n_members=1)[0]


class Shared(nn.Module):
    """Calls one activation twice, on layers of different widths."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.relu = nn.Linear(1, 4), nn.Linear(4, 2), nn.ReLU()
        with torch.no_grad():
            self.first.bias.copy_(torch.tensor([-1e3, -1e3, -1e3, 1e3]))
            self.second.bias.fill_(1e6)

    def forward(self, inputs):
        return self.relu(self.second(self.relu(self.first(inputs))))


def test_a_shared_activation_counts_at_each_call():
    assert [len(sums) for sums in sums_of(Shared(), torch.ones(5, 1))] == [4, 2]
    assert fraction(Shared(), torch.ones(5, 1)) == 3 / 6


def test_passes_are_taken_together():
    relu, some = nn.ReLU(), torch.tensor([[1.0, 0.0, -1.0]])
    assert fraction(relu, some) == pytest.approx(2 / 3)
    assert fraction(relu, some, torch.tensor([[0.0, 2.0, -1.0]])) == pytest.approx(1 / 3)


def test_channels_of_convolutions_are_units():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4).eval(), nn.ReLU())
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([-1e3, 1e3, -1e3, -1e3]))
    assert fraction(model, torch.rand(2, 1, 8, 8)) == 3 / 4


def test_features_of_sequences_are_units():
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU())
    with torch.no_grad():
        model[1].bias.copy_(torch.tensor([-1e3, 1e3, 1e3, 1e3]))
    assert fraction(model, torch.rand(2, 7, 3)) == 1 / 4


@pytest.mark.parametrize(
    ("activation", "zero_at"),
    [
        (nn.ReLU(), -1.0),
        (nn.ReLU6(), -1.0),
        (nn.Threshold(0.5, 0.0), 0.4),
        (nn.Hardswish(), -4.0),
        (nn.Hardsigmoid(), -4.0),
        (nn.Hardshrink(), 0.1),
        (nn.Softshrink(), 0.1),
    ],
)
def test_activations_that_can_be_zero_are_watched(activation, zero_at):
    assert fraction(activation, torch.full((3, 1), zero_at)) == 1
    assert fraction(activation, torch.full((3, 1), 1.0)) == 0


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.GELU(), nn.LeakyReLU(), nn.ELU()])
def test_without_such_an_activation_there_is_no_share(activation):
    model = nn.Sequential(nn.Linear(1, 1), activation)
    assert math.isnan(fraction(model, torch.ones(3, 1)))


def test_nan_makes_its_own_member_nan():
    sums = torch.tensor([[0.0, 1.0], [0.0, math.nan], [0.0, 0.0]])
    first, second, third = dead_fractions([[sums], [sums / 2]], n_members=3)
    assert (first, third) == (0.5, 1.0)
    assert math.isnan(second)


def test_odd_outputs_do_no_harm():
    assert fraction(nn.ReLU(), torch.tensor([-1.0, -2.0])) == 1  # one number per sample
    assert fraction(nn.ReLU(), torch.tensor(1.0)) == 0
    assert math.isnan(fraction(nn.ReLU(), torch.ones(0, 3)))


def test_other_models_and_later_passes_are_not_watched():
    model, other = nn.ReLU(), nn.ReLU()
    units = UnitSums(model)
    with units.watching():
        other(torch.ones(1, 1))
    model(torch.ones(1, 1))
    assert units.take() == []


def test_members_under_vmap_have_the_sums_that_each_has_alone():
    model = nn.Sequential(nn.Conv1d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2), nn.ReLU())
    members = [
        {name: torch.randn_like(parameter) for name, parameter in model.named_parameters()}
        for _ in range(4)
    ]
    inputs = torch.randn(6, 1, 5)

    def sums(parameters):
        units = UnitSums(model)
        with units.watching():
            functional_call(model, parameters, (inputs,))
        return units.take()

    stacked = {name: torch.stack([m[name] for m in members]) for name in members[0]}
    with torch.no_grad():
        together = vmap(sums)(stacked)
        for place, member in enumerate(members):
            for of_all, alone in zip(together, sums(member), strict=True):
                torch.testing.assert_close(of_all[place], alone)
