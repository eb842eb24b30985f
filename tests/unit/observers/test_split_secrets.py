"""A secret that is printed over several lines, or with a colour or a control in it."""

from __future__ import annotations

import base64
import textwrap

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from watcher.observers.events import BuildStepOutput, ContainerOutput, Event
from watcher.observers.redact import HIDDEN, Mask, Redactor
from watcher.observers.split_secrets import MOST_STREAMS, PIECE, SplitSecrets

SECRET = "hunter2-correct-horse"


class Heard:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


def shown(*lines: str, secrets: tuple[str, ...] = (SECRET,), step: bool = True) -> list[str]:
    """What is shown of lines that arrive one after the other."""
    heard = Heard()
    masking = Redactor(heard, secrets)
    for line in lines:
        event = (
            BuildStepOutput(service="s", revision="r", step="sha256:1", text=line)
            if step
            else ContainerOutput(service="s", container="c", text=line)
        )
        masking.notify(event)
    return [event.text for event in heard.events]  # type: ignore[attr-defined]


@pytest.mark.parametrize("step", [True, False])
def test_a_secret_over_two_lines_is_hidden(step: bool) -> None:
    assert shown("token hunter2-cor", "rect-horse is bad", step=step) == [
        f"token {HIDDEN}",
        f"{HIDDEN} is bad",
    ]
    assert shown("token hunter2-cor\nrect-horse is bad", step=step) == [f"token {HIDDEN}\n{HIDDEN} is bad"]


def test_a_short_rest_is_hidden_where_it_continues_a_piece() -> None:
    assert shown("x hunter2-correct-hor", "se", "se") == [f"x {HIDDEN}", HIDDEN, "se"]
    assert shown("x hunter2-correct-hor", "", "  se!") == [f"x {HIDDEN}", "", f"  {HIDDEN}!"]


def test_other_streams_do_not_continue_it() -> None:
    heard = Heard()
    masking = Redactor(heard, [SECRET])
    masking.notify(BuildStepOutput(service="s", revision="r", step="1", text="x hunter2-correct-hor"))
    masking.notify(BuildStepOutput(service="s", revision="r", step="2", text="se"))
    masking.notify(ContainerOutput(service="s", container="1", text="se"))
    masking.notify(BuildStepOutput(service="s", revision="r", step="1", text="se"))
    texts = [event.text for event in heard.events]  # type: ignore[attr-defined]
    assert texts == [f"x {HIDDEN}", "se", "se", HIDDEN]


def test_base64_folded_as_the_tool_does_is_hidden_whole() -> None:
    secret = "a long secret: " + "0123456789abcdef" * 12
    encoded = base64.b64encode(secret.encode()).decode()
    lines = textwrap.wrap(encoded, 76)
    assert len(lines) > 3
    seen = shown("$ base64", *lines, "done", secrets=(secret,))
    assert seen[:1] + seen[-1:] == ["$ base64", "done"]
    left = "".join(seen[1:-1]).replace(HIDDEN, "")
    assert len(left) < 4, seen  # the last character and the padding depend on what follows


def test_what_is_no_piece_stays() -> None:
    lines = ["hunt", "er2", "the horse", "", "horse", "hunter", "a hunter2 b", "correct"]
    assert shown(*lines) == lines
    assert shown("hunter2") == [HIDDEN]
    words = ["starting postgres", "correct", "password"]
    assert shown(*words, secrets=("postgres123", "correct-1", "1-password")) == words


@pytest.mark.parametrize(
    "inside",
    [
        "\x1b[31m",
        "\x1b[0;1;38:5:3m",
        "\x1b[K",
        "\x1b]8;;http://x\x1b\\",
        "\x1b]0;t\x07",
        "\x00",
        "\u200b",
        "\x1b(B",
        "\x08",
    ],
)
def test_a_colour_or_control_inside_hides_nothing_of_it(inside: str) -> None:
    for at in (1, 5, len(SECRET) - 1):
        text = f"token {SECRET[:at]}{inside}{SECRET[at:]} is bad"
        assert shown(text) == [f"token {HIDDEN} is bad"]
    url = f"postgres://app:pass{inside}word@db/x"
    assert shown(url, secrets=()) == [f"postgres://app:{HIDDEN}@db/x"]


def test_colours_beside_a_secret_leave_the_rest_as_it_was() -> None:
    assert shown(f"\x1b[31mtoken\x1b[0m {SECRET} \x00") == [f"token {HIDDEN} \\u0000"]


def test_a_colour_and_a_line_break_at_once() -> None:
    assert shown("x hunter2\x1b[1m-correct", "-ho\x1b[0mrse y") == [f"x {HIDDEN}", f"{HIDDEN} y"]


TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Zs"]), min_size=12, max_size=60
)


@given(TEXT, st.data())
def test_no_piece_of_any_secret_is_left(secret: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(PIECE, len(secret) - PIECE))
    assume(not secret[:at].isalpha() and not secret[at:].isalpha())  # it may be a word
    split = SplitSecrets([secret], HIDDEN)
    first = split.hide_pieces(("s",), f"before {secret[:at]}")
    second = split.hide_pieces(("s",), f"{secret[at:]} after")
    assert not first.endswith(secret[:at])
    assert not second.startswith(secret[at:])
    assert second.endswith(" after")


def test_a_secret_of_many_lines_is_no_work_for_other_lines() -> None:
    """Bounded memory, and a secret that is too short for pieces is left to `Mask`."""
    split = SplitSecrets([SECRET, "short", "x" * PIECE], HIDDEN)
    for number in range(2 * MOST_STREAMS):
        split.hide_pieces((str(number),), "x hunter2-cor")
    assert len(split._open) == MOST_STREAMS
    assert split.hide_pieces(("9999",), "x" * (PIECE - 1)) == "x" * (PIECE - 1)
    assert SplitSecrets([], HIDDEN).hide_pieces(("s",), "x") == "x"
    assert Mask([SECRET]).mask_text("plain") == "plain"
