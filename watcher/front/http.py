"""One client that speaks HTTP/1.1: its requests, one at a time, each to the backend of its moment.

    HEAD ──head complete──▶ WAIT ──link──▶ BODY ──request sent──▶ ANSWER ──response over──▶ HEAD
                             ▲                │                      │
                             └── connection lost before any answer, request may be repeated

Bytes that come while an earlier request is in progress (pipelining) wait in `_pending`; above the
read-ahead limit the client is not read from. Nothing is changed on the way, and nothing is passed on that
`framing` has not understood.
"""

from __future__ import annotations

import time
from enum import Enum
from typing import cast

from watcher.front.answers import accept_of, answer
from watcher.front.client import ClientEnd
from watcher.front.context import Context
from watcher.front.exchange import Exchange
from watcher.front.framing import (
    H2_PREFACE_HEAD,
    HEAD_END,
    TLS_HANDSHAKE,
    Malformed,
    hopeless,
    read_request,
)
from watcher.front.gate import Ticket
from watcher.front.links import Link
from watcher.front.model import Unavailable
from watcher.front.response import Response
from watcher.front.sockets import put, reset
from watcher.front.tunnel import Tunnel
from watcher.front.websocket import Frames, is_websocket
from watcher.observe import short


class _Phase(Enum):
    HEAD = "reading a request head"
    WAIT = "waiting for a link"
    BODY = "passing on the request body"
    ANSWER = "waiting for the end of the response"
    CLOSING = "throwing away what still comes"


HEAD, WAIT, BODY, ANSWER, CLOSING = _Phase


