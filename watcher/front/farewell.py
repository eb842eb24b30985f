"""Connections that stay with older versions after a switch: ask them to end, count and report them.

HTTP/1 does not need this: the new version gets its next request anyway. A tunnel stays with its first
container, so it is asked repeatedly whether it can end without loss.
"""

from __future__ import annotations

import asyncio

from watcher.front.gate import Gate
from watcher.front.upstream import Upstream, UpstreamPool
from watcher.observers.events import FrontOld, Observer


class Farewell:
    """See the module."""

    def __init__(self, pool: UpstreamPool, gate: Gate, observer: Observer, service: str) -> None:
        self._pool, self._gate = pool, gate
        self._observer, self._service = observer, service
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._emitted: int | None = None  # not known before the first switch
        self.port = 0  # that the front listens on

    def backend_switched(self) -> None:
        """Look now, and until no older version has a connection any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._count_old()

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._emitted:
            self._notify_old(0)

    def _count_old(self) -> None:
        self._timer = None
        for upstream in self._old_connections():
            upstream.user.farewell()
        count = len(self._old_connections())
        self._notify_old(count)
        if count:
            self._timer = self._loop.call_later(self._gate.limits.times.old_check, self._count_old)

    def _notify_old(self, count: int) -> None:
        if count != self._emitted:
            self._emitted = count
            self._observer.notify(FrontOld(service=self._service, port=self.port, connections=count))

    def _old_connections(self) -> list[Upstream]:
        return self._pool.busy_elsewhere(self._gate.backend)
