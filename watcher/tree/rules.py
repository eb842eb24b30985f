"""What belongs to the tree: Docker's ignore file, the settings' patterns, and the files a build needs anyway.

Two lists decide, in the syntax of a `.dockerignore`, and a path is out when either of them excludes it:

- the ignore file, `<Dockerfile>.dockerignore` if there is one, else `.dockerignore` (BuildKit,
  frontend/dockerui/config.go), which also decides what a plain `docker build` would send;
- `DEFAULT_IGNORE` followed by the setting `watch.ignore`. What this list excludes neither triggers a build
  nor is sent, so a build never holds anything that is not watched. A `!` pattern in `watch.ignore` takes a
  default back: `!**/.git` for a build that asks git. Docker sends `.git` unless the ignore file names it; we
  leave it out, as its object store is large and every commit would compile everything again. Where a build
  asks git, that is notified (`builder/repository.py`).

The Dockerfile and the ignore file are read whether or not the lists exclude them.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from watcher import regex
from watcher.dockerignore.patterns import PatternMatcher

_WILD = regex.compile(r"[*?\[\]]+")

DEFAULT_IGNORE: tuple[str, ...] = (
    # Stores of version control: large, written by reading commands too, and never compiled.
    "**/.git",
    "**/.hg",
    "**/.jj",
    "**/.svn",
    # What editors and file managers write next to the file that is saved.
    "**/*~",  # backups of vim and emacs
    "**/4913",  # vim: can I create files here?
    "**/.*.swp",  # vim and nano: swap files
    "**/.*.swo",
    "**/.*.swn",
    "**/.*.swx",
    "**/.*.swpx",
    "**/.*.kate-swp",
    "**/.#*",  # emacs: locks
    "**/#*#",  # emacs: unsaved text
    "**/*___jb_tmp___",  # JetBrains: safe write
    "**/*___jb_old___",
    "**/.idea",  # JetBrains: state of the window, written whenever it loses the focus
    "**/.goutputstream-*",  # GNOME: safe write
    "**/.DS_Store",
    # What tools leave for a moment.
    "**/*-go-tmp-umask",  # the go command, to learn the umask
    "**/.nfs0*",  # a file that was removed while open, on NFS
    "**/.fuse_hidden*",  # the same on FUSE
    "**/*.watcher-suggested",  # our own: `watcher doctor --fix`
)
"""Never part of the tree unless `watch.ignore` takes it back."""


class Inclusion(IntEnum):
    """Where a directory is."""

    IN = 0
    TRAVERSE = 1  # excluded itself, but a `!` pattern can take something below it back in
    OUT = 2  # excluded with everything below


class Rules:
    """Answers which paths belong. Not thread-safe; `copy` makes one for another thread."""

    def __init__(
        self, *, docker: Sequence[str] = (), ignore: Sequence[str] = (), always: frozenset[str] = frozenset()
    ) -> None:
        """`docker` are the ignore file's patterns, `ignore` those of the settings, `always` paths that stay.

        Patterns are clean, as `parse_dockerignore` gives them. Raises `IgnorePatternError` for a pattern with
        wrong syntax.
        """
        self._given = (tuple(docker), tuple(ignore), always)
        self._names, rest = _by_name((*DEFAULT_IGNORE, *ignore))
        self._matchers = tuple(m for m in (PatternMatcher(docker), PatternMatcher(rest)) if m)
        self._heads, self._tails = _literal_ends((*docker, *rest))
        self._always = always

    def copy(self) -> Rules:
        """Return the same rules, to be used by another thread."""
        docker, ignore, always = self._given
        return Rules(docker=docker, ignore=ignore, always=always)

    def excludes(self, path: str, name: str) -> bool:
        """Return whether the file or link `path`, called `name` in its directory, is left out.

        Its directory must be one that is not `OUT`.
        """
        if self._names.match(name):
            return True
        if not (path.startswith(self._heads) or path.endswith(self._tails)):
            return False
        for matcher in self._matchers:  # noqa: SIM110 - runs once a file, and any() takes twice as long
            if matcher.excluded(path):
                return True
        return False

    def place(self, path: str, name: str) -> Inclusion:
        """Return where the directory `path`, called `name` in its parent, is."""
        if self._names.match(name):
            return Inclusion.OUT
        place = Inclusion.IN
        if not (path.startswith(self._heads) or path.endswith(self._tails)):
            return place
        for matcher in self._matchers:
            if matcher.can_prune(path):
                return Inclusion.OUT
            if matcher.excluded(path):
                place = Inclusion.TRAVERSE
        return place

    def concerns(self, path: str, *, is_dir: bool) -> bool:
        """Return whether a change of `path` can change the tree, wherever in the tree it is."""
        if path in self._always:
            return True
        if is_outside(path) or any(self._names.match(name) for name in path.split("/")):
            return False
        if is_dir:
            return not any(matcher.can_prune(path) for matcher in self._matchers)
        return not any(matcher.excluded(path) for matcher in self._matchers)


def is_outside(path: str) -> bool:
    """Return whether a relative path leads out of the tree."""
    return path == ".." or path.startswith("../")


class _Names:
    """Patterns like `**/name` and `**/start*end`: a test of the name alone, without regular expressions."""

    def __init__(self, names: frozenset[str], ends: Sequence[tuple[str, str]]) -> None:
        self._names = names
        self._ends = tuple(ends)
        self._starts = tuple(start for start, end in ends if not end)
        self._suffixes = tuple(end for _, end in ends if end)

    def match(self, name: str) -> bool:
        if name in self._names or name.startswith(self._starts):
            return True
        return name.endswith(self._suffixes) and any(
            name.startswith(start) and name.endswith(end) and len(name) >= len(start) + len(end)
            for start, end in self._ends
        )


def _literal_ends(patterns: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Beginnings and endings of which a path must have one to be matched itself: a quick test.

    With a `!`, or an escape, which can be a class of characters, this test is not possible.
    """
    heads: set[str] = set()
    tails: set[str] = set()
    for pattern in patterns:
        if pattern.startswith("!") or "\\" in pattern:
            return ("",), ()
        parts = _WILD.split(pattern)
        if parts[-1]:
            tails.add(parts[-1].lstrip("/"))  # `**/` matches nothing too
        else:
            heads.add(parts[0])
    return tuple(heads), tuple(tails)


def _by_name(patterns: Sequence[str]) -> tuple[_Names, tuple[str, ...]]:
    """Patterns that a name alone decides, and the rest. With a `!` order matters: then all are the rest."""
    if any(pattern.lstrip().startswith("!") for pattern in patterns):
        return _Names(frozenset(), ()), tuple(patterns)
    names: set[str] = set()
    ends: list[tuple[str, str]] = []
    rest: list[str] = []
    for pattern in patterns:
        name = pattern.removeprefix("**/")
        start, star, end = name.partition("*")
        if name == pattern or not name or set(start + end) & set("*?[]\\/"):
            rest.append(pattern)
        elif star:
            ends.append((start, end))
        else:
            names.add(name)
    return _Names(frozenset(names), ends), tuple(rest)
