"""What all client connections have in common: being counted, flow control, and a clean end."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import cast

from watcher.front.context import Context
from watcher.front.sockets import half_close
from watcher.front.upstream import Upstream


class ClientEnd(asyncio.Protocol):
    """A client's connection, and the upstream connection that serves it when there is one."""

    _transport: asyncio.Transport

    def __init__(self, context: Context) -> None:
        self._context = context
        self._times = context.limits.times
        self.address = ""  # the client's IP address
        self._upstream: Upstream | None = None
        self._client_ended = False  # it has sent its end of file
        self._client_slow = False  # it takes less than it is sent
        self._backend_slow = False
        self._reading = True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop for a connection that was accepted."""
        self._join_context(cast(asyncio.Transport, transport))
        if not self._context.admits(self):
            self.refused("limit")

    def _join_context(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        name = transport.get_extra_info("peername")
        self.address = name[0] if name else ""  # none when the client has gone already
        self._context.joined(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by the loop."""
        self._context.left(self)
        self._stop_timer()

    def pause_writing(self) -> None:
        """Called by the loop when the client takes less than it is sent."""
        self._client_slow = True
        if self._upstream is not None:
            self._upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        """Called by the loop when the client has caught up."""
        self._client_slow = False
        if self._upstream is not None:
            self._upstream.transport.resume_reading()

    def backend_slow(self, slow: bool) -> None:
        """See `User`."""
        self._backend_slow = slow
        self._update_reading()

    @property
    def has_end(self) -> bool:
        """See `User`."""
        return False

    @property
    def opaque(self) -> bool:
        """See `User`."""
        return False

    def farewell(self) -> None:
        """See `User`: what has an end of its own needs none."""

    def leave(self) -> None:
        """See `User`: it ends, or is cut."""

    @abstractmethod
    def refused(self, reason: str) -> None:
        """See `Waiter`."""

    @abstractmethod
    def shut(self) -> None:
        """See `FrontClient`."""

    def abort(self) -> None:
        """See `FrontClient`."""
        self._transport.abort()

    @abstractmethod
    def _waiting_bytes(self) -> int:
        """Return how much has been received that cannot be passed on yet."""

    def _update_reading(self) -> None:
        """Read from the client only while there is room for what it sends."""
        wanted = not self._backend_slow and self._waiting_bytes() <= self._context.limits.read_ahead
        if wanted is self._reading or self._client_ended:
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _end_client(self, *, whole: bool) -> None:
        """End the connection after what was written to it.

        Without `whole` the client can still be sending. Closing with unread bytes would make the kernel send
        a reset, which can overtake an answer; so they are read and thrown away for a while (RFC 9112, 9.6).
        """
        if whole or self._client_ended:
            self._transport.close()
            return
        half_close(self._transport)
        self._update_reading()
        self._set_timer(self._context.limits.linger_seconds, self._transport.close)

    def _set_timer(self, seconds: float, action: Callable[[], None]) -> None:
        """Do `action` in so many seconds, and not what was to be done before."""
        self._stop_timer()
        self._timer = self._context.loop.call_later(seconds, action)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
