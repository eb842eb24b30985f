"""Collect events from the watching thread until the event loop takes them.

The number of directories bounds the memory, not the number of events: a checkout of a large branch causes a
hundred thousand. Events that cannot change the tree are dropped here, before they wake the event loop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum, auto

from watcher.fswatch.notification import MANY, Notification
from watcher.tree import Rules

_KEPT_OPEN = 1.0
"""Seconds without a write after which an open file no longer counts as being written: a log stays open."""


class Act(Enum):
    """What happened to a file or directory."""

    WRITTEN = auto()  # written to or created, perhaps not for the last time
    CLOSED = auto()  # complete: closed after writing, moved into place
    CHANGED = auto()  # mode or times
    REMOVED = auto()


@dataclass(frozen=True, slots=True)
class Mail:
    """The content of the inbox. `count` includes the events of files that are not in the tree."""

    notification: Notification | None
    count: int
    overflowed: bool
    root_lost: bool


class Inbox:
    """Filled by the backend's thread, which calls `wake`, and emptied by the event loop."""

    def __init__(self, wake: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._wake = wake
        self._clock = clock
        self._lock = threading.Lock()
        self._rules = Rules()
        self._also: frozenset[str] = frozenset()
        self._writing: dict[str, float] = {}
        self._last: tuple[str, Act] | None = None
        self._waked = False
        self._reset_state()

    def _reset_state(self) -> None:
        self._touched: set[str] = set()
        self._paths: set[str] = set()
        self._first = self._latest = 0.0
        self._removal = False
        self._count = 0
        self._overflowed = self._root_lost = False

    def listen_for(self, rules: Rules, also: Collection[str]) -> None:
        """Count only events of what `rules` let into the tree, or of the paths `also`, from now on.

        `rules` must be a copy that has no other user.
        """
        self._also = frozenset(also)
        self._rules = rules

    # For the backend's thread.

    def record_event(self, directory: str, name: str, act: Act, *, is_dir: bool) -> None:
        """Record an event of `name` in `directory` (relative, "" is the root)."""
        path = f"{directory}/{name}" if directory else name
        with self._lock:
            self._count += 1
            if (path, act) == self._last and directory in self._touched:
                # A repetition: a large file is written in pieces.
                self._latest = self._clock()
                if path in self._writing:
                    self._writing[path] = self._latest
                return
            if not (path in self._also or self._rules.concerns(path, is_dir=is_dir)):
                return
            self._last = (path, act)
            self._latest = self._clock()
            if not self._touched:
                self._first = self._latest
            self._touched.add(directory)
            if len(self._paths) < MANY:
                self._paths.add(path)
            self._removal = act is Act.REMOVED
            if act is Act.WRITTEN and not is_dir:
                self._writing[path] = self._latest
            elif act is not Act.CHANGED:
                self._writing.pop(path, None)
            self._wake_once()

    def record_overflow(self) -> None:
        """Record that the kernel dropped events."""
        with self._lock:
            self._overflowed = True
            self._wake_once()

    def record_root_lost(self) -> None:
        """Record that the root was removed, moved or unmounted."""
        with self._lock:
            self._root_lost = True
            self._wake_once()

    def _wake_once(self) -> None:
        if not self._waked:  # once until the inbox is emptied
            self._waked = True
            self._wake()

    # For the event loop.

    def take_all(self) -> Mail:
        """Return everything, and leave the inbox empty."""
        with self._lock:
            horizon = self._clock() - _KEPT_OPEN
            self._writing = {path: at for path, at in self._writing.items() if at > horizon}
            notification = None
            if self._touched:
                notification = Notification(
                    touched=frozenset(self._touched),
                    reason="event",
                    first_seen=self._first,
                    last_seen=self._latest,
                    paths=frozenset(self._paths),
                    writing=frozenset(self._writing),
                    removal=self._removal,
                )
            mail = Mail(notification, self._count, self._overflowed, self._root_lost)
            self._last = None
            self._waked = False
            self._reset_state()
        return mail
