"""Show what a service waits for: a hold, a build slot, or the turn of its deploy."""

from __future__ import annotations

import math
from collections.abc import Callable

from watcher.observers.events import Held, Observer

SLOT_NOTICE_AFTER = 0.5  # seconds of waiting for a build slot after which the wait is shown


class HoldNotice:
    """Emits `Held` when the reason changes. A wait for a slot or turn replaces the reason of a hold."""

    def __init__(self, service: str, observer: Observer, clock: Callable[[], float]) -> None:
        self._service, self._observer, self._clock = service, observer, clock
        self._hold = self._turn = self._slot = self._shown = ""
        self._waiting_since: float | None = None

    def set_hold(self, reason: str) -> None:
        """Set the reason of a hold; "" ends it."""
        self._hold = reason
        self._show()

    def set_turn_wait(self, reason: str) -> None:
        """Set what the deploy waits for before it starts; "" ends the wait."""
        self._turn = reason
        self._show()

    def update_slot_wait(self, describe: Callable[[], str]) -> float:
        """Show a wait for a slot that has lasted for a while; return when to update it again."""
        now = self._clock()
        self._waiting_since = now if self._waiting_since is None else self._waiting_since
        due = self._waiting_since + SLOT_NOTICE_AFTER
        if now < due:
            return due
        self._slot = describe()
        self._show()
        return math.inf

    def end_slot_wait(self) -> None:
        """Show the reason of the hold again."""
        if self._waiting_since is not None:
            self._waiting_since, self._slot = None, ""
            self._show()

    def _show(self) -> None:
        reason = self._slot or self._turn or self._hold
        if reason != self._shown:
            self._shown = reason
            self._observer.notify(Held(service=self._service, reason=reason))
