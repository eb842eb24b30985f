"""Detect a running version control operation by the files that exist while it runs.

Only changes of the operation's own files count as progress. A lock that a crashed git left behind, a rebase
after a failed command, and a `git commit` with an open editor look like work, but make no progress.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_CONTINUED = 1.0
"""Seconds without a check after which other files mean another operation than at the last check."""

_SUBMODULES_DEEP = 4  # levels below .git/modules; the name of a submodule can have slashes
_SUBMODULES_MOST = 100
_REBASES = ("rebase-merge", "rebase-apply")
_REBASE_PARTS = ("", "done", "msgnum", "next")
# The locks of other systems while they write the work tree. A lock can be a dangling link.
_OTHER_LOCKS = (
    ("jj", ".jj/working_copy/working_copy.lock"),
    ("hg", ".hg/wlock"),
    ("sl", ".sl/wlock"),
    ("sl", ".git/sl/wlock"),
)

Mark = tuple[str, int, int, int]  # name, inode, size, time in nanoseconds


@dataclass(frozen=True, slots=True)
class GitState:
    """The running operation (empty for none), and the seconds since its last progress.

    `since` is its start in Unix seconds, and `remedy` what to do if it was interrupted; both for messages.
    """

    operation: str = ""
    idle: float = 0.0
    since: float = 0.0
    remedy: str = ""


class Git:
    """Reads whether git, jj, hg or sl runs in the work tree that contains `root`.

    Idle time is measured on a monotonic clock. Only at the first check of an operation it is the age of its
    files.
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
        self._moved = self._checked = -float("inf")
        self._since = 0.0

    def __call__(self) -> GitState:
        """Return the running operation: an index is locked, or a rebase is between two commits.

        A rebase that waits for its user (a conflict, `edit`) does not run, nor does an open merge.
        """
        now = self._clock()
        operation, remedy, marks = self._find_operation()
        if not marks:
            self._marks, self._checked = marks, now
            return GitState()
        if marks != self._marks:
            newest = max(mark[3] for mark in marks) / 1e9
            age = max(0.0, self._wall() - newest)
            known = {mark[:2] for mark in self._marks}
            same = now - self._checked < _CONTINUED or any(mark[:2] in known for mark in marks)
            if not self._marks or not same:
                self._since = self._wall() - age
            self._moved = max(now - age, self._checked)
        self._marks, self._checked = marks, now
        return GitState(operation, max(0.0, now - self._moved), self._since, remedy)

    def _find_operation(self) -> tuple[str, str, frozenset[Mark]]:
        """Return the running operation, its remedy, and the marks that change when it makes progress."""
        directory = self._find_directory()
        if directory is not None:
            locks = [directory, *_submodule_directories(directory)]
            if marks := _read_marks(place / "index.lock" for place in locks):
                return "git is writing files", "remove its index.lock", marks
            for name in _REBASES:
                state = directory / name
                if _read_mark(state / "stopped-sha") is None and (
                    marks := _read_marks(state / part for part in _REBASE_PARTS)
                ):
                    applying = _read_mark(state / "applying") is not None
                    operation = "applying patches" if applying else "rebasing"
                    return f"git is {operation}", "continue or abort it", marks
        for above in (self._root, *self._root.parents):
            for system, lock in _OTHER_LOCKS:
                if marks := _read_marks([above / lock]):
                    return f"{system} is writing files", f"remove {above / lock}", marks
        return "", "", frozenset()

    def _find_directory(self) -> Path | None:
        """Return the git directory of the work tree; in a linked work tree or submodule `.git` is a file."""
        for above in (self._root, *self._root.parents):
            place = above / ".git"
            if place.is_dir():
                return place
            if not place.is_file():  # a fifo must not be opened
                continue
            try:
                text = place.read_text("utf-8", "surrogateescape")
            except OSError:
                continue
            if text.startswith("gitdir:"):
                return above / text.removeprefix("gitdir:").strip()
        return None


def _submodule_directories(directory: Path) -> Iterator[Path]:
    """Return the git directories of the submodules, without those of nested submodules."""
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


def _read_marks(paths: Iterator[Path] | list[Path]) -> frozenset[Mark]:
    return frozenset(mark for path in paths if (mark := _read_mark(path)))


def _read_mark(path: Path) -> Mark | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return os.fspath(path), found.st_ino, found.st_size, found.st_mtime_ns
