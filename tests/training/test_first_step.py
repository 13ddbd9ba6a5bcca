import pytest
import torch
from torch.nn import functional

from sweepdiag.errors import TrainingError, WorkloadError
from sweepdiag.records import SplitSettings, TrainingSettings
from sweepdiag.training import check_first_step
from sweepdiag.workloads import Workload, prepare
from tests.training.conftest import assert_same_bits, classes, curves, mlp, pack, prepared, train
from tests.training.conftest import trial as trial_of

SHARED = mlp()


def frozen():
    return mlp().requires_grad_(False)


class Detached(torch.nn.Linear):
    def __init__(self):
        super().__init__(12, 3)

    def forward(self, x):
        return super().forward(x).detach()


def failing_loss(_outputs, _targets):
    return {}["weights"]


def told(workload, trial=None):
    """Return what is said of the first step."""
    with pytest.raises(TrainingError) as caught:
        check_first_step(
            trial or trial_of(), prepared=workload, settings=TrainingSettings(epochs=2)
        )
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": lambda: "net"}, "building the model with no arguments: model must return a"),
        ({"model": lambda: SHARED}, "model must build a fresh module each time"),
        ({"model": frozen}, "model has no parameter to train"),
        ({"model": lambda: mlp(n_inputs=11)}, "forward pass of the model with inputs of shape"),
        ({"model": lambda: mlp(n_classes=2)}, "n_classes of at least 3"),
        ({"model": lambda: mlp().double()}, "leave .double() out"),
        ({"model": Detached}, "does not depend on any parameter"),
        ({"loss": lambda o, y: functional.cross_entropy(o, y).item()}, "got float: .item()"),
        (
            {"loss": lambda o, y: functional.cross_entropy(o, y, reduction="none")},
            "one number, got shape (16,)",
        ),
        ({"loss": lambda o, y: functional.cross_entropy(o, y + 1)}, "both begin at 0"),
        ({"loss": failing_loss}, "and targets of shape (16,), int64: KeyError: 'weights'"),
        (
            {"metric": lambda o, y: (o == y).float().mean(), "metric_mode": "max"},
            "or metric=None for none",
        ),
    ],
)
def test_an_error_says_what_was_done_where_and_what_is_usually_wrong(changes, words):
    message = told(prepared(**changes))
    assert words in message
    assert "at test_first_step.py:" in message or "conftest.py" in message


def test_the_line_is_that_of_the_error_and_not_of_the_definition():
    assert f"at test_first_step.py:{failing_loss.__code__.co_firstlineno + 1}" in told(
        prepared(loss=failing_loss)
    )


def test_a_metric_may_need_more_samples_than_a_minibatch_has():
    def metric(outputs, targets):
        if len(targets) < 20:
            message = "too few"
            raise ValueError(message)
        return float(outputs.mean())

    workload = prepared(metric=metric, metric_mode="max")
    check_first_step(trial_of(batch_size=4), prepared=workload, settings=TrainingSettings())


def test_memory_that_does_not_suffice_is_left_for_the_training():
    def model():
        raise MemoryError

    check_first_step(trial_of(), prepared=prepared(model), settings=TrainingSettings())


def test_samples_that_cannot_be_read_are_left_for_the_training():
    class Breaking(torch.utils.data.Dataset):
        targets = classes()[1]
        is_broken = False

        def __len__(self):
            return len(self.targets)

        def __getitem__(self, index):
            if self.is_broken:
                raise OSError
            return classes()[0][index], self.targets[index]

    data = Breaking()
    workload = Workload(name="small", train=data, model=mlp, loss=functional.cross_entropy)
    streamed = prepare(workload, SplitSettings(), memory_gb=1e-9)
    data.is_broken = True
    check_first_step(trial_of(), prepared=streamed, settings=TrainingSettings())
    with pytest.raises(WorkloadError):
        streamed.train.take(torch.arange(2))


def test_the_step_changes_no_bit_of_a_curve():
    norm = torch.nn.BatchNorm1d(3, affine=False)

    class Loss(torch.nn.Module):
        """Holds a state that each call changes."""

        def __init__(self):
            super().__init__()
            self.norm = norm

        def forward(self, outputs, targets):
            return functional.cross_entropy(self.norm(outputs), targets)

    def model(capacity):
        return torch.nn.Sequential(mlp(capacity), torch.nn.Dropout(0.2))

    def swept(*, is_tried):
        norm.reset_running_stats()
        workload = prepared(model, loss=Loss())
        trials = [trial_of(lr, capacity=8, seed=seed) for seed, lr in enumerate((0.1, 0.5))]
        state = torch.get_rng_state()
        if is_tried:
            check_first_step(trials[0], prepared=workload, settings=TrainingSettings(epochs=3))
        assert torch.equal(torch.get_rng_state(), state)
        return curves(train(pack(*trials), workload=workload))

    assert_same_bits(swept(is_tried=True), swept(is_tried=False))
