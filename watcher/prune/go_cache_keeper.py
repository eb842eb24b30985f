"""Keep a project's Go build cache within its limit, in idle time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from watcher.observers import humanize
from watcher.observers.events import GoCacheTrimmed, Notice, Observer
from watcher.prune.go_cache_select import CacheMount
from watcher.prune.model import NotMeasured
from watcher.tree import Snapshot

SOONEST = 60.0  # seconds between two measurements …
LATEST = 3600.0  # … and at most, when little has changed
GROWTH = 50_000_000  # change of the engine's cache mounts, in bytes, after which ours are measured sooner


@dataclass(frozen=True, slots=True)
class TrimmedCaches:
    """The cache mounts after a trim, and the bytes that it freed."""

    mounts: tuple[CacheMount, ...]
    freed: int

    @property
    def builds(self) -> int:
        """Return the bytes of Go's build caches."""
        return sum(mount.size for mount in self.mounts if not mount.modules)

    @property
    def modules(self) -> int:
        """Return the bytes of the module cache."""
        return sum(mount.size for mount in self.mounts if mount.modules)


class GoCacheTrimmer(Protocol):
    """Trims the cache mounts of a project."""

    async def trim(self, snapshot: Snapshot, most: int) -> TrimmedCaches | NotMeasured:
        """Trim the build caches to `most` bytes; 0 only measures."""
        ...


class GoCacheKeeper:
    """Measures and trims the Go caches of one service. `sizes` is the last measurement.

    A measurement runs a step with the mounts, so it is rare: when the engine's cache mounts have changed by
    `GROWTH` bytes, when the last one failed, or every `LATEST` seconds.
    """

    def __init__(
        self,
        caches: GoCacheTrimmer,
        observer: Observer,
        *,
        service: str,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._caches, self._observer, self._service = caches, observer, service
        self.most, self._clock = most, clock
        self.sizes: TrimmedCaches | None = None
        self._measured_at = float("-inf")
        self._mounts = 0  # bytes of all cache mounts of the engine at that time
        self._warned = ""

    async def run(self, snapshot: Snapshot, mounts: int) -> None:
        """Measure, and trim to the limit; `mounts` are the bytes of the engine's cache mounts.

        Raises EngineUnavailable.
        """
        if not self._is_due(mounts):
            return
        found = await self._caches.trim(snapshot, self.most)
        self._measured_at, self._mounts = self._clock(), mounts
        if isinstance(found, NotMeasured):
            self.sizes = None
            if self.most and mounts > self.most:
                self._warn_once(f"prune.go_cache_max cannot be enforced: {found.why}")
            return
        self.sizes = found
        self._mounts -= found.freed
        if found.freed:
            event = GoCacheTrimmed(service=self._service, freed=found.freed, left=found.builds)
            self._observer.notify(event)
        if self.most and found.builds > self.most:
            self._warn_once(
                f"Go's build cache holds {humanize.size(found.builds)}, and prune.go_cache_max is "
                f"{humanize.size(self.most)}: entries used in the last two hours stay; set a larger limit"
            )

    def _is_due(self, mounts: int) -> bool:
        passed = self._clock() - self._measured_at
        changed = self.sizes is None or abs(mounts - self._mounts) >= GROWTH
        return passed >= LATEST or (passed >= SOONEST and changed)

    def _warn_once(self, text: str) -> None:
        if text != self._warned:
            self._warned = text
            self._observer.notify(Notice(service=self._service, level="warning", text=text))
