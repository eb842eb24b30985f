"""One HTTP connection of the API, with limits that hold before anything is known of the client.

uvicorn's protocol takes a head of any size, waits for it without end, and logs each malformed one. Everybody
who reaches the port may send that, before Host and token are looked at.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_BYTES = 32_768  # request line and header fields
HEAD_FIELDS = 100
BODY_BYTES = 65_536  # no request of the API has a body
PIPELINED = 16  # requests that were sent before the answer to the first


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of all clients together, and of the time that each has."""

    connections: int = 128
    message_seconds: float = 10.0  # from the connection, or a later request's first byte, to its last byte
    write_seconds: float = 30.0  # that a client can leave an answer unread


DEFAULT_LIMITS = ConnectionLimits()


class _TooMuch(Exception):
    """A limit is exceeded; ends the parsing."""


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, bounded."""

    def __init__(self, *arguments: Any, limits: ConnectionLimits = DEFAULT_LIMITS, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limits = limits
        self._head = self._body = self._fields = 0
        self._in_head = True
        self._over = False  # later input is ignored
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request of this client is being answered."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the client, in place of an idle one when there are too many."""
        if len(self.connections) >= self._limits.connections:
            others = (other for other in self.connections if isinstance(other, Connection) and other.idle)
            idle = next(others, None)
            if idle is not None:
                idle.end()
            else:
                self._over = True
        super().connection_made(transport)
        self._timer = self.loop.call_later(self._limits.message_seconds, self._late)
        if self._over:
            self._refuse(
                HTTPStatus.SERVICE_UNAVAILABLE, f"there are {self._limits.connections} connections already"
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers when the connection is lost."""
        self._stop_timer()
        if self._stalled is not None:
            self._stalled.cancel()
        super().connection_lost(exc)

    def end(self) -> None:
        """Drop the connection immediately."""
        self._over = True
        self.connections.discard(self)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; refuse a request that is larger than the limits."""
        if self._over:
            return
        self._unset_keepalive_if_required()
        if self._timer is None:
            self._timer = self.loop.call_later(self._limits.message_seconds, self._late)
        self._head += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # answered as any other request; what follows is none
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, _TooMuch):
                self._refuse(*error.__context__.args)
            else:
                self._refuse(HTTPStatus.BAD_REQUEST, "this is no HTTP request")
            return
        if self._in_head and self._head > HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head exceeds {HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        """Begin a request; raise _TooMuch if too many wait for their answer."""
        super().on_message_begin()
        self._in_head, self._fields, self._body = True, 0, 0
        if len(self.pipeline) >= PIPELINED:
            raise _TooMuch(HTTPStatus.TOO_MANY_REQUESTS, f"more than {PIPELINED} requests wait")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count the header fields; raise _TooMuch above the limit."""
        self._fields += 1
        if self._fields > HEAD_FIELDS:
            raise _TooMuch(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head exceeds {HEAD_FIELDS} fields"
            )
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check the size of the complete head; raise _TooMuch above the limit."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > HEAD_BYTES:
            raise _TooMuch(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head exceeds {HEAD_BYTES} bytes")
        self._in_head, self._head = False, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count the bytes of the body; raise _TooMuch above the limit."""
        self._body += len(body)
        if self._body > BODY_BYTES:
            raise _TooMuch(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body exceeds {BODY_BYTES} bytes")
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the client's timer: from here on the daemon takes the time."""
        self._stop_timer()
        self._in_head, self._head = True, 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Start the timer of a client that does not read its answer."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self._limits.write_seconds, self.end)

    def resume_writing(self) -> None:
        """Stop that timer: the client reads again."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self._head or self._body:
            detail = f"the request took more than {self._limits.message_seconds:g} s"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, detail)
        else:
            self.end()

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer if no other answer is under way, and close."""
        self._over = True
        if self.transport.is_closing():
            return
        if not self.idle or self.pipeline:
            self.end()
            return
        body = json.dumps({"detail": detail}).encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
