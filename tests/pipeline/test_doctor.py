import pytest
import torch

from sweepdiag.errors import ConfigError
from sweepdiag.pipeline import examine_workload, resolve_config
from sweepdiag.workloads import TrainLoop, Workload
from tests.training.conftest import classes, mlp


def examine(model, **options):
    workload = Workload(name="small", train=classes(), model=model)
    config, workload = resolve_config(
        workload,
        options={"epochs": 2, "seeds": 2, **options},
    )
    return examine_workload(config, workload)


def axes(**values):
    return {"parameters": {name: {"values": list(v)} for name, v in values.items()}}


def test_every_architecture_is_examined_once():
    found = examine(mlp, **axes(lr=(0.01, 0.1), batch_size=(8, 16), capacity=(4, 512)))
    assert [(e.axes["batch_size"], e.axes["capacity"]) for e in found] == [
        (8, 4), (8, 512), (16, 4), (16, 512),
    ]  # fmt: skip
    assert [e.n_trials for e in found] == [4] * 4
    parameters = 12 * 512 + 512 + 512 * 512 + 512 + 512 * 3 + 3
    assert found[1].n_parameters == parameters
    # About weights, gradients and velocities: minibatches are small here.
    assert 2 * 4 * parameters < found[1].memory_bytes < 30 * 4 * parameters
    assert found[1].n_fitting > 4
    assert all(e.trials_per_s > 0 for e in found)


def test_how_many_fit_is_for_the_memory_that_packs_may_take():
    limits = {"execution": {"executor": "serial", "pack_memory_gb": 0.1}}
    (found,) = examine(mlp, **axes(lr=(0.01, 0.1), batch_size=(16,), capacity=(512,)), **limits)
    assert found.n_fitting == int(1e8 // found.memory_bytes)


def test_it_says_how_wide_on_how_many_threads_and_since_when(monkeypatch, tmp_path):
    monkeypatch.setenv("SWEEPDIAG_CACHE_DIR", str(tmp_path))
    settings = axes(lr=(0.01, 0.1), batch_size=(8,), capacity=(16,))
    settings["execution"] = {"tier": "traced", "pack_width": 2, "workers": 2}
    for is_remembered in (False, True):
        (found,) = examine(mlp, **settings)
        assert (found.tier, found.width, found.threads) == ("fused and traced", 2, 1)
        assert found.is_remembered is is_remembered


def test_what_cannot_be_fused_says_why():
    class Deciding(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(12, 3)

        def forward(self, x):
            outputs = self.layer(x)
            return outputs if outputs.sum() > 0 else -outputs

    (found,) = examine(Deciding, **axes(lr=(0.01, 0.1), batch_size=(16,)))
    assert found.tier == "unfused"
    assert "cannot be fused" in found.reason


def test_a_model_that_does_not_run_is_reported():
    (found,) = examine(lambda: torch.nn.Linear(5, 3), **axes(lr=(0.01,), batch_size=(16,)))
    assert found.tier == ""
    assert "mat1 and mat2" in found.reason


def test_a_loop_of_ones_own_has_no_model_to_look_at():
    loop = TrainLoop(name="loop", function=lambda config, report: None, axes={"lr": [0.1]})
    config, loop = resolve_config(loop)
    with pytest.raises(ConfigError, match="training loop of your own"):
        examine_workload(config, loop)
