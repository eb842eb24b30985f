"""What all clients of one front share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from watcher.front.extra_headers import ExtraHeaders
from watcher.front.farewell import Farewell
from watcher.front.gate import Gate
from watcher.front.model import Backend, FrontLimits, Unavailable
from watcher.front.room import SHARE, Room
from watcher.front.upstream import UpstreamPool
from watcher.observers.events import FrontExchange, FrontRefused, Notice, Observer

WARN_EVERY = 60.0  # seconds between two notices that there is no room


class FrontClient(Protocol):
    """One client connection, as the front sees it."""

    @property
    def address(self) -> str:
        """Return the client's IP address."""
        ...

    def shut(self) -> None:
        """Close when nothing is in progress, or as soon as that is so."""
        ...

    def abort(self) -> None:
        """Close now."""
        ...


class Context:
    """The gate, the limits, the connected clients and the counters."""

    def __init__(
        self,
        *,
        limits: FrontLimits,
        observer: Observer,
        service: str,
        explain: Callable[[], Unavailable],
        extra_headers: ExtraHeaders,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.limits = limits
        self.explain = explain
        self.extra_headers = extra_headers
        self.pool = UpstreamPool()
        self.gate = Gate(limits, self.pool, explain, observer, service)
        self.clients: set[FrontClient] = set()
        self.room = Room(limits.times)
        self.announces_end = False  # each response says that its connection ends with it
        self.closing = False  # each connection ends with the exchange in progress
        self.exchanges = 0
        self.app_speaks_first = False  # it did so on a connection whose client was silent
        self.farewell = Farewell(self.pool, self.gate, observer, service)
        self.retried = 0
        self.refusals = 0
        self._observer = observer
        self._service = service
        self._warned_full = -WARN_EVERY
        self._empty: asyncio.Event = asyncio.Event()
        self._empty.set()

    def configure(self, limits: FrontLimits, extra_headers: ExtraHeaders) -> None:
        """From now on these are in force."""
        self.limits, self.extra_headers = limits, extra_headers
        self.gate.limits = limits

    def joined(self, client: FrontClient) -> None:
        """A client has connected."""
        self.clients.add(client)
        self.room.joined(client.address)
        self._empty.clear()
        if self.closing:  # accepted just before the sockets were closed
            self.loop.call_soon(client.shut)

    def admits(self, client: FrontClient) -> bool:
        """Return whether a new client can stay. Closes an idle connection to make room if necessary."""
        closed = self.room.closed_idle
        admitted = self.room.make_room(client.address, self.limits.connections)
        if not admitted or self.room.closed_idle > closed:
            self._warn_full()
        return admitted

    def _warn_full(self) -> None:
        if (now := time.monotonic()) - self._warned_full < WARN_EVERY:
            return
        self._warned_full = now
        text = (
            f"the front has {len(self.clients)} connections open, of which one client may have "
            f"{SHARE:.0%} of {self.limits.connections} (front.connections): idle ones are closed for new ones"
        )
        self._observer.notify(Notice(service=self._service, level="warning", text=text))

    def left(self, client: FrontClient) -> None:
        """A client has gone."""
        if client in self.clients:
            self.room.left(client.address)
        self.clients.discard(client)
        if not self.clients:
            self._empty.set()

    async def all_left(self) -> None:
        """Wait until no client is connected."""
        while self.clients:  # a tunnel can replace the last one
            await self._empty.wait()

    def finished(self, code: int, began: float, held: float, backend: Backend) -> None:
        """An exchange (or tunnel) that began at `began` (time.monotonic) has ended."""
        self.exchanges += 1
        self._observer.notify(
            FrontExchange(
                service=self._service,
                code=code,
                seconds=time.monotonic() - began,
                held=held,
                revision=backend.revision,
            )
        )

    def refused(self, reason: str, code: int) -> None:
        """The front itself has answered; `code` is 0 if a raw connection was closed."""
        self.refusals += 1
        self._observer.notify(FrontRefused(service=self._service, reason=reason, code=code))
