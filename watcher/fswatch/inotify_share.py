"""One inotify descriptor for all that watch in this process: one thread, and one watch for each directory.

Several services can be built from the same folders. The kernel counts instances and watches for each user, so
what watches a directory twice takes from other programs.
"""

from __future__ import annotations

import threading
from collections import Counter
from itertools import count

from watcher.fswatch.watchdog_inotify import CallbackId, InotifyFD, WatchDescriptor


class InotifyShare:
    """Lends the descriptor to those that need it, and closes it when none does."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # held while the mask of a root's watch changes
        self._lending = threading.Lock()
        self._users: Counter[InotifyFD] = Counter()
        self._current: InotifyFD | None = None
        self._ids = count(1)
        self._probes: Counter[WatchDescriptor] = Counter()

    def borrow(self) -> InotifyFD:
        """Return the running descriptor; raises OSError when the user's instances are used up."""
        with self._lending:
            if self._current is None or not self._current.is_alive():
                self._current = InotifyFD()
                self._current.start()
            self._users[self._current] += 1
            return self._current

    def give_back(self, descriptor: InotifyFD) -> None:
        """Close the descriptor if nothing uses it any more; blocks until its thread has ended."""
        with self._lending:
            self._users[descriptor] -= 1
            if self._users[descriptor]:
                return
            del self._users[descriptor]
            if self._current is descriptor:
                self._current = None
        descriptor.stop()
        descriptor.join()

    def next_id(self) -> CallbackId:
        """Return an id that no callback of this descriptor has."""
        return CallbackId(next(self._ids))

    def begin_probe(self, watch: WatchDescriptor) -> None:
        """Count a probe of this watch, which roots of several names can share. Call with `lock` held."""
        self._probes[watch] += 1

    def end_probe(self, watch: WatchDescriptor) -> bool:
        """Count the end of a probe; return whether it was the last one. Call with `lock` held."""
        self._probes[watch] -= 1
        last = not self._probes[watch]
        if last:
            del self._probes[watch]
        return last
