"""Variables in values, by the rules of compose-go's template package."""

from __future__ import annotations

import pytest

from tests.facts import missing
from watcher.compose.interpolate import MOST_NESTED, TemplateError, interpolate

ENV = {"SET": "value", "EMPTY": "", "OTHER": "other", "RAW": "${SET}"}


def replaced(text: str) -> tuple[str, list[str]]:
    missing: list[str] = []
    return interpolate(text, ENV, missing.append), missing


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("", ""),
        ("$SET", "value"),
        ("${SET}", "value"),
        ("a-$SET.b", "a-value.b"),
        ("$SET$OTHER", "valueother"),
        ("$$SET", "$SET"),
        ("$$$SET", "$value"),
        ("${SET:-d}", "value"),
        ("${EMPTY:-d}", "d"),
        ("${UNSET:-d}", "d"),
        ("${SET-d}", "value"),
        ("${EMPTY-d}", ""),
        ("${UNSET-d}", "d"),
        ("${SET:?e}", "value"),
        ("${SET?e}", "value"),
        ("${EMPTY?e}", ""),
        ("${SET:+r}", "r"),
        ("${EMPTY:+r}", ""),
        ("${UNSET:+r}", ""),
        ("${SET+r}", "r"),
        ("${EMPTY+r}", "r"),
        ("${UNSET+r}", ""),
        ("${UNSET:-${EMPTY:-$OTHER}}", "other"),
        ("${UNSET:-a}${UNSET:-b}", "ab"),
        ("${UNSET:-{a}}", "{a}"),
        ('${UNSET:-{"a": {"b": 1}}}', '{"a": {"b": 1}}'),
        ("${UNSET:-a:-b}", "a:-b"),
        ("${UNSET:-$$x}", "$x"),
        ("${UNSET-:?x}", ":?x"),
    ],
)
def test_every_form_gives_what_compose_gives(text: str, result: str) -> None:
    assert replaced(text) == (result, [])


def test_a_value_is_not_interpolated_again() -> None:
    assert replaced("$RAW") == ("${SET}", [])


@pytest.mark.parametrize("text", ["$", "a$", "$1", "$(date)", "$-x", "50$ off"])
def test_a_dollar_that_begins_no_variable_stays(text: str) -> None:
    assert replaced(text) == (text, [])


def test_a_variable_that_is_not_set_is_empty_and_told() -> None:
    assert replaced("<$UNSET><${UNSET2}>") == ("<><>", ["UNSET", "UNSET2"])


def test_a_default_that_is_not_used_is_not_looked_at() -> None:
    assert replaced("${SET:-$UNSET}") == ("value", [])


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("${UNSET:?say it}", ("UNSET", "must be set", "say it")),
        ("${EMPTY:?}", ("EMPTY", "must be set")),
        ("${UNSET?$OTHER}", ("UNSET", "must be set", "other")),
        ("${SET", ("'${'", "not closed", "'}'", "'$$'")),
        ("${}", ("'${}'", "does not start", "variable name")),
        ("${1a}", ("'${1a}'", "does not start", "variable name")),
        ("${SET!}", ("'${SET!}'", ":- :? :+ - ? +")),
        ("${SET:x}", ("'${SET:x}'", ":- :? :+ - ? +")),
    ],
)
def test_what_cannot_be_replaced_says_why(text: str, facts: tuple[str, ...]) -> None:
    with pytest.raises(TemplateError) as caught:
        replaced(text)
    assert missing(str(caught.value), *facts) == []


def test_nesting_without_end_is_refused_not_a_crash() -> None:
    with pytest.raises(TemplateError, match=f"at most {MOST_NESTED} deep"):
        replaced("${A:-" * 5000 + "}" * 5000)
