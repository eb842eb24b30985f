"""Print how the source is laid out: rooms, arrows, floors, longest pieces, names.

    python -m bench.layout [FOLDER]

FOLDER is a checkout of any version, by default this one. A room is a package or a module directly below
`watcher/`, an arrow an import from one room into another, a floor a level of the graph of rooms (rooms that
import each other in a circle share one). Nothing is imported or run: the source is parsed.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "watcher"
GENERATED = "messages"

Graph = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Source:
    """One parsed file: its path relative to the package, its line count, its syntax tree."""

    path: Path
    lines: int
    tree: ast.Module

    @property
    def room(self) -> str:
        """The package or module directly below `watcher/` that the file belongs to."""
        return self.path.parts[0].removesuffix(".py")


def read_sources(root: Path) -> list[Source]:
    """Parse every file of the package below `root`, without generated code."""
    package = root / PACKAGE
    sources = []
    for file in sorted(package.rglob("*.py")):
        path = file.relative_to(package)
        if GENERATED not in path.parts and path != Path("__init__.py"):
            text = file.read_text("utf-8")
            sources.append(Source(path, text.count("\n"), ast.parse(text)))
    return sources


def room_graph(sources: list[Source]) -> dict[str, frozenset[str]]:
    """Map each room to the rooms that it imports."""
    rooms = {source.room for source in sources}
    graph: dict[str, set[str]] = {room: set() for room in rooms}
    for source in sources:
        for imported in _imported_rooms(source.tree):
            if imported in rooms and imported != source.room:
                graph[source.room].add(imported)
    return {room: frozenset(imports) for room, imports in graph.items()}


def _imported_rooms(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            modules = [f"{PACKAGE}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module]
        else:
            continue
        for module in modules:
            package, _, rest = module.partition(".")
            if package == PACKAGE and rest:
                yield rest.partition(".")[0]


def reachable(graph: Graph, room: str) -> frozenset[str]:
    """Return every room that `room` imports, directly or through others."""
    found: set[str] = set()
    pending = list(graph[room])
    while pending:
        if (other := pending.pop()) not in found:
            found.add(other)
            pending.extend(graph[other])
    return frozenset(found)


def direct_arrows(graph: Graph) -> set[tuple[str, str]]:
    """Return the arrows that no longer path replaces: the picture of a graph without circles."""
    return {
        (room, other)
        for room, imports in graph.items()
        for other in imports
        if not any(other in reachable(graph, between) for between in imports - {other})
    }


def circles(graph: Graph) -> list[frozenset[str]]:
    """Return the groups of rooms that import each other."""
    groups = {
        frozenset({room, *(other for other in reachable(graph, room) if room in reachable(graph, other))})
        for room in graph
    }
    return sorted((group for group in groups if len(group) > 1), key=sorted)


def floors(graph: Graph) -> int:
    """Return the number of levels: the length of the longest path, circles counted as one."""
    group_of = {room: frozenset({room}) for room in graph}
    for group in circles(graph):
        group_of |= dict.fromkeys(group, group)
    heights: dict[frozenset[str], int] = {}

    def height(group: frozenset[str]) -> int:
        if group not in heights:
            below = {group_of[other] for room in group for other in graph[room]} - {group}
            heights[group] = 1 + max(map(height, below), default=0)
        return heights[group]

    return max(height(group) for group in group_of.values())


def _functions(sources: list[Source]) -> Iterator[tuple[Source, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield source, node


def measure(root: Path) -> list[tuple[str, str]]:
    """Return the rows of the table, as label and value."""
    sources = read_sources(root)
    graph = room_graph(sources)
    longest_file = max(sources, key=lambda source: source.lines)
    functions = list(_functions(sources))
    lengths = [
        ((node.end_lineno or node.lineno) - node.lineno + 1, source, node) for source, node in functions
    ]
    length, source, node = max(lengths, key=lambda entry: entry[0])
    names = [name for _, function in functions if not (name := function.name).startswith("__")]
    one_word = sum("_" not in name.strip("_") for name in names)
    classes = Counter(
        node.name for source in sources for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef)
    )
    twice = sorted(name for name, count in classes.items() if count > 1)
    return [
        ("files flat at the top", str(sum(len(source.path.parts) == 1 for source in sources))),
        ("rooms", str(len(graph))),
        ("arrows", str(sum(map(len, graph.values())))),
        ("floors", str(floors(graph))),
        ("circles", "; ".join(", ".join(sorted(group)) for group in circles(graph)) or "none"),
        ("longest file", f"{longest_file.lines} lines, {longest_file.path}"),
        ("files over 350 lines", str(sum(source.lines > 350 for source in sources))),
        ("longest function", f"{length} lines, {node.name} in {source.path}"),
        ("functions over 50 lines", f"{sum(entry[0] > 50 for entry in lengths)} of {len(lengths)}"),
        ("one-word function names", f"{100 * one_word / max(1, len(names)):.0f} % of {len(names)}"),
        ("class names defined twice", f"{len(twice)} {' '.join(twice)}".strip()),
    ]


def main(arguments: list[str]) -> None:
    """Print the table for the given checkout."""
    root = Path(arguments[0]) if arguments else Path(__file__).parents[1]
    if not (root / PACKAGE).is_dir():
        sys.exit(f"{root} holds no folder {PACKAGE}/")
    for label, value in measure(root):
        print(f"{label:28}{value}")


if __name__ == "__main__":
    main(sys.argv[1:])
