"""Bound how many builds run at once: a slot for each image, given in the order in which it is asked for.

A build can let those of other services go first: a save in the folder of one service changes the trees of all
that share its context, and their scans end in any order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable

RESERVED = 0.3  # seconds that a slot is kept free for a build that should go first and is not there yet


class BuildSlots:
    """At most `most` slots are taken at a time. One event loop uses it.

    Builds of one image take one slot together: they run one after the other, and all but the first are short.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._builds: dict[str, str] = {}  # the image that each service builds
        self._waiting: dict[str, tuple[str, Callable[[], None], frozenset[str]]] = {}  # in order; see `take`
        self._reserved: dict[str, asyncio.TimerHandle] = {}  # by service that is expected

    @property
    def builders(self) -> tuple[str, ...]:
        """Return the services that have a slot."""
        return tuple(self._builds)

    def resize(self, most: int) -> None:
        """Allow so many; builds that run already come to their end."""
        self._most = most
        self._wake_waiting()

    def take(
        self, name: str, image: str, wake: Callable[[], None], first: Collection[str] = frozenset()
    ) -> bool:
        """Take a slot for a build of service `name`. If none is free, `wake` is called when to ask again.

        It is also called when other services build than before. `first` are services whose builds go first:
        slots are left free for them, if they do not come for a moment only.
        """
        if first and name not in self._waiting:
            self._reserve(service for service in first if service not in self._builds)
        images = {*self._builds.values()}
        ahead = self._count_ahead(name, bool(first), images)
        if image not in images and len(images) + ahead >= self._most:
            self._waiting.setdefault(name, (image, wake, frozenset(first)))
            return False
        self._waiting.pop(name, None)
        self._cancel_reservation(name)
        self._builds[name] = image
        self._wake_waiting()
        return True

    def _count_ahead(self, name: str, gives_way: bool, images: Collection[str]) -> int:
        """Return how many slots others have a right to before this one."""
        order = sorted(self._waiting, key=lambda each: bool(self._waiting[each][2]))  # stable
        rank = order.index(name) if name in order else len(order)
        if name not in order and not gives_way:
            rank = sum(not self._waiting[each][2] for each in order)
        waiting = {self._waiting[each][0] for each in order[:rank]} - {*images}
        expected = self._reserved.keys() - self._waiting.keys() - {name} if gives_way else ()
        return len(waiting) + len(expected)

    def _reserve(self, services: Iterable[str]) -> None:
        for service in services:
            if service not in self._reserved and service not in self._waiting:
                loop = asyncio.get_running_loop()
                self._reserved[service] = loop.call_later(RESERVED, self._expire, service)

    def _expire(self, service: str) -> None:
        self._cancel_reservation(service)
        self._wake_waiting()

    def _cancel_reservation(self, service: str) -> None:
        if timer := self._reserved.pop(service, None):
            timer.cancel()

    def leave(self, name: str) -> None:
        """Wait no longer for a slot."""
        if self._waiting.pop(name, None):
            self._wake_waiting()

    def release(self, name: str) -> None:
        """Give back the slot of a service whose build has ended."""
        if self._builds.pop(name, None) is not None:
            self._wake_waiting()

    def _wake_waiting(self) -> None:
        for _, wake, _ in [*self._waiting.values()]:
            wake()


class ServiceSlot:
    """The slot of one service: it has one, waits for one, or neither."""

    def __init__(
        self, slots: BuildSlots, service: str, image: Callable[[], str], wake: Callable[[], None]
    ) -> None:
        """`image` returns the key of the image that the service builds now; for `wake` see `BuildSlots`."""
        self._slots, self._service, self._image, self._wake = slots, service, image, wake
        self._taken = False

    def take(self, first: Collection[str] = frozenset()) -> bool:
        """Take a slot, or continue with that of a cancelled build; return False if there is none yet.

        `first`: see `BuildSlots.take`.
        """
        self._taken = self._taken or self._slots.take(self._service, self._image(), self._wake, first)
        return self._taken

    def leave(self) -> None:
        """Wait no longer."""
        self._slots.leave(self._service)

    def release(self) -> None:
        """Give the slot back, if it has one."""
        self._taken = False
        self._slots.release(self._service)

    def describe_wait(self) -> str:
        """Return what it waits for, once `take` has failed."""
        *most, last = self._slots.builders or ("another service",)
        names = f"{', '.join(most)} and {last} build" if most else f"{last} builds"
        return f"waiting for a build slot: {names}"
