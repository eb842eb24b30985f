"""Warn about a final image that is larger than its budget, or that has a component larger than its own."""

from __future__ import annotations

from watcher.observers import humanize
from watcher.observers.events import Event, ImageExplained, ImageSized, Notice, Observer, ServiceStarted

_WHOLE = ""  # the name of the image itself, beside those of its components


class SizeBudget:
    """An observer that notifies `to` when a final image exceeds a budget of its service.

    It warns once for each budget until an image fits again, not at every save.
    """

    def __init__(self, to: Observer, *, level: str = "warning") -> None:
        self._to, self._level = to, level
        self._most: dict[str, int | None] = {}
        self._over: dict[str, set[str]] = {}  # exceeded budgets by service

    def notify(self, event: Event) -> None:
        """Compare the size of a final image and its components."""
        over = self._over.setdefault(event.service, set())
        match event:
            case ServiceStarted():
                self._most[event.service] = event.image_budget
            case ImageSized(stage="final"):
                most = self._most.get(event.service)
                if most is None or event.size <= most:
                    over.discard(_WHOLE)
                elif _WHOLE not in over:
                    over.add(_WHOLE)
                    self._warn(event.service, "the final image", event.size, most, "image.max_size")
            case ImageExplained():
                over &= {_WHOLE} | {each.name for each in event.over}
                for each in event.over:
                    if each.name not in over:
                        over.add(each.name)
                        what = f"{each.name} in the final image"
                        self._warn(event.service, what, each.size, each.most, "image.components")

    def _warn(self, service: str, what: str, size: int, most: int, setting: str) -> None:
        sizes = f"{humanize.size(size)}, more than the {humanize.size(most)}"
        text = f"{what} has {sizes} that {setting} allows"
        self._to.notify(Notice(service=service, level=self._level, text=text))
