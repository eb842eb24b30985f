"""Nothing foreign that is printed moves a cursor, sets a title, reorders or hides text."""

import io
import json
import subprocess
import sys
import unicodedata
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from tests.unit.observers.conftest import Screen
from tests.unit.observers.story import SERVICE, revision
from watcher.cli import status_text
from watcher.observers import events
from watcher.observers.events import Change, Diagnostic, Event, Failure, Fanout
from watcher.observers.json_log import JsonFormatter, JsonLog
from watcher.observers.printable import LONGEST, PrintableStream, cut, printable
from watcher.observers.redact import Redactor
from watcher.observers.status_board import StatusBoard
from watcher.observers.terminal import Terminal

JOINERS = "\u200c\u200d"
SEQUENCES = [
    "\x1b[2J\x1b[H",  # clears the screen
    "\x1b[1A\x1b[2K",  # goes up and erases a line
    "\x1b[?1049h",  # the other screen
    "\x1b[6n",  # asks for the cursor's place: the answer is typed into the shell
    "\x1b[?25l",  # hides the cursor
    "\x1b]0;title\x07",  # sets the title
    "\x1b]52;c;cm0gLXJmIC8=\x07",  # writes to the clipboard
    "\x1b]8;;http://evil.example\x1b\\text\x1b]8;;\x1b\\",  # a link
    "\x1bP+q544e\x1b\\",  # DCS: asks for capabilities
    "\x1b_Gi=1\x1b\\",  # APC: pictures
    "\x1bc",  # resets the terminal
    "\x1b#8",  # fills the screen with E
    "\x9b2J",  # CSI as one character
    "\x9d0;title\x9c",  # OSC as one character
    "\x90q\x9c",
    "\r overwritten",
    "a\b\bb",
    "\a",
    "\x0e\x0f",
    "\u202egpj.exe",  # shown from right to left
    "\u2066a\u2069",
    "zero\u200bwidth",
    "\U000e0041\U000e0042",  # tags: text that nobody sees
    "\u2028line",
    "\x7f",
    "\x1b[31mred\x1b[0m \x1b[0\x1b[0mm",
]


def harmful(text: str, *, lines: bool = True) -> set[str]:
    allowed = "\t" + JOINERS + ("\n" if lines else "")
    return {
        char
        for char in text
        if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs") and char not in allowed
    }


def test_every_character_that_unicode_calls_a_control_is_shown_and_no_other_is_changed():
    for code in range(0x110000):
        char = chr(code)
        if code in range(0xD800, 0xE000):
            assert printable(char) == "\ufffd"
        elif char not in "\t" + JOINERS and unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp"):
            assert json.loads(f'"{printable(char)}"') == char
        elif unicodedata.category(char) != "Cn":  # not known to this Python's tables yet
            assert printable(char) == char


@given(st.text() | st.lists(st.sampled_from(SEQUENCES) | st.text(max_size=3)).map("".join))
def test_what_is_printed_is_harmless_once_and_for_all(text: str):
    for lines in (True, False):
        shown = printable(text, lines=lines)
        assert not harmful(shown, lines=lines)
        assert printable(shown, lines=lines) == shown


@given(
    st.recursive(st.text(st.characters(exclude_categories=["Cs"])), lambda inner: st.lists(inner, max_size=3))
)
def test_a_json_document_stays_the_same_document(value: Any):
    assert json.loads(printable(json.dumps(value, ensure_ascii=False), lines=True)) == value


def test_colours_go_and_nothing_else_of_a_compiler():
    gcc = "\x1b[01m\x1b[Kmain.c:1:1:\x1b[m\x1b[K \x1b[01;31m\x1b[Kerror: \x1b[m\x1b[Kno"
    assert printable(gcc) == "main.c:1:1: error: no"
    assert printable("\x1b[38;5;1mred\x1b[38:2::1:2:3m") == "red"


def test_a_line_is_cut_before_it_is_looked_at():
    assert cut("a" * LONGEST) == "a" * LONGEST
    assert cut("a" * 60_000_000 + "\nb") == "a" * LONGEST + " …\nb"


PARTS: dict[str, Any] = {
    "tuple[tuple[str, int], ...]": lambda text: (text, 1),
    "tuple[ComponentChange, ...]": lambda text: events.ComponentChange(text, 1, 2),
    "tuple[ComponentBudget, ...]": lambda text: events.ComponentBudget(text, 2, 1),
}
NUMBERS = {"float": 1.0, "int": 1, "bool": True}


def filled(kind: type, text: str) -> Any:
    """An event, or a part of one, with `text` in every place for text."""
    values: dict[str, Any] = {}
    for field in fields(kind):
        match str(field.type):
            case "str" | "str | None":
                values[field.name] = text
            case "tuple[str, ...]":
                values[field.name] = (text,)
            case "tuple[Change, ...]":
                values[field.name] = (Change(text, "changed", "go"),)
            case "Failure" | "Failure | None":
                values[field.name] = Failure("build", text, (text,), (Diagnostic(text, 1, 1, text),), text)
            case "tuple[PrunedItem, ...]":
                values[field.name] = (filled(events.PrunedItem, text),)
            case other if other in PARTS:
                values[field.name] = (PARTS[other](text),)
            case other if (number := other.removesuffix(" | None")) in NUMBERS:
                values[field.name] = NUMBERS[number]
    for name, value in (("service", SERVICE), ("revision", revision(1)), ("level", "error")):
        if name in values:
            values[name] = value
    if "outcome" in {field.name for field in fields(kind)}:
        values["outcome"] = (
            events.DeployOutcome if "Deploy" in kind.__name__ else events.BuildOutcome
        ).FAILED
    return kind(**values)


EVENTS = [
    kind for kind in vars(events).values()
    if isinstance(kind, type) and is_dataclass(kind) and issubclass(kind, Event) and kind is not Event
]  # fmt: skip


@pytest.mark.parametrize("sequence", SEQUENCES, ids=ascii)
def test_no_sequence_reaches_a_surface_through_any_event(sequence: str):
    screen, log, board = io.StringIO(), io.StringIO(), StatusBoard()
    observer = Redactor(Fanout(Screen(screen), JsonLog(log), board))
    for kind in EVENTS:
        observer.notify(filled(kind, f"a{sequence}b\nc"))
    assert "a" in screen.getvalue()
    for text in (
        screen.getvalue(),
        log.getvalue(),
        board.json(),
        *status_text.render_lines(board.status, 1.0),
    ):
        assert not harmful(text)
    for line in board.lines.tail(100):
        assert not harmful(line.text, lines=False)


def test_a_line_break_in_a_name_makes_no_line_of_its_own():
    screen = io.StringIO()
    name = "a\n14:00:00  ✓ live 123456789abc.go"
    event = events.DesiredChanged(
        service=SERVICE,
        revision=revision(1),
        changes=(Change(name, "added", "go"),),
        summary=name,
        saved_at=1.0,
    )
    Redactor(Screen(screen)).notify(event)
    assert len(screen.getvalue().splitlines()) == 1


@pytest.mark.parametrize("sequence", SEQUENCES, ids=ascii)
def test_rich_shows_no_sequence_of_another(sequence: str):
    file = io.StringIO()
    terminal = Terminal(file, force_terminal=True, color_system=None, width=200)
    table = Table()
    table.add_column(Text(sequence))
    table.add_row(Text(f"a{sequence}b"))
    terminal.print(table)
    terminal.print(f"a{sequence}b")
    assert not harmful(file.getvalue())


def test_python_s_own_log_is_printable():
    import logging

    file = io.StringIO()
    handler = logging.StreamHandler(cast(Any, PrintableStream(file)))
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "a\x1b[2Jb", None, None)
    handler.emit(record)
    handler.setFormatter(JsonFormatter())
    handler.emit(record)
    assert not harmful(file.getvalue())


@pytest.mark.parametrize("arguments", [["once"], ["dockerfile"], ["status", "--json"]], ids=" ".join)
def test_a_command_prints_a_hostile_configuration_escaped(tmp_path: Path, arguments: list[str]):
    sequence = "\x1b]0;title\x07\x9b2J\u202e\n✓ live"
    project = tmp_path / f"p{sequence}q"
    project.mkdir()
    name = json.dumps(f"k{sequence}")
    (project / "compose.yaml").write_text(f"services:\n  app:\n    build: .\n    {name}: {name}\n")
    done = subprocess.run(
        [sys.executable, "-m", "watcher", *arguments, "--project", str(project), "--engine", "unix:///nowhere"],
        capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode != 0
    assert not harmful(done.stdout + done.stderr)
    assert not any(line.startswith("✓") for line in (done.stdout + done.stderr).splitlines())
