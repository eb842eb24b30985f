"""One client that speaks HTTP/1.1: its requests, one at a time, each to the backend of its moment.

    HEAD ──head complete──▶ WAIT ──link──▶ BODY ──request sent──▶ ANSWER ──response over──▶ HEAD
                             ▲                │                      │
                             └── connection lost before any answer, request may be repeated

Bytes that come while an earlier request is in progress (pipelining) wait in `_pending`; above the
read-ahead limit the client is not read from. Nothing is changed on the way, and nothing is passed on that
`framing` has not understood.
"""

from __future__ import annotations

import asyncio
import time
from typing import cast

from watcher.front.ending import ANSWER, BODY, CLOSING, HEAD, WAIT, HttpEnd
from watcher.front.exchange import Exchange
from watcher.front.framing import HEAD_END, Malformed, hopeless, read_request
from watcher.front.gate import Ticket
from watcher.front.model import Unavailable
from watcher.front.response import Response
from watcher.front.sockets import put
from watcher.front.tunnel import Tunnel
from watcher.front.upstream import Link
from watcher.front.websocket import Frames, is_websocket
from watcher.observers.events import short


class HttpClient(HttpEnd):
    """See the module. Is an `Asker` for the gate, a `User` for its link and a `Client` for the front."""

    def take_over(
        self, transport: asyncio.Transport, early: bytes, link: Link | None, *, ended: bool
    ) -> None:
        """Begin with a client that has sent `early`, and may have `ended` its half; `link` is a fresh one."""
        self._join(transport)
        self._client_ended = ended
        self._link = link
        if link is not None:
            link.user = self
            self._backend_slow = link.slow
        transport.set_protocol(self)
        self._context.room.idle(self)
        if early:
            self._read_head(early)
        if ended and self._phase is HEAD:
            self._half_a_head()

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
        if self._phase is HEAD and self._pending:
            self._half_a_head()
            return True
        if self._phase is HEAD or self._phase is CLOSING:
            self._drop_link()
            return False
        if self._phase is WAIT and (ticket := self._gone_while_held()):
            self._refuse_gone(ticket)
            return True
        if self._link is not None and not self._pending:
            self._link.half_close()
        return True

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by the loop."""
        super().connection_lost(_exc)
        self._context.room.busy(self)
        if self._exchange is not None and self._exchange.ticket is not None:
            self._context.gate.withdraw(self._exchange.ticket)
        self._drop_link()

    def _read_head(self, data: bytes) -> None:
        start = 0
        while data.startswith(b"\r\n", start):  # empty lines before a request: RFC 9112, section 2.2
            start += 2
        data = data[start:]
        found = data.find(HEAD_END)
        end = found + len(HEAD_END) if found >= 0 else len(data)
        if end > self._context.limits.head_bytes:
            most = self._context.limits.head_bytes
            self._reject(431, f"the head is longer than the {most} bytes that front.head_size allows")
        elif found < 0:
            self._pending = data
            if data and (why := hopeless(data)):
                self._reject(400, why)
            elif data and self._timer is None:
                self._set_timer(self._context.limits.head_seconds, self._too_slow)
        else:
            self._asked = True
            self._start(data, end)

    def _start(self, data: bytes, end: int) -> None:
        """Begin with the request whose head is `data[:end]`."""
        self._stop_timer()
        context = self._context
        context.room.busy(self)
        head = data[:end]
        try:
            request = read_request(head)
            body_end = end if request.body.done else request.body.take(data, end)
        except Malformed as error:
            self._reject(error.status, str(error))
            return
        sent = data[:body_end]
        self._pending = data[body_end:]
        if request.line:
            sent = request.line + sent[sent.find(b"\n") + 1 :]
        if context.additions.forwarded:
            peer = self.address
            port = self._transport.get_extra_info("sockname")[1]
            # Of the same length as what came, whatever has been put in place of its first line.
            sent = context.additions.to_request(sent[:end], peer, port) + sent[end:]
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
        if ticket := self._gone_while_held():
            self._refuse_gone(ticket)
            return
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
        exchange.response = Response(exchange.request, self._context.limits.answer_head_bytes, adorn)
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
            # Nothing was asked: a farewell before it closes, or a server out of step.
            if link is not None:
                self._app_closed(link)
            self._drop_link()
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
            if not link.was_cut:
                self._app_closed(link)
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
        if link.was_cut and exchange.response.status:
            # A stream of events, say, that went on beyond the drain's end.
            self._context.finished(exchange.response.status, exchange.began, exchange.waited, link.backend)
            self._exchange = None
            self._break_off(exchange)
            return
        # Before anything else goes there it has to show that it lives: repetitions are few.
        self._context.gate.suspect(link.backend, "it broke off an exchange")
        if exchange.response.status:
            self._backend_failed(link, "closed the connection in the middle of its answer")
        elif exchange.take_retry():
            self._context.retried += 1
            exchange.response = None
            self._ask(exchange)
        elif link.was_cut:
            old = short(link.backend.revision)
            text = f"Revision {old} did not answer before its time was up (deploy.drain)."
            self._refuse(502, "drain", Unavailable("A newer version has taken over", text))
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
        context.room.idle(self)
        if self._pending:
            data, self._pending = self._pending, b""
            self._read_head(data)
        if self._phase is HEAD and self._client_ended:
            self._drop_link()
            self._transport.close()
        elif not self._reading:
            self._update_reading()

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

    @property
    def has_end(self) -> bool:
        """See `User`."""
        response = self._exchange.response if self._exchange is not None else None
        return self._phase is BODY or (response is not None and response.has_end)

    # -- the front's side

    def shut(self) -> None:
        """See `Client`."""
        if self._phase is HEAD:
            self._drop_link()
            self._transport.close()
