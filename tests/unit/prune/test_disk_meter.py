"""What a project holds on the disk, and how often the engine is asked for it."""

from __future__ import annotations

from typing import Any

import pytest

from watcher import labels
from watcher.engine import CacheRecord, EngineError, Image, Usage
from watcher.observers.events import DiskMeasured, Event
from watcher.prune import CacheMount, DiskMeter, TrimmedCaches
from watcher.prune.disk_meter import SHARE, SOONEST, measure_project
from watcher.prune.record_pruner import CacheHoldings

OURS = Image("ours", labels={labels.PROJECT: "p"})
THEIRS = Image("theirs")
HOLDINGS = CacheHoldings(own=30, mounts=60, total=200)
CACHES = TrimmedCaches((CacheMount("/c", 40), CacheMount("/m", 10, modules=True)), 0)


def usage(cache: int = 0) -> Usage:
    record = CacheRecord("r", "regular", "", cache, in_use=False, shared=False)
    return Usage(layers=1000, alone={"ours": 100, "theirs": 500}, cache=(record,))


def measured(caches: TrimmedCaches | None, *, standalone: bool = False, cache: int = 0) -> DiskMeasured:
    return measure_project(
        usage(cache),
        [OURS, THEIRS],
        HOLDINGS,
        caches,
        service="web",
        project="p",
        standalone=standalone,
    )


def test_all_others_hold_what_the_project_does_not() -> None:
    found = measured(CACHES, cache=999)
    assert (found.images, found.steps, found.go_cache, found.module_cache) == (100, 30, 40, 10)
    assert found.others == 1000 + 200 - 100 - 30 - 40 - 10


def test_a_buildkitd_of_its_own_is_counted_beside_the_engines_cache() -> None:
    assert measured(CACHES, standalone=True, cache=5).others == measured(CACHES).others + 5


def test_caches_that_are_not_known_count_as_everybody_elses() -> None:
    found = measured(None)
    assert (found.go_cache, found.module_cache) == (None, None)
    assert found.others == 1000 + 200 - 100 - 30


class World:
    """Engine, records, Go caches, clock and observer at once."""

    def __init__(self) -> None:
        self.now, self.cost, self.asked = 0.0, 0.0, 0
        self.events: list[Event] = []
        self.failing = False
        self.sizes, self.most, self.mounts = CACHES, 77, list[int]()
        parts: Any = self
        self.meter = DiskMeter(
            parts,
            parts,
            parts,
            parts,
            service="web",
            project="p",
            standalone=False,
            clock=lambda: self.now,
        )

    async def usage(self) -> Usage:
        self.asked += 1
        self.now += self.cost
        if self.failing:
            raise EngineError("others build")
        return usage()

    async def images(self) -> list[Image]:
        return [OURS, THEIRS]

    async def take_holdings(self) -> CacheHoldings:
        return HOLDINGS

    async def steps_stay(self) -> str:
        return "because"

    async def run(self, snapshot: Any, mounts: int) -> None:
        self.mounts.append(mounts)

    def notify(self, event: Event) -> None:
        self.events.append(event)


async def test_the_go_caches_are_kept_within_their_bound_first() -> None:
    world = World()
    await world.meter.run(None, usage())
    assert not world.mounts
    world.now = SOONEST
    tree: Any = object()
    await world.meter.run(tree, usage())
    assert world.mounts == [60]
    found = world.events[-1]
    assert isinstance(found, DiskMeasured)
    assert (found.go_cache_max, found.steps_stay) == (77, "because")


async def test_what_a_prune_has_asked_is_not_asked_again() -> None:
    world = World()
    await world.meter.run(None, usage())
    assert world.asked == 0
    world.now = SOONEST
    await world.meter.run(None, None)
    assert world.asked == 1
    assert len(world.events) == 2


@pytest.mark.parametrize("failing", [False, True])
async def test_an_engine_that_is_slow_to_answer_is_asked_less_often(failing: bool) -> None:
    world = World()
    world.cost, world.failing = 10.0, failing
    await world.meter.run(None, None)
    world.now = 10.0 + SHARE * 10.0 - 1
    assert not await world.meter.run(None, None)
    assert world.asked == 1
    world.now += 1
    assert await world.meter.run(None, None) is not failing  # False: to be tried again
    assert world.asked == 2
    assert len(world.events) == (0 if failing else 2)
