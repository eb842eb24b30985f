"""When a burst of changes is over: a pure decision, and a thin shell that waits for it.

One save should build within a blink; a checkout of two thousand files, or a formatter's run over all of them,
should build once. So the quiet time asked for grows with the number of files in the burst, and with how often
a burst turned out not to be over. A build that began too early costs little: a newer save cancels it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from watcher.events import Hint, Looked, Source
from watcher.tree import Tree

LONGEST = 3.0
"""Seconds after which a burst is taken for what it is, however busy: somebody writes all the time."""

GIT_LONGEST = 10.0
"""Seconds without a sign of life after which a git operation no longer holds anything.

A lock file stays behind when git crashes, and `git commit -a` keeps it while its editor is open.
"""

_FEW, _SOME, _MANY = 2, 10, 100  # files; an editor that writes beside and renames touches two names
_QUIET = {_FEW: 0.015, _SOME: 0.05, _MANY: 0.12}  # seconds for up to so many files
_QUIET_MOST = 0.25
_REMOVED_QUIET = (
    0.05  # what was removed last often comes back at once: git, and editors that do it in two steps
)
_WRITING_QUIET = 0.2  # somebody has a file open and writes to it
_RESUMED_WITHIN = 0.3  # seconds after its end in which a burst can turn out not to have been over
_RESUMED_FACTOR = 3
_GIT_TICK = 0.025  # seconds between looks at git's state


@dataclass(frozen=True, slots=True)
class Ready:
    """The burst is over."""


@dataclass(frozen=True, slots=True)
class Until:
    """Not over before `at` (seconds of the clock); decide again then, or when more is known.

    `hold` says for what outside of the tree it waits; empty for the quiet time.
    """

    at: float
    hold: str = ""


@dataclass(frozen=True, slots=True)
class GitState:
    """The operation that is going on (empty for none), and how many seconds ago it last did something."""

    operation: str = ""
    idle: float = 0.0


class Settling:
    """Decides whether a burst is over. Times are seconds of one monotonic clock; nothing waits here."""

    def __init__(self) -> None:
        self._hint: Hint | None = None
        self._held = False
        self._ended = -_RESUMED_WITHIN
        self._resumed = 0
        self._before: frozenset[str] = frozenset()  # paths of the burst that is resumed

    def add(self, hint: Hint) -> None:
        """Take in what a source says."""
        if hint.by_events and not (self._hint and self._hint.by_events):
            if hint.first_seen - self._ended < _RESUMED_WITHIN:
                self._resumed += 1
            else:
                self._resumed, self._before = 0, frozenset()
        self._hint = self._hint.then(hint) if self._hint else hint

    def decide(self, now: float, git: GitState = GitState()) -> Ready | Until:
        """Whether to look now."""
        hint = self._hint
        if hint is None:
            return Ready()
        if git.operation:
            # What began while git was at work goes on as long as files keep on changing.
            lives = self._held and now - hint.last_seen < GIT_LONGEST
            if lives or git.idle < GIT_LONGEST:
                self._held = True
                return Until(now + _GIT_TICK, git.operation)
        if not hint.by_events:
            return Ready()
        over = hint.last_seen + self._quiet(hint)
        if not self._held:  # after an operation that took long a burst is as young as its last event
            over = min(over, hint.first_seen + LONGEST)
        return Ready() if now >= over else Until(over)

    def take(self, now: float) -> Hint | None:
        """What was added, as one; the next burst begins from nothing."""
        hint, self._hint, self._held = self._hint, None, False
        if hint is not None and hint.by_events:
            self._ended = now
            self._before = self._before | hint.paths if len(self._before) < _MANY else self._before
        return hint

    def _quiet(self, hint: Hint) -> float:
        files = len(hint.paths | self._before)
        quiet = next((seconds for most, seconds in _QUIET.items() if files <= most), _QUIET_MOST)
        quiet = min(_QUIET_MOST, quiet * float(_RESUMED_FACTOR ** min(self._resumed, 3)))
        if hint.removal:
            quiet = max(quiet, _REMOVED_QUIET)
        if hint.writing:
            quiet = max(quiet, _WRITING_QUIET)
        return quiet


class Hints(Protocol):
    """What gives hints: a `Source`."""

    async def wait(self, timeout: float | None = None) -> Hint | None:
        """The next hint; None when `timeout` seconds pass without."""
        ...


class Settler:
    """Waits for hints and hands them on, merged, when the tree has settled."""

    def __init__(
        self,
        source: Hints,
        git: Callable[[], GitState],
        *,
        hold: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`hold` is told for what is waited (a git operation), and the empty string when that is over."""
        self._source, self._git, self._hold, self._clock = source, git, hold, clock
        self._settling = Settling()

    async def next(self) -> Hint:
        """The next reason to look."""
        held = ""
        while True:
            decision = self._settling.decide(self._clock(), self._git())
            reason = decision.hold if isinstance(decision, Until) else ""
            if reason != held:
                held = reason
                self._hold(held)
            if isinstance(decision, Ready):
                if hint := self._settling.take(self._clock()):
                    return hint
                timeout = None
            else:
                timeout = max(0.0, decision.at - self._clock())
            if more := await self._source.wait(timeout):
                self._settling.add(more)


class Lookout:
    """One tree's source with all that settles its hints: `next`, look, `follow`, and again."""

    def __init__(self, source: Source, root: Path, *, hold: Callable[[str], None]) -> None:
        """`hold` is told of git operations that are waited for, see `Settler`."""
        self.source = source
        self._settler = Settler(source, Git(root), hold=hold)

    async def next(self) -> Hint:
        """The next reason to look, when what caused it has come to rest. The first comes at once."""
        return await self._settler.next()

    async def follow(self, tree: Tree, looked: Looked) -> None:
        """Say what came of a look: what is listened to, and when to look again, follows from it."""
        await self.source.watch(tree.watch_dirs, tree.rules.copy())
        self.source.looked(looked)

    async def gone(self) -> None:
        """Say that a look raised TreeGone: a hint follows when the root is there again."""
        await self.source.gone()


class Git:
    """Reads from the files of a repository whether git is at work in the work tree that holds `root`."""

    def __init__(self, root: Path, wall: Callable[[], float] = time.time) -> None:
        self._root = root.absolute()
        self._wall = wall

    def __call__(self) -> GitState:
        """The operation that is going on now: an index that is locked, a rebase between two commits.

        A rebase that has stopped for its user (a conflict, `edit`) is not at work, nor is an open merge.
        """
        directory = self._directory()
        if directory is None:
            return GitState()
        if (at := _mtime(directory / "index.lock")) is not None:
            return GitState("git is writing files", abs(self._wall() - at))
        for name in ("rebase-merge", "rebase-apply"):
            state = directory / name
            at = _mtime(state)
            if at is None or _mtime(state / "stopped-sha") is not None:
                continue
            parts = [_mtime(state / part) or 0.0 for part in ("done", "msgnum", "next")]
            newest = max(at, *parts)
            return GitState("git is rebasing", abs(self._wall() - newest))
        return GitState()

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


def _mtime(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None
