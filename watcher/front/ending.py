"""How an HTTP/1.1 client's request is refused, and how its connection ends."""

from __future__ import annotations

from enum import Enum

from watcher.front.audience import may_read
from watcher.front.client import ClientEnd
from watcher.front.context import Context
from watcher.front.error_responses import accept_of, answer
from watcher.front.exchange import Exchange
from watcher.front.gate import ConnectionRequest
from watcher.front.model import Backend, Unavailable
from watcher.front.sockets import has_ended, put, reset
from watcher.front.upstream import Upstream
from watcher.observers.events import short


class Phase(Enum):
    """Where an HTTP client is."""

    HEAD = "reading a request head"
    WAIT = "waiting for an upstream connection"
    BODY = "passing on the request body"
    ANSWER = "waiting for the end of the response"
    CLOSING = "throwing away what still comes"


HEAD, WAIT, BODY, ANSWER, CLOSING = Phase


class HttpEnd(ClientEnd):
    """What of an HTTP client has to do with ends; `HttpClient` is the rest."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._phase = HEAD
        self._pending = b""  # received, not yet passed on
        self._exchange: Exchange | None = None
        self._asked = False  # a whole request has been read

    @property
    def fresh(self) -> bool:
        """See `Guest`."""
        return not self._asked or bool(self._pending)

    def _half_a_head(self) -> None:
        """The client has ended its side within a head, or before it sent one: RFC 9112, section 8."""
        self._stop_timer()
        if self._pending.strip(b"\r\n"):
            self._reject_request(400, "the request ended in the middle of its head")
        else:
            self._drop_upstream()
            self._transport.close()

    def _gone_while_held(self) -> ConnectionRequest | None:
        """Return the pending request that is dropped because its client ended its side while it was held.

        A client that hung up and one that only ended its request look the same. What changes
        something must not be done long after it was given up, so it is answered 503 instead.
        """
        exchange = self._exchange
        pending = exchange.pending if exchange is not None and not exchange.request.safe else None
        if pending is None or not pending.was_held:
            return None
        return pending if self._client_ended or has_ended(self._transport) else None

    def _refuse_gone(self, pending: ConnectionRequest) -> None:
        self._context.gate.withdraw_request(pending)
        text = "The client ended its side while the request waited for a container: it was not passed on."
        self._refuse_request(503, "gone", Unavailable("The request was given up", text))

    def _too_slow(self) -> None:
        """Time out a head that never ends: slow clients must not use up the connections (9110, 15.5.9)."""
        text = f"The request's head did not end within {self._context.limits.head_seconds:g} seconds."
        self._refuse_request(408, "timeout", Unavailable("The request was too slow", text))

    def _app_closed(self, upstream: Upstream) -> None:
        """An idle connection was closed by the app: the client's is closed too, if the app lives on."""
        if self._phase is HEAD and not self._pending and upstream.backend is self._context.gate.backend:
            self._set_timer(self._times.app_closed, lambda: self._close_with_app(upstream.backend))

    def _close_with_app(self, backend: Backend) -> None:
        self._timer = None
        if self._phase is not HEAD:
            return
        if self._pending:
            self._set_timer(self._context.limits.head_seconds, self._too_slow)
        elif self._upstream is None and self._context.gate.ready and self._context.gate.backend is backend:
            self._transport.close()

    def _reject_request(self, status: int, why: str) -> None:
        """Refuse what the client sent."""
        what = Unavailable("The request was refused", f"{why[:1].upper()}{why[1:]}.")
        self._refuse_request(status, "malformed", what)

    def _backend_failed(self, upstream: Upstream, how: str) -> None:
        """Answer that the backend failed, or break off if part of its answer was already sent."""
        text = f"The app (revision {short(upstream.backend.revision)}) {how}."
        self._refuse_request(502, "backend", Unavailable("The app did not answer", text))

    def _refuse_request(self, status: int, reason: str, what: Unavailable) -> None:
        self._context.refused(reason, status)
        exchange, self._exchange = self._exchange, None
        self._drop_upstream()
        if exchange is not None and exchange.answering:
            self._break_off(exchange)
            return
        if exchange is None:
            put(self._transport, answer(status, what))
        elif not exchange.answered:
            if what.private and not may_read(self._transport, exchange.head):
                what = what.public()
            accept = accept_of(exchange.head)
            put(self._transport, answer(status, what, method=exchange.request.method, accept=accept))
        self._close_client(whole=exchange is not None and exchange.request.body.done and not self._pending)

    def _break_off(self, exchange: Exchange) -> None:
        """End a partly sent response so that the client sees that it is incomplete.

        A length or a missing last chunk shows that by itself; where the end of the connection is the end of
        the answer, only an error can.
        """
        self._phase = CLOSING
        if exchange.response is not None and exchange.response.until_close:
            reset(self._transport)
        else:
            self._transport.close()

    def _close_client(self, *, whole: bool) -> None:
        self._phase = CLOSING
        self._context.room.mark_busy(self)
        self._pending = b""
        self._end_client(whole=whole)

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        self._backend_slow = False
        if upstream is not None and not upstream.closed:
            if upstream.busy:
                upstream.abort()
            else:
                upstream.close()

    def _waiting_bytes(self) -> int:
        return len(self._pending)
