"""The engine answers again: told by whoever got work done by it.

A build or deploy that finds no engine says so, and the daemon's stream of engine events may not have noticed.
Then nobody would say that it is back, and page, metrics and alerts would go on about an engine that is down.
"""

from __future__ import annotations

import time
from dataclasses import replace

from watcher.observers.events import (
    BuildFinished,
    BuildOutcome,
    DeployFinished,
    DeployOutcome,
    EngineDown,
    EngineUp,
    Event,
    Observer,
)

_BY_THE_ENGINE = (BuildOutcome.BUILT, BuildOutcome.REUSED, BuildOutcome.FAILED)


class EngineRecovery:
    """An observer that tells `to` that the engine is up, once it was said to be down and yet works."""

    def __init__(self, to: Observer) -> None:
        self._to = to
        self._known: EngineUp | None = None
        self._down = False

    def notify(self, event: Event) -> None:
        """Take note of what the engine is, of its absence, and of what it has done."""
        match event:
            case EngineUp():
                self._known, self._down = event, False
            case EngineDown():
                self._down = True
            case BuildFinished(outcome=outcome) if outcome in _BY_THE_ENGINE:
                self._works()
            case DeployFinished(outcome=outcome) if outcome is not DeployOutcome.ERROR:
                self._works()

    def _works(self) -> None:
        if self._down and self._known:
            self._to.notify(replace(self._known, at=time.time()))
