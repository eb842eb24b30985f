"""Emit the desired, live, failed and last good revisions of one service."""

from __future__ import annotations

import time

from watcher.observers.events import Observer, RevisionStateChanged
from watcher.reconcile.state_machine import State


class RevisionEmitter:
    """Emits RevisionStateChanged when one of the revisions has changed: the one source of this truth."""

    def __init__(self, service: str, observer: Observer) -> None:
        self._service, self._observer = service, observer
        self._before: tuple[str | None, ...] = (None, None, None, None)

    def emit_change(self, state: State, saved_at: float | None) -> None:
        """Emit the revisions of `state` if they differ; `saved_at` is of the desired one, if known."""
        last_good = state.last_good[0] if state.last_good else None
        revisions = state.desired, state.live, state.failed, last_good
        if revisions == self._before:
            return
        self._before = revisions
        self._observer.notify(
            RevisionStateChanged(
                service=self._service,
                desired=state.desired,
                live=state.live,
                failed=state.failed,
                saved_at=time.time() if saved_at is None else saved_at,
                last_good=last_good,
            )
        )
