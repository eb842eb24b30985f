"""Report what `watcher doctor --measure` has written about a service since it was last read."""

from __future__ import annotations

import asyncio

from watcher.image.suggestion import SizeSuggestion, read_suggestion, suggestion_file
from watcher.observers.events import Observer, SuggestionMeasured


class SuggestionReader:
    """Emits the newest measurement of one service, once."""

    def __init__(self, project: str, service: str, observer: Observer) -> None:
        self._project, self._service, self._observer = project, service, observer
        self._last: SizeSuggestion | None = None

    async def report(self) -> None:
        """Emit what was measured if it is new."""
        found = await asyncio.to_thread(self._read)
        if found is None or found == self._last:
            return
        self._last = found
        self._observer.notify(
            SuggestionMeasured(
                service=self._service,
                revision=found.revision,
                measured_at=found.measured_at,
                before=found.before,
                after=found.after,
                names=found.names,
            )
        )

    def _read(self) -> SizeSuggestion | None:
        try:
            return read_suggestion(suggestion_file(self._project, self._service))
        except RuntimeError:  # no home
            return None
