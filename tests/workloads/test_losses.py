from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sweepdiag.errors import ConfigError, WorkloadError
from sweepdiag.workloads import baseline, check_outputs, loss_function, metric_function
from sweepdiag.workloads.losses import (
    function_identity,
    loss_floor,
    loss_name,
    sample_metric_function,
)

OUTPUTS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.25, 0.0]])
CLASSES = torch.tensor([0, 2])


def targets_of(task):
    targets = np.arange(30) % 3
    return targets if task == "classification" else (targets > 0).astype(np.float32)


def workload_of(make_workload, task):
    inputs = np.arange(90, dtype=np.float32).reshape(30, 3)
    return make_workload(task=task, train=(inputs, targets_of(task)))


def test_cross_entropy_by_hand():
    rows = [
        -math.log(math.exp(2) / (math.exp(2) + 1 + math.exp(-1))),
        -math.log(1 / (math.exp(0.5) + math.exp(0.25) + 1)),
    ]
    loss = loss_function("cross_entropy")(OUTPUTS, CLASSES)
    assert loss.item() == pytest.approx(sum(rows) / 2, rel=1e-6)


def test_binary_cross_entropy_of_logits_by_hand():
    logits, targets = torch.tensor([0.0, math.log(3.0)]), torch.tensor([1.0, 0.0])
    expected = (math.log(2.0) + math.log(4.0)) / 2
    assert loss_function("binary_cross_entropy")(logits, targets).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["mse", "binary_cross_entropy"])
def test_a_trailing_column_is_not_broadcast(name):
    flat, targets = torch.tensor([0.5, 2.0, -1.0]), torch.tensor([1.0, 0.0, 1.0])
    loss = loss_function(name)
    assert loss(flat[:, None], targets) == loss(flat, targets)
    assert loss(flat, targets[:, None]) == loss(flat, targets)


def test_mse_by_hand():
    loss = loss_function("mse")(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0]))
    assert loss.item() == 2.5


@pytest.mark.parametrize("task", ["classification", "binary", "regression"])
def test_losses_and_metrics_under_vmap_equal_a_loop(make_workload, task):
    workload = workload_of(make_workload, task)
    n_outputs = 3 if task == "classification" else 1
    outputs = torch.randn(4, 30, n_outputs, generator=torch.Generator().manual_seed(0))
    targets = torch.as_tensor(targets_of(task))
    for function in (loss_function(workload), metric_function(workload)):
        fused = torch.func.vmap(function, in_dims=(0, None))(outputs, targets)
        single = torch.stack([function(member, targets) for member in outputs])
        torch.testing.assert_close(fused, single, rtol=1e-6, atol=1e-7)


def test_accuracy_and_mae_by_hand(make_workload):
    accuracy = metric_function(workload_of(make_workload, "classification"))
    assert accuracy(OUTPUTS, CLASSES).item() == 0.5
    binary = metric_function(workload_of(make_workload, "binary"))
    logits, targets = torch.tensor([[-1.0], [0.5], [2.0], [-3.0]]), torch.tensor([0.0, 1, 0, 0])
    assert binary(logits, targets).item() == 0.75
    mae = metric_function(workload_of(make_workload, "regression"))
    assert mae(torch.tensor([1.0, -1.0]), torch.tensor([0.0, 2.0])).item() == 2.0


@pytest.mark.parametrize("task", ["classification", "binary"])
def test_a_diverged_model_has_no_accuracy(make_workload, task):
    outputs = torch.zeros(3, 3 if task == "classification" else 1)
    outputs[1, 0] = torch.nan
    accuracy = metric_function(workload_of(make_workload, task))
    assert accuracy(outputs, torch.tensor([0, 0, 0])).isnan()


def test_own_functions_are_used_as_they_are(make_workload):
    def own(outputs, targets):
        return outputs.mean()

    workload = make_workload(loss=own, loss_floor=-3.0, metric=own, metric_mode="min")
    assert loss_function(workload) is own
    assert metric_function(workload) is own
    assert loss_floor(workload) == -3.0
    assert loss_floor(workload, "cross_entropy") == 0.0
    assert metric_function(make_workload(metric=None)) is None


@pytest.mark.parametrize(
    ("task", "outputs", "targets", "fits"),
    [
        ("classification", (3,), (), True),
        ("classification", (2,), (), False),  # an embedding, or too few
        ("classification", (64,), (), False),
        ("regression", (3,), (3,), True),
        ("regression", (1,), (), True),
        ("regression", (3,), (1,), False),  # three quantiles of one number
        ("regression", (11,), (2,), False),  # two heads
        ("binary", (), (1,), True),
    ],
)
def test_a_tasks_metric_beside_an_own_loss_is_nan_where_it_does_not_fit(
    make_workload, task, outputs, targets, fits
):
    workload = make_workload(
        task=task, loss=lambda o, t: o.mean(), train=workload_of(make_workload, task).train
    )
    kind = torch.int64 if task == "classification" else torch.float32
    values = torch.zeros(4, *outputs), torch.zeros(4, *targets, dtype=kind)
    metric = metric_function(workload, n_classes=3)
    assert metric(*values).isnan().item() is not fits
    per_sample = sample_metric_function(workload, n_classes=3)
    assert len(per_sample(*values)) == 4
    assert per_sample(*values).isnan().any().item() is not fits


