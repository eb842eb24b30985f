"""The pages about the architecture describe the code as it is."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from bench.layout import Source, direct_arrows, read_sources, room_graph

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
USERS = {"watcher.toml"}  # files of a user's project


@cache
def sources() -> list[Source]:
    """Every file of the package, parsed once."""
    return read_sources(ROOT)


@cache
def rooms() -> dict[str, frozenset[str]]:
    """The packages and the packages that they import, without the modules at the top."""
    graph = room_graph(sources())
    packages = {room for room in graph if (ROOT / "watcher" / room).is_dir()}
    return {room: graph[room] & packages for room in packages}


def test_the_picture_shows_the_arrows_of_the_code() -> None:
    drawn = set(re.findall(r"^ +(\w+) --> (\w+)$", PAGE, re.MULTILINE))
    assert drawn == direct_arrows(rooms())


def test_the_table_lists_every_room_once() -> None:
    listed = re.findall(r"^\| `([a-z]\w*)` \|", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(rooms())


def test_the_page_names_what_lies_flat() -> None:
    flat = {path.name for path in (ROOT / "watcher").glob("*.py")} - {"__init__.py", "__main__.py"}
    assert len(flat) <= 8
    assert all(f"`{name}` (" in PAGE for name in flat)


def test_a_save_takes_fifteen_steps_at_most_each_with_its_file() -> None:
    section = PAGE.partition("## The path of one save")[2].partition("\n## ")[0]
    steps = re.findall(r"^\d+\. `([\w/]+\.py)`", section, re.MULTILINE)
    assert 10 <= len(steps) <= 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|toml|md))`", text)
    ours = {path.name for base in (ROOT, ROOT / "watcher") for path in base.iterdir()}
    named = [name for name in named if name.partition("/")[0] in ours or "/" not in name]
    missing = [name for name in named if not any((base / name).exists() for base in (ROOT, ROOT / "watcher"))]
    assert not set(missing) - USERS
    linked = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert [link for link in linked if not (page.parent / link).exists()] == []


def test_no_two_classes_have_one_name() -> None:
    names = Counter(
        node.name for source in sources() for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []
