"""Whether version control is at work in the tree, read from the files that it leaves while it is.

Only what the operation itself does counts as its progress. A lock that a crashed git left behind, a rebase
whose command failed, and a `git commit` whose editor is open look like work, but nothing moves.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_CONTINUED = 1.0
"""Seconds without a question after which other files mean another operation than the last time."""

_SUBMODULES_DEEP = 4  # levels below .git/modules; a submodule's name may hold slashes
_SUBMODULES_MOST = 100
_REBASES = ("rebase-merge", "rebase-apply")
_REBASE_PARTS = ("", "done", "msgnum", "next")
# What other systems hold while they write the work tree. A lock may be a link that leads nowhere.
_OTHER_LOCKS = (
    ("jj", ".jj/working_copy/working_copy.lock"),
    ("hg", ".hg/wlock"),
    ("sl", ".sl/wlock"),
    ("sl", ".git/sl/wlock"),
)

Mark = tuple[str, int, int, int]  # name, inode, size, time in nanoseconds


@dataclass(frozen=True, slots=True)
class GitState:
    """The operation that is going on (empty for none), and how many seconds ago it last did something.

    `since` is when it began, in Unix seconds, for people.
    """

    operation: str = ""
    idle: float = 0.0
    since: float = 0.0


class Git:
    """Reads whether git, jj, hg or sl is at work in the work tree that holds `root`.

    How long it has been idle is measured on a clock that nobody sets. Only an operation that is seen for the
    first time is judged by the age of its files.
    """

    def __init__(
        self,
        root: Path,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root.absolute()
        self._wall, self._clock = wall, clock
        self._marks: frozenset[Mark] = frozenset()
        self._moved = self._asked = -float("inf")
        self._since = 0.0

    def __call__(self) -> GitState:
        """The operation that is going on now: an index that is locked, a rebase between two commits.

        A rebase that has stopped for its user (a conflict, `edit`) is not at work, nor is an open merge.
        """
        now = self._clock()
        operation, marks = self._look()
        if not marks:
            self._marks, self._asked = marks, now
            return GitState()
        if marks != self._marks:
            newest = max(mark[3] for mark in marks) / 1e9
            age = max(0.0, self._wall() - newest)
            known = {mark[:2] for mark in self._marks}
            same = now - self._asked < _CONTINUED or any(mark[:2] in known for mark in marks)
            if not self._marks or not same:
                self._since = self._wall() - age
            self._moved = max(now - age, self._asked)
        self._marks, self._asked = marks, now
        return GitState(operation, max(0.0, now - self._moved), self._since)

    def _look(self) -> tuple[str, frozenset[Mark]]:
        """What is going on, and what would differ if it had moved since."""
        directory = self._directory()
        if directory is not None:
            locks = [directory, *_submodules(directory)]
            if marks := _marks(place / "index.lock" for place in locks):
                return "git is writing files", marks
            for name in _REBASES:
                state = directory / name
                if _mark(state / "stopped-sha") is None and (
                    marks := _marks(state / part for part in _REBASE_PARTS)
                ):
                    applying = _mark(state / "applying") is not None
                    return f"git is {'applying patches' if applying else 'rebasing'}", marks
        for above in (self._root, *self._root.parents):
            for system, lock in _OTHER_LOCKS:
                if marks := _marks([above / lock]):
                    return f"{system} is writing files", marks
        return "", frozenset()

    def _directory(self) -> Path | None:
        """The git directory of the work tree; in a linked work tree or a submodule `.git` is a file."""
        for above in (self._root, *self._root.parents):
            place = above / ".git"
            if place.is_dir():
                return place
            if not place.is_file():  # nor is a fifo ever opened
                continue
            try:
                text = place.read_text("utf-8", "surrogateescape")
            except OSError:
                continue
            if text.startswith("gitdir:"):
                return above / text.removeprefix("gitdir:").strip()
        return None


def _submodules(directory: Path) -> Iterator[Path]:
    """The git directories of the submodules, those within submodules not among them."""
    found, level = 0, [os.fspath(directory / "modules")]
    for _ in range(_SUBMODULES_DEEP):
        below: list[str] = []
        for place in level:
            try:
                with os.scandir(place) as listing:
                    names = {item.name: item for item in listing}
            except OSError:
                continue
            if "HEAD" in names:
                yield Path(place)
                found += 1
                if found >= _SUBMODULES_MOST:
                    return
                continue
            below += [item.path for item in names.values() if item.is_dir(follow_symlinks=False)]
        if not below:
            return
        level = below


def _marks(paths: Iterator[Path] | list[Path]) -> frozenset[Mark]:
    return frozenset(mark for path in paths if (mark := _mark(path)))


def _mark(path: Path) -> Mark | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return os.fspath(path), found.st_ino, found.st_size, found.st_mtime_ns
