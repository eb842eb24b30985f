"""A connection of which it is not known yet what it speaks.

    silent ──0.2 s──▶ a link is made ──the app speaks──▶ Tunnel
       └──the client speaks──▶ HTTP/1: HttpClient; TLS, HTTP/2 and (on an `auto` port) all else: Tunnel

On an `auto` port the app may be the one to speak first (SMTP, MySQL, SSH). So a client that says nothing
gets a link all the same, which its first request uses if it turns out to be HTTP/1. Where the app was the
first once, the next newcomers do not wait before they get theirs.
"""

from __future__ import annotations

import asyncio
import time

from watcher.front.client import ClientEnd
from watcher.front.context import Context
from watcher.front.gate import Ticket
from watcher.front.http import HttpClient
from watcher.front.speech import Protocol, Speech, begins_like_http, speech_of
from watcher.front.tunnel import NOT_ANSWERING, Tunnel
from watcher.front.upstream import Link

SILENCE = 0.2  # seconds: HTTP and TLS clients speak at once, browsers connect beforehand and say nothing
UNDECIDED = 1.0  # seconds after which the beginning of a first line is taken for what it looks like


class Newcomer(ClientEnd):
    """See the module. Is an `Asker` for the gate, a `User` for its link and a `Client` for the front."""

    def __init__(self, context: Context, protocol: Protocol) -> None:
        super().__init__(context)
        self._protocol = protocol
        self._early = b""
        self._ticket: Ticket | None = None
        self._over = False  # another object is the client's end now
        self._linked = 0.0  # time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop for a connection that was accepted."""
        super().connection_made(transport)
        if self._over or transport.is_closing():
            return
        self._context.room.idle(self)
        if self._protocol == "auto":
            self._set_timer(0 if self._context.app_speaks_first else SILENCE, self._listen)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by the loop."""
        super().connection_lost(_exc)
        self._context.room.busy(self)
        self._give_up_link()

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
            self._set_timer(UNDECIDED, self._decide)
        else:
            self._hand_over(speech)

    def eof_received(self) -> bool:
        """Called by the loop: what the client has asked is still answered.

        A client that only listens (`nc HOST PORT </dev/null`) gets what the app has to say.
        """
        self._client_ended = True
        if self._early:
            self._decide()
            return True
        if self._protocol != "auto" or not (self._link or self._context.gate.ready):
            return False
        self._hand_over(Speech.RAW)
        return True

    def _decide(self) -> None:
        """No more comes for the moment, and a whole line has not come."""
        http = self._protocol == "http" or begins_like_http(self._early) or not self._early.strip(b"\r\n")
        self._hand_over(Speech.HTTP if http else Speech.RAW)

    def _hand_over(self, speech: Speech) -> None:
        link, self._link = self._link, None
        self._leave()
        if speech is Speech.HTTP:
            client = HttpClient(self._context)
            client.take_over(self._transport, self._early, link, ended=self._client_ended)
        else:
            tunnel = Tunnel(self._context, speech=speech)
            tunnel.take_over(self._transport, self._early, link, ended=self._client_ended)
        self._context.left(self)

    def _leave(self) -> None:
        """From now on another object is the client's end, or it is closed."""
        self._over = True
        self._stop_timer()
        self._context.room.busy(self)
        if self._ticket is not None:
            self._context.gate.withdraw(self._ticket)
            self._ticket = None

    # -- the backend's side

    def _listen(self) -> None:
        """Get a link, to hear whether the app speaks first, without counting as held."""
        self._ticket = Ticket(self, 0, quiet=True)
        self._context.gate.ask(self._ticket)

    def linked(self, link: Link) -> None:
        """See `User`."""
        self._ticket, self._link = None, link
        self._linked = link.idle_since = time.monotonic()

    def refused(self, reason: str) -> None:
        """See `Asker`: there are too many connections already."""
        self._leave()
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
        link, self._link = self._link, None
        if link is None:
            return
        self._leave()
        if not data.startswith(b"HTTP/"):  # that is a farewell: 408, say
            self._context.app_speaks_first = True
        tunnel = Tunnel(self._context, speech=Speech.RAW)
        tunnel.take_over(self._transport, self._early, link, ended=self._client_ended)
        self._context.left(self)
        tunnel.from_backend(data)

    def backend_eof(self) -> bool:
        """See `User`."""
        return False

    def backend_lost(self, link: Link, _error: Exception | None) -> None:
        """See `User`. An app that closes a silent connection after a while has had enough of it."""
        self._link, self._backend_slow = None, False
        gone = link.was_cut or link.backend is not self._context.gate.backend
        if not gone and time.monotonic() - self._linked >= NOT_ANSWERING:
            if not self._early:
                self._transport.close()
            return
        if not gone:
            self._context.gate.suspect(link.backend, "it closes connections without a word")
        self._listen()

    # -- the front's side

    def shut(self) -> None:
        """See `Client`."""
        if self._over:
            return
        self._leave()
        self._give_up_link()
        self._transport.close()

    def _give_up_link(self) -> None:
        link, self._link = self._link, None
        if self._ticket is not None:
            self._context.gate.withdraw(self._ticket)
            self._ticket = None
        if link is not None and not link.closed:
            link.close()

    def _waiting_bytes(self) -> int:
        return len(self._early)
