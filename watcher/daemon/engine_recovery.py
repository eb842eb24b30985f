"""Notice from finished work that the engine answers again.

A build or deploy that finds no engine emits EngineDown, even if the stream of engine events was never
interrupted. Then nothing else emits EngineUp, and page, metrics and alerts would show an engine that is down.
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

_ENGINE_WORKED = (BuildOutcome.BUILT, BuildOutcome.REUSED, BuildOutcome.FAILED)


class EngineRecovery:
    """Emits EngineUp to `to` when a build or deploy succeeds after EngineDown."""

    def __init__(self, to: Observer) -> None:
        self._to = to
        self._known: EngineUp | None = None
        self._down = False

    def notify(self, event: Event) -> None:
        """Follow the engine's state, and the work that needs it."""
        match event:
            case EngineUp():
                self._known, self._down = event, False
            case EngineDown():
                self._down = True
            case BuildFinished(outcome=outcome) if outcome in _ENGINE_WORKED:
                self._emit_recovery()
            case DeployFinished(outcome=outcome) if outcome is not DeployOutcome.ERROR:
                self._emit_recovery()

    def _emit_recovery(self) -> None:
        if self._down and self._known:
            self._to.notify(replace(self._known, at=time.time()))
