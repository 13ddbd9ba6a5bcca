from __future__ import annotations

import copy
import math
import pickle
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from sweepdiag import config as config_module
from sweepdiag.config import (
    MAX_TRIALS,
    ExecutionConfig,
    OptimizerConfig,
    ScheduleConfig,
    SplitConfig,
    SweepConfig,
)
from sweepdiag.errors import ConfigError
from sweepdiag.records import OptimizerSettings, ScheduleSettings, SplitSettings, TrainingSettings

ALL_MODELS = [
    model
    for model in vars(config_module).values()
    if isinstance(model, type) and issubclass(model, BaseModel)
]


def sweep(**settings):
    return SweepConfig(**{"workload": "digits", **settings})


@pytest.mark.parametrize("model", ALL_MODELS)
def test_every_field_says_what_it_means(model):
    assert model.model_fields
    for name, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{name}"


@pytest.mark.parametrize("model", ALL_MODELS)
def test_every_default_obeys_its_own_rule(model):
    required = {"workload": "w"} if model is SweepConfig else {}
    required = {"values": [1]} if model.__name__ == "ParameterSpec" else required
    made = model(**required)
    given = {name: getattr(made, name) for name in model.model_fields if name not in required}
    assert model(**required, **given) == made


@pytest.mark.parametrize(
    ("model", "record"),
    [
        (OptimizerConfig, OptimizerSettings),
        (ScheduleConfig, ScheduleSettings),
        (SplitConfig, SplitSettings),
    ],
)
def test_defaults_are_those_of_the_records(model, record):
    defaults = record()
    names = [field.name for field in fields(record)]
    assert set(model.model_fields) == set(names)
    assert {n: getattr(model(), n) for n in names} == {n: getattr(defaults, n) for n in names}


