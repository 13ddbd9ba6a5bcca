from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepdiag.messages import (
    MAX_MESSAGE_BYTES,
    clean_message,
    describe_bytes,
    describe_error,
    describe_peak_memory,
    describe_traceback,
    headline,
    monitor_name,
    place_of_error,
)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("plain", "plain"),
        ("  two\nlines\t. \n", "two\nlines\t."),
        ("\x1b[1;31mred\x1b[0m alarm\x07", "red alarm"),
        ("\x1b]0;a new window title\x07text", "text"),
        ("line\r\nline", "line\nline"),
        ("right\u202eto left", "rightto left"),
        ("null\x00byte", "nullbyte"),
        ("half a pair \ud800", "half a pair"),
        ("", ""),
    ],
)
def test_control_characters_are_removed(raw: str, clean: str) -> None:
    assert clean_message(raw) == clean


def test_long_text_keeps_both_ends() -> None:
    text = "the first line\n" + "x" * 10_000 + "\nValueError: the last line"
    clean = clean_message(text)
    assert len(clean.encode()) <= MAX_MESSAGE_BYTES
    assert clean.startswith("the first line")
    assert clean.endswith("ValueError: the last line")


@given(st.text(st.characters(codec=None), max_size=400), st.integers(16, 200))
def test_any_text_becomes_short_and_printable(text: str, max_bytes: int) -> None:
    clean = clean_message(text, max_bytes=max_bytes)
    assert len(clean.encode()) <= max_bytes
    assert all(unicodedata.category(char) != "Cc" or char in "\n\t" for char in clean)


@given(st.text(max_size=300))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    clean = clean_message(text, max_bytes=10_000)
    assert clean_message(clean, max_bytes=10_000) == clean


def test_place_of_an_error_is_file_and_line() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        1 / 0  # noqa: B018
    told = describe_error(caught.value, with_place=True)
    line = caught.value.__traceback__.tb_lineno if caught.value.__traceback__ else 0
    assert told == f"ZeroDivisionError: division by zero (test_messages.py:{line})"


def test_error_is_described_by_type_and_message() -> None:
    assert describe_error(ValueError("capacity must be positive")) == (
        "ValueError: capacity must be positive"
    )
    assert describe_error(KeyboardInterrupt()) == "KeyboardInterrupt"


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1234, "1.2 kB"),
        (9960, "10 kB"),
        (999_700, "1.0 MB"),
        (45e6, "45 MB"),
        (1.24e9, "1.2 GB"),
        (4e12, "4000.0 GB"),
        (float("nan"), "-"),
    ],
)
def test_sizes_are_short(n_bytes, text):
    assert describe_bytes(n_bytes) == text


def test_the_highest_peak_is_told_for_workers_and_for_gpus():
    nan = float("nan")
    assert describe_peak_memory([("cpu", 300.0), ("cpu", nan), ("cpu", 1250.0)]) == (
        "1.2 GB per worker"
    )
    assert describe_peak_memory([("cuda:0", 900.0), ("cpu", 300.0), ("cuda:1", 2000.0)]) == (
        "2.0 GB per GPU, 300 MB per worker"
    )
    assert describe_peak_memory([("cpu", nan)]) == ""


def test_of_a_long_message_the_beginning_is_kept_below_its_traceback() -> None:
    try:
        raise ValueError("no luck " + 3000 * "é")
    except ValueError as error:
        told = describe_traceback(error)
    assert "ValueError: no luck" in told
    assert told.startswith("Traceback (most recent call last)")
    assert len(told.encode()) <= MAX_MESSAGE_BYTES
    assert describe_traceback(ValueError("short")) == "ValueError: short"


CUDA_MESSAGE = (
    "CUDA error: an illegal memory access was encountered\n"
    "CUDA kernel errors might be asynchronously reported at some other API call, so the "
    "stacktrace below might be incorrect.\n"
    "For debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."
)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (CUDA_MESSAGE, "RuntimeError: CUDA error: an illegal memory access was encountered"),
        ("size mismatch:\n\tfc.weight\n\tfc.bias", "RuntimeError: size mismatch:"),
        ("one\n\ntwo\nNote: three", "RuntimeError: one"),
        ("", "RuntimeError"),
    ],
)
def test_the_headline_names_the_error_however_long_its_message_is(message, line) -> None:
    def fail() -> None:
        try:
            {}["key"]
        except KeyError:
            raise RuntimeError(message)  # noqa: B904 - the traceback has two errors

    with pytest.raises(RuntimeError) as caught:
        fail()
    told = headline(describe_traceback(caught.value))
    assert re.fullmatch(rf"{re.escape(line)} \(test_messages\.py:\d+\)", told)
    assert headline(describe_error(caught.value)) == line


def test_an_error_is_placed_where_the_users_own_code_calls_what_raises() -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    line = caught.tb.tb_lineno
    assert place_of_error(caught.value) == f"test_messages.py:{line}"
    assert headline(describe_traceback(caught.value)).endswith(f" (test_messages.py:{line})")
    assert place_of_error(ValueError("never raised")) == ""


def test_the_headline_of_a_death_is_its_cause() -> None:
    told = "it was killed\nIts last output:\nTraceback (most recent call last)\n  a\nError: x"
    assert headline(told) == "it was killed"
    assert headline("Traceback (most recent call last):\n  cut\n  off") == "  off"
    assert headline("") == ""


@pytest.mark.parametrize(
    ("monitor", "metric", "name"),
    [
        ("val_loss", "accuracy", "validation loss"),
        ("val_metric", None, "validation metric"),
        ("val_metric", "accuracy", "validation accuracy"),
        ("val_metric", "val_accuracy", "val_accuracy"),
        ("val_metric", "Valid/acc", "Valid/acc"),
        ("val_metric", "value_error", "validation value_error"),
    ],
)
def test_a_monitored_value_is_called_validation_once(monitor, metric, name):
    assert monitor_name(monitor, metric) == name
