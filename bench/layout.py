"""Print how the source is laid out, one row a figure and one column a folder, to compare versions.

    python -m bench.layout [FOLDER...]
    python -m bench.layout --draw 10 --seed 1 [FOLDER...]

FOLDER is a checkout of any version, by default this one: `git worktree add ../before COMMIT` makes another.
A room is a package or a module directly below `watcher/`, an arrow an import from one room into another, a
floor a level of the graph of rooms (rooms that import each other in a circle share one). The source is
parsed, not imported; only `--help` and `status` are run. Coverage and test times are those of the last
`./dev test` in that folder. `--draw` prints public functions and classes with their docstrings instead, drawn
at random: read them aloud.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench._prose import count_markers, draw_docstrings

STATUS_ROUNDS = 5
STATUS_NOT_RUNNING = 3  # the exit status of `watcher status` without a watcher
WIDEST = 56  # characters of a value, with several columns
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


def list_files(root: Path) -> list[Path]:
    """Return every file of the package below `root`, without generated code."""
    files = sorted((root / PACKAGE).rglob("*.py"))
    return [file for file in files if GENERATED not in file.relative_to(root).parts]


def read_sources(root: Path) -> list[Source]:
    """Parse every file of the package below `root`, without generated code."""
    package = root / PACKAGE
    sources = []
    for file in list_files(root):
        path = file.relative_to(package)
        if path != Path("__init__.py"):
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


def find_reachable(graph: Graph, room: str) -> frozenset[str]:
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
        if not any(other in find_reachable(graph, between) for between in imports - {other})
    }


def find_cycles(graph: Graph) -> list[frozenset[str]]:
    """Return the groups of rooms that import each other."""
    groups = {
        frozenset(
            {room, *(other for other in find_reachable(graph, room) if room in find_reachable(graph, other))}
        )
        for room in graph
    }
    return sorted((group for group in groups if len(group) > 1), key=sorted)


def count_floors(graph: Graph) -> int:
    """Return the number of levels: the length of the longest path, circles counted as one."""
    group_of = {room: frozenset({room}) for room in graph}
    for group in find_cycles(graph):
        group_of |= dict.fromkeys(group, group)
    heights: dict[frozenset[str], int] = {}

    def floor_of(group: frozenset[str]) -> int:
        if group not in heights:
            below = {group_of[other] for room in group for other in graph[room]} - {group}
            heights[group] = 1 + max(map(floor_of, below), default=0)
        return heights[group]

    return max(floor_of(group) for group in group_of.values())


def _list_functions(sources: list[Source]) -> Iterator[tuple[Source, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield source, node


def measure_layout(root: Path) -> list[tuple[str, str]]:
    """Return the rows of the table, as label and value."""
    sources = read_sources(root)
    graph = room_graph(sources)
    longest_file = max(sources, key=lambda source: source.lines)
    functions = list(_list_functions(sources))
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
    markers, words = count_markers(list_files(root))
    return [
        ("files flat at the top", str(sum(len(source.path.parts) == 1 for source in sources))),
        ("rooms", str(len(graph))),
        ("arrows", str(sum(map(len, graph.values())))),
        ("floors", str(count_floors(graph))),
        ("circles", "; ".join(", ".join(sorted(group)) for group in find_cycles(graph)) or "none"),
        ("longest file", f"{longest_file.lines} lines, {longest_file.path}"),
        ("files over 350 lines", str(sum(source.lines > 350 for source in sources))),
        ("longest function", f"{length} lines, {node.name} in {source.path}"),
        ("functions over 50 lines", f"{sum(entry[0] > 50 for entry in lengths)} of {len(lengths)}"),
        ("markers in 1,000 words", f"{markers:.1f} of {words} words"),
        ("one-word function names", f"{100 * one_word / max(1, len(names)):.0f} % of {len(names)}"),
        ("class names defined twice", f"{len(twice)} {' '.join(twice)}".strip()),
    ]


def count_help_lines(root: Path) -> dict[str, int]:
    """Return the lines of `watcher --help` ("") and of each command's; empty where it does not start."""
    counts: dict[str, int] = {}
    pending = [""]
    for command in pending:
        arguments = [sys.executable, "-m", PACKAGE, *([command] if command else []), "--help"]
        environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "100"}
        done = subprocess.run(
            arguments, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode == 0:
            counts[command] = len(done.stdout.splitlines())
        if not command:
            pending += [
                node.target.id
                for source in read_sources(root)
                for node in ast.walk(source.tree)
                if isinstance(node, ast.AnnAssign)
                and isinstance(node.target, ast.Name)
                and "CliSubCommand" in ast.unparse(node.annotation)
            ]
    return counts


def time_status(root: Path) -> float | None:
    """Return the CPU seconds of `watcher status` for a project without a watcher; None if it cannot run."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(root), "XDG_RUNTIME_DIR": folder}
        for _ in range(STATUS_ROUNDS):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [sys.executable, "-m", PACKAGE, "status"]
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, check=False, timeout=60
            )
            if done.returncode != STATUS_NOT_RUNNING:
                return None
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


def measure_runs(root: Path) -> list[tuple[str, str]]:
    """Return the rows that come from running something: the commands now, the tests when they last ran."""
    lines = count_help_lines(root)
    rows = []
    if lines:
        longest = max((name for name in lines if name), key=lambda name: lines[name], default="")
        rows.append(("lines of --help", f"{lines.get('', 0)}; longest command {lines[longest]}, {longest}"))
    if (seconds := time_status(root)) is not None:
        rows.append(("CPU seconds of status", f"{seconds:.2f}"))
    if (report := root / ".coverage.json").exists():
        totals = json.loads(report.read_text("utf-8"))["totals"]
        rows.append(("branch coverage", f"{totals['percent_covered']:.1f} % by the unit tests"))
    if (times := root / ".test-times").exists():
        rows.append(("last ./dev test", ", ".join(times.read_text("utf-8").splitlines())))
    return rows


def print_table(roots: list[Path]) -> None:
    """Print one row a figure, one column a checkout; cut long values if there are several columns."""
    tables = [dict([*measure_layout(root), *measure_runs(root)]) for root in roots]
    labels = dict.fromkeys(label for table in tables for label in table)
    for label in labels:
        values = [table.get(label, "not measured") for table in tables]
        if len(values) > 1:
            values = [value if len(value) <= WIDEST else f"{value[: WIDEST - 1]}…" for value in values]
        print(f"{label:28}" + "  ".join(f"{value:{WIDEST}}" for value in values).rstrip())


def main(arguments: list[str]) -> None:
    """Print the table, or a random choice of docstrings, of the given checkouts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="FOLDER", default=[Path(__file__).parents[1]]
    )
    parser.add_argument("--draw", type=int, metavar="N", help="print N docstrings instead of the table")
    parser.add_argument("--seed", default="1", help="another seed draws other docstrings")
    options = parser.parse_args(arguments)
    roots: list[Path] = [folder.resolve() for folder in options.folders]
    for root in roots:
        if not (root / PACKAGE).is_dir():
            sys.exit(f"{root} holds no folder {PACKAGE}/")
    if options.draw is None:
        print_table(roots)
        return
    for root in roots:
        print(f"== {root.name}, seed {options.seed}\n")
        for text in draw_docstrings(list_files(root), root, options.draw, options.seed):
            print(f"{text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
