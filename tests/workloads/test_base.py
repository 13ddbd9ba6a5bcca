from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from sweepdiag.errors import ConfigError, WorkloadError
from sweepdiag.workloads import TrainLoop

INPUTS = np.arange(90, dtype=np.float32).reshape(30, 3)
CLASSES = np.arange(30) % 3


def with_value(array, index, value):
    changed = np.array(array, dtype=np.float64)
    changed[index] = value
    return changed


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"name": "my net"}, ConfigError, r"name must be text of 1 to 64 .* got 'my net'"),
        ({"name": "x" * 65}, ConfigError, "name must be text of 1 to 64"),
        ({"name": ".hidden"}, ConfigError, "beginning with a letter or digit"),
        ({"version": 1}, ConfigError, "version must be text .* got 1"),
        (
            {"task": "clasification"},
            ConfigError,
            r"unknown task 'clasification'. Did you mean 'classification'\?",
        ),
        (
            {"loss": "crossentropy"},
            ConfigError,
            r"unknown loss 'crossentropy'. Did you mean 'cross_entropy'\?",
        ),
        (
            {"loss": "mse"},
            ConfigError,
            "loss of a classification task must be 'cross_entropy' or a callable, got 'mse'",
        ),
        ({"loss": 3}, ConfigError, "loss must be a name or a callable"),
        ({"loss_floor": 0.0}, ConfigError, "loss_floor is for a loss of your own"),
        (
            {"loss": lambda o, t: o.mean(), "loss_floor": float("inf")},
            ConfigError,
            "loss_floor must be a finite number",
        ),
        ({"metric": "acuracy"}, ConfigError, r"Did you mean 'accuracy'\?"),
        ({"metric": "mae"}, ConfigError, "metric of a classification task must be 'accuracy'"),
        ({"metric": 5}, ConfigError, "metric must be a name, a callable"),
        ({"metric": lambda o, t: o}, ConfigError, "metric_mode must be 'max' or 'min'"),
        ({"metric_mode": "min"}, ConfigError, "metric_mode of accuracy is 'max', got 'min'"),
        ({"metric": None, "metric_mode": "max"}, ConfigError, "metric_mode must be None"),
        ({"optimizer": ""}, ConfigError, "optimizer must be the name of one"),
        ({"axes": [1]}, ConfigError, "axes must map names to values"),
        ({"axes": {"learning rate": [1]}}, ConfigError, "axes must be named by letters"),
        ({"settings": {"optimizer..lr": 1}}, ConfigError, "settings must be named by letters"),
        ({"axes": {"lr": (10.0, 1e-4)}}, ConfigError, "0 < low < high"),
        ({"axes": {"lr": (0, 1)}}, ConfigError, "0 < low < high"),
        ({"axes": {"lr": (1e-3, 1e-2, 1e-1)}}, ConfigError, "use a list for single values"),
        ({"axes": {"lr": []}}, ConfigError, "must hold different numbers or words"),
        ({"axes": {"lr": [0.1, 0.1]}}, ConfigError, "must hold different numbers or words"),
        ({"axes": {"lr": [float("nan")]}}, ConfigError, "must hold different numbers or words"),
        ({"axes": {"lr": 0.1}}, ConfigError, "must be a range"),
        ({"model": torch.nn.Linear(3, 3)}, ConfigError, "builds a fresh module for each trial"),
        ({"model": "mlp"}, ConfigError, "model must be a function, got 'mlp'"),
        ({"model": lambda width, /: None}, ConfigError, "'width' is positional only"),
        ({"model": dict.fromkeys}, ConfigError, "positional only"),
        ({"train": INPUTS}, WorkloadError, r"train must be a pair \(inputs, targets\)"),
        (
            {"train": (INPUTS, INPUTS, CLASSES)},
            WorkloadError,
            "got tuple of 3: pack several arrays into one tensor",
        ),
        ({"train": (INPUTS[:0], CLASSES[:0])}, WorkloadError, "train inputs must hold at least"),
        (
            {"train": (INPUTS[:29], CLASSES)},
            WorkloadError,
            "train inputs and targets must have the same number of samples, got 29 and 30",
        ),
        (
            {"train": (with_value(INPUTS, ([4, 7], [0, 1]), np.nan), CLASSES)},
            WorkloadError,
            r"train inputs must be finite .* 2 of 30 rows hold NaN or infinity, .* at index 4",
        ),
        (
            {"train": (with_value(INPUTS, (2, 0), 1e300), CLASSES)},
            WorkloadError,
            r"finite \(as float32\): 1 of 30 rows .* index 2",
        ),
        ({"train": (INPUTS.astype(np.uint8), CLASSES)}, WorkloadError, "pixels or tokens"),
        ({"train": (INPUTS.astype(str), CLASSES)}, WorkloadError, "array of real numbers"),
        ({"train": (INPUTS, CLASSES.astype(str))}, WorkloadError, "number the names of classes"),
        (
            {"train": (INPUTS, np.array(["a"] * 30, dtype=object))},
            WorkloadError,
            r"np\.unique\(names, return_inverse=True\)",
        ),
        ({"train": (INPUTS, CLASSES * 1.0)}, WorkloadError, "must be integers .* got float64"),
        (
            {"train": (INPUTS, np.eye(3, dtype=int)[CLASSES])},
            WorkloadError,
            r"one class number per sample, got shape \(30, 3\); use targets.argmax",
        ),
        (
            {"train": (INPUTS, CLASSES - 1)},
            WorkloadError,
            "must be class numbers from 0, got -1 at index 0",
        ),
        ({"train": (INPUTS, CLASSES * 0 + 2)}, WorkloadError, "train targets are all 2"),
        (
            {"task": "binary"},
            WorkloadError,
            "train targets of a binary task must be 0 or 1, got 2 at index 2",
        ),
        (
            {"task": "regression", "train": (INPUTS, with_value(CLASSES, 5, np.inf))},
            WorkloadError,
            "train targets must be finite .* index 5",
        ),
        (
            {"validation": (INPUTS[:, :2], CLASSES)},
            WorkloadError,
            r"validation inputs must be like train inputs: .* shape \(3,\), .* of \(2,\)",
        ),
        (
            {"validation": (INPUTS.astype(int), CLASSES)},
            WorkloadError,
            "train samples are float32 of shape .* validation samples int64",
        ),
    ],
)
def test_a_mistake_is_named_with_argument_rule_and_value(make_workload, changes, error, message):
    with pytest.raises(error, match=message):
        make_workload(**changes)


