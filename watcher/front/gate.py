"""Give clients connections to the current backend, or hold them.

A client hands in a `ConnectionRequest`. While a backend answers, it gets an `Upstream` connection, in order
of arrival. While none answers, it is held: bounded in number, bytes and time. A backend that refuses a
connection, or closes a new one without an answer (as docker-proxy does before the app listens), is in doubt:
it is probed until a connection to it stays open, and until then it gets no other request. It counts as
silent once a probe has failed; until then a crowd that waits for its turn is not limited in number.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Protocol, cast

from watcher.backoff import Backoff
from watcher.front.model import Backend, FrontLimits, Unavailable
from watcher.front.upstream import Upstream, UpstreamPool, User
from watcher.observers.events import FrontHeld, Notice, Observer, short

MAX_DIALS = 64  # connections made at the same time; a server's accept queue can be short
PROBE_SETTLE = 0.02  # seconds that a probe must stay open: docker-proxy closes within one or two
PROBE_BACKOFF = Backoff(first=0.01, most=0.25)  # seconds between probes


class Waiter(User, Protocol):
    """A client that waits for an upstream connection."""

    def refused(self, reason: str) -> None:
        """Refuse the connection: `reason` is timeout | limit | backend | closing, as in `FrontRefused`."""
        ...


class ConnectionRequest:
    """A client's request for a connection: `size` bytes are buffered, `waited` seconds it was held so far.

    A `quiet` one belongs to a client that has sent nothing yet: it waits without being counted, as long as
    its client does. `was_held`: it waited while nothing could answer.
    """

    __slots__ = ("dial", "held_at", "quiet", "size", "timer", "waited", "waiter", "was_held")

    def __init__(self, waiter: Waiter, size: int, *, quiet: bool = False) -> None:
        self.waiter = waiter
        self.size = size
        self.quiet = quiet
        self.waited = 0.0
        self.was_held = False
        self.held_at = 0.0
        self.timer: asyncio.Handle | None = None  # of the refusal to come
        self.dial: asyncio.Task[None] | None = None


class Gate:
    """Hands out upstream connections; see the module."""

    def __init__(
        self,
        limits: FrontLimits,
        pool: UpstreamPool,
        explain: Callable[[], Unavailable],
        observer: Observer,
        service: str,
    ) -> None:
        self.backend: Backend | None = None
        self.held_bytes = 0
        self.limits = limits
        self._pool = pool
        self._explain = explain
        self._observer = observer
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._held: dict[ConnectionRequest, None] = {}  # in the order of arrival
        self._quiet: dict[ConnectionRequest, None] = {}
        self._dials: dict[asyncio.Task[None], ConnectionRequest] = {}
        self._probe: asyncio.Task[None] | None = None
        self._silent = False  # a probe of the backend has failed
        self._closed = False
        self._told_held = 0
        self._telling = False

    @property
    def held(self) -> int:
        """Number of requests that wait because nothing can answer; those that only queue are not counted."""
        return len(self._held) if self._unanswerable else 0

    @property
    def ready(self) -> bool:
        """Return whether a connection can be had now."""
        return self.backend is not None and self._probe is None

    @property
    def _why_none(self) -> str:
        return "closing" if self._closed else "backend"

    @property
    def _unanswerable(self) -> bool:
        return self.backend is None or self._silent

    def switch(self, backend: Backend | None) -> None:
        """Send new and held requests to `backend`; None holds them."""
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
        self._silent = False
        if backend != self.backend:  # an equal one is the same one: connections know theirs by identity
            self.backend = backend
            for dial, pending in list(self._dials.items()):
                if pending.dial is dial:
                    self._stop_dialling(pending)
                    self.request_connection(pending)
        self._release_held()
        self._mark_held()

    def reconsider(self) -> None:
        """Ask for the explanation again, and refuse the held requests when waiting is pointless."""
        if self._held and not self.ready and not self._explain().wait:
            for pending in list(self._held):
                self._refuse_request(pending, "backend")

    def request_connection(self, pending: ConnectionRequest) -> None:
        """Call `upstream_ready` with a connection as soon as there is one, or `refused`, exactly once.

        Never before this returns. A retry of the same request can pass `pending` again: its time runs on.
        """
        if self.ready and len(self._dials) < MAX_DIALS:
            self._dial_backend(pending)
        elif pending.quiet:
            self._quiet[pending] = None
        elif self._closed or not (self.ready or self._explain().wait):
            pending.timer = self._loop.call_soon(self._refuse_request, pending, self._why_none)
        else:
            self._hold_request(pending)

    def grow_request(self, pending: ConnectionRequest, size: int) -> None:
        """The client of `pending` holds `size` bytes more."""
        pending.size += size
        if pending in self._held:
            self.held_bytes += size
            if self.held_bytes > self.limits.held_bytes:
                self._refuse_request(pending, "limit")

    def withdraw_request(self, pending: ConnectionRequest) -> None:
        """The waiter has gone."""
        self._unhold_request(pending)
        self._quiet.pop(pending, None)
        if pending.timer is not None:
            pending.timer.cancel()
        self._stop_dialling(pending)

    def suspect_backend(self, backend: Backend, why: str) -> None:
        """Hold all requests until a probe of `backend` succeeds."""
        if backend is self.backend and self._probe is None:
            self._probe = self._loop.create_task(self._until_it_answers(backend, why))

    async def close(self) -> None:
        """Refuse the held requests; stop dialling and probing."""
        self.backend = None
        self._closed = True
        for pending in list(self._held):
            self._refuse_request(pending, self._why_none)
        tasks = [*self._dials, *([self._probe] if self._probe else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _hold_request(self, pending: ConnectionRequest) -> None:
        limits = self.limits
        crowded = self._unanswerable and len(self._held) >= limits.held
        if crowded or self.held_bytes + pending.size > limits.held_bytes:
            pending.timer = self._loop.call_soon(self._refuse_request, pending, "limit")
            return
        pending.held_at = time.monotonic()
        pending.was_held = pending.was_held or self._unanswerable
        left = limits.hold_seconds - pending.waited
        pending.timer = self._loop.call_later(left, self._refuse_request, pending, "timeout")
        self._held[pending] = None
        self.held_bytes += pending.size
        self._held_changed()

    def _unhold_request(self, pending: ConnectionRequest) -> None:
        if pending not in self._held:
            return
        del self._held[pending]
        self.held_bytes -= pending.size
        pending.waited += time.monotonic() - pending.held_at
        if pending.timer is not None:
            pending.timer.cancel()
        self._held_changed()

    def _refuse_request(self, pending: ConnectionRequest, reason: str) -> None:
        self._unhold_request(pending)
        pending.waiter.refused(reason)

    def _release_held(self) -> None:
        """Dial for held requests, in order of arrival."""
        while self._held and self.ready and len(self._dials) < MAX_DIALS:
            pending = next(iter(self._held))
            self._unhold_request(pending)
            self._dial_backend(pending)
        while self._quiet and self.ready and len(self._dials) < MAX_DIALS:
            self._dial_backend(self._quiet.popitem()[0])

    def _dial_backend(self, pending: ConnectionRequest) -> None:
        backend = cast(Backend, self.backend)
        pending.dial = self._loop.create_task(self._connect_to(pending, backend))
        self._dials[pending.dial] = pending
        pending.dial.add_done_callback(self._dial_ended)

    def _dial_ended(self, dial: asyncio.Task[None]) -> None:
        del self._dials[dial]
        self._release_held()

    @staticmethod
    def _stop_dialling(pending: ConnectionRequest) -> None:
        dial, pending.dial = pending.dial, None
        if dial is not None:
            dial.cancel()

    async def _connect_to(self, pending: ConnectionRequest, backend: Backend) -> None:
        """Make one connection for `pending`."""
        this = asyncio.current_task()
        made: list[Upstream] = []

        def take(upstream: Upstream) -> None:
            made.append(upstream)
            if pending.dial is this:
                pending.dial = None
                upstream.user = pending.waiter
                pending.waiter.upstream_ready(upstream)
            else:  # given up, but the connection was made already
                upstream.abort()

        try:
            async with asyncio.timeout(self.limits.connect_seconds):
                await self._loop.create_connection(
                    lambda: Upstream(self._pool, backend, take), backend.host, backend.port
                )
        except (OSError, asyncio.CancelledError) as error:
            for upstream in made:
                # It was made and given up in the same turn of the loop: uvloop closes it without a callback.
                upstream.connection_lost(ConnectionAbortedError("given up"))
            if isinstance(error, asyncio.CancelledError):
                raise
            self.suspect_backend(backend, os.strerror(error.errno) if error.errno else "it took too long")
            if pending.dial is this:
                pending.dial = None
                self.request_connection(pending)

    async def _until_it_answers(self, backend: Backend, why: str) -> None:
        """Probe `backend` until a connection to it stays open, then admit all waiting requests."""
        told, probes = False, 0
        while not await self._backend_answers(backend):
            self._silent = True
            if not told:
                told = True
                self._mark_held()
                self._notify_user(
                    "warning", f"{self._backend_name(backend)} does not answer ({why}): requests are held"
                )
            await asyncio.sleep(PROBE_BACKOFF.pause(probes))
            probes += 1
        if told:
            self._notify_user("info", f"{self._backend_name(backend)} answers again")
        self._probe, self._silent = None, False
        self._release_held()
        self._held_changed()

    async def _backend_answers(self, backend: Backend) -> bool:
        """Return whether `backend` accepts a connection and keeps it open."""
        closed = asyncio.Event()
        try:
            async with asyncio.timeout(self.limits.connect_seconds):
                transport, _ = await self._loop.create_connection(
                    lambda: _Probe(closed), backend.host, backend.port
                )
        except OSError:
            return False
        try:
            async with asyncio.timeout(PROBE_SETTLE):
                await closed.wait()
        except TimeoutError:
            return True
        finally:
            transport.abort()
        return False

    def _backend_name(self, backend: Backend) -> str:
        return f"the container of revision {short(backend.revision)} at {backend}"

    def _notify_user(self, level: str, text: str) -> None:
        self._observer.notify(Notice(service=self._service, level=level, text=text))

    def _mark_held(self) -> None:
        """Update the held requests after the backend's state changed."""
        if self._unanswerable:
            for pending in self._held:
                pending.was_held = True
        self._held_changed()

    def _held_changed(self) -> None:
        """Report the number of held requests, once per turn of the loop."""
        if not self._telling:
            self._telling = True
            self._loop.call_soon(self._tell_held)

    def _tell_held(self) -> None:
        self._telling = False
        if self.held != self._told_held:
            self._told_held = self.held
            self._observer.notify(FrontHeld(service=self._service, held=self._told_held))


class _Probe(asyncio.Protocol):
    """A connection that only watches whether it is closed."""

    def __init__(self, closed: asyncio.Event) -> None:
        self._closed = closed

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by the loop after an end of file, too."""
        self._closed.set()
