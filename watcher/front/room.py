"""Limit client connections, and choose the idle one to close when the limit is reached.

A connection is idle while it has no request in progress. HTTP/1.1 lets a server close an idle connection at
any time (RFC 9112, section 9.5), so a newcomer gets the place of the one that has been idle the longest. One
address gets a share of the places, so that a single client cannot lock out the others.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Protocol

from watcher.front.model import FrontTimes

SHARE = 0.75  # of all connections, for one address
LOOKED_AT = 64  # idle connections that are examined for one newcomer


class Guest(Protocol):
    """A client connection that can be idle."""

    @property
    def address(self) -> str:
        """Return the client's IP address."""
        ...

    @property
    def fresh(self) -> bool:
        """Return whether it has sent no whole request yet, or a part of the next one."""
        ...

    def shut(self) -> None:
        """Close when nothing is in progress."""
        ...


class Room:
    """Counts connections per address and knows the idle ones, the longest idle first."""

    def __init__(self, times: FrontTimes) -> None:
        self._times = times
        self.closed_idle = 0
        self._connections: Counter[str] = Counter()
        self._idle: dict[str, dict[Guest, float]] = {}

    def joined(self, address: str) -> None:
        """A connection from `address` was opened."""
        self._connections[address] += 1

    def left(self, address: str) -> None:
        """A connection from `address` was closed."""
        self._connections[address] -= 1
        if not self._connections[address]:
            del self._connections[address]

    def mark_idle(self, guest: Guest) -> None:
        """`guest` has no request in progress."""
        self._idle.setdefault(guest.address, {})[guest] = time.monotonic()

    def mark_busy(self, guest: Guest) -> None:
        """`guest` has a request in progress, or is closed."""
        mine = self._idle.get(guest.address)
        if mine is not None and mine.pop(guest, None) is not None and not mine:
            del self._idle[guest.address]

    def make_room(self, address: str, limit: int) -> bool:
        """Return whether a counted connection from `address` can stay; close an idle one if necessary."""
        if self._connections[address] > math.ceil(limit * SHARE):
            return self._close_one([address])
        if self._connections.total() > limit:
            return self._close_one(list(self._idle))
        return True

    def _close_one(self, addresses: list[str]) -> bool:
        now = time.monotonic()
        oldest: tuple[float, Guest] | None = None
        for address in addresses:
            first = next(self._closable_guests(address, now), None)
            if first is not None and (oldest is None or first[0] < oldest[0]):
                oldest = first
        if oldest is None:
            return False
        self.mark_busy(oldest[1])
        self.closed_idle += 1
        oldest[1].shut()
        return True

    def _closable_guests(self, address: str, now: float) -> Iterator[tuple[float, Guest]]:
        for guest, since in islice(self._idle.get(address, {}).items(), LOOKED_AT):
            if now - since >= (self._times.idle_fresh if guest.fresh else self._times.idle_kept):
                yield since, guest
