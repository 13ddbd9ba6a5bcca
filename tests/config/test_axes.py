from __future__ import annotations

import math

import numpy as np
import pytest

from sweepdiag.config import RESERVED_COLUMNS, ParameterSpec, SweepConfig
from sweepdiag.errors import ConfigError


def axis(name, block):
    return SweepConfig(workload="w", parameters={name: block}).parameters[name]


def test_every_form_of_listed_values():
    assert axis("capacity", {"values": [8, 64]}).values == (8, 64)
    assert axis("capacity", [8, 64]).values == (8, 64)
    assert axis("capacity", range(1, 4)).values == (1, 2, 3)
    assert axis("capacity", {"value": 8}).values == (8,)
    assert axis("capacity", 8).values == (8,)
    assert axis("activation", "relu").values == ("relu",)
    assert axis("batch_norm", [True, False]).values == (True, False)


def test_every_form_of_a_range():
    block = {"min": 1e-4, "max": 10, "distribution": "log_uniform_values", "n": 5}
    expected = {**block, "max": 10.0}
    assert axis("lr", block).block() == expected
    assert axis("lr", (1e-4, 10, 5)).block() == expected
    assert axis("lr", {"min": 1e-4, "max": 10, "n": 5}).block() == expected
    assert axis("lr", ParameterSpec(min=1e-4, max=10, n=5)).block() == expected


def test_a_range_is_logarithmic_by_default_only_for_rates_and_decay():
    assert axis("lr", (0.1, 1)).distribution == "log_uniform_values"
    assert axis("weight_decay", (1e-5, 1e-2)).distribution == "log_uniform_values"
    assert axis("weight_decay", (0, 1e-2)).distribution == "uniform"
    assert axis("dropout", (0.1, 0.5)).distribution == "uniform"


def test_numbers_become_alike_within_an_axis():
    assert axis("width", [1, 2.5]).values == (1.0, 2.5)
    lr = axis("lr", [1, 10]).values
    assert lr == (1.0, 10.0)
    assert all(type(value) is float for value in lr)
    batch = axis("batch_size", [16.0, 1e2]).values
    assert batch == (16, 100)
    assert all(type(value) is int for value in batch)


def test_numpy_values_become_plain():
    values = axis("lr", np.array([0.1, 1.0])).values
    assert values == (0.1, 1.0)
    assert type(axis("capacity", [np.int64(8)]).values[0]) is int
    assert type(axis("width", np.float32(0.5)).values[0]) is float


@pytest.mark.parametrize(
    ("name", "block", "message"),
    [
        ("lr", 0, r"^parameters\.lr must be > 0, got 0$"),
        ("lr", [0.1, -1.0], r"^parameters\.lr must be > 0, got -1\.0$"),
        ("lr", "fast", r"parameters\.lr must be a number > 0, got 'fast'"),
        ("lr", [True], r"parameters\.lr must be a number > 0, got true"),
        ("lr", (0.0, 1.0), r"^parameters\.lr\.min must be > 0, got 0\.0$"),
        ("batch_size", [16, 0], r"^parameters\.batch_size must be an integer >= 1, got 0$"),
        ("batch_size", 1.5, r"parameters\.batch_size must be an integer >= 1, got 1\.5"),
        ("batch_size", (16, 64), r"parameters\.batch_size must be a list of values: a range"),
        ("momentum", [0.9, 1.0], r"parameters\.momentum must be in \[0, 1\), got 1\.0"),
        ("momentum", (0.5, 1.0), r"parameters\.momentum\.max must be in \[0, 1\), got 1\.0"),
        ("weight_decay", -0.1, r"parameters\.weight_decay must be >= 0, got -0\.1"),
        ("dropout", 1.5, r"parameters\.dropout must be in \[0, 1\], got 1\.5"),
        ("a", [1, 1.0], r"parameters\.a must have different values, 1\.0 is there twice"),
        ("a", [1, "b"], r"parameters\.a must be all numbers, all names or all true and false"),
        ("a", [1, True], r"parameters\.a must be all numbers, all names or all true and false"),
        ("a", [], r"parameters\.a must be a list of 1 to 100000 values, got \[\]"),
        ("a", [math.inf], r"parameters\.a must have finite values, got inf"),
        ("a", [[1]], r"parameters\.a must have numbers, names, or true and false as values"),
        ("a", None, r"parameters\.a must have numbers, .*, got null"),
        ("a", 2**63, r"parameters\.a must have integers of at most 63 bits"),
        ("a", {}, r"^parameters\.a needs values, or min and max$"),
        ("a", {"min": 1}, r"^parameters\.a needs max as well$"),
        ("a", {"min": 2, "max": 1}, r"parameters\.a\.min must be below max \(1\), got 2"),
        ("a", {"min": 1, "max": 1}, r"parameters\.a\.min must be below max \(1\), got 1"),
        ("a", {"min": 1, "max": math.nan}, r"parameters\.a\.max must be finite, got nan"),
        ("a", {"min": 1, "max": 2, "n": 1}, r"parameters\.a\.n must be an integer in \[2, 1000"),
        ("a", {"min": 1, "max": 2, "values": [1]}, r"parameters\.a\.min belongs to a range"),
        ("a", {"value": 1, "values": [1]}, r"parameters\.a\.value excludes values"),
        ("a", (1, 2, 3, 4), r"parameters\.a must be \(min, max\) or \(min, max, n\)"),
        (
            "a",
            {"min": 0, "max": 1, "distribution": "log_uniform_values"},
            r"parameters\.a\.min must be > 0 for log_uniform_values, got 0",
        ),
        (
            "a",
            {"min": 0, "max": 1, "distribution": "log_uniform"},
            r"must be one of log_uniform_values, uniform, .*did you mean 'log_uniform_values'",
        ),
        (
            "a",
            {"min": 0, "maxx": 1},
            r"unknown key of parameters\.a 'maxx'\. Did you mean 'max'\? Valid: .*value, values",
        ),
    ],
)
def test_refuses_with_the_rule_and_the_value(name, block, message):
    with pytest.raises(ConfigError, match=message):
        axis(name, block)


@pytest.mark.parametrize(
    "name", ["a b", "1a", "", "a-b", "a" * 65, "=cmd|x", "$(touch x)", "<script>", "\u202ea", "é"]
)
def test_names_of_axes_are_plain(name):
    with pytest.raises(ConfigError, match="parameters must have axis names that match"):
        axis(name, [1])


@pytest.mark.parametrize("name", sorted(RESERVED_COLUMNS))
def test_names_of_table_columns_are_reserved(name):
    with pytest.raises(ConfigError, match=f"must not have an axis named {name}: the tables"):
        axis(name, [1])


@pytest.mark.parametrize(
    "value", ["a b", "../x", "x\n#SBATCH", "'\";", "=cmd|'/c'", "$\\undefined$", "n" * 65, ""]
)
def test_values_that_are_text_are_names(value):
    with pytest.raises(ConfigError, match=r"parameters\.a must have names that match"):
        axis("a", [value])


def test_all_problems_of_all_axes_are_reported():
    parameters = {"lr": {"min": -1, "maxx": 3}, "batch_size": 0, "seed": [1]}
    with pytest.raises(ConfigError) as caught:
        SweepConfig(workload="w", parameters=parameters)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("unknown key of parameters.lr 'maxx'")
    assert lines[1].startswith("parameters.batch_size must be")
    assert lines[2].startswith("parameters must not have an axis named seed")
