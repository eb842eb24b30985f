"""One client that speaks HTTP/1.1: its requests, one at a time, each to the backend of its moment.

    HEAD ──head complete──▶ WAIT ──upstream──▶ BODY ──request sent──▶ ANSWER ──response over──▶ HEAD
                             ▲                │                      │
                             └── connection lost before any answer, request may be repeated

Bytes that come while an earlier request is in progress (pipelining) wait in `_pending`; above the
read-ahead limit the client is not read from. Nothing is changed on the way, and nothing is passed on that
`framing` has not understood.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import cast

from watcher.front.ending import ANSWER, BODY, CLOSING, HEAD, WAIT, HttpEnd
from watcher.front.exchange import Exchange
from watcher.front.framing import HEAD_END, Malformed, read_request, syntax_error
from watcher.front.gate import ConnectionRequest
from watcher.front.model import CLOSED, Unavailable
from watcher.front.response import Response
from watcher.front.sockets import put
from watcher.front.tunnel import Tunnel
from watcher.front.upstream import Upstream
from watcher.front.websocket import Frames, is_websocket
from watcher.observers.events import short


class HttpClient(HttpEnd):
    """See the module. A `Waiter` for the gate, a `User` of its upstream, a `FrontClient`."""

    def take_over(
        self, transport: asyncio.Transport, early: bytes, upstream: Upstream | None, *, ended: bool
    ) -> None:
        """Take over a client that has sent `early`. `ended`: its half is closed. `upstream` is fresh."""
        self._join_context(transport)
        self._client_ended = ended
        self._upstream = upstream
        if upstream is not None:
            upstream.user = self
            self._backend_slow = upstream.slow
        transport.set_protocol(self)
        self._context.room.mark_idle(self)
        if early:
            self._read_head(early)
        if ended and self._phase is HEAD:
            self._half_a_head()

    # -- the client's side

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self._phase is WAIT and self._exchange is not None and self._exchange.pending is not None:
            self._context.gate.grow_request(self._exchange.pending, len(data))
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
            self._drop_upstream()
            return False
        if self._phase is WAIT and (pending := self._gone_while_held()):
            self._refuse_gone(pending)
            return True
        if self._upstream is not None and not self._pending:
            self._upstream.half_close()
        return True

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by the loop."""
        super().connection_lost(_exc)
        self._context.room.mark_busy(self)
        if self._exchange is not None and self._exchange.pending is not None:
            self._context.gate.withdraw_request(self._exchange.pending)
        self._drop_upstream()

    def _read_head(self, data: bytes) -> None:
        start = 0
        while data.startswith(b"\r\n", start):  # empty lines before a request: RFC 9112, section 2.2
            start += 2
        data = data[start:]
        found = data.find(HEAD_END)
        end = found + len(HEAD_END) if found >= 0 else len(data)
        if end > self._context.limits.head_bytes:
            most = self._context.limits.head_bytes
            self._reject_request(431, f"the head is longer than the {most} bytes that front.head_size allows")
        elif found < 0:
            self._pending = data
            if data and (why := syntax_error(data)):
                self._reject_request(400, why)
            elif data and self._timer is None:
                self._set_timer(self._context.limits.head_seconds, self._too_slow)
        else:
            self._asked = True
            self._start_exchange(data, end)

    def _start_exchange(self, data: bytes, end: int) -> None:
        """Begin with the request whose head is `data[:end]`."""
        self._stop_timer()
        context = self._context
        context.room.mark_busy(self)
        head = data[:end]
        try:
            request = read_request(head)
            body_end = end if request.body.done else request.body.consume(data, end)
        except Malformed as error:
            self._reject_request(error.status, str(error))
            return
        sent = data[:body_end]
        self._pending = data[body_end:]
        if request.line:
            sent = request.line + sent[sent.find(b"\n") + 1 :]
        if context.extra_headers.forwarded:
            peer = self.address
            port = self._transport.get_extra_info("sockname")[1]
            # Of the same length as what came, whatever has been put in place of its first line.
            sent = context.extra_headers.to_request(sent[:end], peer, port) + sent[end:]
        now = time.monotonic()
        self._exchange = exchange = Exchange(request, head, sent, now)
        upstream = self._upstream
        max_idle = math.inf if request.idempotent else self._times.reuse_idle
        if (
            upstream is not None
            and upstream.backend is context.gate.backend
            and upstream.is_usable(now, max_idle=max_idle)
        ):
            self._transmit_head(upstream, exchange)
        else:
            self._drop_upstream()
            self._request_upstream(exchange)

    def _pass_body(self, data: bytes) -> None:
        exchange, upstream = cast(Exchange, self._exchange), cast(Upstream, self._upstream)
        body = exchange.request.body
        try:
            end = body.consume(data, 0)
        except Malformed as error:
            self._reject_request(400, str(error))
            return
        part = data[:end]
        exchange.remember(part, self._context.limits.replay_bytes)
        upstream.moved += len(part)
        put(upstream.transport, part)
        if body.done:
            self._phase = ANSWER
            self._pending = data[end:]
            self._update_reading()
            if exchange.answered:
                self._finish_exchange(exchange, upstream)

    # -- the backend's side

    def _request_upstream(self, exchange: Exchange) -> None:
        self._phase = WAIT
        if exchange.pending is None:
            exchange.pending = ConnectionRequest(self, len(exchange.sent) + len(self._pending))
        self._context.gate.request_connection(exchange.pending)

    def upstream_ready(self, upstream: Upstream) -> None:
        """See `User`."""
        self._upstream = upstream
        if pending := self._gone_while_held():
            self._refuse_gone(pending)
            return
        if self._client_slow:  # not now: uvloop starts to read when `connection_made` returns
            self._context.loop.call_soon(self._slow_down, upstream)
        self._transmit_head(upstream, cast(Exchange, self._exchange))

    def _slow_down(self, upstream: Upstream) -> None:
        if self._client_slow and not upstream.closed:
            upstream.transport.pause_reading()

    def refused(self, reason: str) -> None:
        """See `Waiter`."""
        what = CLOSED if reason == "closing" else self._context.explain()
        if self._exchange is None:
            what = Unavailable("Too many connections", "The front has as many connections open as it may.")
        self._refuse_request(503, reason, what)

    def _transmit_head(self, upstream: Upstream, exchange: Exchange) -> None:
        """Send what there is of the request."""
        add_headers = None
        if self._context.extra_headers.revision:
            revision, waited = upstream.backend.revision, exchange.waited
            add_headers = lambda head: self._context.extra_headers.to_response(head, revision, waited)  # noqa: E731
        exchange.response = Response(exchange.request, self._context.limits.answer_head_bytes, add_headers)
        self._phase = ANSWER if exchange.request.body.done else BODY
        upstream.begin()
        upstream.transport.write(exchange.sent)
        exchange.forget_leftover(self._context.limits.replay_bytes)
        if self._phase is BODY and self._pending:
            data, self._pending = self._pending, b""
            self._pass_body(data)
        if self._client_ended and not self._pending and not upstream.closed:
            upstream.half_close()
        if not self._reading or self._pending:
            self._update_reading()

    def from_backend(self, data: bytes) -> None:
        """See `User`."""
        exchange, upstream = self._exchange, self._upstream
        if exchange is None or exchange.response is None or upstream is None:
            # Nothing was asked: a farewell before it closes, or a server out of step.
            if upstream is not None:
                self._app_closed(upstream)
            self._drop_upstream()
            return
        response = exchange.response
        try:
            part = response.consume(data, announce_end=self._context.announces_end)
        except Malformed as error:
            self._backend_failed(upstream, f"answered with what is not HTTP/1.1: {error}")
            return
        exchange.forget()
        if part:
            put(self._transport, part)
        if response.switched:
            self._become_tunnel(exchange, upstream)
        elif response.done and (self._phase is ANSWER or not response.keep_alive):
            self._finish_exchange(exchange, upstream)

    def backend_eof(self) -> bool:
        """See `User`: a server that ends its half has ended the connection."""
        return False

    def backend_lost(self, upstream: Upstream, error: Exception | None) -> None:
        """See `User`. The client does not notice when the request can be sent again."""
        exchange = self._exchange
        self._upstream, self._backend_slow = None, False
        if exchange is None or exchange.response is None:
            if not upstream.was_cut:
                self._app_closed(upstream)
            return  # the upstream connection was idle
        if exchange.response.done or (exchange.response.until_close and error is None):
            exchange.response.done = True
            self._finish_exchange(exchange, upstream)
            return
        if upstream.half_closed and not exchange.response.status:
            # The client has gone, or so it seems, and the backend took note.
            self._exchange = None
            self._close_client(whole=True)
            return
        if upstream.was_cut and exchange.response.status:
            # For example a stream of events that outlasted the drain.
            self._context.finished(
                exchange.response.status, exchange.began, exchange.waited, upstream.backend
            )
            self._exchange = None
            self._break_off(exchange)
            return
        # A probe comes before any further request: retries are few.
        self._context.gate.suspect_backend(upstream.backend, "it broke off an exchange")
        if exchange.response.status:
            self._backend_failed(upstream, "closed the connection in the middle of its answer")
        elif exchange.take_retry():
            self._context.retried += 1
            exchange.response = None
            self._request_upstream(exchange)
        elif upstream.was_cut:
            old = short(upstream.backend.revision)
            text = f"Revision {old} did not answer before its time was up (deploy.drain)."
            self._refuse_request(502, "drain", Unavailable("A newer version has taken over", text))
        else:
            self._backend_failed(upstream, "closed the connection without an answer")

    # -- the end of an exchange

    def _finish_exchange(self, exchange: Exchange, upstream: Upstream) -> None:
        """The response is over, and so is the request or the connection."""
        context = self._context
        request, response = exchange.request, cast(Response, exchange.response)
        context.finished(response.status, exchange.began, exchange.waited, upstream.backend)
        whole = self._phase is ANSWER
        ends = response.announces_end or context.closing
        keep = whole and request.keep_alive and response.keep_alive and not ends
        self._exchange = None
        if not upstream.closed:
            upstream.end(time.monotonic())
        if (
            not keep
            or response.not_reusable
            or upstream.half_closed
            or upstream.backend is not context.gate.backend
        ):
            self._drop_upstream()
        if not keep:
            self._close_client(whole=whole and not self._pending)
            return
        self._phase = HEAD
        context.room.mark_idle(self)
        if self._pending:
            data, self._pending = self._pending, b""
            self._read_head(data)
        if self._phase is HEAD and self._client_ended:
            self._drop_upstream()
            self._transport.close()
        elif not self._reading:
            self._update_reading()

    def _become_tunnel(self, exchange: Exchange, upstream: Upstream) -> None:
        """The backend has agreed to another protocol."""
        response = cast(Response, exchange.response)
        self._upstream = self._exchange = None
        frames = None
        if is_websocket(exchange.head):
            frames = Frames()
            frames.feed(response.leftover)
        tunnel = Tunnel(self._context, response.status)
        tunnel.continue_with(
            self._transport,
            upstream,
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
        """See `FrontClient`."""
        if self._phase is HEAD:
            self._drop_upstream()
            self._transport.close()
