"""Show why a service does not build: it is held, or it waits for a build slot."""

from __future__ import annotations

import math
from collections.abc import Callable

from watcher.observers.events import Held, Observer

SLOT_NOTICE_AFTER = 0.5  # seconds of waiting for a build slot after which the wait is shown


class HoldNotice:
    """Emits `Held` when the reason changes. The wait for a slot replaces the reason of a hold."""

    def __init__(self, service: str, observer: Observer, clock: Callable[[], float]) -> None:
        self._service, self._observer, self._clock = service, observer, clock
        self._hold = self._shown = ""
        self._waiting_since: float | None = None

    def set_hold(self, reason: str) -> None:
        """Set the reason of a hold; "" ends it."""
        self._hold = reason
        self._show(reason)

    def update_slot_wait(self, describe: Callable[[], str]) -> float:
        """Show a wait for a slot that has lasted for a while; return when to update it again."""
        now = self._clock()
        self._waiting_since = now if self._waiting_since is None else self._waiting_since
        due = self._waiting_since + SLOT_NOTICE_AFTER
        if now < due:
            return due
        self._show(describe())
        return math.inf

    def end_slot_wait(self) -> None:
        """Show the reason of the hold again."""
        if self._waiting_since is not None:
            self._waiting_since = None
            self._show(self._hold)

    def _show(self, reason: str) -> None:
        if reason != self._shown:
            self._shown = reason
            self._observer.notify(Held(service=self._service, reason=reason))
