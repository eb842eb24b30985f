"""gRPC over HTTP/2 (grpc/grpc, doc/PROTOCOL-HTTP2.md), both sides, uncompressed.

A message is a zero byte, its length in four bytes and its content. Here messages travel in batches: `send`
puts any number of them into as few frames as the peer allows, `receive` returns all that have arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import quote, unquote

from watcher.buildkit.bytestream import ByteStream
from watcher.buildkit.errors import BuildkitError, ProtocolError, RpcError
from watcher.buildkit.http2 import Http2Connection
from watcher.buildkit.http2stream import Headers, Http2Stream
from watcher.dockerignore.errors import IgnorePatternError

# Status codes of gRPC (grpc/grpc, doc/statuscodes.md) that are used here.
OK = 0
UNKNOWN = 2
NOT_FOUND = 5
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14

_PREFIX = 5
_SHOWN_ASCII = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")

Metadata = Sequence[tuple[str, str]]


def frame_message(message: bytes) -> bytes:
    """Return the message with gRPC's prefix, ready to be joined with others."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class _Messages:
    """Cuts a byte stream into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are complete now. Raises `ProtocolError` for a compressed one."""
        buffer = self._buffer
        buffer += data
        at = 0
        messages = []
        while len(buffer) - at >= _PREFIX:
            if buffer[at]:
                raise ProtocolError("a compressed gRPC message came, though none was asked for")
            end = at + _PREFIX + int.from_bytes(buffer[at + 1 : at + _PREFIX], "big")
            if end > len(buffer):
                break
            messages.append(bytes(buffer[at + _PREFIX : end]))
            at = end
        del buffer[:at]
        return messages

    @property
    def empty(self) -> bool:
        """Return whether no part of a message is waiting for the rest."""
        return not self._buffer


class _Messenger:
    """What both ends of a call have in common: batches of messages in both directions."""

    def __init__(self, stream: Http2Stream) -> None:
        self._stream = stream
        self._messages = _Messages()
        self._sending = asyncio.Lock()

    async def send(self, framed: bytes) -> None:
        """Send any number of messages, each made by `frame` and joined. Several tasks can send in turn."""
        async with self._sending:
            await self._stream.send(framed)

    async def _receive_message(self) -> list[bytes]:
        """Return the messages that have arrived, at least one; empty when the other side has ended."""
        while data := await self._stream.receive():
            messages = self._messages.feed(data)
            if messages:
                return messages
        if not self._messages.empty:
            raise ProtocolError("a gRPC stream ended within a message")
        return []


class Call(_Messenger):
    """The client's end of a call. Use as a context manager: leaving it early resets the stream."""

    def __enter__(self) -> Call:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.reset()

    def end(self) -> None:
        """End the sending direction."""
        self._stream.end()

    async def receive(self) -> list[bytes]:
        """Return all messages that have arrived, waiting for one; empty at the end of a call that succeeded.

        Raises `RpcError` if the call failed, `ProtocolError` if it was broken off, `ConnectError` if the
        connection is lost.
        """
        headers = await self._stream.headers()
        messages = await self._receive_message()
        if not messages:
            _check_status(self._stream.trailers or headers)
        return messages


class Channel:
    """The client's side of a connection: opens calls."""

    def __init__(self, connection: Http2Connection, authority: str) -> None:
        self._connection = connection
        self._authority = authority

    def open(self, method: str, metadata: Metadata = ()) -> Call:
        """Open a call of `method` (`/package.Service/Method`). Raises `ConnectError`, `ProtocolError`."""
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", method),
            (":authority", self._authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            *metadata,
        ]
        return Call(self._connection.open_stream(headers))

    async def unary(self, method: str, request: bytes, metadata: Metadata = ()) -> bytes:
        """Send one message and return the one that answers it. Raises as `Call.receive` does.

        Cancelling the task that waits here cancels the call.
        """
        with self.open(method, metadata) as call:
            await call.send(frame_message(request))
            call.end()
            answers: list[bytes] = []
            while batch := await call.receive():
                answers += batch
        if len(answers) != 1:
            raise ProtocolError(f"{method} was answered with {len(answers)} messages instead of one")
        return answers[0]


