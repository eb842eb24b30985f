"""The front: the listening sockets, and what the deployer does with them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from watcher.front.context import Context
from watcher.front.drain import cut, drain
from watcher.front.extra_headers import ExtraHeaders
from watcher.front.model import (
    Backend,
    DrainReport,
    FrontLimits,
    Listen,
    Stats,
    Unavailable,
)
from watcher.front.newcomer import Newcomer
from watcher.front.sockets import BACKLOG, bind
from watcher.front.speech import Protocol
from watcher.front.tunnel import Tunnel
from watcher.observers.events import Observer

TURNS = 4  # of the loop: more than it takes from the accept of a connection to its protocol, and to a read


class Front:
    """Owns the published addresses of one service and passes its traffic to the current backend.

    All methods belong to the event loop's thread. `protocol` is "http" for HTTP/1.1 (TLS and HTTP/2 with
    prior knowledge are recognised and passed through), "tcp" for uninspected bytes, "auto" to detect it
    per connection. `explain` gives the text for requests that cannot be answered. `port` is the one in events
    about a front without addresses, which only serves other sockets (`listen_also`).
    """

    def __init__(
        self,
        listen: Sequence[Listen],
        *,
        observer: Observer,
        service: str = "",
        protocol: Protocol = "auto",
        limits: FrontLimits | None = None,
        extra_headers: ExtraHeaders | None = None,
        explain: Callable[[], Unavailable] = Unavailable,
        port: int = 0,
    ) -> None:
        self._listen, self._port = tuple(listen), port
        self._observer = observer
        self._service = service
        self._protocol = protocol
        self._limits = limits or FrontLimits()
        self._extra_headers = extra_headers or ExtraHeaders()
        self._explain = explain
        self._servers: list[asyncio.Server] = []
        self._additional: list[asyncio.Server] = []
        self._context: Context | None = None

    @property
    def listen(self) -> tuple[Listen, ...]:
        """Return the addresses as they were asked for."""
        return self._listen

    @property
    def addresses(self) -> tuple[Listen, ...]:
        """Return the addresses it listens on, in the order of `listen`, with the chosen ports."""
        names = (sock.getsockname() for server in self._servers for sock in server.sockets)
        return tuple(Listen(name[0], name[1]) for name in names)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """Copies of the listening sockets, the caller's to close: they go on listening without this front."""
        return tuple(
            socket.socket(fileno=os.dup(sock.fileno())) for server in self._servers for sock in server.sockets
        )

    @property
    def backend(self) -> Backend | None:
        """Return the backend that new requests go to; None while they are held."""
        return self._started.gate.backend

    @property
    def started(self) -> bool:
        """Return whether it listens."""
        return self._context is not None

    @property
    def stats(self) -> Stats:
        """Counters of the current state."""
        context = self._started
        return Stats(
            connections=len(context.clients),
            held=context.gate.held,
            held_bytes=context.gate.held_bytes,
            active=context.pool.active(),
            idle=context.pool.idle(),
            exchanges=context.exchanges,
            retried=context.retried,
            refused=context.refusals,
        )

    async def start(self) -> None:
        """Listen on all addresses, or on none.

        Raises `PortInUse`, or `CannotListen` when an address does not belong to this machine or this user has
        no permission.
        """
        sockets = bind(self._listen)
        context = self._context = Context(
            limits=self._limits,
            observer=self._observer,
            service=self._service,
            explain=self._explain,
            extra_headers=self._extra_headers,
        )

        context.farewell.port = sockets[0].getsockname()[1] if sockets else self._port
        loop = asyncio.get_running_loop()
        for sock in sockets:
            self._servers.append(await loop.create_server(self._accept, sock=sock, backlog=BACKLOG))

    def _accept(self) -> asyncio.Protocol:
        context = self._started
        return Tunnel(context) if self._protocol == "tcp" else Newcomer(context, self._protocol)

    async def listen_also(self, sock: socket.socket) -> asyncio.Server:
        """Serve clients of another listening socket too, until the front or the returned server is closed."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._accept, sock=sock, backlog=BACKLOG)
        self._additional.append(server)
        return server

    def configure(self, *, protocol: Protocol, limits: FrontLimits, extra_headers: ExtraHeaders) -> None:
        """Go on with other settings; connections that are open keep the protocol that they began with."""
        self._protocol, self._limits, self._extra_headers = protocol, limits, extra_headers
        if self._context is not None:
            self._context.configure(limits, extra_headers)

    def switch(self, backend: Backend | None) -> None:
        """Send new and held requests to `backend`; None holds them.

        Exchanges in progress and tunnels stay where they are: `drain` waits for them.
        """
        self._started.gate.switch(backend)
        self._started.farewell.backend_switched()

    def reconsider(self) -> None:
        """Ask `explain` again for the held requests; call it when the answer can have changed.

        Does nothing before the start and after `close`.
        """
        if self._context is not None:
            self._context.gate.reconsider()

    async def drain(self, backend: Backend, timeout: float, moving: float = 600.0) -> DrainReport:
        """Wait until nothing uses `backend` any more, at most `timeout` seconds, then end what is left.

        Idle connections to it are closed immediately. An upload, or a download of known length, that is still
        moving when the time is up gets up to `moving` seconds more. A WebSocket is closed with "Service
        Restart" (1012), between two frames and once the app has answered what it got. Raises `ValueError`
        while `backend` is the current one: it would never become free.

        TLS, HTTP/2 and other connections that only the app can end well stay open: stop the app, then `cut`
        them.
        """
        if backend == self.backend:
            raise ValueError(f"{backend} cannot be drained: it is where requests go; switch first")
        return await drain(self._started.pool, backend, timeout, moving, self._limits.times)

    async def cut(self, backend: Backend) -> int:
        """End every connection that is still open at the stopped `backend`; returns their number."""
        return await cut(self._started.pool, backend)

    def hurry(self) -> None:
        """Let no drain wait longer than its `timeout` from now on, whatever moves."""
        if self._context is not None:
            self._context.pool.hurry()

    async def close(self, grace: float = 5.0, linger: float = 0.0) -> None:
        """Stop listening, let exchanges in progress end for `grace` seconds, then close everything.

        Before that, connected clients have `linger` seconds to get a response with `Connection: close`: where
        a successor listens, a kept connection is not closed under a request. Held requests are answered 503
        then. No task and no socket is left when this returns.
        """
        context = self._context
        if context is None:
            return
        self._context = None
        servers, self._servers = [*self._servers, *self._additional], []
        self._additional = []
        for server in servers:
            server.close()
        context.announces_end = True
        context.farewell.close()
        if linger:
            await self._linger(context, linger)
        context.closing = True
        await context.gate.close()
        for client in list(context.clients):
            client.shut()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await context.all_left()
        for client in list(context.clients):
            client.abort()
        context.pool.abort()
        await context.all_left()
        await context.pool.closed()
        for server in servers:
            await server.wait_closed()

    @staticmethod
    async def _linger(context: Context, seconds: float) -> None:
        """Let connected clients send one more request, for so many seconds.

        The loop gets a few turns before and after, also when it was stuck for all of that time: accepted
        clients are known then, and requests that have arrived are read. The kernel sends a reset when a
        connection is closed with an unread request.
        """
        await _let_loop_turn()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await context.all_left()
        await _let_loop_turn()

    @property
    def _started(self) -> Context:
        if self._context is None:
            raise RuntimeError("the front is not started, or closed")
        return self._context


async def _let_loop_turn() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
