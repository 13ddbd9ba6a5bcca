from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepdiag.config.yaml_reading import MAX_BYTES, read_file, read_text
from sweepdiag.errors import ConfigError


def refused(text):
    return [f"{line}:{column}: {problem}" for (line, column), problem in read(text).problems]


def read(text):
    return read_text(text, name="s.yaml")


def write(tmp_path, content):
    path = tmp_path / "s.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_values_and_positions_of_keys_and_items():
    document = read("a: 1e-4\nb:\n  c: [x, 'no']\n  d: |\n    text\n")
    assert document.value == {"a": 1e-4, "b": {"c": ["x", "no"], "d": "text\n"}}
    assert document.positions["b", "c"] == (3, 3)
    assert document.positions["b", "c", 1] == (3, 10)
    assert document.problems == ()


def test_quoted_numbers_and_booleans_stay_text():
    assert read("a: '1e-4'\nb: \"true\"\n").value == {"a": "1e-4", "b": "true"}


def test_keys_are_text_as_written():
    assert read("1: a\nno: b\n1e-4: c\n").value == {"1": "a", "no": "b", "1e-4": "c"}


def test_a_repeated_key_is_refused_and_the_first_kept():
    assert refused("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n") == [
        "4:3: b.c is given twice, first at 3:3",
        "5:1: a is given twice, first at 1:1",
    ]
    assert read("a: 1\na: 3\n").value == {"a": 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: !!python/object/apply:os.system [x]", "1:4: a: tags are not allowed, got 'tag:yaml"),
        ("a: !!int 3", "1:4: a: tags are not allowed"),
        ("!x a: 1", "1:1: tags are not allowed"),
        ("a: &x 1", "1:4: a: anchors are not allowed: write the value out"),
        ("a: *x", "1:4: a: aliases are not allowed: write the value out"),
        ("a:\n  <<: *x", "2:7: a.<<: aliases are not allowed"),
        ("? [a]\n: 1", "1:3: keys must be text"),
        ("a: [1, 010]", "1:8: a[1]: 010 has a leading zero"),
        ("a: 1:30", "1:4: a: 1:30 is base 60 to some readers"),
    ],
)
def test_features_that_settings_do_not_need_are_refused(text, problem):
    assert refused(text)[0].startswith(problem)


def test_an_alias_bomb_is_not_expanded():
    lines = ["a: &a [1, 1]"]
    lines += [f"{chr(i + 1)}: &{chr(i + 1)} [*{chr(i)}, *{chr(i)}]" for i in range(97, 121)]
    document = read("\n".join(lines))
    assert document.value == {"a": [1, 1]}
    assert len(document.problems) == 1 + 24 * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:\n\tb: 1", r"s\.yaml:2:1: not valid YAML: .*indent with spaces, not tabs"),
        ("a: [1, 2", r"s\.yaml:1:9: not valid YAML: .*flow sequence that began at 1:4"),
        ("a: {b: 1", r"s\.yaml:1:9: not valid YAML: .*flow mapping that began at 1:4"),
        ("a: 'x", r"s\.yaml:1:6: not valid YAML: .*quoted scalar that began at 1:4"),
        ("a: b: c", r"s\.yaml:1:5: not valid YAML: mapping values are not allowed"),
        ("a: 1\n b: 2", r"s\.yaml:2:3: not valid YAML"),
        ("a: @x", r"s\.yaml:1:4: not valid YAML"),
        ("a: 1\n---\na: 2", r"s\.yaml:2:1: must be one document, got a second"),
        ("a: 1\nb: \x07", r"s\.yaml:2:4: must not hold the character '\\x07'"),
        ("[" * 100, r"s\.yaml:1:22: must be nested at most 20 deep"),
        ("\n".join(" " * i + "a:" for i in range(30)), "must be nested at most 20 deep"),
    ],
)
def test_malformed_text_is_refused_with_its_place(text, message):
    with pytest.raises(ConfigError, match=message):
        read(text)


def test_what_was_refused_before_a_syntax_error_is_said_too():
    with pytest.raises(ConfigError, match=r"2:1: a is given twice.*\ns\.yaml:4:1: not valid"):
        read("a: 1\na: 2\nb: [\n")


def test_too_many_values_are_refused_before_all_are_read():
    with pytest.raises(ConfigError, match="must hold at most 50000 values"):
        read("a: [" + "1," * 60_000 + "1]")


def test_a_file_must_be_a_file(tmp_path):
    with pytest.raises(ConfigError, match="must be a file of settings, got a folder"):
        read_file(tmp_path)
    with pytest.raises(ConfigError, match=r"cannot be read: No such file"):
        read_file(tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match=r"cannot be read: .*null"):
        read_file(tmp_path / "a\0b")


@pytest.mark.parametrize("content", ["", "  \n", "# nothing\n", "---\n"])
def test_an_empty_file_is_refused(tmp_path, content):
    with pytest.raises(ConfigError, match=r"s\.yaml: the file must hold settings, got an empty"):
        read_file(write(tmp_path, content))


@pytest.mark.parametrize(("content", "kind"), [("- a\n", "a list"), ("a\n", "a single value")])
def test_a_file_must_hold_a_mapping(tmp_path, content, kind):
    with pytest.raises(ConfigError, match=rf"s\.yaml:1:1: the file must hold a mapping.*{kind}"):
        read_file(write(tmp_path, content))


def test_a_refused_root_is_reported_for_what_was_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"s\.yaml:1:1: tags are not allowed, got '!x'"):
        read_file(write(tmp_path, "!x [1]"))


def test_a_file_must_be_small(tmp_path):
    with pytest.raises(ConfigError, match="must be at most 1 MiB, got more"):
        read_file(write(tmp_path, b"#" * (MAX_BYTES + 1)))


def test_a_file_must_be_utf8(tmp_path):
    with pytest.raises(ConfigError, match=r"s\.yaml:2:4: must be UTF-8, got byte 0xe9"):
        read_file(write(tmp_path, b"a: 1\nb: \xe9t\xe9\n"))
    with pytest.raises(ConfigError, match="must be UTF-8, got byte 0xff"):
        read_file(write(tmp_path, "a: 1".encode("utf-16")))


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    assert read_file(write(tmp_path, "\ufeffa: é\n")).value == {"a": "é"}


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab:-?[]{},'\"|>&*!#%@\\ \n\t01.e", max_size=40))
def test_any_text_is_read_or_refused_with_our_error(text):
    try:
        document = read(text)
    except ConfigError as error:
        assert str(error).startswith("s.yaml:")  # noqa: PT017 - both outcomes are allowed
    else:
        assert isinstance(document.problems, tuple)
