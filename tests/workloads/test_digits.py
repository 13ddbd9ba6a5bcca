from __future__ import annotations

from sweepdiag.records import SplitSettings
from sweepdiag.workloads import load_workload, prepare


def test_digits_are_scaled_and_stratified():
    prepared = prepare(load_workload("digits"), SplitSettings())
    assert prepared.train.inputs.shape == (1438, 64)
    assert prepared.validation.inputs.shape == prepared.train_eval.inputs.shape == (359, 64)
    assert (prepared.train.inputs.min(), prepared.train.inputs.max()) == (0.0, 1.0)
    assert (prepared.validation.targets.bincount() - 35.9).abs().max() < 2


def test_capacity_is_the_width_of_both_hidden_layers():
    workload = load_workload("digits")
    assert workload.model_arguments() == ("capacity",)
    model = workload.model(capacity=7)
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    assert n_parameters == (64 * 7 + 7) + (7 * 7 + 7) + (7 * 10 + 10)


def test_the_default_sweep_of_digits():
    workload = load_workload("digits")
    assert workload.axes["lr"]["n"] == 11
    assert workload.axes["batch_size"] == [16, 64, 256]
    assert workload.axes["capacity"] == [4, 16, 64]
    assert dict(workload.settings) == {"epochs": 30, "seeds": 3}
