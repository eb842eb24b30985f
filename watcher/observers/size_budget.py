"""Warn about a final image that is larger than its budget."""

from __future__ import annotations

from watcher.observers import humanize
from watcher.observers.events import Event, ImageSized, Notice, Observer, ServiceStarted


class SizeBudget:
    """An observer that notifies `to` when a final image exceeds its service's budget.

    It warns once per service until an image fits again, not at every save.
    """

    def __init__(self, to: Observer, *, level: str = "warning") -> None:
        self._to, self._level = to, level
        self._most: dict[str, int | None] = {}
        self._over: set[str] = set()

    def notify(self, event: Event) -> None:
        """Compare the size of a final image."""
        if isinstance(event, ServiceStarted):
            self._most[event.service] = event.image_budget
        if not isinstance(event, ImageSized) or event.stage != "final":
            return
        most = self._most.get(event.service)
        if most is None or event.size <= most:
            self._over.discard(event.service)
        elif event.service not in self._over:
            self._over.add(event.service)
            text = (
                f"the final image has {humanize.size(event.size)}, more than the "
                f"{humanize.size(most)} that image.max_size allows"
            )
            self._to.notify(Notice(service=event.service, level=self._level, text=text))
