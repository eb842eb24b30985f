"""Keep the engine's build cache below the size of the setting `prune.cache_keep_storage`.

BuildKit's records have no owner (moby/buildkit, api/services/control/control.proto, message UsageRecord), so
a trim also removes records of other projects: without the setting, nothing is removed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from watcher.builder.connection import BuildkitConnection
from watcher.buildkit import ConnectError, RpcError, UsageInfo
from watcher.errors import EngineUnavailable
from watcher.observers.events import BuildCachePruned, Observer
from watcher.settings import Settings

# Cache mounts are excluded: `watcher prune --cache` empties those of the project, others are never emptied.
_NOT_MOUNTS = "type!=exec.cachemount"


@dataclass(frozen=True, slots=True)
class TrimResult:
    """The number of removed records, and their bytes."""

    records: int
    freed: int


@dataclass(frozen=True, slots=True)
class TrimEstimate:
    """The size of the cache, the limit, and about how much a trim would remove; in bytes."""

    holds: int
    keep: int
    over: int


class BuildCache:
    """The build cache of all users of the engine, with a limit of `keep` bytes.

    Records that were used in the last `unused` seconds or that an image shares are never removed.
    """

    def __init__(
        self,
        connection: BuildkitConnection,
        observer: Observer,
        *,
        service: str,
        keep: int,
        unused: float,
        only: Sequence[str] = (),
    ) -> None:
        """`only` are conditions in BuildKit's filter syntax that a record has to meet besides."""
        self._connection, self._observer, self._service = connection, observer, service
        self._keep, self._unused = keep, unused
        self._filter = ",".join((_NOT_MOUNTS, *only))

    async def trim(self) -> TrimResult:
        """Remove least recently used records until the cache holds `keep` bytes. Raises EngineUnavailable."""
        client, now = await self._connection.client(), time.time()
        try:
            everything, own = await client.disk_usage(), await client.disk_usage([self._filter])
            over = sum(record.size for record in everything if not record.shared) - self._keep
            gone: list[UsageInfo] = []
            for record in sorted(
                filter(partial(self._is_stale, now), own), key=lambda each: (each.last_used, -each.created)
            ):
                if sum(each.size for each in gone) < over:
                    gone += await client.remove_records([record.id])
        except (ConnectError, RpcError) as error:
            raise EngineUnavailable(f"the build cache could not be pruned: {error}") from error
        done = TrimResult(len(gone), sum(record.size for record in gone))
        if gone:
            event = BuildCachePruned(service=self._service, records=done.records, freed=done.freed)
            self._observer.notify(event)
        return done

    def _is_stale(self, now: float, record: UsageInfo) -> bool:
        return not (record.shared or record.in_use or record.last_used > now - self._unused)

    async def measure(self) -> TrimEstimate:
        """Return what `trim` would remove, to about one record. Raises EngineUnavailable.

        Records that an image shares are neither counted nor removed (moby/buildkit, cache/manager.go,
        `prune`).
        """
        client, now = await self._connection.client(), time.time()
        try:
            everything, own = await client.disk_usage(), await client.disk_usage([self._filter])
        except (ConnectError, RpcError) as error:
            raise EngineUnavailable(f"the build cache could not be read: {error}") from error
        holds = sum(record.size for record in everything if not record.shared)
        stale = sum(record.size for record in own if self._is_stale(now, record))
        return TrimEstimate(holds, self._keep, min(max(0, holds - self._keep), stale))


def build_cache(
    settings: Settings, connection: BuildkitConnection, observer: Observer, service: str
) -> BuildCache | None:
    """Return the build cache with the limit of the settings; None if they set none."""
    prune = settings.prune
    if prune.cache_keep_storage is None:
        return None
    keep, unused = prune.cache_keep_storage, prune.cache_keep_duration
    return BuildCache(connection, observer, service=service, keep=keep, unused=unused)
