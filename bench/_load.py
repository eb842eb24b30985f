"""Put a constant load on one HTTP port, and record every request.

Four kinds run at the same time: GETs on kept connections, GETs on new connections (started at a fixed rate,
even if earlier ones have not ended, so that a pause affects all of them), messages on WebSockets, and one
large upload after the other. Nothing is retried: every failure that a client sees counts. The only exception
is a WebSocket message that crosses a Close frame with 1012 (Service Restart): the front reports with it that
the app did not receive the message, so it is sent on a new connection, timed from the first attempt.
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
    """The amount of load: connections, requests per second on new connections, bytes, bytes per second."""

    kept: int = 16
    every: float = 0.02  # seconds between two requests of one kept connection
    new_rate: float = 50.0
    sockets: int = 4
    upload: int = 100_000_000
    upload_rate: int = 25_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One request or message. Times are time.monotonic(); `failure` is empty for a correct answer."""

    kind: str
    began: float
    ended: float
    version: str = ""
    failure: str = ""


@dataclass
class Record:
    """All samples, the times when WebSockets were closed between messages, the number of resent messages."""

    samples: list[Sample] = field(default_factory=list)
    closed_idle: list[float] = field(default_factory=list)
    sent_again: int = 0


class Broken(Exception):
    """A request that failed; the text is the reason."""


def failure_kind(error: BaseException) -> str:
    """Return the category of a failure."""
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
    """Return the X-Version of an answer with 200 and a Content-Length; raise Broken for any other."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
    await reader.readexactly(int(fields.get("content-length", 0)))
    if line.split()[1] != "200":
        raise Broken(f"status {line.split()[1]}")
    return fields.get("x-version", "")


async def send_get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keep: bool) -> str:
    """Send one GET; return the version that answered."""
    closing = b"" if keep else b"Connection: close\r\n"
    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + closing + b"\r\n")
    return await read_answer(reader)


class Clients:
    """All clients of one port."""

    def __init__(self, port: int, load: Load) -> None:
        self.port, self.load, self.record = port, load, Record()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Record]:
        """Generate load while the context lasts; at the end, pending requests get their answers first."""
        stop = asyncio.Event()
        works = [self._load_kept(stop) for _ in range(self.load.kept)]
        works += [self._load_sockets(stop) for _ in range(self.load.sockets)]
        works += [self._load_new(stop), self._load_uploads(stop)]
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
            try:
                yield self.record
            finally:
                stop.set()

    async def _record_sample(self, kind: str, action: Callable[[], Awaitable[str]]) -> bool:
        """Run a request and record it; return whether it succeeded."""
        began, version, failure = time.monotonic(), "", ""
        try:
            async with asyncio.timeout(PATIENCE):
                version = await action()
        except (OSError, EOFError, TimeoutError, Broken, ConnectionClosed, InvalidHandshake) as error:
            failure = failure_kind(error)
        self.record.samples.append(Sample(kind, began, time.monotonic(), version, failure))
        return not failure

    async def _open_connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def _load_kept(self, stop: asyncio.Event) -> None:
        ends: list[Any] = []

        async def send_once() -> str:
            if not ends or ends[0].at_eof():  # every client detects that before it sends
                ends[:] = await self._open_connection()
            return await send_get(ends[0], ends[1], keep=True)

        while not stop.is_set():
            if not await self._record_sample(KEPT, send_once) and ends:
                ends.pop().close()
                ends.clear()
            await asyncio.sleep(self.load.every)
        if ends:
            ends[1].close()

    async def _load_new(self, stop: asyncio.Event) -> None:
        async def send_once() -> str:
            reader, writer = await self._open_connection()
            try:
                return await send_get(reader, writer, keep=False)
            finally:
                writer.close()

        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                group.create_task(self._record_sample(NEW, send_once))
                due = max(due + 1 / self.load.new_rate, time.monotonic() - 1.0)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _load_sockets(self, stop: asyncio.Event) -> None:
        sockets: list[Any] = []

        async def open_socket() -> str:
            uri = f"ws://127.0.0.1:{self.port}/ws"
            sockets.append(await connect(uri, proxy=None, ping_interval=None, close_timeout=1))
            return ""

        async def send_echo() -> str:
            text = str(time.monotonic())
            try:
                await exchange_messages(text)
            except ConnectionClosed as error:
                if error.rcvd is None or error.rcvd.code != CloseCode.SERVICE_RESTART:
                    raise
                self.record.sent_again += 1
                sockets.clear()
                await open_socket()
                await exchange_messages(text)
            return ""

        async def exchange_messages(text: str) -> None:
            await sockets[0].send(text)
            if await sockets[0].recv() != text:
                raise Broken("another message than was sent")

        while not stop.is_set():
            if not sockets and not await self._record_sample(SOCKET, open_socket):
                await asyncio.sleep(self.load.every)
                continue
            if not await self._record_sample(SOCKET, send_echo):
                sockets.clear()
                continue
            await asyncio.sleep(self.load.every)
            if sockets[0].close_code is not None:
                self.record.closed_idle.append(time.monotonic())
                sockets.clear()
        for socket in sockets:
            await socket.close()

    async def _load_uploads(self, stop: asyncio.Event) -> None:
        async def send_once() -> str:
            reader, writer = await self._open_connection()
            try:
                length = self.load.upload
                head = f"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
                writer.write(head.encode())
                await self._send_upload(writer, length)
                return await read_answer(reader)
            except ConnectionError:
                # A server that refuses an upload sends its answer before it closes.
                return await read_answer(reader)
            finally:
                writer.close()

        while not stop.is_set():
            if not await self._record_sample(UPLOAD, send_once):
                await asyncio.sleep(self.load.every)

    async def _send_upload(self, writer: asyncio.StreamWriter, length: int) -> None:
        began, sent = time.monotonic(), 0
        while sent < length:
            block = BLOCK[: length - sent]
            if writer.is_closing():  # uvloop would raise a RuntimeError
                raise ConnectionResetError("closed by the server")
            writer.write(block)
            await writer.drain()
            sent += len(block)
            await asyncio.sleep(began + sent / self.load.upload_rate - time.monotonic())


async def wait_until(condition: Callable[[], Coroutine[Any, Any, bool]], seconds: float) -> bool:
    """Return whether `condition` became true within that many seconds."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True
