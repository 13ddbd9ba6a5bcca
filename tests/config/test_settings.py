from __future__ import annotations

import re
import subprocess
import sys

import pytest

from sweepdiag.config import load_config, read_settings, validate_settings
from sweepdiag.errors import ConfigError


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write sweep.yaml in the working directory, and return its name as a user gives it."""
    monkeypatch.chdir(tmp_path)

    def write_text(text):
        (tmp_path / "sweep.yaml").write_text(text, encoding="utf-8")
        return "sweep.yaml"

    return write_text


def lines_of(caught):
    return str(caught.value).splitlines()


def test_later_layers_win_setting_by_setting(write):
    path = write("workload: w\nepochs: 2\noptimizer: {momentum: 0.2, weight_decay: 0.2}\n")
    config = load_config(
        path,
        defaults={
            "epochs": 1,
            "seeds": 1,
            "optimizer": {"name": "adam", "momentum": 0.1, "eps": 1e-3},
        },
        options={"epochs": 3, "optimizer": {"weight_decay": 0.3}},
        overrides=["seeds=4", "optimizer.beta1=0.4", "seeds=5"],
    )
    optimizer = config.optimizer
    assert (config.epochs, config.seeds) == (3, 5)
    assert (optimizer.name, optimizer.momentum, optimizer.eps) == ("adam", 0.2, 1e-3)
    assert (optimizer.weight_decay, optimizer.beta1) == (0.3, 0.4)


def test_an_axis_is_replaced_as_a_whole_and_the_others_kept(write):
    path = write("workload: w\nparameters:\n  lr: [0.1]\n  width: [1, 2]\n")
    config = load_config(
        path,
        defaults={"parameters": {"lr": (1e-4, 1.0, 5), "batch_size": [16], "capacity": [8]}},
        options={"parameters.width": {"values": [3]}, "parameters": {"depth": [1]}},
        overrides=["parameters.capacity={min: 1, max: 4, n: 2}"],
    )
    blocks = {name: spec.block() for name, spec in config.parameters.items()}
    assert blocks == {
        "lr": {"value": 0.1},
        "batch_size": {"value": 16},
        "capacity": {"min": 1.0, "max": 4.0, "distribution": "uniform", "n": 2},
        "width": {"value": 3},
        "depth": {"value": 1},
    }


def test_options_that_are_none_count_as_not_given():
    config = load_config(
        options={"workload": "w", "epochs": None, "optimizer": {"momentum": None}, "split": None},
        defaults={"epochs": 7, "optimizer": {"momentum": 0.5}},
    )
    assert (config.epochs, config.optimizer.momentum) == (7, 0.5)


def test_null_in_a_file_is_a_value_and_an_empty_block_is_not(write):
    path = write("workload: w\nloss: null\noptimizer:\nparameters:\n")
    config = load_config(path, defaults={"loss": "mse", "optimizer": {"name": "adam"}})
    assert config.loss is None
    assert config.optimizer.name == "adam"


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("execution.gpus=2", r"execution\.gpus is 0 already"),
        ("execution={workers: 3}", r"execution\.gpus is 0 already"),
        ("workload=other", r"workload is 'w' already"),
        ("output=", r"output is 'x' already"),
        ("parameters.lr=1e-4:1:4", r"parameters\.lr is a mapping already"),
        ("parameters.lr.n=4", r"parameters\.lr\.n is 3 already"),
    ],
)
def test_an_override_may_not_contradict_an_option(override, what):
    options = {"workload": "w", "output": "x", "execution": {"gpus": 0}}
    options["parameters"] = {"lr": (1e-4, 1.0, 3)}
    with pytest.raises(ConfigError) as caught:
        load_config(options=options, overrides=[override])
    (line,) = lines_of(caught)
    assert line.startswith(f"override {override!r}: ")
    assert re.search(what, line)


def test_an_override_may_repeat_an_option_and_complete_it():
    config = load_config(
        options={"workload": "w", "record": ["gradients"], "parameters": {"lr": (1e-4, 1.0)}},
        overrides=["workload=w", "record=[gradients]", "parameters.lr.n=4", "execution.gpus=1"],
    )
    assert (config.parameters["lr"].n, config.execution.gpus) == (4, 1)


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("epochs=10", lambda c: c.epochs == 10),
        ("optimizer.momentum = 0.95", lambda c: c.optimizer.momentum == 0.95),
        ("optimizer.eps=1e-4", lambda c: c.optimizer.eps == 1e-4),
        ("seeds=[1, 2]", lambda c: c.seeds == (1, 2)),
        ("optimizer={name: adam}", lambda c: c.optimizer.name == "adam"),
        ("parameters.dropout=0.1,0.2", lambda c: c.parameters["dropout"].values == (0.1, 0.2)),
        ("parameters.lr=1e-4:1:3", lambda c: c.parameters["lr"].n == 3),
        ("parameters.lr=[0.1, 1]", lambda c: c.parameters["lr"].values == (0.1, 1.0)),
        ("parameters.lr.n=4", lambda c: c.parameters["lr"].block()["n"] == 4),
        ("output=a=b", lambda c: c.output == "a=b"),
        ("output=", lambda c: c.output is None),
        ("loss='null'", lambda c: c.loss == "null"),
        ("diagnosis.thresholds.rise=2", lambda c: c.diagnosis.thresholds == {"rise": 2.0}),
        ("workload_parameters.n=1e2", lambda c: c.workload_parameters == {"n": 100.0}),
    ],
)
def test_overrides_are_dotted_keys_with_yaml_values(override, read):
    defaults = {"workload": "w", "output": "x", "parameters": {"lr": (1e-4, 1.0)}}
    defaults["optimizer"] = {"momentum": 0.5}
    assert read(load_config(defaults=defaults, overrides=[override, "workload=w"]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs", r"^override 'epochs': must be key=value, with a dotted key"),
        ("=1", r"^override '=1': must be key=value"),
        ("a..b=1", r"must be key=value"),
        ("epochs=0", r"^override 'epochs=0': epochs must be an integer >= 1, got 0$"),
        ("epochs=no", r"epochs must be an integer >= 1, got 'no'$"),
        ("epochs=010", r"^override 'epochs=010': 010 has a leading zero"),
        ("seeds=[1", r"^override 'seeds=\[1':1:3: not valid YAML: .*flow sequence"),
        ("loss=!!str x", r"^override 'loss=!!str x': tags are not allowed"),
        ("epoch=1", r"^override 'epoch=1': unknown key 'epoch'\. Did you mean 'epochs'\?"),
        (
            "optimizr.name=x",
            r"^override 'optimizr\.name=x': unknown key 'optimizr'\. Did you mean",
        ),
        ("parameters.lr=1:0", r"^override 'parameters\.lr=1:0': min must be below max \(0\)"),
        ("parameters.lr=-1", r"^override 'parameters\.lr=-1': parameters\.lr must be > 0"),
        ("epochs.x=1", r"^override 'epochs\.x=1': epochs must be an integer >= 1, got a map"),
        ("parameters.lr.mi=1", r"unknown key of parameters\.lr 'mi'\. Did you mean 'min'\?"),
        (
            "parameters.w.n=4",
            r"^override 'parameters\.w\.n=4': parameters\.w needs values, or min",
        ),
        ("parameters.b.n=4", r"parameters\.b\.n cannot be set: parameters\.b is not a mapping"),
    ],
)
def test_overrides_are_refused_by_name(override, message):
    defaults = {"epochs": 3, "parameters": {"lr": (1e-4, 1.0), "b": [1]}}
    with pytest.raises(ConfigError, match=message):
        load_config(options={"workload": "w"}, defaults=defaults, overrides=[override])


def test_an_error_in_a_file_has_line_column_key_rule_and_value(write):
    path = write("workload: w\noptimizer:\n  name: sgd\n\n  momentum: 1.5\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    expected = "sweep.yaml:5:3: optimizer.momentum must be in [0, 1), got 1.5"
    assert lines_of(caught) == [expected]


def test_an_unknown_key_is_answered_with_the_nearest_and_all(write):
    with pytest.raises(ConfigError) as caught:
        load_config(write("workload: w\noptimzer: {name: sgd}\n"))
    (line,) = lines_of(caught)
    assert line.startswith("sweep.yaml:2:1: unknown key 'optimzer'. Did you mean 'optimizer'? ")
    assert line.endswith("split, stop_early, workload, workload_parameters")


def test_all_that_is_wrong_is_reported_in_the_order_of_the_file(write):
    path = write(
        "workload: w\n"
        "parameters:\n"
        "  lr: {min: 1, max: 0.1, m: 3}\n"
        "  trial_id: [1]\n"
        "  width: [1, 010]\n"
        "optimizer:\n"
        "  momentum: 1.5\n"
        "  momentum: 0.5\n"
        "  nesterov: no\n"
        "epochs: !!python/name:os.system\n"
        "seeds: [3, -1]\n"
        "diagnosis: {ignore: [a b]}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path, options={"split.seed": -1}, overrides=["execution.gpus=-1", "loss=3"])
    starts = [
        "sweep.yaml:3:26: unknown key of parameters.lr 'm'.",
        "sweep.yaml:4:3: parameters must not have an axis named trial_id",
        "sweep.yaml:5:14: parameters.width[1]: 010 has a leading zero",
        "sweep.yaml:7:3: optimizer.momentum must be in [0, 1), got 1.5",
        "sweep.yaml:8:3: optimizer.momentum is given twice, first at 7:3",
        "sweep.yaml:9:3: optimizer.nesterov must be true or false, got 'no'",
        "sweep.yaml:10:9: epochs: tags are not allowed",
        "sweep.yaml:11:1: seeds must be different integers >= 0",
        "sweep.yaml:12:13: diagnosis.ignore must be a list of codes, each matching",
        "split.seed must be an integer >= 0, got -1",
        "override 'execution.gpus=-1': execution.gpus must be an integer >= 0, got -1",
        "override 'loss=3': loss must be the name of a loss, got 3",
    ]
    lines = lines_of(caught)
    assert len(lines) == len(starts), caught.value
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(start)


def test_a_long_list_of_problems_is_cut(write):
    path = write("workload: w\n" + "".join(f"key{i}: 1\n" for i in range(80)))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert len(lines_of(caught)) == 51
    assert lines_of(caught)[-1] == "… and 30 more"


def test_settings_that_exclude_each_other_have_their_place(write):
    path = write("workload: w\nn_configurations: 5\n")
    with pytest.raises(ConfigError, match=r"^sweep\.yaml:2:1: n_configurations belongs to the"):
        load_config(path)
    config = load_config(path, options={"sampler": "qmc"})
    assert config.n_configurations == 5


def test_an_override_takes_the_place_of_a_wrong_value_in_the_file(write):
    path = write("workload: w\noptimizer: {momentum: 1.5}\n")
    assert load_config(path, overrides=["optimizer.momentum=0.5"]).optimizer.momentum == 0.5


def test_wrong_defaults_are_named_as_the_workloads():
    with pytest.raises(ConfigError, match=r"^default of the workload: parameters\.lr must be > 0"):
        load_config(options={"workload": "w"}, defaults={"parameters": {"lr": [0.0]}})


def test_two_stages_give_what_one_gives(write):
    path = write("workload: a.py:build\nworkload_parameters: {depth: 2}\nparameters: {lr: 0.1}\n")
    settings = read_settings(path, options={"epochs": 4}, overrides=["parameters.batch_size.n=2"])
    assert settings.workload == "a.py:build"
    assert settings.workload_parameters == {"depth": 2}
    defaults = {"parameters": {"batch_size": {"values": [1]}}}
    with pytest.raises(ConfigError, match=r"parameters\.batch_size\.n belongs to a range"):
        validate_settings(settings, defaults=defaults)
    settings = read_settings(path, options={"epochs": 4})
    one = load_config(path, options={"epochs": 4}, defaults=defaults)
    assert validate_settings(settings, defaults=defaults) == one


def test_the_first_stage_refuses_what_no_default_can_mend(write):
    path = write("workload: w\nepochs: 0\nn_configurations: 3\n")
    with pytest.raises(ConfigError) as caught:
        read_settings(path)
    assert lines_of(caught) == ["sweep.yaml:2:1: epochs must be an integer >= 1, got 0"]


def test_the_first_stage_leaves_to_defaults_what_they_may_complete(write):
    settings = read_settings(write("n_configurations: 3\n"), overrides=["parameters.lr.n=3"])
    defaults = {"workload": "w", "sampler": "qmc", "parameters": {"lr": (0.1, 1.0)}}
    assert validate_settings(settings, defaults=defaults).n_configurations == 3
    with pytest.raises(ConfigError, match=r"^sweep\.yaml: workload is required, such as digits"):
        _ = settings.workload


def test_the_callers_mappings_stay_as_they_were():
    axis = {"min": 1e-4, "max": 1.0}
    defaults = {"parameters": {"lr": axis}, "workload_parameters": {"a": {"b": 1}}}
    overrides = ["parameters.lr.n=4", "workload_parameters.a.b=2"]
    config = load_config(options={"workload": "w"}, defaults=defaults, overrides=overrides)
    assert config.workload_parameters == {"a": {"b": 2}}
    assert axis == {"min": 1e-4, "max": 1.0}
    assert defaults["workload_parameters"] == {"a": {"b": 1}}


def test_malformed_yaml_is_our_error_alone(write):
    with pytest.raises(ConfigError, match=r"^sweep\.yaml:2:1: not valid YAML: .*tabs") as caught:
        load_config(write("workload: w\n\tepochs: 3\n"))
    assert len(lines_of(caught)) == 1


def test_names_from_a_file_reach_messages_without_control_characters(write):
    with pytest.raises(ConfigError) as caught:
        load_config(write('workload: w\n"\\e[31mred": 1\noptimizer: {"\\e[0m": {a: 1}}\n'))
    assert "\x1b" not in str(caught.value)


def test_importing_brings_in_nothing_heavy():
    code = (
        "import sys, sweepdiag.config\n"
        "heavy = {'numpy', 'pandas', 'torch', 'ray', 'sweepdiag.records'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
