"""Connections to backends: one object each, and the register that counts them per backend."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Protocol, cast

from watcher.front.model import Backend
from watcher.front.sockets import half_close

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

    @property
    def has_end(self) -> bool:
        """Whether a body whose end is known is on its way, in either direction."""
        ...

    @property
    def opaque(self) -> bool:
        """Whether only the app can end this well, when it is told to stop."""
        ...

    def farewell(self) -> None:
        """A newer version has the traffic: end if nothing is in progress. Asked again and again."""
        ...

    def leave(self) -> None:
        """The backend is about to go: come to an end where nothing is lost by it."""
        ...


class Link(asyncio.Protocol):
    """One connection to a backend, used by one client at a time.

    `busy` while an exchange or a tunnel runs on it; `served` counts the exchanges that ended. `awaiting`
    while the backend has not spoken since its client did; `moved` counts the bytes of bodies, and `was_cut`
    tells that it was closed although what ran on it had not ended. `ended`: the backend says no more.
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
        "ended",
        "half_closed",
        "idle_since",
        "moved",
        "served",
        "slow",
        "transport",
        "user",
        "was_cut",
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
        self.ended = False
        self.half_closed = False
        self.moved = 0
        self.served = 0
        self.slow = False  # it takes less than it is sent
        self.was_cut = False
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
        self.moved += len(data)
        self.user.from_backend(data)

    def eof_received(self) -> bool:
        """Called by the loop. An end of file ends the link, unless its user keeps it half open."""
        if self.user.backend_eof():
            self.ended = True
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

    def leave(self) -> None:
        """Close the connection although what runs on it has not ended; the user knows."""
        self.was_cut = True
        self.close()

    def cut(self) -> None:
        """Drop the connection; its user is told as if the backend had broken it off."""
        self.was_cut = True
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
        self.hurried = False

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

    def busy_elsewhere(self, current: Backend | None) -> list[Link]:
        """The links that are in use, to every backend but `current`."""
        groups = (group for backend, group in self._groups.items() if backend != current and group.active)
        return [link for group in groups for link in group.links if link.busy]

    def idle(self) -> dict[Backend, int]:
        """Connections without an exchange, per backend; a backend without any is not named."""
        counts = {backend: len(group.links) - group.active for backend, group in self._groups.items()}
        return {backend: count for backend, count in counts.items() if count > 0}

    def close_idle(self, backend: Backend) -> None:
        """Close the connections to `backend` that carry nothing."""
        for link in [link for link in self.group(backend).links if not link.busy]:
            link.cut()

    def forget(self, backend: Backend, group: Group) -> None:
        """`backend` will not be connected to again; `group` was its links."""
        if self._groups.get(backend) is group:
            del self._groups[backend]

    def hurry(self) -> None:
        """From now on no drain waits for what moves."""
        self.hurried = True

    def abort(self) -> None:
        """Drop all connections."""
        for group in self._groups.values():
            for link in list(group.links):
                link.abort()

    async def closed(self) -> None:
        """Wait until no connection to any backend is left."""
        await self.until(lambda: not any(group.links for group in self._groups.values()))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition` is true; it is looked at when a link has become free, or gone."""
        while not condition():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
