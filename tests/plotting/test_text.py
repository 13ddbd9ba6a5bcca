from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepdiag.plotting._text import (
    distinct_labels,
    drawn_labels,
    drawn_text,
    safe_text,
    shorten,
    text_width_in,
    tick_labels,
    wrap_text,
)
from sweepdiag.wording import epoch_text, format_value, percent


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0001, "1e-4"),
        (0.00123, "1.23e-3"),
        (0.01, "0.01"),
        (0.1, "0.1"),
        (1.0, "1"),
        (0, "0"),
        (256, "256"),
        (16384, "16384"),
        (100000, "1e5"),
        (-30000, "-3e4"),
        (1e9, "1e9"),
        (2.345678, "2.35"),
        (99.95, "100"),
        (0.999999, "1"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (True, "True"),
        ("adam", "adam"),
    ],
)
def test_values_are_written_as_people_write_them(value, text):
    assert format_value(value) == text


@given(st.floats(min_value=1e-12, max_value=1e12))
def test_a_label_is_short_and_close_to_its_value(value):
    text = format_value(value)
    assert len(text) <= 8
    assert float(text) == pytest.approx(value, rel=6e-3)


@pytest.mark.parametrize(
    ("epoch", "text"),
    [
        (0.0, "0"), (19.0, "19"), (10.5, "10.5"), (0.25, "0.25"), (1.0 / 3.0, "0.333"),
        (1500.0, "1500"), (1234.56, "1235"), (493828.0, "493,828"), (3703710.0, "3,703,710"),
        (-2.5, "-2.5"), (float("nan"), "nan"),
    ],
)  # fmt: skip
def test_epochs_are_written_in_full(epoch, text):
    assert epoch_text(epoch) == text


def test_integers_are_written_in_full():
    assert format_value(1048576) == "1048576"
    assert format_value(1048576.5) == "1.05e6"


def test_ticks_of_one_axis_have_one_form():
    assert tick_labels((0.0, 150000.0, 3e5)) == ("0", "150000", "300000")
    assert tick_labels((0.001, 0.01, 10.0)) == ("0.001", "0.01", "10")
    assert tick_labels((1e-6, 1e-3, 1.0)) == ("1e-6", "1e-3", "1e0")
    assert tick_labels((0.5, 1.0)) == ("0.5", "1")


@pytest.mark.parametrize(
    ("share", "text"), [(0.5, "50 %"), (0.015, "1.5 %"), (0.0, "0 %"), (0.0996, "10 %")]
)
def test_shares_have_two_digits(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.42, "42 %"), (0.0505, "5 %"), (0.0097, "1 %"), (0.0034, "0.3 %")]
)
def test_shares_of_one_digit_are_whole_where_that_says_enough(share, text):
    assert percent(share, digits=1) == text


def test_labels_get_digits_until_they_differ():
    assert distinct_labels((0.1, 0.2)) == ("0.1", "0.2")
    assert distinct_labels((0.12341, 0.12342)) == ("0.12341", "0.12342")


def test_names_keep_what_tells_them_apart():
    start, end = "convnext_tiny_in22k_adamw_", "_with_warmup_and_clipping"
    at_end = distinct_labels((f"{start}cosine", f"{start}linear", "名前"))
    assert at_end[0].endswith("cosine")
    assert at_end[1].endswith("linear")
    assert at_end[2] == "名前"
    inside = distinct_labels((f"{start}cosine{end}", f"{start}linear{end}", f"{start}sine{end}"))
    assert ["cosine" in inside[0], "linear" in inside[1], "sine" in inside[2]] == [True] * 3
    assert all(len(label) <= 24 for label in (*at_end, *inside))


def test_labels_that_look_the_same_are_numbered():
    assert distinct_labels((1, "1", "1 (1)")) == ("1 (2)", "1 (3)", "1 (1)")
    assert drawn_labels(("名前", "模型", "lr")) == ("?? (1)", "?? (2)", "lr")


@given(st.lists(st.text(max_size=60), unique_by=str.strip, max_size=8))
def test_labels_are_always_distinct(names):
    assert len(set(distinct_labels(tuple(names)))) == len(names)
    assert len(set(drawn_labels(distinct_labels(tuple(names))))) == len(names)


def test_a_long_name_ends_with_an_ellipsis():
    assert shorten("abcdef", 4) == "abc…"
    assert len(safe_text("x" * 300, limit=80)) == 80


def test_control_characters_and_unknown_glyphs_are_replaced():
    assert safe_text("a\n\x1b[31mb\x00c") == "a [31mb c"
    assert drawn_text(safe_text("名前 lr")) == "?? lr"


def test_lines_are_no_wider_than_asked():
    lines = wrap_text("one two three four five six seven", 0.8, 8.0)
    assert " ".join(lines) == "one two three four five six seven"
    assert all(text_width_in(line, 8.0) <= 0.8 for line in lines)
    assert len(lines) > 1
