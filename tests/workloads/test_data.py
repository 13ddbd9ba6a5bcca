from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from sweepdiag.errors import ConfigError, WorkloadError
from sweepdiag.records import SplitSettings
from sweepdiag.workloads import load_workload, prepare

INPUTS = np.random.default_rng(0).normal(size=(100, 3))
CLASSES = np.repeat([0, 1, 2], [50, 30, 20])
PARTS = ("train", "train_eval", "validation")


def rows(tensor):
    return {tuple(row) for row in tensor.tolist()}


@pytest.fixture
def prepared(make_workload):
    return prepare(make_workload(train=(INPUTS, CLASSES)), SplitSettings(seed=3))


def test_train_and_validation_share_no_sample_and_lose_none(prepared):
    train, validation = rows(prepared.train.inputs), rows(prepared.validation.inputs)
    assert not train & validation
    assert train | validation == rows(torch.from_numpy(INPUTS.astype(np.float32)))


def test_every_class_is_held_out_by_the_same_fraction(prepared):
    assert prepared.validation.targets.bincount().tolist() == [10, 6, 4]
    assert prepared.train.targets.bincount().tolist() == [40, 24, 16]


def test_training_loss_is_evaluated_on_training_samples_as_many_as_validate(prepared):
    assert rows(prepared.train_eval.inputs) < rows(prepared.train.inputs)
    assert prepared.train_eval.targets.bincount().tolist() == [10, 6, 4]


def test_the_tasks_metric_is_left_out_where_it_does_not_fit_targets_of_a_loss_of_ones_own(
    make_workload,
):
    def loss(outputs, targets):
        return (outputs[:, 0] - targets.float().mean(1)).square().mean()

    of_sequences = make_workload(train=(INPUTS, np.stack([CLASSES] * 4, axis=1)), loss=loss)
    prepared = prepare(of_sequences, SplitSettings())
    assert prepared.metric_fn is None
    assert prepared.facts.metric is None
    of_classes = prepare(make_workload(train=(INPUTS, CLASSES), loss=loss), SplitSettings())
    assert of_classes.facts.metric == "accuracy"


def test_inputs_keep_their_targets(prepared):
    by_input = {tuple(x): c for x, c in zip(INPUTS.astype("f4").tolist(), CLASSES, strict=True)}
    for part in PARTS:
        inputs = getattr(prepared, part).inputs.tolist()
        targets = getattr(prepared, part).targets.tolist()
        assert [by_input[tuple(x)] for x in inputs] == targets


def test_all_training_samples_are_evaluated_where_validation_is_larger(make_workload):
    workload = make_workload(train=(INPUTS[::5], CLASSES[::5]), validation=(INPUTS, CLASSES))
    prepared = prepare(workload, SplitSettings())
    assert torch.equal(prepared.train_eval.inputs, prepared.train.inputs)
    assert (prepared.facts.n_train, prepared.facts.n_train_eval) == (20, 20)
    assert prepared.facts.n_validation == 100


def test_facts_of_a_classification(prepared):
    facts = prepared.facts
    entropy = -sum(p * np.log(p) for p in (0.5, 0.3, 0.2))
    assert (facts.workload, facts.task, facts.loss) == ("small", "classification", "cross_entropy")
    assert (facts.metric, facts.metric_mode, facts.loss_floor) == ("accuracy", "max", 0.0)
    assert (facts.n_train, facts.n_train_eval, facts.n_validation) == (80, 20, 20)
    assert facts.baseline_train_loss == pytest.approx(entropy)
    assert facts.baseline_val_loss == pytest.approx(entropy)
    assert facts.baseline_metric == 0.5


def test_nothing_is_known_of_a_loss_of_ones_own(make_workload):
    facts = prepare(make_workload(loss=lambda o, t: o.mean()), SplitSettings()).facts
    assert facts.loss == "custom"
    assert facts.baseline_train_loss is facts.baseline_val_loss is facts.baseline_metric is None
    assert facts.loss_floor is None


def test_a_named_loss_replaces_ones_own(make_workload):
    workload = make_workload(loss=lambda o, t: o.mean(), loss_floor=-1.0)
    facts = prepare(workload, SplitSettings(), loss="cross_entropy").facts
    assert (facts.loss, facts.loss_floor) == ("cross_entropy", 0.0)
    assert facts.baseline_train_loss == pytest.approx(np.log(3))


def test_a_named_loss_cannot_replace_one_whose_targets_it_does_not_fit(make_workload):
    sequences = np.zeros((100, 4), dtype=int)
    workload = make_workload(train=(INPUTS, sequences), loss=lambda o, t: o.mean())
    assert prepare(workload, SplitSettings()).train.targets.shape == (80, 4)
    with pytest.raises(WorkloadError, match="one class number per sample"):
        prepare(workload, SplitSettings(), loss="cross_entropy")


def test_a_loss_of_another_task_is_refused(make_workload):
    with pytest.raises(ConfigError, match="loss of a classification task"):
        prepare(make_workload(), SplitSettings(), loss="mse")


