"""Measure in idle time how much of the engine's disk a project uses, and how much all others use."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from watcher.engine import Engine, EngineError, Image, Usage
from watcher.observers.events import DiskMeasured, Observer
from watcher.prune.disk_usage import sum_images
from watcher.prune.go_cache_keeper import GoCacheKeeper, TrimmedCaches
from watcher.prune.model import Cache
from watcher.prune.record_pruner import CacheHoldings, RecordPruner
from watcher.tree import Snapshot

SOONEST = 30.0  # seconds between two measurements
SHARE = 20  # idle seconds for each second of a measurement


def measure_project(
    usage: Usage,
    images: Sequence[Image],
    holdings: CacheHoldings,
    caches: TrimmedCaches | None,
    *,
    service: str,
    project: str,
    standalone: bool,
) -> DiskMeasured:
    """Return the disk usage of a project. `standalone`: a separate buildkitd holds the build cache."""
    own_images = sum_images(usage, images, project)
    mounts = caches.builds + caches.modules if caches else 0
    everything = usage.layers + holdings.total
    if standalone:
        everything += Cache.of(usage.cache).size
    return DiskMeasured(
        service=service,
        images=own_images,
        steps=holdings.own,
        go_cache=caches.builds if caches else None,
        module_cache=caches.modules if caches else None,
        others=max(0, everything - own_images - holdings.own - mounts),
    )


class DiskMeter:
    """Emits `DiskMeasured` for one service. The slower the engine answers, the less often it is asked."""

    def __init__(
        self,
        engine: Engine,
        observer: Observer,
        records: RecordPruner,
        caches: GoCacheKeeper,
        *,
        service: str,
        project: str,
        standalone: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._observer = engine, observer
        self._records, self._caches = records, caches
        self._service, self._project, self._standalone = service, project, standalone
        self._clock, self._next = clock, float("-inf")

    async def run(self, snapshot: Snapshot | None, usage: Usage | None) -> bool:
        """Trim the Go caches to their limit, then measure; return False if that must be tried again later.

        That is the case if the last measurement is too recent, or if the engine is building or already
        computing its disk usage. `snapshot` is the live tree; without it the last sizes of the Go caches are
        used. `usage` is the engine's answer during the prune; None asks the engine. Raises EngineUnavailable.
        """
        if self._clock() < self._next:
            return False
        holdings = await self._records.take_holdings()
        if snapshot is not None:
            await self._caches.run(snapshot, holdings.mounts)
        begun = self._clock()
        try:
            usage = usage or await self._engine.usage()
            images = await self._engine.images()
        except (
            EngineError
        ):  # busy: one computation at a time, none during builds (moby, daemon/disk_usage.go)
            return False
        finally:
            self._next = self._clock() + max(SOONEST, SHARE * (self._clock() - begun))
        found = measure_project(
            usage,
            images,
            holdings,
            self._caches.sizes,
            service=self._service,
            project=self._project,
            standalone=self._standalone,
        )
        stay = await self._records.steps_stay()
        self._observer.notify(replace(found, go_cache_max=self._caches.most, steps_stay=stay))
        return True
