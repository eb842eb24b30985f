"""Bound how many builds run at once: a slot for each image, given in the order in which it is asked for."""

from __future__ import annotations

from collections.abc import Callable


class BuildSlots:
    """At most `most` slots are taken at a time. One event loop uses it.

    Builds of one image take one slot together: they run one after the other, and all but the first are short.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._builds: dict[str, str] = {}  # the image that each service builds
        self._waiting: dict[str, tuple[str, Callable[[], None]]] = {}  # by service: image, wake

    @property
    def builders(self) -> tuple[str, ...]:
        """Return the services that have a slot."""
        return tuple(self._builds)

    def resize(self, most: int) -> None:
        """Allow so many; builds that run already come to their end."""
        self._most = most
        self._wake_waiting()

    def take(self, name: str, image: str, wake: Callable[[], None]) -> bool:
        """Take a slot for a build of service `name`. If none is free, `wake` is called when to ask again.

        It is also called when other services build than before.
        """
        first = next(iter(self._waiting), name)
        images = {*self._builds.values()}
        if image not in images and (len(images) >= self._most or first != name):
            self._waiting.setdefault(name, (image, wake))
            return False
        self._waiting.pop(name, None)
        self._builds[name] = image
        self._wake_waiting()
        return True

    def leave(self, name: str) -> None:
        """Wait no longer for a slot."""
        if self._waiting.pop(name, None):
            self._wake_waiting()

    def release(self, name: str) -> None:
        """Give back the slot of a service whose build has ended."""
        if self._builds.pop(name, None) is not None:
            self._wake_waiting()

    def _wake_waiting(self) -> None:
        for _, wake in [*self._waiting.values()]:
            wake()


class ServiceSlot:
    """The slot of one service: it has one, waits for one, or neither."""

    def __init__(
        self, slots: BuildSlots, service: str, image: Callable[[], str], wake: Callable[[], None]
    ) -> None:
        """`image` returns the key of the image that the service builds now; for `wake` see `BuildSlots`."""
        self._slots, self._service, self._image, self._wake = slots, service, image, wake
        self._taken = False

    def take(self) -> bool:
        """Take a slot, or continue with that of a cancelled build; return False if there is none yet."""
        self._taken = self._taken or self._slots.take(self._service, self._image(), self._wake)
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
