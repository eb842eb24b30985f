"""Connections to backends: one object each, and the register that counts them per backend."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, cast

from watcher.front.model import Backend, DrainReport
from watcher.front.sockets import half_close

LAST_WORD = 1.0  # seconds after a drain's time is up in which an answer that is due may still come
REUSE_IDLE = 1.0  # seconds after which a request that must not be repeated gets a fresh connection


class User(Protocol):
    """The client side of a link: who reads what the backend sends."""

    def linked(self, link: Link) -> None:
        """The connection that was asked for is there."""
        ...

    def from_backend(self, data: bytes) -> None:
        """The backend sent `data`."""
        ...

    def backend_eof(self) -> bool:
        """The backend will send no more. True keeps the other direction open."""
        ...

    def backend_lost(self, link: Link, error: Exception | None) -> None:
        """The connection is gone; told once. `error` is None after an orderly end."""
        ...

    def backend_slow(self, slow: bool) -> None:
        """The backend takes less than it is sent, or no longer so."""
        ...


class Link(asyncio.Protocol):
    """One connection to a backend, used by one client at a time.

    `busy` while an exchange or a tunnel runs on it; `served` counts the exchanges that ended. `awaiting`
    while the backend has not spoken since its client did, `ending` once a tunnel is to be closed when it has.
    """

    __slots__ = (
        "_group",
        "_links",
        "_made",
        "_poll",
        "awaiting",
        "backend",
        "busy",
        "closed",
        "ending",
        "half_closed",
        "idle_since",
        "served",
        "slow",
        "transport",
        "user",
    )

    transport: asyncio.Transport
    user: User

    def __init__(self, links: Links, backend: Backend, made: Callable[[Link], None]) -> None:
        self._links = links
        self._group = links.group(backend)
        self._made = made
        self.backend = backend
        self.awaiting = False
        self.busy = False
        self.closed = False
        self.ending = False
        self.half_closed = False
        self.served = 0
        self.slow = False  # it takes less than it is sent
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop: `made` sets the user, or closes the link when it is not wanted any more."""
        self.transport = cast(asyncio.Transport, transport)
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._group.links.add(self)
        self._made(self)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self.user.from_backend(data)

    def eof_received(self) -> bool:
        """Called by the loop. An end of file ends the link, unless its user keeps it half open."""
        if self.user.backend_eof():
            return True
        self._gone(None)
        return False

    def pause_writing(self) -> None:
        """Called by the loop when what waits to be sent is above the high-water mark."""
        self.slow = True
        if not self.closed:
            self.user.backend_slow(True)

    def resume_writing(self) -> None:
        """Called by the loop when it is below the low-water mark again."""
        self.slow = False
        if not self.closed:
            self.user.backend_slow(False)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop, and by the gate where the loop forgets to; a second time changes nothing."""
        self._gone(exc)
        self._group.links.discard(self)
        self._links.changed()

    def begin(self) -> None:
        """An exchange starts."""
        self.awaiting = self.busy = True
        self._group.active += 1

    def end(self, now: float) -> None:
        """The exchange has ended; the link is free for the next."""
        self.served += 1
        self.idle_since = now
        self._free()

    def usable(self, now: float, *, repeatable: bool) -> bool:
        """Whether the next request can go out here.

        A server may close an idle connection just when the next request is written to it. So the socket
        is asked for an end of file that the loop has not read yet; and a request that must not be sent
        twice does not go out on a connection that has been idle for long enough to be closed for that.
        """
        if self.transport.is_closing() or (not repeatable and now - self.idle_since > REUSE_IDLE):
            return False
        return not self._poll.poll(0)

    def half_close(self) -> None:
        """Tell the backend that no more will be sent. The link cannot serve another exchange."""
        self.half_closed = True
        half_close(self.transport)

    def close(self) -> None:
        """Close the connection after what was written to it; the user is not told."""
        self.closed = True
        self._free()
        self.transport.close()

    def abort(self) -> None:
        """Drop the connection at once; the user is not told."""
        self.closed = True
        self._free()
        self.transport.abort()

    def cut(self) -> None:
        """Drop the connection; its user is told as if the backend had broken it off."""
        self._gone(ConnectionAbortedError("closed by the front"))

    def _free(self) -> None:
        if self.busy:
            self.busy = False
            self._group.active -= 1
            if not self._group.active:
                self._links.changed()

    def _gone(self, error: Exception | None) -> None:
        if not self.closed:
            self.abort()
            self.user.backend_lost(self, error)


class Group:
    """The links to one backend, and how many of them are busy."""

    __slots__ = ("active", "links")

    def __init__(self) -> None:
        self.links: set[Link] = set()
        self.active = 0


class Links:
    """All links, per backend. A drain waits here for those of one backend to become free."""

    def __init__(self) -> None:
        self._groups: dict[Backend, Group] = {}
        self._waiters: set[asyncio.Future[None]] = set()

    def group(self, backend: Backend) -> Group:
        """The links to `backend`."""
        return self._groups.setdefault(backend, Group())

    def changed(self) -> None:
        """A connection is gone, or the last exchange with a backend has ended: let those who wait look."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def active(self) -> dict[Backend, int]:
        """Exchanges and tunnels in progress, per backend; a backend without any is not named."""
        return {backend: group.active for backend, group in self._groups.items() if group.active}

    def idle(self) -> dict[Backend, int]:
        """Connections without an exchange, per backend; a backend without any is not named."""
        counts = {backend: len(group.links) - group.active for backend, group in self._groups.items()}
        return {backend: count for backend, count in counts.items() if count > 0}

    def close_idle(self, backend: Backend) -> None:
        """Close the connections to `backend` that carry nothing."""
        for link in [link for link in self.group(backend).links if not link.busy]:
            link.cut()

    async def drain(self, backend: Backend, timeout: float) -> DrainReport:
        """Wait at most `timeout` seconds for the exchanges on `backend`, then close what is still open.

        What waits for the backend's word at that moment gets a little longer: a WebSocket that is closed
        between an answer and the next question loses nothing.
        """
        began = time.monotonic()
        group = self.group(backend)
        at_start = group.active
        self.close_idle(backend)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._until(lambda: not group.active)
        still_open = [link for link in group.links if link.busy]
        for link in still_open:
            link.ending = True
            if not link.awaiting:
                link.cut()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD):
                await self._until(lambda: not group.active)
        for link in still_open:
            if link.busy:
                link.cut()
        cut = sum(link.closed for link in still_open)
        for link in list(group.links):
            link.abort()
        await self._until(lambda: not group.links)
        if self._groups.get(backend) is group:
            del self._groups[backend]
        return DrainReport(time.monotonic() - began, max(at_start - cut, 0), cut)

    def abort(self) -> None:
        """Drop all connections."""
        for group in self._groups.values():
            for link in list(group.links):
                link.abort()

    async def closed(self) -> None:
        """Wait until no connection to any backend is left."""
        await self._until(lambda: not any(group.links for group in self._groups.values()))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
