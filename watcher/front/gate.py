"""Who gets a connection to the current backend, and who waits for one.

A client asks with a `Ticket`. While a backend answers, the ticket becomes a `Link`, in its turn when many
ask at once. While none does, it is held: bounded in number, bytes and time. A backend that refuses a
connection, or closes a fresh one without a word (as docker-proxy does before the app listens), is in doubt:
it is probed until a connection to it stays open, and no other ticket is sent there meanwhile. It counts as
silent once a probe has failed; until then a crowd that waits for its turn is not limited in number.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Protocol, cast

from watcher.backoff import Backoff
from watcher.front.model import Backend, Limits, Unavailable
from watcher.front.upstream import Link, Links, User
from watcher.observers.events import FrontHeld, Notice, Observer, short

MAX_DIALS = 64  # connections being made at the same time; a server's accept queue may be short
PROBE_SETTLE = 0.02  # seconds that a probe must stay open: docker-proxy closes within one or two
PROBE_BACKOFF = Backoff(first=0.01, most=0.25)  # seconds between probes


class Asker(User, Protocol):
    """A client that wants a link."""

    def refused(self, reason: str) -> None:
        """There is none: `reason` is timeout | limit | backend, as in `FrontRefused`."""
        ...


class Ticket:
    """One wish for a link. `size` bytes are buffered for it; `waited` seconds it was held so far.

    A `quiet` one belongs to a client that has not asked for anything yet: it waits without being counted,
    for as long as its client does. `was_held`: it has waited at a time when nothing could answer.
    """

    __slots__ = ("asker", "dial", "held_at", "quiet", "size", "timer", "waited", "was_held")

    def __init__(self, asker: Asker, size: int, *, quiet: bool = False) -> None:
        self.asker = asker
        self.size = size
        self.quiet = quiet
        self.waited = 0.0
        self.was_held = False
        self.held_at = 0.0
        self.timer: asyncio.Handle | None = None  # of the refusal to come
        self.dial: asyncio.Task[None] | None = None


class Gate:
    """Links for those who ask; see the module."""

    def __init__(
        self,
        limits: Limits,
        links: Links,
        explain: Callable[[], Unavailable],
        observer: Observer,
        service: str,
    ) -> None:
        self.backend: Backend | None = None
        self.held_bytes = 0
        self.limits = limits
        self._links = links
        self._explain = explain
        self._observer = observer
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._held: dict[Ticket, None] = {}  # in the order of arrival
        self._quiet: dict[Ticket, None] = {}
        self._dials: dict[asyncio.Task[None], Ticket] = {}
        self._probe: asyncio.Task[None] | None = None
        self._silent = False  # a probe of the backend has failed
        self._closed = False
        self._told_held = 0
        self._telling = False

    @property
    def held(self) -> int:
        """How many tickets wait because nothing can answer; who only waits for a turn is not counted."""
        return len(self._held) if self._unanswerable else 0

    @property
    def ready(self) -> bool:
        """Whether a connection can be had now."""
        return self.backend is not None and self._probe is None

    @property
    def _unanswerable(self) -> bool:
        return self.backend is None or self._silent

    def switch(self, backend: Backend | None) -> None:
        """Send everybody who asks from now on, and all who wait, to `backend`; None holds them."""
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
        self._silent = False
        if backend != self.backend:  # an equal one is the same one: links know theirs by identity
            self.backend = backend
            for dial, ticket in list(self._dials.items()):
                if ticket.dial is dial:
                    self._stop_dialling(ticket)
                    self.ask(ticket)
        self._release()
        self._mark_held()

    def reconsider(self) -> None:
        """Ask for the explanation again: when waiting makes no sense any more, nobody waits."""
        if self._held and not self.ready and not self._explain().wait:
            for ticket in list(self._held):
                self._refuse(ticket, "backend")

    def ask(self, ticket: Ticket) -> None:
        """Give the ticket's asker a link as soon as there is one: `linked` or `refused` is called once.

        Never before this returns. A ticket may be used again for the same request: its time runs on.
        """
        if self.ready and len(self._dials) < MAX_DIALS:
            self._dial(ticket)
        elif ticket.quiet:
            self._quiet[ticket] = None
        elif self._closed or not (self.ready or self._explain().wait):
            ticket.timer = self._loop.call_soon(self._refuse, ticket, "backend")
        else:
            self._hold(ticket)

    def grow(self, ticket: Ticket, size: int) -> None:
        """The ticket's asker holds `size` bytes more."""
        ticket.size += size
        if ticket in self._held:
            self.held_bytes += size
            if self.held_bytes > self.limits.held_bytes:
                self._refuse(ticket, "limit")

    def withdraw(self, ticket: Ticket) -> None:
        """The asker has gone."""
        self._unhold(ticket)
        self._quiet.pop(ticket, None)
        if ticket.timer is not None:
            ticket.timer.cancel()
        self._stop_dialling(ticket)

    def suspect(self, backend: Backend, why: str) -> None:
        """`backend` did not answer: hold everybody until a probe says that it does."""
        if backend is self.backend and self._probe is None:
            self._probe = self._loop.create_task(self._until_it_answers(backend, why))

    async def close(self) -> None:
        """Refuse all who wait, stop dialling and probing."""
        self.backend = None
        self._closed = True
        for ticket in list(self._held):
            self._refuse(ticket, "backend")
        tasks = [*self._dials, *([self._probe] if self._probe else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _hold(self, ticket: Ticket) -> None:
        limits = self.limits
        crowded = self._unanswerable and len(self._held) >= limits.held
        if crowded or self.held_bytes + ticket.size > limits.held_bytes:
            ticket.timer = self._loop.call_soon(self._refuse, ticket, "limit")
            return
        ticket.held_at = time.monotonic()
        ticket.was_held = ticket.was_held or self._unanswerable
        left = limits.hold_seconds - ticket.waited
        ticket.timer = self._loop.call_later(left, self._refuse, ticket, "timeout")
        self._held[ticket] = None
        self.held_bytes += ticket.size
        self._changed()

    def _unhold(self, ticket: Ticket) -> None:
        if ticket not in self._held:
            return
        del self._held[ticket]
        self.held_bytes -= ticket.size
        ticket.waited += time.monotonic() - ticket.held_at
        if ticket.timer is not None:
            ticket.timer.cancel()
        self._changed()

    def _refuse(self, ticket: Ticket, reason: str) -> None:
        self._unhold(ticket)
        ticket.asker.refused(reason)

    def _release(self) -> None:
        """Dial for those who wait, in the order of their arrival."""
        while self._held and self.ready and len(self._dials) < MAX_DIALS:
            ticket = next(iter(self._held))
            self._unhold(ticket)
            self._dial(ticket)
        while self._quiet and self.ready and len(self._dials) < MAX_DIALS:
            self._dial(self._quiet.popitem()[0])

    def _dial(self, ticket: Ticket) -> None:
        backend = cast(Backend, self.backend)
        ticket.dial = self._loop.create_task(self._connect(ticket, backend))
        self._dials[ticket.dial] = ticket
        ticket.dial.add_done_callback(self._dialled)

    def _dialled(self, dial: asyncio.Task[None]) -> None:
        del self._dials[dial]
        self._release()

    @staticmethod
    def _stop_dialling(ticket: Ticket) -> None:
        dial, ticket.dial = ticket.dial, None
        if dial is not None:
            dial.cancel()

    async def _connect(self, ticket: Ticket, backend: Backend) -> None:
        """Make one connection for `ticket`."""
        this = asyncio.current_task()
        made: list[Link] = []

        def take(link: Link) -> None:
            made.append(link)
            if ticket.dial is this:
                ticket.dial = None
                link.user = ticket.asker
                ticket.asker.linked(link)
            else:  # given up, but the connection was made already
                link.abort()

        try:
            async with asyncio.timeout(self.limits.connect_seconds):
                await self._loop.create_connection(
                    lambda: Link(self._links, backend, take), backend.host, backend.port
                )
        except (OSError, asyncio.CancelledError) as error:
            for link in made:
                # It was made and given up in the same turn of the loop: uvloop closes it, and tells nobody.
                link.connection_lost(ConnectionAbortedError("given up"))
            if isinstance(error, asyncio.CancelledError):
                raise
            self.suspect(backend, os.strerror(error.errno) if error.errno else "it took too long")
            if ticket.dial is this:
                ticket.dial = None
                self.ask(ticket)

    async def _until_it_answers(self, backend: Backend, why: str) -> None:
        """Probe `backend` until a connection to it stays open, then let everybody through."""
        told, probes = False, 0
        while not await self._answers(backend):
            self._silent = True
            if not told:
                told = True
                self._mark_held()
                self._say("warning", f"{self._name(backend)} does not answer ({why}): requests are held")
            await asyncio.sleep(PROBE_BACKOFF.pause(probes))
            probes += 1
        if told:
            self._say("info", f"{self._name(backend)} answers again")
        self._probe, self._silent = None, False
        self._release()
        self._changed()

    async def _answers(self, backend: Backend) -> bool:
        """Whether `backend` takes a connection and does not close it at once."""
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

    def _name(self, backend: Backend) -> str:
        return f"the container of revision {short(backend.revision)} at {backend}"

    def _say(self, level: str, text: str) -> None:
        self._observer.notify(Notice(service=self._service, level=level, text=text))

    def _mark_held(self) -> None:
        """Whether anything can answer may have changed for those who wait."""
        if self._unanswerable:
            for ticket in self._held:
                ticket.was_held = True
        self._changed()

    def _changed(self) -> None:
        """Tell how many are held, once per turn of the loop however many came and went."""
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
