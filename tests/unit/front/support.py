"""A front with recorded events, backends that follow a script, and clients that speak raw bytes."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

from watcher.front import Backend, Front, FrontLimits, FrontTimes, Listen
from watcher.observers.events import Event, FrontRefused

POST = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody"
PATIENCE = 20.0  # seconds after which a test gives up waiting; never part of what is asserted

E = TypeVar("E", bound=Event)
Handler = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One end of a connection, in raw bytes. Every wait is bounded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def read(self, size: int) -> bytes:
        """Exactly `size` bytes; fewer are a failure that shows them."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise AssertionError(f"the connection ended after {error.partial!r}") from None

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(end)

    async def head(self) -> bytes:
        return await self.until(b"\r\n\r\n")

    async def rest(self) -> bytes:
        """Everything up to the end of file."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    def end(self) -> None:
        """Send an end of file; reading goes on."""
        self.writer.write_eof()

    def drop(self) -> None:
        """Break off: the other end gets a reset, not an end of file."""
        if not self.writer.transport.is_closing():
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def expect(self, data: bytes) -> None:
        assert await self.read(len(data)) == data

    async def ask(self, request: bytes, response: bytes) -> None:
        await self.send(request)
        await self.expect(response)

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


class Origin:
    """A server on a port of its own. `seen` holds the bytes that arrived, one entry per connection."""

    def __init__(self, handler: Handler | None, revision: str) -> None:
        self._handler = handler
        self._revision = revision
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.peers: list[Peer] = []
        self.seen: list[bytearray] = []

    @property
    def backend(self) -> Backend:
        return Backend("127.0.0.1", self.port, self._revision)

    async def start(self) -> None:
        server = await asyncio.get_running_loop().create_server(
            self._protocol, "127.0.0.1", self.port, backlog=2048
        )
        self._server = server
        self.port = server.sockets[0].getsockname()[1]

    def _protocol(self) -> asyncio.Protocol:
        seen = bytearray()
        self.seen.append(seen)

        class Recorder(asyncio.StreamReaderProtocol):
            def data_received(self, data: bytes) -> None:
                seen.extend(data)
                super().data_received(data)

        return Recorder(asyncio.StreamReader(limit=1 << 20), self._accept)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self.peers.append(peer)
        if self._handler is not None:
            task = asyncio.get_running_loop().create_task(self._run(self._handler, peer))
            self._tasks.add(task)

    @staticmethod
    async def _run(handler: Handler, peer: Peer) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await handler(peer)

    async def peer(self, number: int = 0) -> Peer:
        """The connection with this number, once it is there."""
        await true(lambda: len(self.peers) > number)
        return self.peers[number]

    async def stop(self) -> None:
        """Refuse connections from now on, and drop those that are open."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for peer in self.peers:
            peer.drop()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            await peer.close()
        for result in results:
            if isinstance(result, Exception):
                raise result


class Fronted:
    """A running front, and what it has told its observer."""

    def __init__(self, limits: FrontLimits | None, times: FrontTimes, options: dict[str, Any]) -> None:
        self.events: list[Event] = []
        self.peers: list[Peer] = []
        limits = replace(limits or FrontLimits(hold_seconds=PATIENCE), times=times)
        self.front = Front([Listen("127.0.0.1", 0)], observer=self, service="svc", limits=limits, **options)

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def told(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def connect(self) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.front.addresses[0].port))
        self.peers.append(peer)
        return peer


@asynccontextmanager
async def fronted(
    limits: FrontLimits | None = None, times: FrontTimes | None = None, **options: Any
) -> AsyncIterator[Fronted]:
    """A front on a free port. At the end it is closed, and nothing of it may be left, nor have failed."""
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    it = Fronted(limits, times or FrontTimes(), options)
    await it.front.start()
    context = it.front._context
    assert context is not None
    try:
        yield it
    finally:
        await it.front.close(grace=0)
        for peer in it.peers:
            await peer.close()
    assert not context.clients
    assert not context.pool.active()
    assert not context.pool.idle()
    assert context.gate.held == 0
    assert context.gate.held_bytes == 0
    names = {str(task.get_coro()) for task in asyncio.all_tasks()}
    assert not {name for name in names if "Gate" in name or "Front." in name}
    assert failures == []


@asynccontextmanager
async def origin(handler: Handler | None = None, revision: str = "a" * 64) -> AsyncIterator[Origin]:
    """A running backend; without a handler the test itself plays its part through `peer()`."""
    it = Origin(handler, revision)
    await it.start()
    try:
        yield it
    finally:
        await it.stop()


async def true(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


def get(path: str = "/", *fields: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: test", *fields, "", "")).encode()


def ok(body: str = "", *fields: str) -> bytes:
    head = "\r\n".join(("HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *fields, "", ""))
    return (head + body).encode()


def says(body: str, *fields: str) -> Handler:
    """A handler that answers every request without a body with the same."""

    async def handler(peer: Peer) -> None:
        while True:
            await peer.reader.readuntil(b"\r\n\r\n")
            await peer.send(ok(body, *fields))

    return handler


def refusals(events: list[FrontRefused]) -> list[tuple[str, int]]:
    return [(event.reason, event.code) for event in events]


async def echo_length(peer: Peer) -> None:
    while True:
        head = await peer.reader.readuntil(b"\r\n\r\n")
        if b"Content-Length: 4" in head:
            await peer.reader.readexactly(4)
        await peer.send(ok("x"))


class Closing:
    """Accepts and closes without a word, as docker-proxy does before the app listens; then serves."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.closed = 0

    async def __call__(self, peer: Peer) -> None:
        if self.left:
            self.left -= 1
            self.closed += 1
            peer.drop()
            return
        await echo_length(peer)
