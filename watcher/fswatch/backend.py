"""What a source of events must be able to do, whatever the operating system."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from watcher.errors import WatcherError


class EventsUnavailable(WatcherError):
    """The operating system cannot report changes now; the message says why and what to do."""


class WatchBackend(Protocol):
    """Watches directories and fills an inbox. Its methods block shortly and are called from a worker thread,
    one at a time.
    """

    def start(self) -> None:
        """Begin. Raises EventsUnavailable."""
        ...

    def stop(self) -> None:
        """End; gives back everything, also after a failed start."""
        ...

    def watch(self, directories: Collection[str]) -> frozenset[str]:
        """Watch these from now on; returns those that were not watched before. Raises EventsUnavailable."""
        ...

    def forget(self) -> None:
        """Watch nothing until `watch` is called again."""
        ...

    def probe(self, timeout: float) -> bool:
        """Whether events arrive, as far as that can be found out within `timeout` seconds.

        Raises EventsUnavailable.
        """
        ...
