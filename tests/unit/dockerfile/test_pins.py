"""Base images by digest: what is pinned, what is left, and that nothing else changes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.platforms import AMD64
from tests.unit.dockerfile.test_properties import dockerfiles
from watcher.dockerfile import Accelerated, base_images, parse, pin

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32


def pinned(text: str, *names: str, target: str | None = None, **build_args: str) -> Accelerated:
    return pin(
        Accelerated(text), dict.fromkeys(names, DIGEST), build_args=build_args, target=target, platforms=AMD64
    )


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("FROM go:1\n", f"FROM go:1@{DIGEST}\n"),
        ("from  go:1  AS b\nRUN x\n", f"from  go:1@{DIGEST}  AS b\nRUN x\n"),
        ("FROM --platform=linux/amd64 go:1\n", f"FROM --platform=linux/amd64 go:1@{DIGEST}\n"),
        ("ARG V=1\nFROM go:${V} AS b\n", f"ARG V=1\nFROM go:1@{DIGEST} AS b\n"),
        ("FROM go:1 AS b\nFROM b\n", f"FROM go:1@{DIGEST} AS b\nFROM b\n"),
        ("FROM scratch\nCOPY --from=go:1 /x /\n", f"FROM scratch\nCOPY --from=go:1@{DIGEST} /x /\n"),
        (
            "FROM scratch\nCOPY --chown=1 \\\n  --from=go:1 /x /\n",
            f"FROM scratch\nCOPY --chown=1 \\\n  --from=go:1@{DIGEST} /x /\n",
        ),
    ],
)
def test_a_base_gets_its_digest(text: str, becomes: str) -> None:
    result = pinned(text, "go:1")
    assert result.text == becomes
    (change,) = result.pins
    assert DIGEST in change.after
    assert result.changes == ()


@pytest.mark.parametrize(
    "text",
    [
        f"FROM go:1@{OTHER}\n",
        "FROM go:1 AS unused\nFROM scratch\n",  # no build of the target asks for it
        "FROM scratch AS go\nFROM go\n",
        "FROM go:2\n",
        "FROM \\\n  scratch\nRUN --mount=type=bind,from=go:1,target=/x y\n",
    ],
)
def test_the_rest_is_left(text: str) -> None:
    assert pinned(text, "go:1", f"go:1@{OTHER}", "go").text == text


def test_nothing_is_known_nothing_is_done() -> None:
    plan = Accelerated("no Dockerfile at all")
    assert pin(plan, {"go:1": ""}, build_args={}, target=None, platforms=AMD64) is plan


@given(dockerfiles(), st.data())
def test_a_file_with_pins_has_the_same_parts(text: str, data: st.DataObject) -> None:
    names = base_images(parse(text), {}, None, AMD64)
    known = data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    result = pinned(text, *known)
    before, after = list(parse(text).instructions()), list(parse(result.text).instructions())
    assert [(one.keyword, one.line, one.end_line) for one in before] == [
        (one.keyword, one.line, one.end_line) for one in after
    ]
    assert put_in(result.text.replace(f"@{DIGEST}", "")) == put_in(text)
    assert {change.line for change in result.pins} == {
        number
        for number, pair in enumerate(zip(text.split("\n"), result.text.split("\n"), strict=True), 1)
        if pair[0] != pair[1]
    }
    later = base_images(parse(result.text), {}, None, AMD64)
    assert set(later) >= {f"{name}@{DIGEST}" for name in known if in_from(text, name)}


def put_in(text: str) -> str:
    """The text without the only variable that these files have in a FROM; 1 or nothing is its value."""
    return re.sub(r"(?m)^FROM golang:(\$\{V\}|1|) AS", "FROM golang:V AS", text)


def in_from(text: str, name: str) -> bool:
    """Whether a FROM of the last stage's own line names it; others the target may not need."""
    return parse(text).stages[-1].base == name