def test_an_unknown_loss_names_the_nearest():
    with pytest.raises(ConfigError, match=r"Did you mean 'mse'\?"):
        loss_function("mmse")


def test_names_of_losses():
    assert loss_name("mse") == "mse"
    assert loss_name(lambda o, t: o) == "custom"
    assert loss_name(test_names_of_losses) == "test_names_of_losses"
    assert loss_name(torch.nn.HuberLoss()) == "HuberLoss"


def test_identity_of_functions_tells_them_apart():
    def first(outputs, targets):
        return outputs.mean()

    def second(outputs, targets):
        return targets.mean()

    assert function_identity(first) != function_identity(second)
    assert function_identity(None) == "None"
    one, two = torch.nn.HuberLoss(delta=1.0), torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    assert function_identity(one) != function_identity(two)
    assert " at 0x" not in function_identity(Callable())


def test_identity_of_a_function_without_source():
    namespace: dict = {}
    exec("def one(o, t): return o\ndef two(o, t): return o + t", namespace)
    assert function_identity(namespace["one"]) != function_identity(namespace["two"])


class Callable:
    def __call__(self, outputs, targets):
        return (outputs - targets).mean()


def test_baseline_of_classes_by_hand():
    # Training frequencies 3/4 and 1/4; evaluated on one of each; validated on 1, 1, 0.
    zero_rule = baseline(
        "classification", np.array([5, 5, 5, 9]), np.array([5, 9]), np.array([9, 9, 5])
    )
    assert zero_rule.train_loss == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)
    assert zero_rule.val_loss == pytest.approx(-(math.log(0.75) + 2 * math.log(0.25)) / 3)
    assert zero_rule.metric == pytest.approx(1 / 3)


def test_baseline_on_all_training_samples_is_the_entropy_of_the_frequencies():
    classes = np.repeat([0, 1, 2], [5, 3, 2])
    frequencies = np.array([0.5, 0.3, 0.2])
    entropy = -(frequencies * np.log(frequencies)).sum()
    assert baseline("classification", classes, classes, classes).train_loss == pytest.approx(
        entropy
    )


@pytest.mark.parametrize("task", ["classification", "binary"])
def test_a_class_that_training_never_showed_has_a_finite_loss(task):
    train, validation = np.array([0, 0, 0]), np.array([0, 1])
    zero_rule = baseline(task, train, train, validation)
    assert zero_rule.train_loss == 0.0
    # One count added to each of the two classes: 4/5 and 1/5.
    assert zero_rule.val_loss == pytest.approx(-(math.log(0.8) + math.log(0.2)) / 2)


def test_baseline_of_a_binary_task_by_hand():
    train, validation = np.float32([1, 0, 0, 0]), np.float32([1, 1])
    zero_rule = baseline("binary", train, train, validation)
    assert zero_rule.train_loss == pytest.approx(-(math.log(0.25) + 3 * math.log(0.75)) / 4)
    assert zero_rule.val_loss == pytest.approx(-math.log(0.25))
    assert zero_rule.metric == 0.0


def test_every_binary_column_has_its_own_constant():
    train = np.float32([[1, 0], [1, 1]])
    zero_rule = baseline("binary", train, train, train)
    assert zero_rule.train_loss == pytest.approx(math.log(2) / 2)
    assert zero_rule.metric == 0.75


def test_baseline_of_a_regression_is_variance_around_the_training_mean():
    train, validation = np.float32([0, 2, 4, 6]), np.float32([3, 5])
    zero_rule = baseline("regression", train, train[:2], validation)
    assert zero_rule.train_loss == pytest.approx((9 + 1) / 2)
    assert zero_rule.val_loss == pytest.approx((0 + 4) / 2)
    assert zero_rule.metric == pytest.approx(1.0)


def test_a_constant_model_reaches_the_baseline(make_workload):
    classes = np.repeat([0, 1, 2], [15, 10, 5])
    zero_rule = baseline("classification", classes, classes, classes)
    logits = torch.log(torch.tensor([15.0, 10.0, 5.0]) / 30).expand(30, 3)
    targets = torch.from_numpy(classes)
    assert loss_function("cross_entropy")(logits, targets).item() == pytest.approx(
        zero_rule.train_loss, rel=1e-6
    )


@pytest.mark.parametrize(
    ("task", "shape", "targets"),
    [
        ("classification", (4, 3), torch.tensor([0, 2])),
        ("classification", (4, 9), torch.tensor([0, 2])),
        ("binary", (4, 1), torch.zeros(2)),
        ("regression", (4,), torch.zeros(2, 1)),
        ("regression", (4, 5), torch.zeros(2, 5)),
    ],
)
def test_outputs_that_fit_pass(task, shape, targets):
    check_outputs(task, shape, targets)


@pytest.mark.parametrize(
    ("task", "shape", "targets", "message"),
    [
        ("classification", (4, 3), torch.tensor([0, 3]), "at least 4 .* got \\(4, 3\\)"),
        ("classification", (4,), torch.tensor([0, 1]), r"\(n, n_classes\)"),
        ("binary", (4, 2), torch.zeros(2), r"outputs of shape \(n,\) as the targets have"),
        ("regression", (4, 2), torch.zeros(2, 3), r"outputs of shape \(n, 3\) as the targets"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(task, shape, targets, message):
    with pytest.raises(WorkloadError, match=message):
        check_outputs(task, shape, targets)
