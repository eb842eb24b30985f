"""One inotify descriptor for all that watch in this process: one thread, and one watch for each directory.

Several services can be built from the same folders. The kernel counts instances and watches for each user, so
what watches a directory twice takes from other programs.
"""

from __future__ import annotations

import threading
from collections import Counter
from itertools import count

from watcher.fswatch.watchdog_inotify import CallbackId, InotifyFD


class InotifyShare:
    """Lends the descriptor to those that need it, and closes it when none does."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # held while the mask of a root's watch changes
        self._lending = threading.Lock()
        self._users: Counter[InotifyFD] = Counter()
        self._current: InotifyFD | None = None
        self._ids = count(1)
        self._probes: Counter[bytes] = Counter()

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

    def begin_probe(self, root: bytes) -> None:
        """Count a probe of this root; to be called with `lock`."""
        self._probes[root] += 1

    def end_probe(self, root: bytes) -> bool:
        """Count the end of a probe; return whether it was the last one. To be called with `lock`."""
        self._probes[root] -= 1
        last = not self._probes[root]
        if last:
            del self._probes[root]
        return last