class ServerCall(_Messenger):
    """The server's end of a call. `metadata` holds the request's, by lower-case name."""

    def __init__(self, stream: Http2Stream, metadata: Mapping[str, Sequence[str]]) -> None:
        super().__init__(stream)
        self.metadata = metadata

    async def receive(self) -> list[bytes]:
        """Return all messages that have arrived, waiting for one; empty when the client has ended."""
        return await self._receive_message()


Handler = Callable[[ServerCall], Awaitable[None]]


class Server:
    """Serves calls on one byte stream until that ends."""

    def __init__(self, handlers: Mapping[str, Handler], *, peer: str) -> None:
        """`handlers` by method (`/package.Service/Method`); a call of another is answered UNIMPLEMENTED."""
        self._handlers = handlers
        self._peer = peer
        self._calls: set[asyncio.Task[None]] = set()

    async def serve(self, transport: ByteStream) -> None:
        """Serve until the peer ends the connection or this is cancelled; then no call is left running."""
        connection = Http2Connection(transport, peer=self._peer, accept=self._accept_stream)
        connection.start()
        try:
            await connection.wait_closed()
        finally:
            for task in self._calls:
                task.cancel()
            await asyncio.gather(*self._calls, return_exceptions=True)
            await connection.close()

    def _accept_stream(self, stream: Http2Stream) -> None:
        task = asyncio.create_task(self._answer_call(stream))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _answer_call(self, stream: Http2Stream) -> None:
        method, metadata = _read_request(await stream.headers())
        status = RpcError(OK, "")
        try:
            stream.send_headers([(":status", "200"), ("content-type", "application/grpc")])
            handler = self._handlers.get(method)
            if handler is None:
                status = RpcError(UNIMPLEMENTED, f"{method} is not served here")
            else:
                await handler(ServerCall(stream, metadata))
        except RpcError as error:
            status = error
        except (BuildkitError, IgnorePatternError) as error:
            status = RpcError(UNKNOWN, str(error))
        except asyncio.CancelledError:
            stream.reset()
            raise
        except Exception as error:
            # Whatever went wrong in a handler, the engine shall fail with that and not wait for an answer.
            status = RpcError(INTERNAL, f"{type(error).__name__}: {error}")
        if not stream.finished:
            trailers = [("grpc-status", str(status.code))]
            if status.message:
                trailers.append(("grpc-message", quote(status.message, safe=_SHOWN_ASCII)))
            try:
                stream.send_headers(trailers, end=True)
            except BuildkitError:
                # The connection was lost while the handler ran: there is no peer to answer.
                return


def answer_unary(respond: Callable[[bytes], Awaitable[bytes]]) -> Handler:
    """Return a handler that answers one message with one message. `respond` can raise `RpcError`."""

    async def handle(call: ServerCall) -> None:
        requests: list[bytes] = []
        while batch := await call.receive():
            requests += batch
        if len(requests) != 1:
            raise ProtocolError(f"a call for one message came with {len(requests)}")
        await call.send(frame_message(await respond(requests[0])))

    return handle


def _read_request(headers: Headers) -> tuple[str, dict[str, list[str]]]:
    """Return the method and the metadata of a request. File names in metadata are not always UTF-8."""
    metadata: dict[str, list[str]] = {}
    for name, value in headers:
        metadata.setdefault(name.decode("ascii", "replace"), []).append(
            value.decode("utf-8", "surrogateescape")
        )
    return metadata.get(":path", [""])[0], metadata


def _check_status(headers: Headers) -> None:
    """Raise `RpcError` unless the headers that end a call report success."""
    fields = {name: value.decode("utf-8", "replace") for name, value in headers}
    code = fields.get(b"grpc-status", "")
    if not code.isdecimal():
        http = fields.get(b":status", "")
        raise RpcError(UNAVAILABLE, f"the answer was HTTP status {http or 'unknown'}, not gRPC")
    if int(code) != OK:
        raise RpcError(int(code), unquote(fields.get(b"grpc-message", "")))
