"""Connections that a switch has left with older versions: asked to end when they can, counted, and told of.

HTTP/1 needs nothing of the kind: its next request goes to the new version anyway. A tunnel stays with the
container that it began with, so its user is asked again and again whether it can end without loss.
"""

from __future__ import annotations

import asyncio

from watcher.front.gate import Gate
from watcher.front.upstream import Link, Links
from watcher.observers.events import FrontOld, Observer

EVERY = 0.25  # seconds between two looks while there are such connections


class Farewell:
    """See the module."""

    def __init__(self, links: Links, gate: Gate, observer: Observer, service: str) -> None:
        self._links, self._gate = links, gate
        self._observer, self._service = observer, service
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._told: int | None = None  # not known before the first switch
        self.port = 0  # that the front listens on

    def switched(self) -> None:
        """Look now, and until no older version has a connection any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._look()

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._told:
            self._tell(0)

    def _look(self) -> None:
        self._timer = None
        for link in self._old():
            link.user.farewell()
        count = len(self._old())
        self._tell(count)
        if count:
            self._timer = self._loop.call_later(EVERY, self._look)

    def _tell(self, count: int) -> None:
        if count != self._told:
            self._told = count
            self._observer.notify(FrontOld(service=self._service, port=self.port, connections=count))

    def _old(self) -> list[Link]:
        return self._links.busy_elsewhere(self._gate.backend)
