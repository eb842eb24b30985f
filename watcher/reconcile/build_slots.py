"""Bound how many builds run at once: a slot for each image, given in the order in which it is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class BuildSlots:
    """At most `most` slots are taken at a time. One event loop uses it.

    Builds of one image take one slot together: they run one after the other, and all but the first are short.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._builds: Counter[str] = Counter()  # by image
        self._waiting: dict[str, tuple[str, Callable[[], None]]] = {}  # by service: image, wake

    def resize(self, most: int) -> None:
        """Allow so many; builds that run already come to their end."""
        self._most = most
        self._wake_next()

    def take(self, name: str, image: str, wake: Callable[[], None]) -> bool:
        """Take a slot for a build of service `name`. If none is free, `wake` is called when to ask again."""
        ahead = next(iter(self._waiting), name)
        if self._builds[image]:
            self._waiting.pop(name, None)
        elif len(+self._builds) < self._most and ahead == name:
            self._waiting.pop(name, None)
            for other, wake_other in [*self._waiting.values()]:
                if other == image:
                    wake_other()
        else:
            self._waiting.setdefault(name, (image, wake))
            return False
        self._builds[image] += 1
        self._wake_next()
        return True

    def leave(self, name: str) -> None:
        """Wait no longer for a slot."""
        if self._waiting.pop(name, None):
            self._wake_next()

    def release(self, image: str) -> None:
        """Give back the slot of a build that has ended."""
        self._builds[image] -= 1
        self._builds = +self._builds
        self._wake_next()

    def _wake_next(self) -> None:
        if len(+self._builds) < self._most and self._waiting:
            _, wake = next(iter(self._waiting.values()))
            wake()
