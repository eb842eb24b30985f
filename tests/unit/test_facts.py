"""A fact that is wrong, cut or out of order is missing."""

from __future__ import annotations

import pytest

from tests.facts import missing


def test_facts_are_whole_words_in_order() -> None:
    text = "services.b.depends_on: is circular: b → web → b (2 times, 0.5 s)"
    assert missing(text, "services.b.depends_on", "b", "web", "b", 2, "0.5 s") == []


@pytest.mark.parametrize("wrong", ["web2", "we", "eb", 5, "depends_on", "web → api"])
def test_what_is_not_said_is_missing(wrong: object) -> None:
    assert missing("services.b.depends_on: b → web → b (2 times, 0.5 s)", wrong) == [str(wrong)]


def test_what_is_said_in_another_order_is_missing() -> None:
    assert missing("web needs db", "db", "web") == ["web"]