def test_targets_of_a_loss_of_ones_own_may_have_any_shape(make_workload):
    sequences = np.zeros((30, 7), dtype=int)
    workload = make_workload(train=(INPUTS, sequences), loss=lambda o, t: o.mean(), loss_floor=0.0)
    assert workload.loss_floor == 0.0


def test_tensors_of_any_floating_type_are_accepted(make_workload):
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        inputs = torch.from_numpy(INPUTS).to(dtype).requires_grad_()
        assert make_workload(train=(inputs, torch.from_numpy(CLASSES))).task == "classification"


def test_loss_and_metric_follow_from_the_task(make_workload):
    targets = (CLASSES > 0).astype(float)
    expected = {
        "classification": ("cross_entropy", "accuracy", "max"),
        "binary": ("binary_cross_entropy", "accuracy", "max"),
        "regression": ("mse", "mae", "min"),
    }
    for task, names in expected.items():
        train = (INPUTS, CLASSES if task == "classification" else targets)
        workload = make_workload(task=task, train=train)
        resolved = (
            workload.resolved_loss(),
            workload.resolved_metric(),
            workload.resolved_metric_mode(),
        )
        assert resolved == names


def test_an_overriding_loss_must_fit_the_task(make_workload):
    own = make_workload(loss=lambda o, t: o.mean())
    assert own.resolved_loss("cross_entropy") == "cross_entropy"
    with pytest.raises(ConfigError, match="loss of a classification task"):
        own.resolved_loss("mse")


def test_model_arguments_are_read_from_the_signature(make_workload):
    def build_model(capacity, depth=2, *, dropout=0.0):
        return None

    workload = make_workload(model=build_model)
    assert workload.model_arguments() == ("capacity", "depth", "dropout")
    assert workload.required_model_arguments() == ("capacity",)
    assert not workload.accepts_any_argument()
    assert make_workload(model=lambda **axes: None).accepts_any_argument()


def test_arguments_of_a_module_class_are_read(make_workload):
    class Net(torch.nn.Module):
        def __init__(self, capacity: int) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, capacity)

    assert make_workload(model=Net).model_arguments() == ("capacity",)


def test_axes_may_be_ranges_lists_and_blocks(make_workload):
    axes = {"lr": (1e-4, 10.0), "batch_size": [4, 8], "act": ["relu", "tanh"], "wd": {"value": 0}}
    assert make_workload(axes=axes).axes == axes


def test_printing_a_workload_leaves_its_data_out(make_workload):
    assert "array" not in repr(make_workload())


def test_a_training_loop_is_custom():
    loop = TrainLoop(name="mine", function=lambda config, report, extra=1: None)
    assert (loop.task, loop.version, dict(loop.axes)) == ("custom", "1", {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"function": lambda config: None}, r"callable as function\(config, report\)"),
        ({"function": lambda a, b, c: None}, r"callable as function\(config, report\)"),
        ({"function": 3}, "function must be a function, got 3"),
        ({"function": lambda a, b: None, "name": ""}, "name must be text"),
        ({"function": lambda a, b: None, "axes": {"lr": 1}}, r"axes\['lr'\] must be a range"),
    ],
)
def test_a_wrong_training_loop_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        TrainLoop(**{"name": "mine", **arguments})


def test_importing_workloads_imports_no_heavy_library():
    code = (
        "import sys, sweepdiag.workloads;"
        "print([m for m in ('torch', 'sklearn', 'pandas', 'scipy', 'pydantic', 'ray', 'optuna') "
        "if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