@pytest.mark.parametrize(
    ("given", "prepared_type"),
    [("float64", torch.float32), ("float16", torch.float32), ("int32", torch.int64)],
)
def test_types_of_inputs(make_workload, given, prepared_type):
    inputs = (np.arange(300).reshape(100, 3) % 7).astype(given)
    prepared = prepare(make_workload(train=(inputs, CLASSES)), SplitSettings())
    assert prepared.train.inputs.dtype == prepared_type
    assert prepared.train.targets.dtype == torch.int64


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_targets_that_are_not_classes_become_float32(make_workload, task):
    workload = make_workload(task=task, train=(INPUTS, CLASSES > 0))
    assert prepare(workload, SplitSettings()).train.targets.dtype == torch.float32


def test_binary_targets_in_a_column_are_split_by_class_too(make_workload):
    column = (CLASSES == 2)[:, None]
    prepared = prepare(make_workload(task="binary", train=(INPUTS, column)), SplitSettings())
    assert prepared.validation.targets.shape == (20, 1)
    assert prepared.validation.targets.sum() == 4


def test_tensors_and_arrays_give_the_same(make_workload, prepared):
    tensors = (torch.from_numpy(INPUTS).requires_grad_(), torch.from_numpy(CLASSES))
    from_tensors = prepare(make_workload(train=tensors), SplitSettings(seed=3))
    assert from_tensors.fingerprint == prepared.fingerprint
    assert not from_tensors.train.inputs.requires_grad


def test_later_edits_of_the_users_arrays_change_nothing(make_workload):
    inputs = INPUTS.astype(np.float32)
    pair = (inputs, CLASSES.copy())
    prepared = prepare(make_workload(train=pair, validation=pair), SplitSettings())
    inputs[:] = 0
    assert prepared.train.inputs.abs().sum() > 0


def test_read_only_arrays_are_accepted_without_a_warning(make_workload):
    inputs = INPUTS.astype(np.float32)
    inputs.flags.writeable = False
    prepared = prepare(make_workload(train=(inputs, CLASSES)), SplitSettings())
    assert prepared.facts.n_train == 80


def test_a_fingerprint_changes_with_anything_that_changes_a_curve(make_workload):
    moved, relabelled = INPUTS.copy(), CLASSES.copy()
    moved[0, 0] += 1e-3
    relabelled[0] = 1
    data = {"train": (INPUTS, CLASSES), "validation": (INPUTS, CLASSES)}
    variants = [
        (data, 0),
        (data | {"train": (moved, CLASSES)}, 0),
        (data | {"train": (INPUTS, relabelled)}, 0),
        (data | {"validation": (moved, CLASSES)}, 0),
        (
            data
            | {
                "train": (INPUTS.reshape(100, 3, 1), CLASSES),
                "validation": (INPUTS.reshape(100, 3, 1), CLASSES),
            },
            0,
        ),
        (data | {"metric": None}, 0),
        (data | {"loss": lambda o, t: o.mean()}, 0),
        (data | {"loss": lambda o, t: 2 * o.mean()}, 0),
        (data | {"validation": None}, 0),
        (data | {"validation": None}, 1),
    ]
    fingerprints = [
        prepare(make_workload(**changes), SplitSettings(seed=seed)).fingerprint
        for changes, seed in variants
    ]
    assert len(set(fingerprints)) == len(variants)
    assert all(len(fingerprint) == 64 for fingerprint in fingerprints)


def test_a_fingerprint_does_not_depend_on_the_process():
    code = (
        "from sweepdiag.records import SplitSettings;"
        "from sweepdiag.workloads import load_workload, prepare;"
        "print(prepare(load_workload('synthetic', {'n_train': 50}), SplitSettings()).fingerprint)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    here = prepare(load_workload("synthetic", {"n_train": 50}), SplitSettings()).fingerprint
    assert result.stdout.strip() == here


def test_a_copy_on_a_device_has_the_same_data(prepared):
    copy = prepared.to(torch.device("meta"))
    for part in PARTS:
        for kind in ("inputs", "targets"):
            tensor = getattr(getattr(copy, part), kind)
            assert tensor.device.type == "meta"
            assert tensor.shape == getattr(getattr(prepared, part), kind).shape
            assert getattr(getattr(prepared, part), kind).device.type == "cpu"
    assert (copy.fingerprint, copy.facts) == (prepared.fingerprint, prepared.facts)


def test_a_loss_with_weights_moves_as_a_copy(make_workload):
    loss = torch.nn.CrossEntropyLoss(weight=torch.ones(3))
    prepared = prepare(make_workload(loss=loss), SplitSettings())
    assert prepared.to("meta").loss_fn.weight.device.type == "meta"
    assert loss.weight.device.type == "cpu"


def test_a_prepared_workload_can_be_pickled(prepared):
    copy = pickle.loads(pickle.dumps(prepared))
    assert copy.facts == prepared.facts
    assert torch.equal(copy.train.inputs, prepared.train.inputs)


def test_one_sample_cannot_be_split(make_workload):
    with pytest.raises(WorkloadError, match=r"one sample only\); pass validation"):
        prepare(make_workload(train=(INPUTS[:1], CLASSES[:1])), SplitSettings())


def test_one_sample_can_be_trained_where_validation_is_given(make_workload):
    workload = make_workload(train=(INPUTS[:1], CLASSES[:1]), validation=(INPUTS, CLASSES))
    facts = prepare(workload, SplitSettings()).facts
    assert (facts.n_train, facts.n_train_eval) == (1, 1)
    assert facts.baseline_train_loss == 0.0
    assert np.isfinite(facts.baseline_val_loss)
