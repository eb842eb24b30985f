"""Find code of the product that nothing uses, beside a list of what only others use, with reasons.

    python deploy/dead_code.py [FOLDER]

Tests do not count as users: a function that only its tests call is dead. Neither do `__all__` and the imports
of an `__init__.py`, which would keep an unused name alive. An entry of the list that is not needed is
reported too.

vulture finds names that occur nowhere else. A method or field whose name is also that of a variable escapes
it, so members of classes are looked up once more, as attributes.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from vulture import Vulture

ROOT = Path(__file__).parents[1]
USERS = ("watcher", "config")
ROUTES = ["@*.get", "@*.post"]  # of FastAPI: the decorator registers the function
ALL = re.compile(r"^__all__ = \[.*?\]$", re.DOTALL | re.MULTILINE)


def find_unused(root: Path) -> list[tuple[str, str]]:
    """Return the names that no code below `root` uses, each with its place and kind."""
    vulture, trees = Vulture(ignore_decorators=ROUTES), {}
    for folder in USERS:
        for path in sorted((root / folder).rglob("*.py")):
            if path.name != "__init__.py" and "messages" not in path.parts:
                # The lines stay where they are, so that the places are right.
                text = ALL.sub(lambda names: "\n" * names[0].count("\n"), path.read_text("utf-8"))
                vulture.scan(text, filename=path.relative_to(root))
                trees[str(path.relative_to(root))] = ast.parse(text)
    fields = {name: found for tree in trees.values() for name, found in _fields(tree)}
    read = {name for tree in trees.values() for name in _read_attributes(tree, fields)}
    found = {
        (f"{item.filename}:{item.first_lineno}", item.name): f"unused {item.typ}"
        for item in vulture.get_unused_code(min_confidence=60)
        if item.name not in read  # a pattern names the class and the places only
    }
    for file, tree in trees.items():
        for line, kind, name in _members(tree):
            if name not in read:
                found.setdefault((f"{file}:{line}", name), f"unused {kind}")
    return [(name, f"{place}: {kind}") for (place, name), kind in sorted(found.items())]


def _fields(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """Yield each class with its annotated fields in order."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            annotated = (member.target for member in node.body if isinstance(member, ast.AnnAssign))
            yield node.name, [target.id for target in annotated if isinstance(target, ast.Name)]


def _read_attributes(tree: ast.Module, fields: dict[str, list[str]]) -> Iterator[str]:
    """Yield the attributes that a module reads, also in patterns and by `getattr`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.MatchClass):  # the fields at the places that the pattern binds
            places = zip(
                fields.get(ast.unparse(node.cls).rpartition(".")[2], ()), node.patterns, strict=False
            )
            yield from (name for name, pattern in places if ast.unparse(pattern) != "_")
        match node:
            case ast.Attribute(attr=name, ctx=ast.Load()):
                yield name
            case ast.MatchClass(kwd_attrs=names):
                yield from names
            case ast.Call(
                func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(value=str(name)), *_]
            ):
                yield name


def _members(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Yield line, kind and name of the methods and fields of each class."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                match member:
                    case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if not name.startswith(
                        "__"
                    ):
                        yield member.lineno, "method", name
                    case ast.AnnAssign(target=ast.Name(id=name)):
                        yield member.lineno, "field", name
            for part in ast.walk(node):
                match part:
                    case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                        yield part.lineno, "field", name


def check(root: Path, allowed: dict[str, str]) -> list[str]:
    """Return what is wrong: unused names that are not allowed, and allowances without a use or a reason."""
    unused = find_unused(root)
    known = {name for name, _ in unused}
    return [
        *(f"{place} `{name}`" for name, place in unused if name not in allowed),
        *(f"dead_code_allowed.toml: `{name}` is used now, or gone" for name in allowed if name not in known),
        *(f"dead_code_allowed.toml: `{name}` has no reason" for name in allowed if not allowed[name].strip()),
    ]


def main(root: Path) -> int:
    """Print what is wrong and return the exit status."""
    groups = tomllib.loads((root / "deploy" / "dead_code_allowed.toml").read_text("utf-8"))
    found = check(root, {name: group["reason"] for group in groups.values() for name in group["names"]})
    for line in found:
        print(line)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if sys.argv[1:] else ROOT))
