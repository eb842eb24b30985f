"""Compare two snapshots by name and kind, and summarize the difference in a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from watcher.observers.events import Change
from watcher.tree.build_files import ignore_files
from watcher.tree.node import Directory, TreeEntry
from watcher.tree.snapshot import Layout, Snapshot

_MODULE_FILES = frozenset({"go.mod", "go.sum", "go.work", "go.work.sum"})
# What the go command compiles or links besides Go itself (cmd/go, "Build constraints and file types").
_COMPILED = (".go", ".s", ".S", ".sx", ".c", ".h", ".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx", ".syso")


class FileKind(StrEnum):
    """What a file is to a Go service."""

    GO = "go"
    MODULE = "module"
    ENV = "env"
    DOCKERFILE = "dockerfile"
    OTHER = "other"


def classify(path: str, layout: Layout = Layout()) -> FileKind:  # noqa: B008 - frozen, so one for all calls
    """Return the kind of the file at `path`. The Dockerfile's ignore files count as `dockerfile`."""
    if path == layout.dockerfile or path in ignore_files(layout.dockerfile):
        return FileKind.DOCKERFILE
    if any(path.startswith(f"{directory}/") for directory in layout.env_dirs):
        return FileKind.ENV
    name = path.rpartition("/")[2]
    if name in _MODULE_FILES or f"/{path}".endswith("/vendor/modules.txt"):
        return FileKind.MODULE
    return FileKind.GO if name.endswith(_COMPILED) else FileKind.OTHER


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """The difference between two trees; `changes` are sorted by path."""

    changes: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.changes)

    def summary(self) -> str:
        """One line: `version.go changed`, `12 files (10 go, 2 other)`, `nothing changed`."""
        if not self.changes:
            return "nothing changed"
        if len(self.changes) == 1:
            change = self.changes[0]
            return f"{change.path} {change.verb}"
        counted = Counter(change.kind for change in self.changes)
        parts = ", ".join(f"{count} {kind}" for kind, count in counted.most_common())
        return f"{len(self.changes)} files ({parts})"


def diff(old: Snapshot | None, new: Snapshot) -> ChangeSet:
    """Return what differs in `new`: content, mode, link target, presence. Without `old`, all of it is added.

    A directory is named (with a slash behind it) only if its own mode changed or if it holds nothing that
    says the same. A move is one path removed and one added.
    """
    found = dict(_compare_directories(old.root if old else None, new.root))
    if old is None:
        found.pop(new.layout.dockerfile, None)
        if new.dockerfile is not None:
            found[new.layout.dockerfile] = "added"
    elif old.dockerfile != new.dockerfile and new.layout.dockerfile not in found:
        # It is excluded from the context, is outside of it, or is a link.
        verb = "added" if old.dockerfile is None else "removed" if new.dockerfile is None else "changed"
        found[new.layout.dockerfile] = verb
    broken, mended = new.ignore_problem, old.ignore_problem if old else None
    if broken != mended and (problem := broken or mended):
        found.setdefault(problem.path, "changed")
    for name, context in new.contexts.items():
        before = old.contexts.get(name) if old else None
        for path, verb in _compare_directories(before.root if before else None, context.root):
            found.setdefault(new.shown(path, context), verb)
    return ChangeSet(
        tuple(
            Change(path, found[path], classify(path, new.layout).value)
            for path in sorted(found, key=lambda path: path.split("/"))
        )
    )


def _compare_directories(old: Directory | None, new: Directory) -> Iterator[tuple[str, str]]:
    if old is new or (old is not None and old.digest == new.digest):
        return
    before = _shown_nodes(old)
    after = _shown_nodes(new)
    for name, node in after.items():
        was = before.get(name)
        if type(was) is Directory and type(node) is Directory:
            if was.entry.mode != node.entry.mode:
                yield node.entry.path + "/", "changed"
            yield from _compare_directories(was, node)
        elif was is None:
            yield from _all_paths(node, "added")
        elif type(was) is TreeEntry and type(node) is TreeEntry:
            if (was.digest, was.mode) != (node.digest, node.mode):
                yield node.path, "changed"
        else:  # a file took a directory's place, or the other way round
            yield from _all_paths(was, "removed")
            yield from _all_paths(node, "added")
    for name, was in before.items():
        if name not in after:
            yield from _all_paths(was, "removed")


def _shown_nodes(directory: Directory | None) -> dict[str, TreeEntry | Directory]:
    if directory is None:
        return {}
    return {name: node for name, node in directory.index.items() if type(node) is TreeEntry or node.shown}


def _all_paths(node: TreeEntry | Directory, verb: str) -> Iterator[tuple[str, str]]:
    if type(node) is TreeEntry:
        yield node.path, verb
    else:
        empty = True
        for child in _shown_nodes(node).values():
            empty = False
            yield from _all_paths(child, verb)
        if empty:
            yield node.entry.path + "/", verb
