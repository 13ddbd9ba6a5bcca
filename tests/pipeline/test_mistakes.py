"""Mistakes in a workload that raise no error, in real sweeps."""

import pytest
import torch

from sweepdiag import Workload, diagnose, run_sweep
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


@pytest.mark.parametrize("layers", [(torch.nn.Softmax(dim=1),), ()])
def test_a_second_softmax_is_known_by_curves_alone(tmp_path, layers):
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 4, (300,), generator=generator)
    x = torch.randn(300, 5, generator=generator) + 5 * torch.nn.functional.one_hot(y, 5)
    swept = run_sweep(
        Workload(
            name="apart", train=(x, y), model=lambda capacity: net(capacity, *layers, n_outputs=4)
        ),
        parameters={"lr": [0.3, 0.5, 1.0], "batch_size": [16], "capacity": [16]},
        epochs=25,
        seeds=1,
        output=tmp_path / "apart",
    )
    names = {"trial_id": "run", "train_metric": "train_accuracy", "val_metric": "val_accuracy"}
    logged = swept.curves.merge(swept.trials[["trial_id", "lr"]]).rename(columns=names)
    columns = ["run", "epoch", "lr", "train_loss", "val_loss", *list(names.values())[1:]]
    alone = diagnose(logged[columns], one_sweep=True, output=tmp_path / "alone")
    finding = next(f for f in alone.findings if f.code == "SD904")
    if layers:
        assert finding.numbers["n_classes"] == 4
        assert finding.numbers["offset"] == pytest.approx(finding.numbers["least_loss"], abs=0.02)
    else:
        assert finding.state == "not_applicable"
