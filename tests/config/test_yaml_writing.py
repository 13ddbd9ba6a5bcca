from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepdiag.config import RESERVED_COLUMNS, SweepConfig, load_config
from sweepdiag.config.yaml_reading import read_text
from sweepdiag.config.yaml_writing import write_yaml

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name not in RESERVED_COLUMNS | {"lr", "batch_size", "momentum", "weight_decay"}
)
finite = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63) + 1, 2**63 - 1)
tricky = st.sampled_from(["no", "1e-4", "010", "1:30", "null", "~", "", "a: b", "#x", "=", "- a"])
texts = tricky | st.text(max_size=30).filter(str.isprintable)
scalars = st.none() | st.booleans() | integers | finite | texts
plain_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
words = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True)
listed = st.one_of(
    st.lists(integers, min_size=1, max_size=4, unique=True),
    st.lists(finite, min_size=1, max_size=4, unique=True),
    st.lists(words, min_size=1, max_size=4, unique=True),
)
ranges = st.builds(
    lambda ends, n: {"min": min(ends), "max": max(ends), "n": n},
    st.lists(st.floats(-1e100, 1e100), min_size=2, max_size=2, unique=True),
    st.none() | st.integers(2, 100),
)
rates = st.lists(
    st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    min_size=1,
    max_size=4,
    unique=True,
)
seed_lists = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4, unique=True)
paths = texts.filter(str.strip)


@st.composite
def configurations(draw):
    parameters = draw(st.dictionaries(names, listed | ranges, max_size=3))
    return SweepConfig(
        workload=draw(paths),
        workload_parameters=draw(st.dictionaries(names, plain_values, max_size=3)),
        parameters={"lr": draw(rates), **parameters},
        seeds=draw(st.integers(1, 9) | seed_lists),
        sampler=draw(st.sampled_from(["grid", "qmc"])),
        optimizer={"eps": draw(st.floats(1e-300, 1)), "weight_decay": draw(st.floats(0, 1e300))},
        loss=draw(st.none() | words),
        diagnosis={
            "thresholds": draw(st.dictionaries(names, finite, max_size=2)),
            "ignore": draw(st.lists(words, unique=True, max_size=2)),
        },
        output=draw(st.none() | paths),
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("written") / "sweep.yaml"


@settings(max_examples=60, deadline=None)
@given(config=configurations())
def test_a_written_configuration_loads_to_an_equal_one(file, config):
    text = config.to_yaml(header="A sweep\n\nof two lines: 1")
    file.write_text(text, encoding="utf-8")
    loaded = load_config(file)
    assert loaded == config
    assert loaded.to_yaml() == config.to_yaml()
    assert loaded.comparable() == config.comparable()


@settings(max_examples=60, deadline=None)
@given(config=configurations())
def test_other_readers_read_the_same_values(config):
    assert yaml.safe_load(config.to_yaml()) == config.to_mapping()


@given(values=st.lists(finite, max_size=5))
def test_floats_are_written_exactly(values):
    assert read_text(write_yaml({"a": values}), name="x").value == {"a": values}


def test_is_readable():
    config = SweepConfig(
        workload="digits",
        parameters={"lr": (1e-5, 10.0, 4), "batch_size": [16, 64], "activation": ["no", "relu"]},
    )
    lines = config.to_yaml(header="sweepdiag 1.0\n\nresolved").splitlines()
    assert lines[:4] == ["# sweepdiag 1.0", "#", "# resolved", "workload: digits"]
    assert "  lr: {min: 1.0e-05, max: 10.0, distribution: log_uniform_values, n: 4}" in lines
    assert "  batch_size: {values: [16, 64]}" in lines
    assert '  activation: {values: ["no", relu]}' in lines
    assert "optimizer:" in lines
    assert "  momentum: 0.9" in lines
