"""The engine's build cache, kept below a size when somebody asks for that.

BuildKit's records carry nothing that says whose they are (moby/buildkit, api/services/control/control.proto,
message UsageRecord), so nothing here can spare other people's: without a size in the settings nothing goes.
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

# `watcher prune --cache` is how a project's own mounts are emptied; other people's are not ours to empty.
_NOT_MOUNTS = "type!=exec.cachemount"


@dataclass(frozen=True, slots=True)
class TrimResult:
    """What a trim removed: records, and their bytes."""

    records: int
    freed: int


@dataclass(frozen=True, slots=True)
class TrimEstimate:
    """What a trim would find, in bytes: what the cache holds, what may stay, about how much would go."""

    holds: int
    keep: int
    over: int


class BuildCache:
    """The build cache of everybody who uses the engine, of which `keep` bytes may stay.

    A record that was used in the last `unused` seconds stays in any case, and so does what an image shares.
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
        """Remove what has not been used for longest, until `keep` is met. Raises EngineUnavailable."""
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
        """What `trim` would remove, by the engine's rules, to about one record. Raises EngineUnavailable.

        What an image shares neither counts nor goes (moby/buildkit, cache/manager.go, `prune`).
        """
        client, now = await self._connection.client(), time.time()
        try:
            everything, own = await client.disk_usage(), await client.disk_usage([self._filter])
        except (ConnectError, RpcError) as error:
            raise EngineUnavailable(f"the build cache could not be looked at: {error}") from error
        holds = sum(record.size for record in everything if not record.shared)
        stale = sum(record.size for record in own if self._is_stale(now, record))
        return TrimEstimate(holds, self._keep, min(max(0, holds - self._keep), stale))


def build_cache(
    settings: Settings, connection: BuildkitConnection, observer: Observer, service: str
) -> BuildCache | None:
    """What trims the build cache as the settings ask; None where they do not."""
    prune = settings.prune
    if prune.cache_keep_storage is None:
        return None
    keep, unused = prune.cache_keep_storage, prune.cache_keep_duration
    return BuildCache(connection, observer, service=service, keep=keep, unused=unused)
