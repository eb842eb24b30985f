"""What all clients of one front share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from watcher.front.additions import Additions
from watcher.front.gate import Gate
from watcher.front.links import Links
from watcher.front.model import Backend, Limits, Unavailable
from watcher.observe import FrontExchange, FrontRefused, Observer


class Client(Protocol):
    """One client connection, as the front sees it."""

    def shut(self) -> None:
        """Close when nothing is in progress, or as soon as that is so."""
        ...

    def abort(self) -> None:
        """Close now."""
        ...


class Context:
    """The gate, the limits, who is connected, and what has been counted."""

    def __init__(
        self,
        *,
        limits: Limits,
        observer: Observer,
        service: str,
        explain: Callable[[], Unavailable],
        additions: Additions,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.limits = limits
        self.explain = explain
        self.additions = additions
        self.links = Links()
        self.gate = Gate(limits, self.links, explain, observer, service)
        self.clients: set[Client] = set()
        self.closing = False
        self.exchanges = 0
        self.retried = 0
        self.refusals = 0
        self._observer = observer
        self._service = service
        self._empty: asyncio.Event = asyncio.Event()
        self._empty.set()

    def configure(self, limits: Limits, additions: Additions) -> None:
        """From now on these are in force."""
        self.limits, self.additions = limits, additions
        self.gate.limits = limits

    def joined(self, client: Client) -> None:
        """A client has connected."""
        self.clients.add(client)
        self._empty.clear()
        if self.closing:  # accepted just before the sockets were closed
            self.loop.call_soon(client.shut)

    def left(self, client: Client) -> None:
        """A client has gone."""
        self.clients.discard(client)
        if not self.clients:
            self._empty.set()

    async def all_left(self) -> None:
        """Wait until no client is connected."""
        while self.clients:  # the last one may have been replaced, as by a tunnel
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
        """The front has answered by itself; `code` is 0 when a raw connection was closed."""
        self.refusals += 1
        self._observer.notify(FrontRefused(service=self._service, reason=reason, code=code))
