"""The interface of a file system watcher on any operating system."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from watcher.errors import WatcherError


class EventsUnavailable(WatcherError):
    """The operating system cannot report changes now; the message is the reason and the remedy."""


class WatchBackend(Protocol):
    """Watches directories and fills an inbox.

    Its methods block for a short time and are called from a worker thread, one at a time.
    """

    def start(self) -> None:
        """Start. Raises EventsUnavailable."""
        ...

    def stop(self) -> None:
        """Stop and release everything, also after a failed start."""
        ...

    def watch(self, directories: Collection[str]) -> frozenset[str]:
        """Watch these from now on; return those that were not watched before. Raises EventsUnavailable."""
        ...

    def forget(self) -> None:
        """Watch nothing until `watch` is called again."""
        ...

    def probe(self, timeout: float) -> bool:
        """Return whether events arrive, as far as `timeout` seconds can show it.

        Raises EventsUnavailable.
        """
        ...