def test_default_budget_is_that_of_the_records():
    assert sweep().epochs == TrainingSettings().epochs
    assert sweep().numerics == TrainingSettings().numerics


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workload": None}, r"^workload must be a workload, got null$"),
        ({"workload": ""}, r"workload must be a workload of 1 to 512 characters, got ''"),
        ({"workload": "x" * 600}, r"workload must be a workload of 1 to 512 characters"),
        ({"workload": "a\nb"}, r"workload must be a workload without control or invisible"),
        ({"workload": "a\u202eb"}, r"workload must be a workload without control or invisible"),
        ({"epochs": 0}, r"^epochs must be an integer >= 1, got 0$"),
        ({"epochs": 1.5}, r"^epochs must be an integer >= 1, got 1\.5$"),
        ({"epochs": True}, r"^epochs must be an integer >= 1, got true$"),
        ({"epochs": "10"}, r"^epochs must be an integer >= 1, got '10'$"),
        ({"epochs": 2**70}, r"^epochs must be an integer >= 1, got an integer of more than 63"),
        ({"epochs": math.inf}, r"^epochs must be an integer >= 1, got inf$"),
        ({"seeds": 0}, r"^seeds must be an integer >= 1, or a list of seeds, got 0$"),
        ({"seeds": "3"}, r"^seeds must be an integer >= 1, or a list of seeds, got '3'$"),
        ({"seeds": []}, r"^seeds must be different integers >= 0, at least one, got \[\]$"),
        ({"seeds": [1, 1]}, r"^seeds must be different integers >= 0"),
        ({"seeds": [-1]}, r"^seeds must be different integers >= 0"),
        ({"seeds": [0.5]}, r"^seeds must be different integers >= 0"),
        (
            {"sampler": "grd"},
            r"^sampler must be one of grid, qmc, got 'grd' \(did you mean 'grid'",
        ),
        ({"sampler": 3}, r"^sampler must be one of grid, qmc, got 3$"),
        ({"monitor": "loss"}, r"^monitor must be one of val_loss, val_metric, got 'loss'"),
        ({"numerics": "rough"}, r"^numerics must be one of exact, fast, got 'rough'"),
        (
            {"record": ["gradient"]},
            r"^record must be gradients, got 'gradient' \(did you mean 'gradients'\?\)$",
        ),
        ({"record": [1]}, r"^record must be gradients, got 1$"),
        ({"record": None}, r"^record must be a list of names out of gradients, got null$"),
        ({"loss": "a b"}, r"^loss must be the name of a loss matching .*, got 'a b'$"),
        ({"loss": 3}, r"^loss must be the name of a loss, got 3$"),
        ({"optimizer": "adam"}, r"must be a mapping, got 'adam': write optimizer.name=adam$"),
        ({"schedule": "cosine"}, r"must be a mapping, got 'cosine': write schedule.name=cosine$"),
        ({"grad_clip": 1.0}, "unknown key 'grad_clip'.*clipped in a training loop of your own"),
        ({"metric": None}, r"^key 'metric' is no setting .* belongs to Workload\(metric=…\)$"),
        ({"optimizer": {"momentum": 1.5}}, r"^optimizer\.momentum must be in \[0, 1\), got 1\.5$"),
        ({"optimizer": {"momentum": -1}}, r"^optimizer\.momentum must be in \[0, 1\), got -1$"),
        ({"optimizer": {"momentum": math.nan}}, r"^optimizer\.momentum must be finite, got nan$"),
        ({"optimizer": {"momentum": 10**400}}, r"^optimizer\.momentum must be finite, got inf$"),
        ({"optimizer": {"momentum": "x"}}, r"^optimizer\.momentum must be a number in \[0, 1\)"),
        ({"optimizer": {"nesterov": "yes"}}, r"nesterov must be true or false, got 'yes'$"),
        ({"optimizer": {"eps": 0}}, r"^optimizer\.eps must be > 0, got 0$"),
        (
            {"optimizer": {"momentun": 0.9}},
            r"^unknown key of optimizer 'momentun'\. Did you mean 'momentum'\? Valid: beta1, ",
        ),
        ({"schedule": {"step_factor": 2}}, r"^schedule\.step_factor must be in \(0, 1\], got 2$"),
        ({"schedule": {"name": "cos"}}, r"got 'cos' \(did you mean 'cosine'\?\)$"),
        ({"evaluation": {"every_steps": 0}}, r"^evaluation\.every_steps must be an integer >= 1"),
        (
            {"split": {"validation_fraction": 1}},
            r"validation_fraction must be in \(0, 1\), got 1$",
        ),
        (
            {"diagnosis": {"thresholds": [1]}},
            r"thresholds must be a mapping from names to numbers",
        ),
        ({"diagnosis": {"thresholds": {"a": "x"}}}, r"must give a number for a, got 'x'$"),
        ({"diagnosis": {"thresholds": {"a": math.inf}}}, r"must give a finite number for a"),
        ({"diagnosis": {"thresholds": {"a b": 1}}}, r"must have keys that match .*, got 'a b'$"),
        ({"diagnosis": {"ignore": "SD101"}}, r"^diagnosis\.ignore must be a list of codes, got"),
        ({"diagnosis": {"ignore": ["<b>"]}}, r"must be a list of codes, each matching .*'<b>'$"),
        ({"diagnosis": {"ignore": ["A", "A"]}}, r"must be a list of different codes"),
        ({"execution": {"gpus": -1}}, r"^execution\.gpus must be an integer >= 0, got -1$"),
        ({"execution": {"workers": 0}}, r"^execution\.workers must be an integer >= 1, got 0$"),
        ({"execution": {"pack_size": None}}, r"^execution\.pack_size must be an integer >= 1"),
        ({"execution": {"address": "a\nb"}}, r"^execution\.address must be an address without"),
        ({"output": ""}, r"^output must be a path of 1 to 4096 characters, got ''$"),
        ({"output": "a\0b"}, r"^output must be a path without control or invisible characters"),
        ({"workload_parameters": {"a b": 1}}, r"^workload_parameters must have keys that match"),
        ({"workload_parameters": {"a": {1, 2}}}, r"must give text, numbers, booleans, lists or"),
        ({"workload_parameters": {"a": [math.nan]}}, r"must give finite numbers for a, got nan$"),
        ({"workload_parameters": {"a": 2**63}}, r"must give integers of at most 63 bits for a"),
        ({"workload_parameters": {"a": "\x1b[0m"}}, r"must give printable text .* for a"),
        ({"workload_parameters": 3}, r"^workload_parameters must be a mapping from names"),
        ({"parameters": 3}, r"^parameters must be a mapping from axis names"),
    ],
)
def test_refuses_with_the_rule_and_the_value(settings, message):
    with pytest.raises(ConfigError, match=message):
        sweep(**settings)


def test_messages_hold_nothing_of_pydantic():
    with pytest.raises(ConfigError) as caught:
        SweepConfig(epochs="x", optimizer=3, split={"a": 1}, parameters={"lr": {"values": 3}})
    text = str(caught.value)
    assert len(text.splitlines()) == 5
    assert "workload is required" in text
    assert "pydantic" not in text
    assert "Input should" not in text
    assert caught.value.__cause__ is None


def test_a_block_made_alone_refuses_in_the_same_words():
    with pytest.raises(ConfigError, match=r"^momentum must be in \[0, 1\), got 2$"):
        OptimizerConfig(momentum=2)
    with pytest.raises(ConfigError, match=r"^unknown key 'gpu'\. Did you mean 'gpus'"):
        ExecutionConfig(gpu=1)


def test_is_frozen_and_pickles():
    config = sweep(parameters={"lr": (1e-4, 1.0)}, optimizer=OptimizerConfig(name="adam"))
    with pytest.raises(ValidationError, match="frozen"):
        config.epochs = 3
    assert pickle.loads(pickle.dumps(config)) == config
    assert copy.deepcopy(config) == config


