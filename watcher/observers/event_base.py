"""The base of all events, and the observers that receive them."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Protocol

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events. `service` is empty for what concerns the whole daemon."""

    service: str = ""
    at: float = field(default_factory=time.time)


class Observer(Protocol):
    """Receives every event, in the event loop's thread. Must not block."""

    def notify(self, event: Event) -> None:
        """Take note of `event`."""
        ...


class Fanout:
    """Hands each event to every observer; one that fails is logged and does not hurt the others."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = list(observers)

    def add(self, observer: Observer) -> None:
        """Let `observer` hear everything from now on."""
        self._observers.append(observer)

    def notify(self, event: Event) -> None:
        """Hand `event` to all observers, in the order they were added."""
        for observer in self._observers:
            try:
                observer.notify(event)
            except Exception:
                _log.exception("observer %s failed on %s", type(observer).__name__, type(event).__name__)
