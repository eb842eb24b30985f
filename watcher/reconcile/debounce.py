"""When a burst of changes is over: a pure decision, and a thin shell that waits for it.

One save should build within a blink; a checkout of two thousand files, or a formatter's run over all of them,
should build once. So the quiet time asked for grows with the number of files in the burst, and with how often
a burst turned out not to be over. A build that began too early costs little: a newer save cancels it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from watcher.fswatch import Hint, Looked, Source
from watcher.observers import humanize
from watcher.reconcile.git_state import Git, GitState
from watcher.tree import Tree

LONGEST = 3.0
"""Seconds after which a burst is taken for what it is, however busy: somebody writes all the time."""

GIT_LONGEST = 10.0
"""Seconds without progress of its own after which a git operation no longer holds anything.

A lock file stays behind when git crashes, and `git commit -a` keeps it while its editor is open. Files that
change meanwhile are no progress: they may well be the user's, who waits for them to go live.
"""

GIT_MOST = 60.0
"""Seconds that one burst is held at most, even for a git operation that goes on."""

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
_AT_REST = GitState()


@dataclass(frozen=True, slots=True)
class Ready:
    """The burst is over."""


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Not over before `at` (seconds of the clock); decide again then, or when more is known.

    `hold` says for what outside of the tree it waits; empty for the quiet time.
    """

    at: float
    hold: str = ""


class DebouncePolicy:
    """Decides whether a burst is over. Times are seconds of one monotonic clock; nothing waits here."""

    def __init__(self) -> None:
        self._hint: Hint | None = None
        self._held_from: float | None = None  # when the burst was first held
        self._held_until = -math.inf  # when it was last
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

    def decide(self, now: float, git: GitState = _AT_REST) -> Ready | WaitUntil:
        """Whether to look now."""
        hint = self._hint
        if hint is None:
            return Ready()
        if git.operation and git.idle < GIT_LONGEST:
            held_from = now if self._held_from is None else self._held_from
            if now < held_from + GIT_MOST:
                self._held_from, self._held_until = held_from, now
                return WaitUntil(now + _GIT_TICK, git.operation)
        if not hint.by_events:
            return Ready()
        # After an operation that took long a burst is as young as its end.
        begun = max(hint.first_seen, self._held_until)
        over = min(hint.last_seen + self._quiet(hint), begun + LONGEST)
        return Ready() if now >= over else WaitUntil(over)

    def take(self, now: float) -> Hint | None:
        """What was added, as one; the next burst begins from nothing."""
        hint, self._hint = self._hint, None
        self._held_from, self._held_until = None, -math.inf
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


class Debouncer:
    """Waits for hints and hands them on, merged, when the tree has settled."""

    def __init__(
        self,
        source: Hints,
        git: Callable[[], GitState],
        *,
        hold: Callable[[str], None],
        warn: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`hold` is told for what is waited (a git operation), and the empty string when that is over.

        `warn` is told once of an operation that is no longer waited for although it has not ended.
        """
        self._source, self._git, self._hold, self._clock = source, git, hold, clock
        self._warn = warn
        self._warned = 0.0  # of the operation that began then
        self._settling = DebouncePolicy()

    async def next(self) -> Hint:
        """The next reason to look."""
        held = ""
        while True:
            git = self._git()
            decision = self._settling.decide(self._clock(), git)
            reason = decision.hold if isinstance(decision, WaitUntil) else ""
            if bool(reason) != bool(held):
                held = f"{reason} since {humanize.clock(git.since)}" if reason else ""
                self._hold(held)
            if isinstance(decision, Ready):
                if hint := self._settling.take(self._clock()):
                    self._tell_of_idle(git)
                    return hint
                timeout = None
            else:
                timeout = max(0.0, decision.at - self._clock())
            if more := await self._source.wait(timeout):
                self._settling.add(more)

    def _tell_of_idle(self, git: GitState) -> None:
        if git.operation and git.since != self._warned:
            self._warned = git.since
            text = f"{git.operation} since {humanize.clock(git.since)} and is not waited for any longer"
            writing = git.operation.startswith("git is writing")
            why = "remove its index.lock" if writing else "continue or abort it"
            self._warn(f"{text}: saves are built (if no git runs, it was interrupted: {why})")


class Lookout:
    """One tree's source with all that settles its hints: `next`, look, `follow`, and again."""

    def __init__(
        self,
        source: Source,
        root: Path,
        *,
        hold: Callable[[str], None],
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`hold` and `warn` are told of git operations, see `Debouncer`."""
        self.source = source
        self._settler = Debouncer(source, Git(root), hold=hold, warn=warn)

    async def next(self) -> Hint:
        """The next reason to look, when what caused it has come to rest. The first comes at once."""
        return await self._settler.next()

    async def follow(self, tree: Tree, looked: Looked) -> None:
        """Say what came of a look: what is listened to, and when to look again, follows from it."""
        await self.source.watch(tree.watch_dirs, tree.rules.copy(), also=tree.links)
        self.source.looked(looked)

    async def gone(self) -> None:
        """Say that a look raised TreeGone: a hint follows when the root is there again."""
        await self.source.gone()
