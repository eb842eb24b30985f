"""YAML as docker compose reads it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.facts import missing
from watcher.compose.yaml_reader import (
    MOST_NESTED,
    MOST_VALUES,
    YamlDocument,
    parse_documents,
    read_documents,
)
from watcher.errors import ConfigError


def value(text: str) -> object:
    (document,) = parse_documents(text.encode(), "c.yaml")
    return document.value


def refusal(text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_documents(text if isinstance(text, bytes) else text.encode(), "c.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    "word", ["yes", "no", "on", "off", "y", "n", "Yes", "22:22", "190:20:30", "2020-01-01"]
)
def test_words_that_old_yaml_made_into_something_else_stay_words(word: str) -> None:
    assert value(word) == word


@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("12", 12),
        ("-1", -1),
        ("0644", 0o644),
        ("0o17", 0o17),
        ("0x1F", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("08", 8.0),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", 2.0**64),
        ("1e999", "1e999"),
        ("0x", "0x"),
        ("1.2.3", "1.2.3"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ('!!int "12"', 12),
        ("!!float 3", 3.0),
        ('!!bool "true"', True),
    ],
)
def test_plain_words_are_what_go_yaml_makes_of_them(word: str, result: object) -> None:
    found = value(word)
    assert found == result
    assert type(found) is type(result)


def test_infinity_and_not_a_number_are_numbers() -> None:
    assert value("[.inf, -.Inf]") == [math.inf, -math.inf]
    found = value("[.NaN]")
    assert isinstance(found, list)
    assert [math.isnan(each) for each in found] == [True]


def test_anchors_aliases_and_merge_keys() -> None:
    text = """
    base: &base {a: 1, b: 1}
    more: &more {b: 2, c: 2}
    one: {<<: *base, b: 9}
    both: {<<: [*base, *more]}
    copy: *base
    """
    assert value(text) == {
        "base": {"a": 1, "b": 1},
        "more": {"b": 2, "c": 2},
        "one": {"a": 1, "b": 9},
        "both": {"a": 1, "b": 1, "c": 2},
        "copy": {"a": 1, "b": 1},
    }


def test_keys_are_words_as_they_stand() -> None:
    assert value("{80: a, true: b, 0x1: c}") == {"80": "a", "true": "b", "0x1": "c"}


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert parse_documents(b"\xef\xbb\xbfa: 1", "c.yaml") == [YamlDocument({"a": 1})]


def test_several_documents_and_none() -> None:
    assert parse_documents(b"a: 1\n---\nb: 2\n", "c.yaml") == [YamlDocument({"a": 1}), YamlDocument({"b": 2})]
    assert parse_documents(b"# nothing\n", "c.yaml") == []


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("a: 1\nb: 2\na: 3\n", ("c.yaml:3", "'a'", "already set", "line 1")),
        ("x:\n  a: 1\n  'a': 3\n", ("c.yaml:3", "'a'", "already set", "line 2")),
        ("a: [1\n", ("c.yaml:2", "not YAML", "expected ',' or ']'")),
        ("a: b: c\n", ("c.yaml:1", "not YAML", "mapping values are not allowed")),
        ("\ta: 1\n", ("c.yaml:1", "not YAML", "cannot start any token")),
        ("a: *b\n", ("c.yaml:1", "not YAML", "undefined alias 'b'")),
        ("a: &a [*a]\n", ("c.yaml:1", "alias", "inside the value of its anchor")),
        ("<<: 1\n", ("c.yaml:1", "'<<'", "a mapping or a list of mappings")),
        ("a: !!binary x\n", ("c.yaml:1", "!!binary", "not supported")),
        ("a: !!set {b}\n", ("c.yaml:1", "!!set", "not supported")),
        ("? [1]\n: 2\n", ("c.yaml:1", "key", "must be a string")),
        ("? \n: 2\n", ("c.yaml:1", "key", "must not be empty")),
        ("a: !!int x\n", ("c.yaml:1", "'x'", "not a valid int")),
        ("a: !!int .inf\n", ("c.yaml:1", "'.inf'", "not a valid int")),
        ("a: !!bool 3\n", ("c.yaml:1", "'3'", "not a valid bool")),
    ],
)
def test_what_is_no_usable_yaml_is_named_with_its_line(text: str, facts: tuple[str, ...]) -> None:
    assert missing(refusal(text), *facts) == []


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"a: \x00", b"\x80", b'a: "\\UFFFFFFFF"', b"a: \x01"])
def test_bytes_that_are_no_text_are_refused(data: bytes) -> None:
    assert refusal(data).startswith("c.yaml")
    assert "is not YAML" in refusal(data)


def test_aliases_that_grow_without_end_are_refused() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert missing(refusal("\n".join(lines)), "c.yaml", "more than", MOST_VALUES, "aliases") == []


@pytest.mark.parametrize("depth", [MOST_NESTED + 1, 5000])
def test_nesting_without_end_is_refused(depth: int) -> None:
    assert refusal("[" * depth + "]" * depth) == "c.yaml: is nested too deeply"
    assert value("[" * 50 + "]" * 50)


def test_a_file_that_is_not_there_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        read_documents(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read: it is a directory, not a file"):
        read_documents(tmp_path)