class HttpClient(ClientEnd):
    """See the module. Is an `Asker` for the gate, a `User` for its link and a `Client` for the front."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._phase = HEAD
        self._pending = b""  # received, not yet passed on
        self._exchange: Exchange | None = None
        self._first = True  # no request has been read yet

    # -- the client's side

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self._phase is WAIT and self._exchange is not None and self._exchange.ticket is not None:
            self._context.gate.grow(self._exchange.ticket, len(data))
        if self._phase is CLOSING:
            return
        if self._pending:
            data = self._pending + data
            self._pending = b""
        if self._phase is HEAD:
            self._read_head(data)
        elif self._phase is BODY:
            self._pass_body(data)
        else:
            self._pending = data
            self._update_reading()

    def eof_received(self) -> bool:
        """Called by the loop: what has been asked is answered still."""
        self._client_ended = True
        if self._phase is HEAD or self._phase is CLOSING:
            self._drop_link()
            return False
        if self._link is not None and not self._pending:
            self._link.half_close()
        return True

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by the loop."""
        super().connection_lost(_exc)
        if self._exchange is not None and self._exchange.ticket is not None:
            self._context.gate.withdraw(self._exchange.ticket)
        self._drop_link()

    def _read_head(self, data: bytes) -> None:
        if self._first and data[0] == TLS_HANDSHAKE:
            self._become_raw(data)
            return
        start = 0
        while data.startswith(b"\r\n", start):  # empty lines before a request: RFC 9112, section 2.2
            start += 2
        data = data[start:]
        found = data.find(HEAD_END)
        end = found + len(HEAD_END) if found >= 0 else len(data)
        if end > self._context.limits.head_bytes:
            self._reject(431, f"the head is longer than {self._context.limits.head_bytes} bytes")
        elif found < 0:
            self._pending = data
            if data and (why := hopeless(data)):
                self._reject(400, why)
            elif data and self._timer is None:
                self._set_timer(self._context.limits.head_seconds, self._too_slow)
        elif self._first and data.startswith(H2_PREFACE_HEAD):
            self._become_raw(data)
        else:
            self._first = False
            self._start(data, end)

    def _start(self, data: bytes, end: int) -> None:
        """Begin with the request whose head is `data[:end]`."""
        self._stop_timer()
        context = self._context
        head = data[:end]
        try:
            request = read_request(head)
            body_end = end if request.body.done else request.body.take(data, end)
        except Malformed as error:
            self._reject(400, str(error))
            return
        sent = data[:body_end]
        self._pending = data[body_end:]
        if context.additions.forwarded:
            peer = self._transport.get_extra_info("peername")[0]
            port = self._transport.get_extra_info("sockname")[1]
            sent = context.additions.to_request(head, peer, port) + sent[end:]
        now = time.monotonic()
        self._exchange = exchange = Exchange(request, head, sent, now)
        link = self._link
        if (
            link is not None
            and link.backend is context.gate.backend
            and link.usable(now, repeatable=request.idempotent)
        ):
            self._transmit(link, exchange)
        else:
            self._drop_link()
            self._ask(exchange)

    def _too_slow(self) -> None:
        """Half a head, and no end of it: such clients must not use up the connections (RFC 9110, 15.5.9)."""
        text = f"The request's head did not end within {self._context.limits.head_seconds:g} seconds."
        self._refuse(408, "timeout", Unavailable("The request was too slow", text))

    def _pass_body(self, data: bytes) -> None:
        exchange, link = cast(Exchange, self._exchange), cast(Link, self._link)
        body = exchange.request.body
        try:
            end = body.take(data, 0)
        except Malformed as error:
            self._reject(400, str(error))
            return
        part = data[:end]
        exchange.remember(part, self._context.limits.replay_bytes)
        link.moved += len(part)
        put(link.transport, part)
        if body.done:
            self._phase = ANSWER
            self._pending = data[end:]
            self._update_reading()
            if exchange.answered:
                self._finish(exchange, link)

    # -- the backend's side

    def _ask(self, exchange: Exchange) -> None:
        self._phase = WAIT
        if exchange.ticket is None:
            exchange.ticket = Ticket(self, len(exchange.sent) + len(self._pending))
        self._context.gate.ask(exchange.ticket)

    def linked(self, link: Link) -> None:
        """See `User`."""
        self._link = link
        if self._client_slow:  # not now: uvloop starts to read when `connection_made` returns
            self._context.loop.call_soon(self._slow_down, link)
        self._transmit(link, cast(Exchange, self._exchange))

    def _slow_down(self, link: Link) -> None:
        if self._client_slow and not link.closed:
            link.transport.pause_reading()

    def refused(self, reason: str) -> None:
        """See `Asker`."""
        what = self._context.explain()
        if self._exchange is None:
            what = Unavailable("Too many connections", "The front has as many connections open as it may.")
        self._refuse(503, reason, what)

    def _transmit(self, link: Link, exchange: Exchange) -> None:
        """Send what there is of the request."""
        adorn = None
        if self._context.additions.revision:
            revision, waited = link.backend.revision, exchange.waited
            adorn = lambda head: self._context.additions.to_response(head, revision, waited)  # noqa: E731
        exchange.response = Response(exchange.request, adorn)
        self._phase = ANSWER if exchange.request.body.done else BODY
        link.begin()
        link.transport.write(exchange.sent)
        exchange.forget_beyond(self._context.limits.replay_bytes)
        if self._phase is BODY and self._pending:
            data, self._pending = self._pending, b""
            self._pass_body(data)
        if self._client_ended and not self._pending and not link.closed:
            link.half_close()
        if not self._reading or self._pending:
            self._update_reading()

    def from_backend(self, data: bytes) -> None:
        """See `User`."""
        exchange, link = self._exchange, self._link
        if exchange is None or exchange.response is None or link is None:
            self._drop_link()  # nothing was asked: a farewell before it closes, or a server out of step
            return
        response = exchange.response
        try:
            part = response.take(data)
        except Malformed as error:
            self._backend_failed(link, f"answered with what is not HTTP/1.1: {error}")
            return
        exchange.forget()
        if part:
            put(self._transport, part)
        if response.switched:
            self._become_tunnel(exchange, link)
        elif response.done and (self._phase is ANSWER or not response.keep_alive):
            self._finish(exchange, link)

    def backend_eof(self) -> bool:
        """See `User`: a server that ends its half has ended the connection."""
        return False

    def backend_lost(self, link: Link, error: Exception | None) -> None:
        """See `User`. The client does not notice when the request can be sent again."""
        exchange = self._exchange
        self._link, self._backend_slow = None, False
        if exchange is None or exchange.response is None:
            return  # the link was idle
        if exchange.response.done or (exchange.response.until_close and error is None):
            exchange.response.done = True
            self._finish(exchange, link)
            return
        if link.half_closed and not exchange.response.status:
            # The client has gone, or so it seems, and the backend took note.
            self._exchange = None
            self._close(whole=True)
            return
        # Before anything else goes there it has to show that it lives: repetitions are few.
        self._context.gate.suspect(link.backend, "it broke off an exchange")
        if exchange.response.status:
            self._backend_failed(link, "closed the connection in the middle of its answer")
        elif exchange.take_retry():
            self._context.retried += 1
            exchange.response = None
            self._ask(exchange)
        else:
            self._backend_failed(link, "closed the connection without an answer")

    # -- the end of an exchange

    def _finish(self, exchange: Exchange, link: Link) -> None:
        """The response is over, and so is the request or the connection."""
        context = self._context
        request, response = exchange.request, cast(Response, exchange.response)
        context.finished(response.status, exchange.began, exchange.waited, link.backend)
        whole = self._phase is ANSWER
        keep = whole and request.keep_alive and response.keep_alive and not context.closing
        self._exchange = None
        if not link.closed:
            link.end(time.monotonic())
        if not keep or response.spoiled or link.half_closed or link.backend is not context.gate.backend:
            self._drop_link()
        if not keep:
            self._close(whole=whole and not self._pending)
            return
        self._phase = HEAD
        if self._pending:
            data, self._pending = self._pending, b""
            self._read_head(data)
        if self._phase is HEAD and self._client_ended:
            self._drop_link()
            self._transport.close()
        elif not self._reading:
            self._update_reading()

    def _become_raw(self, data: bytes) -> None:
        """Leave a client that does not speak HTTP/1.1 to a tunnel."""
        self._stop_timer()
        Tunnel(self._context).take_over(self._transport, data)
        self._context.left(self)

    def _become_tunnel(self, exchange: Exchange, link: Link) -> None:
        """The backend has agreed to another protocol."""
        response = cast(Response, exchange.response)
        self._link = self._exchange = None
        frames = None
        if is_websocket(exchange.head):
            frames = Frames()
            frames.feed(response.beyond)
        tunnel = Tunnel(self._context, response.status)
        tunnel.continue_with(
            self._transport,
            link,
            self._pending,
            began=exchange.began,
            held=exchange.waited,
            frames=frames,
        )
        self._context.left(self)

    def _reject(self, status: int, why: str) -> None:
        """Refuse what the client sent."""
        what = Unavailable("The request was refused", f"{why[:1].upper()}{why[1:]}.")
        self._refuse(status, "malformed", what)

    def _backend_failed(self, link: Link, how: str) -> None:
        """Say that the backend is at fault, or break off when part of its answer has gone out already."""
        text = f"The app (revision {short(link.backend.revision)}) {how}."
        self._refuse(502, "backend", Unavailable("The app did not answer", text))

    def _refuse(self, status: int, reason: str, what: Unavailable) -> None:
        self._context.refused(reason, status)
        exchange, self._exchange = self._exchange, None
        self._drop_link()
        if exchange is not None and exchange.answering:
            self._break_off(exchange)
            return
        if exchange is None:
            put(self._transport, answer(status, what))
        elif not exchange.answered:
            accept = accept_of(exchange.head)
            put(self._transport, answer(status, what, method=exchange.request.method, accept=accept))
        self._close(whole=exchange is not None and exchange.request.body.done and not self._pending)

    def _break_off(self, exchange: Exchange) -> None:
        """End an answer of which a part has gone out already, so that the client sees that it is not whole.

        A length or a missing last chunk shows that by itself; where the end of the connection is the end of
        the answer, only an error can.
        """
        self._phase = CLOSING
        if exchange.response is not None and exchange.response.until_close:
            reset(self._transport)
        else:
            self._transport.close()

    def _close(self, *, whole: bool) -> None:
        self._phase = CLOSING
        self._pending = b""
        self._end(whole=whole)

    def _drop_link(self) -> None:
        link, self._link = self._link, None
        self._backend_slow = False
        if link is not None and not link.closed:
            if link.busy:
                link.abort()
            else:
                link.close()

    def _waiting_bytes(self) -> int:
        return len(self._pending)

    @property
    def has_end(self) -> bool:
        """See `User`."""
        response = self._exchange.response if self._exchange is not None else None
        return self._phase is BODY or (response is not None and response.has_end)

    def leave(self) -> None:
        """See `User`: an exchange comes to its own end, or is cut."""

    # -- the front's side

    def shut(self) -> None:
        """See `Client`."""
        if self._phase is HEAD:
            self._drop_link()
            self._transport.close()
