"""Bound how many builds run at once: one slot for each, given in the order in which they are asked for."""

from __future__ import annotations

from collections.abc import Callable


class BuildSlots:
    """At most `most` slots are taken at a time. One event loop uses it."""

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0
        self._waiting: dict[str, Callable[[], None]] = {}

    def resize(self, most: int) -> None:
        """Allow so many; builds that run already come to their end."""
        self._most = most
        self._wake_next()

    def take(self, name: str, wake: Callable[[], None]) -> bool:
        """Take a slot for a build of service `name`. If none is free, `wake` is called when to ask again."""
        ahead = next(iter(self._waiting), name)
        if self._taken < self._most and ahead == name:
            self._waiting.pop(name, None)
            self._taken += 1
            self._wake_next()
            return True
        self._waiting.setdefault(name, wake)
        return False

    def leave(self, name: str) -> None:
        """Wait no longer for a slot."""
        if self._waiting.pop(name, None):
            self._wake_next()

    def release(self) -> None:
        """Give back the slot of a build that has ended."""
        self._taken -= 1
        self._wake_next()

    def _wake_next(self) -> None:
        if self._taken < self._most and self._waiting:
            next(iter(self._waiting.values()))()
