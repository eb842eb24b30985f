"""Constant load on one HTTP port, and what came of every request.

Four kinds run at once until told to stop: GETs on kept connections, GETs on new connections (begun at a fixed
rate, whether or not the ones before have ended, so that a pause is felt by all who come meanwhile), messages
on WebSockets, and one large upload after the other. Nothing is tried again: whatever a client sees counts.
The one exception is a WebSocket message that crosses a Close frame with 1012 (Service Restart): by that the
front says that the app never got it, so it is sent on a new connection, timed from its first sending.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.frames import CloseCode

PATIENCE = 90.0  # seconds after which a client gives up
BLOCK = bytes(256 * 1024)
KEPT, NEW, SOCKET, UPLOAD = "kept", "new", "WebSocket", "upload"


@dataclass(frozen=True, slots=True)
class Load:
    """How much: connections, requests per second on new connections, bytes, bytes per second."""

    kept: int = 16
    every: float = 0.02  # seconds between two requests of one kept connection
    new_rate: float = 50.0
    sockets: int = 4
    upload: int = 100_000_000
    upload_rate: int = 25_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One request or message. Times are time.monotonic(); `failure` is empty when it was answered well."""

    kind: str
    began: float
    ended: float
    version: str = ""
    failure: str = ""


@dataclass
class Record:
    """All samples, when WebSockets were closed between messages, and how many messages were sent again."""

    samples: list[Sample] = field(default_factory=list)
    closed_idle: list[float] = field(default_factory=list)
    sent_again: int = 0


class Broken(Exception):
    """A request that failed; the text says how."""


def how(error: BaseException) -> str:
    """A failure in the words that it is counted under."""
    match error:
        case Broken():
            return str(error)
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionError():
            return "connection reset"
        case TimeoutError():
            return f"no answer within {PATIENCE:g} s"
        case asyncio.IncompleteReadError(partial=partial):
            return "closed in the middle of the answer" if partial else "closed without an answer"
        case ConnectionClosed():
            return "closed with a message open"
        case InvalidHandshake():
            return f"upgrade refused: {error}"
        case OSError(strerror=text):
            return text or type(error).__name__
    return type(error).__name__


async def read_answer(reader: asyncio.StreamReader) -> str:
    """The X-Version of an answer with 200 and a Content-Length; raises Broken for any other."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
    await reader.readexactly(int(fields.get("content-length", 0)))
    if line.split()[1] != "200":
        raise Broken(f"status {line.split()[1]}")
    return fields.get("x-version", "")


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keep: bool) -> str:
    """One GET; the version that answered."""
    closing = b"" if keep else b"Connection: close\r\n"
    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + closing + b"\r\n")
    return await read_answer(reader)


class Clients:
    """All clients of one port."""

    def __init__(self, port: int, load: Load) -> None:
        self.port, self.load, self.record = port, load, Record()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Record]:
        """Load while the context lasts; at its end those that are waiting get their answers first."""
        stop = asyncio.Event()
        works = [self._kept(stop) for _ in range(self.load.kept)]
        works += [self._socket(stop) for _ in range(self.load.sockets)]
        works += [self._new(stop), self._uploads(stop)]
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
            try:
                yield self.record
            finally:
                stop.set()

    async def _measure(self, kind: str, action: Callable[[], Awaitable[str]]) -> bool:
        """Do it and take note; whether it went well."""
        began, version, failure = time.monotonic(), "", ""
        try:
            async with asyncio.timeout(PATIENCE):
                version = await action()
        except (OSError, EOFError, TimeoutError, Broken, ConnectionClosed, InvalidHandshake) as error:
            failure = how(error)
        self.record.samples.append(Sample(kind, began, time.monotonic(), version, failure))
        return not failure

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def _kept(self, stop: asyncio.Event) -> None:
        ends: list[Any] = []

        async def once() -> str:
            if not ends or ends[0].at_eof():  # any client notices that before it sends
                ends[:] = await self._open()
            return await ask(ends[0], ends[1], keep=True)

        while not stop.is_set():
            if not await self._measure(KEPT, once) and ends:
                ends.pop().close()
                ends.clear()
            await asyncio.sleep(self.load.every)
        if ends:
            ends[1].close()

    async def _new(self, stop: asyncio.Event) -> None:
        async def once() -> str:
            reader, writer = await self._open()
            try:
                return await ask(reader, writer, keep=False)
            finally:
                writer.close()

        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                group.create_task(self._measure(NEW, once))
                due = max(due + 1 / self.load.new_rate, time.monotonic() - 1.0)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _socket(self, stop: asyncio.Event) -> None:
        sockets: list[Any] = []

        async def begin() -> str:
            uri = f"ws://127.0.0.1:{self.port}/ws"
            sockets.append(await connect(uri, proxy=None, ping_interval=None, close_timeout=1))
            return ""

        async def echo() -> str:
            text = str(time.monotonic())
            try:
                await exchange(text)
            except ConnectionClosed as error:
                if error.rcvd is None or error.rcvd.code != CloseCode.SERVICE_RESTART:
                    raise
                self.record.sent_again += 1
                sockets.clear()
                await begin()
                await exchange(text)
            return ""

        async def exchange(text: str) -> None:
            await sockets[0].send(text)
            if await sockets[0].recv() != text:
                raise Broken("another message than was sent")

        while not stop.is_set():
            if not sockets and not await self._measure(SOCKET, begin):
                await asyncio.sleep(self.load.every)
                continue
            if not await self._measure(SOCKET, echo):
                sockets.clear()
                continue
            await asyncio.sleep(self.load.every)
            if sockets[0].close_code is not None:
                self.record.closed_idle.append(time.monotonic())
                sockets.clear()
        for socket in sockets:
            await socket.close()

    async def _uploads(self, stop: asyncio.Event) -> None:
        async def once() -> str:
            reader, writer = await self._open()
            try:
                length = self.load.upload
                head = f"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
                writer.write(head.encode())
                await self._send(writer, length)
                return await read_answer(reader)
            except ConnectionError:
                # Whoever refuses an upload half-way has said why before it closed.
                return await read_answer(reader)
            finally:
                writer.close()

        while not stop.is_set():
            if not await self._measure(UPLOAD, once):
                await asyncio.sleep(self.load.every)

    async def _send(self, writer: asyncio.StreamWriter, length: int) -> None:
        began, sent = time.monotonic(), 0
        while sent < length:
            block = BLOCK[: length - sent]
            if writer.is_closing():  # uvloop would raise a RuntimeError
                raise ConnectionResetError("closed by the server")
            writer.write(block)
            await writer.drain()
            sent += len(block)
            await asyncio.sleep(began + sent / self.load.upload_rate - time.monotonic())


async def until(condition: Callable[[], Coroutine[Any, Any, bool]], seconds: float) -> bool:
    """Whether `condition` came true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True
