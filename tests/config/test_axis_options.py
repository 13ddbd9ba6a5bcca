from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepdiag.config import SweepConfig, parse_axis
from sweepdiag.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("1e-4:10:8", {"min": 1e-4, "max": 10, "distribution": "log_uniform_values", "n": 8}),
        ("1e-4:10", {"min": 1e-4, "max": 10, "distribution": "log_uniform_values"}),
        ("log:1:30:2", {"min": 1, "max": 30, "distribution": "log_uniform_values", "n": 2}),
        ("lin:0:0.5:6", {"min": 0, "max": 0.5, "distribution": "uniform", "n": 6}),
        ("1:30", {"min": 1, "max": 30, "distribution": "log_uniform_values"}),
        ("16,64,256", {"values": [16, 64, 256]}),
        (" 16, 64 ", {"values": [16, 64]}),
        ("0.1", {"value": 0.1}),
        ("relu,tanh", {"values": ["relu", "tanh"]}),
        ("true,false", {"values": [True, False]}),
    ],
)
def test_reads_each_short_form(text, block):
    assert parse_axis(text) == block


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10:1:8", r"^--lr: min must be below max \(1\), got 10 \(in '10:1:8'\)$"),
        ("0:1:8", r"^--lr: min must be > 0 for log_uniform_values, got 0 .* are lin:0:1:8$"),
        ("1:2:1", r"^--lr: n must be an integer in \[2, 100000\], got 1"),
        ("1:2:2.5", r"^--lr: n must be an integer"),
        ("a:b", r"^--lr: min must be a number, got 'a'"),
        ("1:2:3:4", r"^--lr must be low:high:n, low:high or lin:low:high:n, got '1:2:3:4'$"),
        ("lin:1", r"^--lr must be low:high:n"),
        (":", r"^--lr: needs values, or min and max"),
        ("1:", r"^--lr: needs max as well"),
        ("1:.inf", r"^--lr: max must be finite, got inf"),
        ("16,,64", r"^--lr must be values separated by commas, or low:high:n, got '16,,64'$"),
        ("", r"^--lr must be values separated by commas"),
        ("010", r"^--lr: 010 has a leading zero"),
        ("1,a", r"^--lr: must be all numbers, all names or all true and false"),
        ("1,1", r"^--lr: must have different values, 1 is there twice"),
        ("a b", r"^--lr: must have names that match"),
        ("null", r"^--lr: must have numbers, names, or true and false"),
    ],
)
def test_refuses_with_the_name_of_the_option(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_axis(text, option="--lr")


positive = st.floats(min_value=1e-30, max_value=1e30)


@given(low=positive, high=positive, n=st.integers(2, 1000))
def test_a_range_is_read_as_written_or_refused_as_empty(low, high, n):
    text = f"{low!r}:{high!r}:{n}"
    if low >= high:
        with pytest.raises(ConfigError, match="must be below max"):
            parse_axis(text)
        return
    block = parse_axis(text)
    assert block == {"min": low, "max": high, "distribution": "log_uniform_values", "n": n}
    assert SweepConfig(workload="w", parameters={"lr": block}).parameters["lr"].block() == block


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=20, unique=True))
def test_listed_values_are_kept_in_order(values):
    block = parse_axis(",".join(map(str, values)))
    assert block == ({"values": values} if len(values) > 1 else {"value": values[0]})


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_with_the_option(text):
    try:
        block = parse_axis(text, option="--width")
    except ConfigError as error:
        assert str(error).startswith("--width")  # noqa: PT017 - both outcomes are allowed
    else:
        assert SweepConfig(workload="w", parameters={"width": block}).parameters
