"""One stream of an HTTP/2 connection (RFC 9113 section 5): what has arrived on it and who waits for more."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from h2.errors import ErrorCodes

from watcher.buildkit.errors import ProtocolError

Headers = list[tuple[bytes, bytes]]

CANCEL = int(ErrorCodes.CANCEL)


class StreamOwner(Protocol):
    """The connection, as its streams see it."""

    def check(self) -> None:
        """Raise why the connection is gone, if it is."""
        ...

    def send_headers(self, number: int, headers: Iterable[tuple[str, str]], *, end: bool) -> None:
        """Queue headers of a stream."""
        ...

    def send_data(self, number: int, data: bytes, start: int) -> int:
        """Queue as much of the data from `start` on as windows and buffer allow; returns how many bytes."""
        ...

    def end_stream(self, number: int) -> None:
        """Queue the end of our side of a stream."""
        ...

    def reset_stream(self, number: int, code: int) -> None:
        """Queue a reset of a stream and forget it."""
        ...

    def acknowledge(self, number: int, size: int) -> None:
        """Give `size` received bytes back to the peer's windows."""
        ...


class Http2Stream:
    """One stream: headers, data and trailers in both directions. For one receiving and one sending task."""

    def __init__(self, connection: StreamOwner, number: int) -> None:
        self._connection = connection
        self._number = number
        self._headers: Headers | None = None
        self._trailers: Headers | None = None
        self._chunks: deque[bytes] = deque()
        self._unacknowledged = 0
        self._ended = False
        self._reset_by_peer: int | None = None
        self._sent_end = False
        self._receiver: asyncio.Future[None] | None = None
        self._sender: asyncio.Future[None] | None = None

    async def headers(self) -> Headers:
        """Wait for the peer's headers. Raises `ProtocolError` after a reset, `ConnectError` after a loss."""
        while self._headers is None:
            self._check_alive()
            if self._ended:
                raise ProtocolError("the stream ended without headers")
            await self._wait_to_receive()
        return self._headers

    async def receive(self) -> bytes:
        """Return all data that has arrived, waiting for some; empty at the end of the stream.

        Taking data opens the peer's window again. What came before a reset or a lost connection is returned
        first; then those raise as in `headers`.
        """
        while not self._chunks:
            if self._ended:
                return b""
            self._check_alive()
            await self._wait_to_receive()
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._connection.acknowledge(self._number, self._unacknowledged)
        self._unacknowledged = 0
        return data

    @property
    def trailers(self) -> Headers:
        """Return the peer's trailers, empty if none came; complete once `receive` returned empty."""
        return self._trailers or []

    @property
    def finished(self) -> bool:
        """Return whether both sides have ended the stream, or it was reset."""
        return (self._ended and self._sent_end) or self._reset_by_peer is not None

    def send_headers(self, headers: Iterable[tuple[str, str]], *, end: bool = False) -> None:
        """Send headers, or trailers after data. Does not wait. Raises as `headers` does."""
        self._check_alive()
        self._sent_end |= end
        self._connection.send_headers(self._number, headers, end=end)

    async def send(self, data: bytes) -> None:
        """Send data in as few frames as the peer allows, waiting for its window. Raises as `headers` does."""
        at = 0
        while at < len(data):
            self._check_alive()
            sent = self._connection.send_data(self._number, data, at)
            at += sent
            if not sent:
                self._sender = asyncio.get_running_loop().create_future()
                try:
                    await self._sender
                finally:
                    self._sender = None

    def end(self) -> None:
        """End the sending direction. Does nothing on a stream or connection that is gone."""
        if not self._sent_end and self._reset_by_peer is None:
            self._sent_end = True
            self._connection.end_stream(self._number)

    def reset(self, code: int = CANCEL) -> None:
        """End the stream immediately in both directions, unless both sides have ended it already."""
        if not self.finished:
            self._reset_by_peer = code
            self._connection.reset_stream(self._number, code)
        self.wake()

    def took_headers(self, headers: Headers) -> None:
        """Note headers or trailers from the peer."""
        if self._headers is None:
            self._headers = headers
        else:
            self._trailers = headers

    def took_data(self, data: bytes, flow_controlled: int) -> None:
        """Note data from the peer; `flow_controlled` bytes are to be acknowledged for it."""
        self._chunks.append(data)
        self._unacknowledged += flow_controlled

    def took_end(self) -> None:
        """Note that the peer sends nothing more."""
        self._ended = True

    def took_reset(self, code: int) -> None:
        """Note that the peer has reset the stream."""
        self._reset_by_peer = code

    def wake_sender(self) -> None:
        """Let a waiting sender check its window again."""
        if self._sender is not None and not self._sender.done():
            self._sender.set_result(None)

    def wake(self) -> None:
        """Let waiting tasks check again."""
        self.wake_sender()
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)

    async def _wait_to_receive(self) -> None:
        self._receiver = asyncio.get_running_loop().create_future()
        try:
            await self._receiver
        finally:
            self._receiver = None

    def _check_alive(self) -> None:
        if self._reset_by_peer is not None:
            raise ProtocolError(f"the stream was reset with HTTP/2 error {self._reset_by_peer}")
        self._connection.check()
