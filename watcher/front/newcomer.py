"""Detect what a new connection speaks.

    silent ──0.2 s──▶ a connection to the app is made ──the app speaks──▶ Tunnel
       └──the client speaks──▶ HTTP/1: HttpClient; TLS, HTTP/2 and (on an `auto` port) all else: Tunnel

On an `auto` port the app can be the first to speak (SMTP, MySQL, SSH). So a silent client also gets an
upstream connection, which its first request uses if it turns out to be HTTP/1. After
the app spoke first once, later clients are connected immediately.
"""

from __future__ import annotations

import asyncio
import time

from watcher.front.client import ClientEnd
from watcher.front.context import Context
from watcher.front.gate import ConnectionRequest
from watcher.front.http import HttpClient
from watcher.front.speech import Protocol, Speech, begins_like_http, speech_of
from watcher.front.tunnel import Tunnel
from watcher.front.upstream import Upstream


class Newcomer(ClientEnd):
    """See the module. A `Waiter` for the gate, a `User` of its upstream, a `FrontClient`."""

    def __init__(self, context: Context, protocol: Protocol) -> None:
        super().__init__(context)
        self._protocol = protocol
        self._early = b""
        self._pending: ConnectionRequest | None = None
        self._over = False  # another object is the client's end now
        self._ready_at = 0.0  # time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop for a connection that was accepted."""
        super().connection_made(transport)
        if self._over or transport.is_closing():
            return
        self._context.room.mark_idle(self)
        if self._protocol == "auto":
            silence = 0 if self._context.app_speaks_first else self._times.silence
            self._set_timer(silence, self._hear_app)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by the loop."""
        super().connection_lost(_exc)
        self._context.room.mark_busy(self)
        self._give_up_upstream()

    @property
    def fresh(self) -> bool:
        """See `Guest`."""
        return True

    # -- the client's side

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self._transport.is_closing():
            return
        self._early += data
        speech = speech_of(self._early, self._protocol)
        if speech is Speech.UNKNOWN:
            self._set_timer(self._times.undecided, self._decide_protocol)
        else:
            self._hand_over(speech)

    def eof_received(self) -> bool:
        """Called by the loop: what the client has asked is still answered.

        A client that only listens (`nc HOST PORT </dev/null`) is connected to the app.
        """
        self._client_ended = True
        if self._early:
            self._decide_protocol()
            return True
        if self._protocol != "auto" or not (self._upstream or self._context.gate.ready):
            return False
        self._hand_over(Speech.RAW)
        return True

    def _decide_protocol(self) -> None:
        """No more comes for the moment, and a whole line has not come."""
        http = self._protocol == "http" or begins_like_http(self._early) or not self._early.strip(b"\r\n")
        self._hand_over(Speech.HTTP if http else Speech.RAW)

    def _hand_over(self, speech: Speech) -> None:
        upstream, self._upstream = self._upstream, None
        self._stop_waiting()
        if speech is Speech.HTTP:
            client = HttpClient(self._context)
            client.take_over(self._transport, self._early, upstream, ended=self._client_ended)
        else:
            tunnel = Tunnel(self._context, speech=speech)
            tunnel.take_over(self._transport, self._early, upstream, ended=self._client_ended)
        self._context.left(self)

    def _stop_waiting(self) -> None:
        """From now on another object is the client's end, or it is closed."""
        self._over = True
        self._stop_timer()
        self._context.room.mark_busy(self)
        if self._pending is not None:
            self._context.gate.withdraw_request(self._pending)
            self._pending = None

    # -- the backend's side

    def _hear_app(self) -> None:
        """Get an upstream connection, to hear whether the app speaks first, without counting as held."""
        self._pending = ConnectionRequest(self, 0, quiet=True)
        self._context.gate.request_connection(self._pending)

    def upstream_ready(self, upstream: Upstream) -> None:
        """See `User`."""
        self._pending, self._upstream = None, upstream
        self._ready_at = upstream.idle_since = time.monotonic()

    def refused(self, reason: str) -> None:
        """See `Waiter`: there are too many connections already."""
        self._stop_waiting()
        if self._context.app_speaks_first:  # an HTTP answer would be taken for the app's greeting
            self._context.refused(reason, 0)
            self._transport.close()
            return
        client = HttpClient(self._context)
        client.take_over(self._transport, b"", None, ended=self._client_ended)
        self._context.left(self)
        client.refused(reason)

    def from_backend(self, data: bytes) -> None:
        """See `User`: the app is the first to speak."""
        upstream, self._upstream = self._upstream, None
        if upstream is None:
            return
        self._stop_waiting()
        if not data.startswith(b"HTTP/"):  # for example 408, before it closes
            self._context.app_speaks_first = True
        tunnel = Tunnel(self._context, speech=Speech.RAW)
        tunnel.take_over(self._transport, self._early, upstream, ended=self._client_ended)
        self._context.left(self)
        tunnel.from_backend(data)

    def backend_eof(self) -> bool:
        """See `User`."""
        return False

    def backend_lost(self, upstream: Upstream, _error: Exception | None) -> None:
        """See `User`. An app that closes a silent connection after a while has had enough of it."""
        self._upstream, self._backend_slow = None, False
        gone = upstream.was_cut or upstream.backend is not self._context.gate.backend
        if not gone and time.monotonic() - self._ready_at >= self._times.not_answering:
            if not self._early:
                self._transport.close()
            return
        if not gone:
            self._context.gate.suspect_backend(upstream.backend, "it closes connections without a word")
        self._hear_app()

    # -- the front's side

    def shut(self) -> None:
        """See `FrontClient`."""
        if self._over:
            return
        self._stop_waiting()
        self._give_up_upstream()
        self._transport.close()

    def _give_up_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if self._pending is not None:
            self._context.gate.withdraw_request(self._pending)
            self._pending = None
        if upstream is not None and not upstream.closed:
            upstream.close()

    def _waiting_bytes(self) -> int:
        return len(self._early)
