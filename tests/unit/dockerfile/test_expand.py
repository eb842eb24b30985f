"""Variable expansion as BuildKit does it."""

from __future__ import annotations

import pytest

from watcher.dockerfile.expand import UNKNOWN, Unresolved, Value, expand

VALUES: dict[str, Value] = {"A": "one", "EMPTY": "", "HIDDEN": UNKNOWN}


def look_up(name: str) -> Value:
    return VALUES.get(name)


@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("plain", "plain"),
        ("$A", "one"),
        ("x${A}y", "xoney"),
        ("$NONE-", "-"),
        ("${NONE:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${A:+yes}", "yes"),
        ("${NONE+yes}", ""),
        ("${NONE:-${A}/x}", "one/x"),
        ("'$A'", "$A"),
        ('"$A b"', "one b"),
        (r"\$A", "$A"),
        (r'"\"$A\""', '"one"'),
        ("a$", "a$"),
        ("${HIDDEN-}${A}", None),
    ],
)
def test_a_word_expands(word, result):
    if result is None:
        with pytest.raises(Unresolved, match="HIDDEN is not known"):
            expand(word, look_up)
    else:
        assert expand(word, look_up) == result


def test_the_escape_sign_is_the_files():
    assert expand("`$A\\x", look_up, "`") == "$A\\x"


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("${A", "not known"),
        ("'a", "single quote"),
        ('"a', "double quote"),
        ("${A@o}", "not known"),
        ("${A//o/'$1'}", "not followed"),
        ("${NONE:?must be given}", "NONE: must be given"),
        ("${}", "bad substitution"),
    ],
)
def test_what_cannot_be_expanded_says_why(word, why):
    with pytest.raises(Unresolved, match=why):
        expand(word, look_up)


def test_a_value_that_doubles_again_and_again_ends_in_an_error():
    def doubled() -> None:
        value = "x"
        for _ in range(64):
            value = expand("$A$A", {"A": value}.get)

    with pytest.raises(Unresolved, match="longer than"):
        doubled()
