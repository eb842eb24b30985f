"""Sizes, durations and command lines."""

from __future__ import annotations

import pytest

from watcher.compose.field import scalar_text
from watcher.compose.units import UnitError, command_words, parse_duration, parse_size


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (1024, 1024),
        ("1024", 1024),
        ("-1", -1),
        ("1k", 1024),
        ("64m", 64 << 20),
        ("64M", 64 << 20),
        ("64MB", 64 << 20),
        ("64 mib", 64 << 20),
        ("1.5g", 3 << 29),
        ("1t", 1 << 40),
        ("10b", 10),
    ],
)
def test_sizes_are_binary_multiples(value: object, result: int) -> None:
    assert parse_size(value) == result


@pytest.mark.parametrize(
    "value", ["", "x", "1x", "m", "-5m", "1e3", "1 000", "٣", "99999999999t", True, None, []]
)
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(UnitError, match="must be a size such as 64m or 1g"):
        parse_size(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("10s", 10.0),
        ("1m30s", 90.0),
        ("1.5s", 1.5),
        ("100ms", 0.1),
        ("1us", 1e-6),
        ("1h", 3600.0),
        ("1w2d", 9 * 86400.0),
    ],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "10x", "1m 30s", "-1s", "1e3s", "٣s", "99999999999h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UnitError, match="must be a duration such as 10s or 1m30s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        ("  ", ()),
        ("a b", ("a", "b")),
        ("a  b\t c\nd", ("a", "b", "c", "d")),
        ("'a b' \"c d\"", ("a b", "c d")),
        ("a'b c'd", ("ab cd",)),
        ("'' \"\"", ("", "")),
        (r"a\ b \"c", ("a b", '"c')),
        (r'"a\"b\\c"', ('a"b\\c',)),
        (r"'a\b'", (r"a\b",)),
        ("echo $HOME #x", ("echo", "$HOME", "#x")),
        ('sh -c "a; b && c"', ("sh", "-c", "a; b && c")),
    ],
)
def test_command_lines_are_split_as_compose_splits_them(text: str, words: tuple[str, ...]) -> None:
    assert command_words(text) == words


@pytest.mark.parametrize("text", ["a; b", "a && b", "a | b", "a > b", "$(a)", "`a`"])
def test_operators_of_a_shell_are_refused(text: str) -> None:
    with pytest.raises(UnitError, match="does not run in a shell"):
        command_words(text)


@pytest.mark.parametrize("text", ["'a", '"a', "a\\"])
def test_open_quotes_are_refused(text: str) -> None:
    with pytest.raises(UnitError, match="must close its quotes"):
        command_words(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (True, "true"),
        (12, "12"),
        (1.5, "1.5"),
        (1.0, "1"),
        (100000.0, "100000"),
        (1000000.0, "1e+06"),
        (21000000.5, "2.10000005e+07"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (-2.5, "-2.5"),
        (0.0, "0"),
        (1e300, "1e+300"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_numbers_are_written_as_go_writes_them(value: object, text: str) -> None:
    assert scalar_text(value) == text
