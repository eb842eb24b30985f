"""Select the entries of a context that BuildKit asks for in one request.

The reference is fsutil's `NewFilterFS` (filter.go) and `FollowLinks` (followlinks.go).
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from watcher.buildkit.sources import ContextEntry
from watcher.dockerignore.gopath import BadPattern, Glob, clean, has_wildcard, join
from watcher.dockerignore.patterns import PatternMatcher


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """The patterns of one request for files; an empty tuple restricts nothing.

    `include` and `follow` select entries, `follow` also what links lead to; `exclude` removes entries.
    """

    follow: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


def select_entries(entries: Sequence[ContextEntry], options: FilterOptions) -> Sequence[ContextEntry]:
    """Return the selected entries in order, with each directory that has one of them below it.

    Raises `IgnorePatternError` for a pattern that cannot be used.
    """
    include: Sequence[str] = options.include
    if options.follow:
        targets = _Follower(entries).follow(options.follow)
        if targets is not None:
            include = _without_nested([*include, *targets]) or ()
    included = PatternMatcher(include) if include else None
    excluded = PatternMatcher(options.exclude)
    if included is not None and included.paths is not None:
        entries = _at_or_above(entries, included.paths)
    if included is None and not excluded:
        return entries
    return _filter_entries(entries, included, excluded)


def _filter_entries(
    entries: Iterable[ContextEntry], included: PatternMatcher | None, excluded: PatternMatcher
) -> list[ContextEntry]:
    kept: list[ContextEntry] = []
    # Directories on the way down to here that are not selected themselves but can be for a child.
    pending: list[ContextEntry] = []
    for entry in entries:
        path = entry.path
        while pending and not path.startswith(pending[-1].path + "/"):
            pending.pop()
        if (included is not None and not included.matches(path)) or excluded.excluded(path):
            if stat.S_ISDIR(entry.mode):
                pending.append(entry)
            continue
        kept += pending
        pending.clear()
        kept.append(entry)
    return kept


def _at_or_above(entries: Sequence[ContextEntry], paths: frozenset[str]) -> list[ContextEntry]:
    """Return the entries at, below and on the way to the paths, in one pass without matching patterns."""
    parents = {path[:at] for path in paths for at, char in enumerate(path) if char == "/"}
    above = paths | parents
    below = tuple(path + "/" for path in paths)
    return [entry for entry in entries if entry.path in above or entry.path.startswith(below)]


class _Follower:
    """Resolves symbolic links in paths, component by component, into the paths to include."""

    def __init__(self, entries: Sequence[ContextEntry]) -> None:
        self._entries = {entry.path: entry for entry in entries}
        self._resolved: set[str] = set()

    def follow(self, paths: Iterable[str]) -> list[str] | None:
        """Return the paths and the targets of links on the way; None if that is the whole context."""
        for path in paths:
            self._append_entry(path)
        return _without_nested(sorted(self._resolved))

    def _append_entry(self, path: str) -> None:
        rest = join(".", path)
        current = "."
        while True:
            head, _, rest = rest.partition("/")
            current = join(current, head)
            targets = self._resolve_links(current)
            if (not rest or targets) and current in self._resolved:
                return
            if targets:
                self._resolved.add(current)
                for target in targets:
                    self._append_entry(join(target, rest))
                return
            if not rest:
                self._resolved.add(current)
                return

    def _resolve_links(self, path: str) -> list[str]:
        """Return where `path`, or each name that its last component matches as a glob, links to."""
        parent, _, name = path.rpartition("/")
        if not has_wildcard(name):
            return self._resolve_link(path)
        try:
            glob = Glob(name)
        except BadPattern:
            return []
        prefix = f"{parent}/" if parent else ""
        return [
            target
            for other in self._entries
            if other.startswith(prefix)
            and "/" not in other[len(prefix) :]
            and glob.matches(other[len(prefix) :])
            for target in self._resolve_link(other)
        ]

    def _resolve_link(self, path: str) -> list[str]:
        entry = self._entries.get(path)
        if entry is None or not stat.S_ISLNK(entry.mode):
            return []
        target = clean(entry.linkname)
        if target.startswith("/"):
            return [target]
        return [join("/", path.rpartition("/")[0], target)]


def _without_nested(paths: Sequence[str]) -> list[str] | None:
    """Return the paths, sorted, without those below another one; None for the root (`dedupePaths`)."""
    kept: list[str] = []
    last = ""
    for path in paths:
        if path == ".":
            return None
        if not path.startswith(last + "/"):
            kept.append(path)
            last = path
    return kept
