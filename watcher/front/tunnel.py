"""Bytes in both directions, unread: raw TCP, TLS, HTTP/2, and connections after an upgrade or CONNECT."""

from __future__ import annotations

import asyncio
import time

from watcher.front.client import ClientEnd
from watcher.front.context import Context
from watcher.front.gate import ConnectionRequest
from watcher.front.h2 import Streams, goaway
from watcher.front.sockets import half_close, put, reset
from watcher.front.speech import Speech
from watcher.front.upstream import Upstream
from watcher.front.websocket import Frames, restart_frame


class Tunnel(ClientEnd):
    """The client side of a tunnel. It waits for an upstream connection like a request does.

    `code` is what the tunnel's end is reported with: 0 for one that was raw from the start, else the status
    that opened it.
    """

    def __init__(self, context: Context, code: int = 0, speech: Speech = Speech.RAW) -> None:
        super().__init__(context)
        self._code = code
        self._speech = speech
        self._streams = Streams() if speech is Speech.H2 else None
        self._announced = False  # the client knows that no more streams are wanted here
        self._moved = (0, 0.0)  # bytes seen last by `farewell`, and since when there were no more
        self._began = time.monotonic()
        self._pending = ConnectionRequest(self, 0)
        self._early = b""  # what the client sent before there was an upstream connection
        self._untouched = True  # nothing has passed yet, in either direction, not even an end of file
        self._backend_ended = False
        self._held = 0.0
        self._ready_at = 0.0  # time.monotonic()
        self._frames: Frames | None = None  # what the app sends, where it is a WebSocket
        self._leaving = False
        self._left = False  # has taken leave: what the client still sends is thrown away

    # -- three ways to start

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop for a port that is raw TCP."""
        super().connection_made(transport)
        if not transport.is_closing():
            self._context.gate.request_connection(self._pending)

    def take_over(
        self, transport: asyncio.Transport, early: bytes, upstream: Upstream | None, *, ended: bool
    ) -> None:
        """Take over a client whose first bytes, `early`, were not HTTP/1.1; `ended`: its half is closed.

        `upstream` is a fresh one that was made for it already.
        """
        self._join_context(transport)
        self._early = early
        self._pending.size = len(early)
        self._client_ended = ended
        transport.set_protocol(self)
        if upstream is not None and not upstream.closed and upstream.backend is self._context.gate.backend:
            upstream.user = self
            self.upstream_ready(upstream)
            return
        if upstream is not None and not upstream.closed:
            upstream.close()
        self._context.gate.request_connection(self._pending)

    def continue_with(
        self,
        transport: asyncio.Transport,
        upstream: Upstream,
        early: bytes,
        *,
        began: float,
        held: float,
        frames: Frames | None,
    ) -> None:
        """Continue after an upgrade: `early` is what the client has sent since; times as in `FrontExchange`.

        `frames` follows what the app sends if the upgrade was to a WebSocket.
        """
        self._join_context(transport)
        self._frames = frames
        self._upstream = upstream
        self._began = began
        self._held = held
        self._untouched = False
        self._client_ended = upstream.half_closed
        self._backend_slow = upstream.slow
        self._reading = False  # whatever it was: `_update_reading` sets it right
        upstream.user = self
        transport.set_protocol(self)
        self._update_reading()
        upstream.awaiting = bool(early)
        if early:
            upstream.transport.write(early)

    # -- the client's side

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self._left:
            return
        if self._upstream is not None:
            self._untouched = False
            self._upstream.awaiting = True
            self._upstream.moved += len(data)
            if self._streams is not None:
                self._streams.from_client(data)
            put(self._upstream.transport, data)
            return
        self._early += data
        self._update_reading()
        self._context.gate.grow_request(self._pending, len(data))

    def eof_received(self) -> bool:
        """Called by the loop: the other direction stays open."""
        self._client_ended = True
        if self._left:
            return False
        if self._upstream is None:
            return True
        self._untouched = False
        self._upstream.half_close()
        if self._backend_ended:
            self._finish_tunnel(self._upstream)
        return not self._backend_ended

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        super().connection_lost(exc)
        self._context.gate.withdraw_request(self._pending)
        if self._upstream is not None:
            self._report_end(self._upstream)
            self._upstream.abort()
            self._upstream = None

    def _waiting_bytes(self) -> int:
        return len(self._early)

    # -- the backend's side

    def upstream_ready(self, upstream: Upstream) -> None:
        """See `User`."""
        self._held = self._pending.waited
        self._upstream = upstream
        self._ready_at = time.monotonic()
        upstream.begin()
        early, self._early = self._early, b""
        self._update_reading()
        upstream.awaiting = bool(early)
        if early:
            self._untouched = False
            if self._streams is not None:
                self._streams.from_client(early)
            put(upstream.transport, early)
        if self._client_ended:
            self._untouched = False
            upstream.half_close()

    def refused(self, reason: str) -> None:
        """See `Waiter`: a raw client only sees the end of its connection."""
        self._context.refused(reason, 0)
        self._transport.close()

    def from_backend(self, data: bytes) -> None:
        """See `User`."""
        self._untouched = False
        if self._streams is not None:
            data = self._follow_streams(self._streams, data)
        put(self._transport, data)
        if self._frames is not None:
            self._frames.feed(data)
        if self._upstream is not None:
            self._upstream.awaiting = False
            if self._leaving:
                self._take_leave(self._upstream)

    def _follow_streams(self, streams: Streams, data: bytes) -> bytes:
        """`data` from the app, with the announcement in it if it is due and there is a place for it."""
        streams.from_server(data)
        if not self._announced and self._farewell_due() and (at := streams.boundary) >= 0:
            self._announced = True
            return data[:at] + goaway() + data[at:]
        return data

    def backend_eof(self) -> bool:
        """See `User`: the other direction stays open until the client ends it, too."""
        if self._not_answering():
            return False
        self._backend_ended = True
        half_close(self._transport)
        if self._client_ended and self._upstream is not None:
            self._finish_tunnel(self._upstream)
        return not self._client_ended

    def _not_answering(self) -> bool:
        """Return whether an end of the upstream connection now means that the app does not listen yet."""
        return self._untouched and time.monotonic() - self._ready_at < self._times.not_answering

    def backend_lost(self, upstream: Upstream, error: Exception | None) -> None:
        """See `User`. The client does not notice when nothing had passed yet."""
        self._upstream, self._backend_slow = None, False
        if self._not_answering():
            self._context.gate.suspect_backend(upstream.backend, "it closes connections without a word")
            self._context.gate.request_connection(self._pending)
            return
        self._report_end(upstream)
        if isinstance(error, ConnectionResetError):
            reset(self._transport)
        else:
            self._transport.close()

    # -- the end

    def shut(self) -> None:
        """See `FrontClient`: a tunnel is in progress for as long as it is open."""

    @property
    def opaque(self) -> bool:
        """See `User`: a WebSocket is ended by the front, between two frames."""
        return self._frames is None

    def farewell(self) -> None:
        """See `User`. HTTP/2 is asked to open no more streams, and closed without any; TLS, when it is quiet.

        Other uninspected traffic can mean anything while it is silent, and stays until the end of the drain.
        """
        upstream = self._upstream
        if upstream is None or self._left or self._leaving:
            return
        if self._streams is not None:
            self._end_streams(self._streams, upstream)
        elif self._speech is Speech.TLS:
            now = time.monotonic()
            if self._moved[0] != upstream.moved:
                self._moved = (upstream.moved, now)
            elif now - self._moved[1] >= self._times.quiet and not upstream.awaiting:
                self._part_quietly(upstream)

    def _end_streams(self, streams: Streams, upstream: Upstream) -> None:
        """Announce the end; once that has reached the client and no stream is open, close."""
        if streams.boundary < 0:
            return
        if not self._announced:
            # In the place where the app's bytes end now: nothing of a frame is on its way.
            if streams.at_boundary:
                self._announced = True
                put(self._transport, goaway())
        elif not streams.open and streams.at_boundary:
            put(self._transport, goaway(streams.last))
            self._part_quietly(upstream)

    def _farewell_due(self) -> bool:
        return self._upstream is not None and self._upstream.backend is not self._context.gate.backend

    def _part_quietly(self, upstream: Upstream) -> None:
        """Nothing is in progress: both sides are let go."""
        self._left, self._upstream, self._backend_slow = True, None, False
        self._report_end(upstream)
        upstream.close()
        self._end_client(whole=False)

    def leave(self) -> None:
        """See `User`. The app gets no more requests and can answer the ones that it has.

        A client that then hears that the service restarts (WebSocket) or of an end of file knows that what
        it sent last and has no answer to never reached the app.
        """
        if self._streams is not None or self._speech is Speech.TLS:
            self.farewell()
            return  # the app says the last word, when it is told to stop
        self._leaving = True
        if self._reading and not self._client_ended:
            self._reading = False
            self._transport.pause_reading()
        if self._upstream is not None and not self._upstream.awaiting:
            self._take_leave(self._upstream)

    def _take_leave(self, upstream: Upstream) -> None:
        if self._frames is not None:
            if not self._frames.between:
                return
            if not self._backend_ended:
                put(self._transport, restart_frame())
        self._left, self._upstream, self._backend_slow = True, None, False
        self._report_end(upstream)
        upstream.leave()
        self._end_client(whole=False)

    def _update_reading(self) -> None:
        if not self._leaving or self._left:
            super()._update_reading()

    def _finish_tunnel(self, upstream: Upstream) -> None:
        """Both sides have ended: close both after what is still to be written."""
        self._upstream = None
        self._report_end(upstream)
        upstream.close()
        self._transport.close()

    def _report_end(self, upstream: Upstream) -> None:
        self._context.finished(self._code, self._began, self._held, upstream.backend)
