"""Find out whether a client of the engine ended a container: `docker stop`, `kill`, compose."""

from __future__ import annotations

import time
from collections.abc import Callable

from watcher.engine import Container, EngineEvent
from watcher.errors import Failure

PATIENCE = 60.0  # seconds from the signal to the end that it caused; `docker stop` waits 10 by default
_ENDING = frozenset({"2", "3", "9", "15", "INT", "QUIT", "KILL", "TERM"})


class OutsideStop:
    """Remembers the last signal that a client sent to the live container."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._container, self._at = "", 0.0

    def add(self, event: EngineEvent) -> None:
        """Record an event of the live container. What happens after its next start is its own doing again."""
        if event.action == "start" and event.container == self._container:
            self._container = ""
        if event.action == "kill" and event.attributes.get("signal") in _ENDING:
            self._container, self._at = event.container, self._clock()

    def failure(self, container: str, found: Container | None) -> Failure | None:
        """Return the failure of a container that a client ended; None when it ended on its own."""
        if found is None:
            what = "removed"
        elif container == self._container and self._clock() - self._at < PATIENCE:
            what = "stopped"
        else:
            return None
        return Failure(
            "container",
            f"it was {what} through the engine, not by the watcher",
            hint="`docker` and `docker compose` may have done that; the watcher starts it again",
        )
