"""`.env` and `env_file` as compose-go's dotenv package reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.compose.budget import Budget
from watcher.compose.envfile import read_env_file
from watcher.errors import ConfigError

OUTSIDE = {"HOST": "outside", "OVER": "theirs"}


def read(tmp_path: Path, text: str, *, raw: bool = False) -> dict[str, str]:
    path = tmp_path / "some.env"
    path.write_bytes(text.encode())
    found: dict[str, str] = {}
    read_env_file(path, found, OUTSIDE, lambda _: None, raw=raw, budget=Budget())
    return found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A=1", {"A": "1"}),
        ("A: 1", {"A": "1"}),
        ("  A = 1  ", {"A": "1"}),
        ("export A=1", {"A": "1"}),
        ("export\tA=1", {"A": "1"}),
        ("A=", {"A": ""}),
        ("A=\nB=2", {"A": "", "B": "2"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("# all\n\n  # this\nA=1 # that", {"A": "1"}),
        ("A=a#b", {"A": "a#b"}),
        ("A=a b  c", {"A": "a b  c"}),
        ("A='a # b'", {"A": "a # b"}),
        ('A="a # b" # c', {"A": "a # b"}),
        ("A='$HOST \\n'", {"A": "$HOST \\n"}),
        ('A="$HOST"', {"A": "outside"}),
        ("A=${HOST}", {"A": "outside"}),
        ("A=$$HOST", {"A": "$HOST"}),
        ('A="\\$HOST"', {"A": "$HOST"}),
        ("A=\\$HOST", {"A": "\\outside"}),
        ('A="a\\nb\\tc\\"d\\\\e"', {"A": 'a\nb\tc"d\\e'}),
        ('A="\\0101\\x41"', {"A": "A\\x41"}),
        ("A='it\\'s'", {"A": "it's"}),
        ('A="two\nlines"\nB=1', {"A": "two\nlines", "B": "1"}),
        ("A=1\nB=${A}2", {"A": "1", "B": "12"}),
        ("OVER=mine\nB=$OVER", {"OVER": "mine", "B": "theirs"}),
        ("HOST\nNONE\nA=1", {"HOST": "outside", "A": "1"}),
        ("HOST", {"HOST": "outside"}),
        ("a.b-c[0]=1", {"a.b-c[0]": "1"}),
        ("A=1\nA=2", {"A": "2"}),
        ("\ufeffA=1", {"A": "1"}),
        ("", {}),
    ],
)
def test_each_form_gives_what_compose_gives(tmp_path: Path, text: str, found: dict[str, str]) -> None:
    assert read(tmp_path, text) == found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("A=1\nB C=2", "some.env:2: a variable name must not contain a space"),
        ("A*=1", "some.env:1: '*' is not allowed in a variable name"),
        ("=1", "some.env:1: a line must start with a variable name"),
        ("A='1", "some.env:1: a quoted value is not closed"),
        ("A=1\n\nB=${X:?no}", "some.env:3: the variable X must be set: no"),
        ("A=${", "some.env:1: '${' is not closed by '}'; write '$$' for a dollar sign"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert str(caught.value) == f"{tmp_path}/{sentence}"


def test_the_raw_format_takes_lines_as_they_are(tmp_path: Path) -> None:
    text = "A='$HOST'\n# no\n\n  B=a # b\nHOST\nNONE\nC=\n"
    assert read(tmp_path, text, raw=True) == {"A": "'$HOST'", "B": "a # b", "HOST": "outside", "C": ""}
    with pytest.raises(ConfigError, match=r"some\.env:2: a line must start with a variable name"):
        read(tmp_path, "A=1\nB C=1\n", raw=True)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none: the environment file cannot be read: No such file"):
        read_env_file(tmp_path / "none", {}, {}, lambda _: None, budget=Budget())
    (tmp_path / "latin").write_bytes(b"A=\xe9")
    with pytest.raises(ConfigError, match="latin: the environment file is not UTF-8 text"):
        read_env_file(tmp_path / "latin", {}, {}, lambda _: None, budget=Budget())
