"""Base images that are looked up at their registries while a build runs."""

from __future__ import annotations

import re

from watcher.buildkit import Progress, StepFinished, StepStarted

PATIENCE = 20.0  # seconds that a registry may take to answer; an engine alone tries for minutes
_LOOKUP = re.compile(r"\[internal\] load metadata for (?:docker\.io/(?:library/)?)?(\S+)")


class Lookups:
    """Which base images are being looked up, and for how long already."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[str, float]] = {}

    def take(self, event: Progress, now: float) -> bool:
        """Follow a build; whether a lookup began or ended (at `now`, seconds of any clock)."""
        if not isinstance(event, StepStarted | StepFinished):
            return False
        match = _LOOKUP.fullmatch(event.step.name)
        if match is None:
            return False
        if isinstance(event, StepStarted):
            self._begun.setdefault(event.step.digest, (match[1], now))
        else:
            self._begun.pop(event.step.digest, None)
        return True

    @property
    def pending(self) -> tuple[str, ...]:
        """The images, as a Dockerfile names them."""
        return tuple(sorted({image for image, _ in self._begun.values()}))

    @property
    def until(self) -> float | None:
        """When to wait no longer, by the same clock; None when nothing is looked up."""
        return min((begun + PATIENCE for _, begun in self._begun.values()), default=None)
