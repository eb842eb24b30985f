"""Decide when a burst of changes is over: a pure policy, and a thin shell that waits.

One save must build without a noticeable delay. A checkout of two thousand files, or a formatter's run over
all of them, must build once. So the required quiet time grows with the number of files in the burst, and with
how often a burst turned out not to be over. A build that starts too early costs little: a newer save cancels
it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from watcher.fswatch import Notification, NotificationSource
from watcher.observers import humanize
from watcher.reconcile.git_state import GitState

LONGEST = 3.0
"""Seconds after which a burst ends even if files still change: something writes all the time."""

GIT_LONGEST = 10.0
"""Seconds without progress after which a git operation no longer delays anything.

A lock file remains when git crashes, and while the editor of `git commit -a` is open. Changes of other files
are no progress of git: they are probably the user's, and must go live.
"""

GIT_MOST = 60.0
"""Seconds for which a git operation can delay one burst, even if it makes progress."""

_FEW, _SOME, _MANY = 2, 10, 100  # files; an editor that writes a copy and renames it touches two names
_QUIET = {_FEW: 0.015, _SOME: 0.05, _MANY: 0.12}  # seconds for up to this many files
_QUIET_MOST = 0.25
_REMOVED_QUIET = 0.05  # git, and editors that save in two steps, replace a removed file within this time
_WRITING_QUIET = 0.2  # a process has a file open and writes to it
_RESUMED_WITHIN = 0.3  # seconds after its end within which more changes mean that a burst was not over
_RESUMED_FACTOR = 3
_GIT_TICK = 0.025  # seconds between checks of git's state
_AT_REST = GitState()


@dataclass(frozen=True, slots=True)
class Ready:
    """The burst is over."""


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """The burst is not over before `at` (seconds of the clock); decide again then, or on a notification.

    `hold` names the operation outside of the tree that delays it; empty for the quiet time.
    """

    at: float
    hold: str = ""


class DebouncePolicy:
    """Decides whether a burst is over. Times are seconds of one monotonic clock; it never waits itself."""

    def __init__(self) -> None:
        self._burst: Notification | None = None
        self._held_from: float | None = None  # when an operation first delayed the burst
        self._held_until = -math.inf  # when it last did
        self._ended = -_RESUMED_WITHIN
        self._resumed = 0
        self._before: frozenset[str] = frozenset()  # paths of the burst that this one resumes

    def add_notification(self, notification: Notification) -> None:
        """Merge a notification into the burst."""
        if notification.by_events and not (self._burst and self._burst.by_events):
            if notification.first_seen - self._ended < _RESUMED_WITHIN:
                self._resumed += 1
            else:
                self._resumed, self._before = 0, frozenset()
        self._burst = self._burst.then(notification) if self._burst else notification

    def decide(self, now: float, git: GitState = _AT_REST) -> Ready | WaitUntil:
        """Return whether to scan now."""
        burst = self._burst
        if burst is None:
            return Ready()
        if git.operation and git.idle < GIT_LONGEST:
            held_from = now if self._held_from is None else self._held_from
            if now < held_from + GIT_MOST:
                self._held_from, self._held_until = held_from, now
                return WaitUntil(now + _GIT_TICK, git.operation)
        if not burst.by_events:
            return Ready()
        # After a long operation a burst counts as starting when the operation ended.
        started = max(burst.first_seen, self._held_until)
        over = min(burst.last_seen + self._quiet_time(burst), started + LONGEST)
        return Ready() if now >= over else WaitUntil(over)

    def take_burst(self, now: float) -> Notification | None:
        """Return all that was added as one notification, and start a new burst."""
        burst, self._burst = self._burst, None
        self._held_from, self._held_until = None, -math.inf
        if burst is not None and burst.by_events:
            self._ended = now
            self._before = self._before | burst.paths if len(self._before) < _MANY else self._before
        return burst

    def _quiet_time(self, burst: Notification) -> float:
        """Return the seconds without an event after which the burst is over."""
        files = len(burst.paths | self._before)
        quiet = next((seconds for most, seconds in _QUIET.items() if files <= most), _QUIET_MOST)
        quiet = min(_QUIET_MOST, quiet * float(_RESUMED_FACTOR ** min(self._resumed, 3)))
        if burst.removal:
            quiet = max(quiet, _REMOVED_QUIET)
        if burst.writing:
            quiet = max(quiet, _WRITING_QUIET)
        return quiet


class Debouncer:
    """Merges the notifications of one source into bursts, and returns each burst when it is over."""

    def __init__(
        self,
        source: NotificationSource,
        git: Callable[[], GitState],
        *,
        hold: Callable[[str], None] = lambda _: None,
        warn: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wait for `source` and for the operations that `git` reports.

        `hold` is called with the operation that delays a burst, and with an empty string when the delay ends.
        `warn` is called once for an operation that has not ended and no longer delays anything.
        """
        self.source = source
        self._git, self._hold, self._warn, self._clock = git, hold, warn, clock
        self._warned = 0.0  # start of the operation of the last warning
        self._policy = DebouncePolicy()

    async def next_notification(self) -> Notification:
        """Return the next burst as one notification."""
        held = ""
        while True:
            git = self._git()
            decision = self._policy.decide(self._clock(), git)
            reason = decision.hold if isinstance(decision, WaitUntil) else ""
            if bool(reason) != bool(held):
                held = f"{reason} since {humanize.clock(git.since)}" if reason else ""
                self._hold(held)
            if isinstance(decision, Ready):
                if burst := self._policy.take_burst(self._clock()):
                    self._warn_of_idle(git)
                    return burst
                timeout = None
            else:
                timeout = max(0.0, decision.at - self._clock())
            if more := await self.source.wait(timeout):
                self._policy.add_notification(more)

    def _warn_of_idle(self, git: GitState) -> None:
        """Warn once of a git operation that is probably dead."""
        if git.operation and git.since != self._warned:
            self._warned = git.since
            text = f"{git.operation} since {humanize.clock(git.since)} and is not waited for any longer"
            system = git.operation.partition(" ")[0]
            self._warn(f"{text}: saves are built (if no {system} runs, it was interrupted: {git.remedy})")
