from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sweepdiag.config.scalars import read_scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1.5e+3", -1500.0),
        ("01.5", 1.5),
        ("0", 0),
        ("-7", -7),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("10.0.0.1:6379", "10.0.0.1:6379"),
        ("=", "="),
    ],
)
def test_reads_what_the_text_looks_like(text, value):
    read = read_scalar(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "text", ["010", "-007", "0x1F", "0o10", "0b11", "1:30", "1:30:00", "1:30.5", "1_000", "1_0.5"]
)
def test_refuses_numbers_that_readers_disagree_on(text):
    with pytest.raises(ValueError, match="write a plain decimal number, or quote it as text"):
        read_scalar(text)


def test_non_finite_words_are_numbers_for_the_rules_to_refuse():
    assert math.isnan(read_scalar(".nan"))
    assert read_scalar("-.inf") == -math.inf
    assert read_scalar("1e999") == math.inf
    assert read_scalar("9" * 5000) == math.inf


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_read_back_from_its_repr(number):
    assert float(read_scalar(repr(number))) == number


@given(st.text(alphabet="0123456789.eE+-_:xob", max_size=8))
def test_agrees_with_pyyaml_wherever_pyyaml_sees_a_number(text):
    theirs = yaml.SafeLoader("").resolve(yaml.ScalarNode, text, (True, False))
    if theirs not in {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}:
        return
    try:
        ours = read_scalar(text)
    except ValueError:
        return
    if isinstance(ours, str):
        # PyYAML also takes texts such as "." with a sign or bare underscores for numbers.
        pytest.fail(f"{text!r} is a number to PyYAML and text to us")
    assert ours == yaml.safe_load(text)
