"""The engine's build cache is kept below a size, the records unused for longest first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.loaded_settings import load
from watcher.buildkit import ConnectError, UsageInfo
from watcher.errors import EngineUnavailable
from watcher.observers.events import BuildCachePruned, Event
from watcher.prune.build_cache import BuildCache, TrimEstimate, TrimResult, build_cache

DAY = 86_400.0


def record(name: str, size: int, unused_for: float = DAY, **more: Any) -> UsageInfo:
    plain = UsageInfo(
        name, "regular", "RUN x", size, 1.0, time.time() - unused_for, 1, False, False, False, ()
    )
    return replace(plain, **more)


class Buildkit:
    """Connection and client in one: it lists records, of which the last two are mounts, and removes them."""

    def __init__(self, *records: UsageInfo) -> None:
        self.records, self.filters, self.removed = list(records), list[Sequence[str]](), list[str]()
        self.events: list[Event] = []
        self.lost = False

    async def client(self) -> Buildkit:
        return self

    async def disk_usage(self, filters: Sequence[str] = ()) -> list[UsageInfo]:
        if self.lost:
            raise ConnectError("gone")
        self.filters.append(filters)
        return [each for each in self.records if not filters or each.kind != "exec.cachemount"]

    async def remove_records(self, ids: Sequence[str]) -> list[UsageInfo]:
        self.removed += ids
        return [each for each in self.records if each.id in ids]

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def cache(self, keep: int, **more: Any) -> BuildCache:
        return BuildCache(cast(Any, self), self, service="web", keep=keep, unused=60.0, **more)


async def test_the_records_unused_for_longest_go_until_the_size_is_met() -> None:
    it = Buildkit(record("new", 10, DAY), record("old", 10, 3 * DAY), record("older", 10, 9 * DAY))
    assert await it.cache(keep=15).trim() == TrimResult(2, 20)
    assert it.removed == ["older", "old"]
    (event,) = it.events
    assert isinstance(event, BuildCachePruned)
    assert (event.service, event.records, event.freed) == ("web", 2, 20)


async def test_what_is_shared_in_use_fresh_or_a_mount_stays() -> None:
    it = Buildkit(
        record("image", 10, shared=True),
        record("build", 10, in_use=True),
        record("fresh", 10, 5.0),
        record("mount", 10, kind="exec.cachemount"),
    )
    assert await it.cache(keep=0).trim() == TrimResult(0, 0)
    assert it.events == []
    assert await it.cache(keep=5).measure() == TrimEstimate(holds=30, keep=5, over=0)


async def test_a_size_that_is_met_removes_nothing() -> None:
    it = Buildkit(record("old", 10, 3 * DAY))
    assert await it.cache(keep=10).trim() == TrimResult(0, 0)
    assert await it.cache(keep=4).measure() == TrimEstimate(holds=10, keep=4, over=6)
    assert it.removed == []


async def test_further_conditions_are_part_of_the_filter() -> None:
    it = Buildkit()
    await it.cache(keep=0, only=["description~=x"]).trim()
    assert it.filters == [(), ["type!=exec.cachemount,description~=x"]]


async def test_a_lost_connection_is_the_engines() -> None:
    it = Buildkit()
    it.lost = True
    with pytest.raises(EngineUnavailable, match="could not be pruned: gone"):
        await it.cache(keep=0).trim()
    with pytest.raises(EngineUnavailable, match="gone"):
        await it.cache(keep=0).measure()


async def test_without_a_size_in_the_settings_nothing_is_trimmed(tmp_path: Any) -> None:
    it = Buildkit(record("old", 10, 30 * DAY))
    assert build_cache(load(project=tmp_path), cast(Any, it), it, "web") is None
    settings = load(project=tmp_path, prune={"cache_keep_storage": 4, "cache_keep_duration": 60})
    cache = build_cache(settings, cast(Any, it), it, "web")
    assert cache is not None
    assert await cache.trim() == TrimResult(1, 10)
