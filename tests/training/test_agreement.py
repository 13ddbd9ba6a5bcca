import contextlib

import numpy as np
import pytest
import torch

from sweepdiag.records import OptimizerSettings, TrainingSettings
from sweepdiag.training import PackTrainer
from sweepdiag.training.agreement import (
    fused_gradients,
    gradients_agree,
    have_same_bits,
    single_gradients,
)
from sweepdiag.training.fused_model import FusedModel
from sweepdiag.training.members import common_timetable
from sweepdiag.training.numerics import float32_products
from sweepdiag.training.plans import Tier, allowed_ways
from sweepdiag.training.timed_trial import _COARSE_TOLERANCE
from tests.training.conftest import curves, mlp, pack, prepared, train, trial

FAST = TrainingSettings(epochs=3, numerics="fast")
TRIALS = [trial(lr, seed=seed, capacity=8) for seed, lr in enumerate((0.003, 0.01, 0.03, 0.1))]


def normalized(capacity):
    first, *others = mlp(capacity)
    return torch.nn.Sequential(first, torch.nn.LayerNorm(capacity), *others)


def both_gradients(architecture=normalized, *, is_alike=False, **options):
    """Return the first gradients of four members, fused and alone; rounded alike if asked for."""
    workload = prepared(architecture)
    trainer = PackTrainer(prepared=workload, settings=FAST, device="cpu")
    members = [trainer._build(t, 1) for t in TRIALS]
    where = {
        "prepared": workload,
        "timetable": common_timetable(TRIALS, workload, FAST),
        "device": "cpu",
    }
    model = FusedModel(members[0].model, prepared=workload, **options)
    fused = fused_gradients(model, members, **where)
    rounding = model.rounding if is_alike else contextlib.nullcontext
    return fused, [single_gradients(m, rounding=rounding, **where) for m in members]


def test_exact_gradients_have_the_same_bits():
    for fused, alone in zip(*both_gradients(), strict=True):
        assert all(torch.equal(fused[name], alone[name]) for name in alone)


def test_operations_that_round_otherwise_give_gradients_up_to_rounding():
    for fused, alone in zip(*both_gradients(is_exact=False), strict=True):
        assert gradients_agree(fused, alone, tolerance=1e-5)


def test_coarse_products_round_to_two_digits():
    for fused, alone in zip(*both_gradients(mlp, is_exact=False, is_coarse=True), strict=True):
        assert gradients_agree(fused, alone, tolerance=3e-2)
        assert not gradients_agree(fused, alone, tolerance=1e-5)
        assert {gradient.dtype for gradient in fused.values()} == {torch.float32}


def smooth(capacity):
    first, _, *others = mlp(capacity)
    return torch.nn.Sequential(first, torch.nn.GELU(), *others)


# Not with a layer norm: only a GPU's autocast takes it in float32.
@pytest.mark.parametrize("architecture", [mlp, smooth])
def test_coarse_products_are_those_of_a_single_model_rounded_alike(architecture):
    found = both_gradients(architecture, is_alike=True, is_exact=False, is_coarse=True)
    for fused, alone in zip(*found, strict=True):
        assert gradients_agree(fused, alone, tolerance=_COARSE_TOLERANCE)
        assert {gradient.dtype for gradient in alone.values()} == {torch.float32}


def test_a_gradient_that_is_nothing_but_rounding_is_held_to_the_length_of_others():
    expected = {"weight": torch.tensor([3.0, 4.0]), "bias": torch.tensor([1e-9])}
    assert gradients_agree(
        {"weight": torch.tensor([3.0, 4.001]), "bias": torch.tensor([-1e-9])},
        expected,
        tolerance=1e-3,
    )
    # The average length is 5 / sqrt(2), so that a bias may be off by 0.0035.
    for bias, is_close in ((0.0034, True), (0.0037, False)):
        found = {"weight": expected["weight"], "bias": torch.tensor([bias])}
        assert gradients_agree(found, expected, tolerance=1e-3) is is_close


def test_gradients_of_other_parameters_and_nan_do_not_agree():
    expected = {"weight": torch.tensor([1.0])}
    assert not gradients_agree({}, expected, tolerance=1.0)
    assert not gradients_agree({"weight": torch.tensor([torch.nan])}, expected, tolerance=1.0)


def test_bits_are_compared_with_nan():
    assert have_same_bits([np.array([1.0, np.nan])], [np.array([1.0, np.nan])])
    assert not have_same_bits([np.array([1.0])], [np.array([np.nextafter(1.0, 2.0)])])


def test_fast_curves_are_those_of_exact_ones_up_to_rounding():
    workload = prepared(normalized)
    exact = curves(train(pack(*TRIALS), workload=workload))
    fast = curves(train(pack(*TRIALS), workload=workload, settings=FAST))
    for key, curve in exact.items():
        np.testing.assert_allclose(fast[key][:, :5], curve[:, :5], rtol=1e-3)


def test_a_wrong_gradient_is_refused_by_the_tolerance_too():
    class Wrong(torch.nn.Module):
        """Has another gradient under vmap than alone."""

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(12, 3)

        def forward(self, x):
            is_fused = torch._C._functorch.maybe_get_level(self.layer.weight) > 0
            out = self.layer(x)
            return out + 0.01 * (out - out.detach()) if is_fused else out

    trainer = PackTrainer(prepared=prepared(Wrong), settings=FAST, device="cpu")
    plan = trainer.plan(pack(*(trial(1e-12, seed=seed) for seed in range(4))))
    assert plan.tier is Tier.UNFUSED
    assert "gradients" in plan.reason


def test_ways_that_are_tried():
    assert [way.is_exact for way in allowed_ways("cpu", is_fast=False)] == [True]
    assert [way.is_exact for way in allowed_ways("cpu", is_fast=True)] == [True, False, False]
    assert not any(way.is_coarse for way in allowed_ways("cpu", is_fast=True))
    assert not any(way.is_coarse for way in allowed_ways("cuda:0", is_fast=False))
    assert [way.is_coarse for way in allowed_ways("cuda:0", is_fast=True)] == [False, True, False]


@pytest.mark.parametrize("is_fast", [False, True])
def test_precision_of_products_is_restored(is_fast):
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with float32_products("cuda:0", is_fast=is_fast):
        assert torch.get_float32_matmul_precision() == ("high" if is_fast else "highest")
        assert torch.backends.cudnn.allow_tf32 is is_fast
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_on_a_gpu_fast_trainings_are_fused_and_end_near_exact_ones(cuda, optimizer):
    workload = prepared(normalized).to(cuda)
    found = {}
    for numerics in ("exact", "fast"):
        settings = TrainingSettings(
            epochs=3, numerics=numerics, optimizer=OptimizerSettings(name=optimizer)
        )
        trainer = PackTrainer(prepared=workload, settings=settings, device=cuda)
        assert trainer.plan(pack(*TRIALS)).tier is Tier.TRACED
        events = [event for events in trainer.train(pack(*TRIALS)) for event in events]
        found[numerics] = curves(events)
    for key, curve in found["exact"].items():
        np.testing.assert_allclose(found["fast"][key][:, 2:4], curve[:, 2:4], rtol=0.1)
