"""Connections to backends: one object each, and the register that counts them per backend."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Protocol, cast

from watcher.front.model import Backend
from watcher.front.sockets import half_close


class User(Protocol):
    """The client side of an upstream connection."""

    def upstream_ready(self, upstream: Upstream) -> None:
        """The connection that was asked for is there."""
        ...

    def from_backend(self, data: bytes) -> None:
        """The backend sent `data`."""
        ...

    def backend_eof(self) -> bool:
        """Return the backend will send no more. True keeps the other direction open."""
        ...

    def backend_lost(self, upstream: Upstream, error: Exception | None) -> None:
        """The connection is closed; called once. `error` is None after an orderly end."""
        ...

    def backend_slow(self, slow: bool) -> None:
        """The backend takes less than it is sent, or no longer so."""
        ...

    @property
    def has_end(self) -> bool:
        """Return whether a body of known length is in transfer, in either direction."""
        ...

    @property
    def opaque(self) -> bool:
        """Return whether only the app can end this well, when it stops."""
        ...

    def farewell(self) -> None:
        """A newer version has the traffic: end if nothing is in progress. Asked again and again."""
        ...

    def leave(self) -> None:
        """The backend is about to stop: end now if nothing is lost."""
        ...


class Upstream(asyncio.Protocol):
    """One connection to a backend, used by one client at a time.

    `busy` while an exchange or a tunnel runs on it. `awaiting`
    while the backend has not spoken since its client did; `moved` counts the bytes of bodies, and `was_cut`
    means that it was closed during an exchange. `ended`: the backend has closed its half.
    """

    __slots__ = (
        "_group",
        "_made",
        "_poll",
        "_pool",
        "awaiting",
        "backend",
        "busy",
        "closed",
        "ended",
        "half_closed",
        "idle_since",
        "moved",
        "slow",
        "transport",
        "user",
        "was_cut",
    )

    transport: asyncio.Transport
    user: User

    def __init__(self, pool: UpstreamPool, backend: Backend, made: Callable[[Upstream], None]) -> None:
        self._pool = pool
        self._group = pool.group_of(backend)
        self._made = made
        self.backend = backend
        self.awaiting = False
        self.busy = False
        self.closed = False
        self.ended = False
        self.half_closed = False
        self.moved = 0
        self.slow = False  # it takes less than it is sent
        self.was_cut = False
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop: `made` sets the user, or closes a connection that is no longer needed."""
        self.transport = cast(asyncio.Transport, transport)
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._group.upstreams.add(self)
        self._made(self)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self.moved += len(data)
        self.user.from_backend(data)

    def eof_received(self) -> bool:
        """Called by the loop. An end of file closes the connection, unless its user keeps it half open."""
        if self.user.backend_eof():
            self.ended = True
            return True
        self._connection_gone(None)
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
        self._connection_gone(exc)
        self._group.upstreams.discard(self)
        self._pool.notify_changed()

    def begin(self) -> None:
        """An exchange starts."""
        self.awaiting = self.busy = True
        self._group.active += 1

    def end(self, now: float) -> None:
        """The exchange has ended; the upstream connection is free for the next."""
        self.idle_since = now
        self._free_user()

    def is_usable(self, now: float, *, max_idle: float) -> bool:
        """Return whether the next request can go out here.

        A server can close an idle connection just when the next request is written to it. So the socket
        is asked for an end of file that the loop has not read yet. A request that must not be sent twice sets
        `max_idle`, the seconds after which a server can close an idle connection.
        """
        if self.transport.is_closing() or now - self.idle_since > max_idle:
            return False
        return not self._poll.poll(0)

    def half_close(self) -> None:
        """Signal the backend that nothing more will be sent. The upstream cannot serve another exchange."""
        self.half_closed = True
        half_close(self.transport)

    def close(self) -> None:
        """Close the connection after the written bytes, without a callback to the user."""
        self.closed = True
        self._free_user()
        self.transport.close()

    def abort(self) -> None:
        """Drop the connection immediately, without a callback to the user."""
        self.closed = True
        self._free_user()
        self.transport.abort()

    def leave(self) -> None:
        """Close the connection although what runs on it has not ended; the user knows."""
        self.was_cut = True
        self.close()

    def cut(self) -> None:
        """Drop the connection as if the backend had done it."""
        self.was_cut = True
        self._connection_gone(ConnectionAbortedError("closed by the front"))

    def _free_user(self) -> None:
        if self.busy:
            self.busy = False
            self._group.active -= 1
            if not self._group.active:
                self._pool.notify_changed()

    def _connection_gone(self, error: Exception | None) -> None:
        if not self.closed:
            self.abort()
            self.user.backend_lost(self, error)


class BackendConnections:
    """The connections to one backend, and how many of them are busy."""

    __slots__ = ("active", "upstreams")

    def __init__(self) -> None:
        self.upstreams: set[Upstream] = set()
        self.active = 0


class UpstreamPool:
    """All connections, by backend. A drain waits here for those of one backend to become free."""

    def __init__(self) -> None:
        self._groups: dict[Backend, BackendConnections] = {}
        self._waiters: set[asyncio.Future[None]] = set()
        self.hurried = False

    def group_of(self, backend: Backend) -> BackendConnections:
        """Return the connections to `backend`."""
        return self._groups.setdefault(backend, BackendConnections())

    def notify_changed(self) -> None:
        """Wake `wait_until`: a connection closed, or the last exchange with a backend ended."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def active(self) -> dict[Backend, int]:
        """Exchanges and tunnels in progress, per backend; a backend without any is not named."""
        return {backend: group.active for backend, group in self._groups.items() if group.active}

    def busy_elsewhere(self, current: Backend | None) -> list[Upstream]:
        """Return the connections in use, to every backend but `current`."""
        groups = (group for backend, group in self._groups.items() if backend != current and group.active)
        return [upstream for group in groups for upstream in group.upstreams if upstream.busy]

    def idle(self) -> dict[Backend, int]:
        """Connections without an exchange, per backend; a backend without any is not named."""
        counts = {backend: len(group.upstreams) - group.active for backend, group in self._groups.items()}
        return {backend: count for backend, count in counts.items() if count > 0}

    def close_idle(self, backend: Backend) -> None:
        """Close the connections to `backend` that carry nothing."""
        for upstream in [upstream for upstream in self.group_of(backend).upstreams if not upstream.busy]:
            upstream.cut()

    def forget_group(self, backend: Backend, group: BackendConnections) -> None:
        """`backend` will not be connected to again; `group` were its connections."""
        if self._groups.get(backend) is group:
            del self._groups[backend]

    def hurry(self) -> None:
        """From now on no drain waits for what moves."""
        self.hurried = True

    def abort(self) -> None:
        """Drop all connections."""
        for group in self._groups.values():
            for upstream in list(group.upstreams):
                upstream.abort()

    async def closed(self) -> None:
        """Wait until no connection to any backend is left."""
        await self.wait_until(lambda: not any(group.upstreams for group in self._groups.values()))

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` is true; it is checked when a connection becomes free or closes."""
        while not condition():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
