"""Tests pass limits and times as arguments; none replaces a constant of a module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FILES = sorted(TESTS.rglob("*.py"))


def replaced_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and name of each attribute that is set from outside: by setattr, a patch or an assignment."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if called in ("setattr", "patch", "object", "delattr"):
                for value in node.args[:2]:
                    if isinstance(value, ast.Constant) and isinstance(value.value, str):
                        yield node.lineno, value.value.rpartition(".")[2]
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Attribute):
                    yield node.lineno, target.attr


def replaced_constants(text: str) -> list[str]:
    return [f"line {line}: {name}" for line, name in replaced_names(ast.parse(text)) if name.isupper()]


def test_no_test_replaces_a_constant() -> None:
    found = {str(file.relative_to(TESTS)): replaced_constants(file.read_text("utf-8")) for file in FILES}
    assert {name: lines for name, lines in found.items() if lines} == {}, "make it a parameter"


@pytest.mark.parametrize(
    "text",
    [
        'monkeypatch.setattr("watcher.tree.read.HUGE", 5)',
        'monkeypatch.setattr(lock, "ASKING_SECONDS", 0.0)',
        'setattr(lock, "_FRESH", 0.0)',
        'mock.patch.object(lock, "MOST", 1)',
        "lock.MOST_BYTES = 1",
        "lock.MOST_BYTES += 1",
    ],
)
def test_each_way_to_replace_one_is_found(text: str) -> None:
    assert len(replaced_constants(text)) == 1


@pytest.mark.parametrize(
    "text", ['monkeypatch.setattr(lock, "open_file", f)', "MOST = 1", "lock.most = 1", "max(lock.MOST, 1)"]
)
def test_anything_else_is_allowed(text: str) -> None:
    assert replaced_constants(text) == []
