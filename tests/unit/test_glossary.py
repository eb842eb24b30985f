"""docs/glossary.md: each term is used, and no text for users has a banned synonym of one."""

from __future__ import annotations

import ast
import contextlib
import io
import re as std_re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from watcher.cli import main
from watcher.cli.main import Cli

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
COMMANDS = sorted(Cli.model_fields)


class Term(NamedTuple):
    """One line of the glossary."""

    name: str
    meaning: str
    banned: tuple[str, ...]


def glossary() -> list[Term]:
    """The lines of the table."""
    found = []
    for line in GLOSSARY.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] != "term":
            banned = tuple(word.strip() for word in cells[2].split(",") if word.strip())
            found.append(Term(cells[0], cells[1], banned))
    return found


def help_of(*arguments: str) -> str:
    """What a help command prints."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main.main(list(arguments))
    return text.getvalue()


def messages(file: Path) -> Iterator[str]:
    """The texts in a module that have a space: messages, metric descriptions. Not its docstrings."""
    tree = ast.parse(file.read_text())
    docs = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield from [node.value] if " " in node.value else []


@cache
def texts() -> dict[str, str]:
    """What a user reads, by where it stands."""
    found = {"README.md": (ROOT / "README.md").read_text(), "watcher help": help_of("help")}
    found["config/watcher.toml"] = (ROOT / "config" / "watcher.toml").read_text()
    for command in COMMANDS:
        found[f"watcher {command} --help"] = help_of(command, "--help")
    found["watcher run --help-settings"] = help_of("run", "--help-settings")
    for file in sorted((ROOT / "watcher").rglob("*.py")):
        if "messages" not in file.parts and (said := list(messages(file))):
            found[str(file.relative_to(ROOT))] = "\n".join(said)
    return found


def occurs(words: str, text: str) -> bool:
    """Whether the words occur in the text, in any case and over the end of a line."""
    pattern = r"\s+".join(std_re.escape(word) for word in words.split())
    return bool(std_re.search(rf"(?<![\w-]){pattern}(?![\w-])", text, std_re.IGNORECASE))


@pytest.mark.thorough
def test_the_help_of_every_command_is_read() -> None:
    for name, text in texts().items():
        if name.endswith("--help"):
            assert "--project" in text, name


@pytest.mark.parametrize("term", glossary(), ids=lambda term: term.name)
def test_a_term_is_used_and_its_synonyms_are_not(term: Term) -> None:
    said = {name: text for name, text in texts().items() if any(occurs(word, text) for word in term.banned)}
    assert sorted(said) == [], f"say {term.name!r}, not {' or '.join(term.banned)}"
    docs = "\n".join(file.read_text() for file in (ROOT / "docs").rglob("*.md") if file != GLOSSARY)
    forms = [term.name, f"{term.name}s", f"{term.name}ed", f"{term.name}d", f"{term.name[:-1]}ies"]
    assert any(occurs(form, text) for form in forms for text in (*texts().values(), docs)), (
        "it is used nowhere"
    )


def test_the_words_of_the_state_are_in_the_glossary() -> None:
    """What `watcher status`, the page and the metrics call a revision and a request."""
    names = {term.name for term in glossary()}
    assert {"desired", "live", "stale", "failed", "held", "revision", "build", "deploy", "prune"} <= names


def test_a_term_is_defined_once_and_every_line_is_whole() -> None:
    terms = glossary()
    assert len({term.name for term in terms}) == len(terms) > 20
    assert all(term.meaning for term in terms)
    defined = {term.name for term in terms}
    assert not defined & {word for term in terms for word in term.banned}


def test_a_synonym_is_found_over_the_end_of_a_line_and_within_no_other_word() -> None:
    assert occurs("first look", "the first\n   Look at it")
    assert not occurs("stale", "stalemate")
    assert not occurs("look", "overlook or look-out")
