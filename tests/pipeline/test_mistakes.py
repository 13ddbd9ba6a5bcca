"""Mistakes in a workload that raise no error, in real sweeps."""

import pytest
import torch

from sweepdiag import Workload, run_sweep
from sweepdiag.pipeline.diagnosis import diagnose_folder
from sweepdiag.rules.findings.ranking import rank_findings
from sweepdiag.store import RunFolder


def swept(tmp_path, name, **changes):
    """Train a tiny sweep, and return its result."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (200,), generator=generator)
    x = torch.randn(200, 5, generator=generator) + 2 * torch.nn.functional.one_hot(y, 5)
    workload = Workload(**{"name": name, "train": (x, y), **changes})
    return run_sweep(
        workload,
        parameters={"lr": [0.01, 0.1], "batch_size": [16], "capacity": [8]},
        epochs=6,
        seeds=1,
        output=tmp_path / name,
    )


def net(capacity, *layers, n_outputs=3):
    return torch.nn.Sequential(
        torch.nn.Linear(5, capacity),
        torch.nn.ReLU(),
        torch.nn.Linear(capacity, n_outputs),
        *layers,
    )


class _Detached(torch.nn.Module):
    def __init__(self, capacity):
        super().__init__()
        self.below, self.above = torch.nn.Linear(5, capacity), torch.nn.Linear(capacity, 3)

    def forward(self, x):
        return self.above(self.below(x).relu().detach())


@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        (lambda capacity: net(capacity, torch.nn.Softmax(dim=1)), "SD904", "softmax"),
        (_Detached, "SD905", "no gradient reaches 'below'"),
    ],
)
def test_a_mistake_without_an_error_is_warned_of_recorded_and_the_first_finding(
    tmp_path, caplog, model, code, words
):
    result = swept(tmp_path, "wrong", model=model)
    assert any(code in r.message and words in r.message for r in caplog.records)
    assert rank_findings(result.findings)[0].code == code
    # What is judged again has the facts from the journal.
    assert RunFolder(result.path).read_history()[0].facts.step is not None
    assert rank_findings(diagnose_folder(RunFolder(result.path)).data.findings)[0].code == code


def test_targets_off_scale_come_before_the_rates(tmp_path):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 5, generator=generator)
    y = 3000 * x.sum(dim=1) + 5000
    result = swept(
        tmp_path,
        "targets",
        task="regression",
        train=(x, y),
        model=lambda capacity: net(capacity, n_outputs=1),
    )
    assert rank_findings(result.findings)[0].code == "SD310"


def test_nothing_is_said_of_a_healthy_sweep(tmp_path, caplog):
    result = swept(tmp_path, "right", model=net)
    states = {f.code: f.state for f in result.findings}
    assert states["SD904"] == states["SD905"] == "passed"
    assert states["SD310"] == "not_applicable"
    assert not [r for r in caplog.records if r.levelname == "WARNING"]