def test_settings_are_not_shared_between_configurations():
    sweep().parameters["lr"] = None
    sweep().diagnosis.thresholds["a"] = 1.0
    assert sweep().parameters == {}
    assert sweep().diagnosis.thresholds == {}


@pytest.mark.parametrize("given", ["gradients", ["gradients"], ("gradients", "gradients")])
def test_what_to_record_is_a_list_or_one_name(given):
    assert sweep(record=given).record == ("gradients",)
    assert sweep().record == TrainingSettings().record == ()
    assert sweep(record=given).to_mapping()["record"] == ["gradients"]


def test_a_path_is_kept_as_text():
    assert sweep(output=Path("results") / "a").output == str(Path("results") / "a")


def test_seeds_are_counted_or_listed():
    assert sweep(seeds=3).seed_values == (0, 1, 2)
    assert sweep(seeds=[7, 5]).seed_values == (7, 5)
    assert sweep(seeds=range(2, 4)).seeds == (2, 3)
    assert (sweep(seeds=3).n_seeds, sweep(seeds=[7]).n_seeds) == (3, 1)


def test_a_grid_needs_points_and_gets_eight_of_them():
    parameters = {"lr": (1e-4, 1.0), "batch_size": [16, 64], "momentum": (0.0, 0.9, 3)}
    config = sweep(parameters=parameters, seeds=2)
    assert config.parameters["lr"].n == 8
    assert config.parameters["momentum"].n == 3
    assert config.n_trials == 8 * 2 * 3 * 2


def test_qmc_draws_a_number_of_configurations_and_has_no_points():
    config = sweep(sampler="qmc", parameters={"lr": (1e-4, 1.0, 5)}, seeds=2)
    assert config.n_configurations == 64
    assert config.parameters["lr"].n is None
    assert config.n_trials == 128
    assert sweep(sampler="qmc", n_configurations=10).n_trials == 30


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_configurations": 5}, r"^n_configurations belongs to the sampler qmc.*got 5$"),
        (
            {"epochs": 2, "schedule": {"warmup_epochs": 3}},
            r"^schedule\.warmup_epochs must be at most epochs \(2\), got 3$",
        ),
        (
            {"optimizer": {"nesterov": True, "momentum": 0}},
            r"^optimizer\.nesterov needs the optimizer sgd with momentum above 0, got sgd with 0$",
        ),
        ({"optimizer": {"nesterov": True, "name": "adam"}}, r"got adam with 0\.9$"),
        (
            {"optimizer": {"nesterov": True}, "parameters": {"momentum": [0.0, 0.9]}},
            r"^optimizer\.nesterov needs",
        ),
        (
            {"execution": {"executor": "serial", "address": "auto"}},
            r"^execution\.address belongs to the executors ray and tune",
        ),
        (
            {"execution": {"executor": "serial", "gpus": 2}},
            r"^execution\.gpus must be 0 or 1 where execution\.executor is serial; got 2$",
        ),
        (
            {"seeds": MAX_TRIALS // 8 + 1, "parameters": {"lr": (0.1, 1)}},
            r"^parameters must plan at most 1000000 trials over all seeds, got 1000008$",
        ),
        ({"seeds": 10**18}, r"must plan at most 1000000 trials"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        sweep(**settings)


def test_nesterov_is_allowed_where_every_momentum_is_above_zero():
    optimizer = {"nesterov": True, "momentum": 0}
    assert sweep(optimizer=optimizer, parameters={"momentum": (0.5, 0.9)}).optimizer.nesterov


def test_comparable_leaves_out_where_it_runs_only():
    here = sweep(seeds=2, execution={"gpus": 0}, output="a")
    there = sweep(seeds=[0, 1], execution={"gpus": 8, "executor": "ray"}, output="b")
    assert here.comparable() == there.comparable()
    left_out = {"execution", "output", "diagnosis", "monitor"}
    assert set(here.to_mapping()) - set(here.comparable()) == left_out
    assert here.comparable() != sweep(seeds=2, split={"seed": 1}).comparable()


def test_mapping_is_plain_and_makes_the_same_configuration():
    config = sweep(
        parameters={"lr": (1e-4, 1.0), "batch_size": 16},
        seeds=[3, 1],
        diagnosis={"ignore": ["SD101"], "thresholds": {"rise": 1}},
        workload_parameters={"layers": (1, 2), "path": Path("x"), "nested": {"a": None}},
    )
    mapping = config.to_mapping()
    assert mapping["parameters"]["batch_size"] == {"value": 16}
    assert mapping["seeds"] == [3, 1]
    assert mapping["diagnosis"] == {"thresholds": {"rise": 1.0}, "ignore": ["SD101"]}
    assert mapping["workload_parameters"] == {
        "layers": [1, 2],
        "path": "x",
        "nested": {"a": None},
    }
    assert SweepConfig(**mapping) == config
