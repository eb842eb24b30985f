"""When the Go caches are measured, and what is said of them."""

from __future__ import annotations

from typing import Any

from watcher.observers.events import Event, GoCacheTrimmed, Notice
from watcher.prune import CacheMount, GoCacheKeeper, NotMeasured, TrimmedCaches
from watcher.prune.go_cache_keeper import GROWTH, LATEST, SOONEST

TREE: Any = object()


class World:
    """The engine's caches, a clock and an observer."""

    def __init__(self, most: int = 1000) -> None:
        self.now, self.asked, self.events = 0.0, 0, list[Event]()
        self.size, self.freed = 100, 0
        self.unseen: NotMeasured | None = None
        self.keeper = GoCacheKeeper(self, self, service="web", most=most, clock=lambda: self.now)

    async def trim(self, snapshot: Any, most: int) -> TrimmedCaches | NotMeasured:
        self.asked += 1
        mounts = (CacheMount("/c", self.size), CacheMount("/m", 7, modules=True))
        return self.unseen or TrimmedCaches(mounts, self.freed)

    def notify(self, event: Event) -> None:
        self.events.append(event)


async def test_they_are_measured_at_first_then_seldom() -> None:
    world = World()
    for now in (0.0, 1.0, SOONEST + 1, LATEST - 1):
        world.now = now
        await world.keeper.run(TREE, 100)
    assert world.asked == 1
    world.now = LATEST
    await world.keeper.run(TREE, 100)
    assert world.asked == 2
    assert world.keeper.sizes
    assert (world.keeper.sizes.builds, world.keeper.sizes.modules) == (100, 7)


async def test_they_are_measured_sooner_when_the_cache_mounts_have_grown() -> None:
    world = World()
    await world.keeper.run(TREE, 100)
    world.now = SOONEST - 1
    await world.keeper.run(TREE, 100 + GROWTH)
    assert world.asked == 1
    world.now = SOONEST
    await world.keeper.run(TREE, 100 + GROWTH)
    assert world.asked == 2


async def test_what_a_trim_gave_back_is_no_change_to_measure_for() -> None:
    world = World()
    world.freed = GROWTH
    await world.keeper.run(TREE, 3 * GROWTH)
    assert [type(event) for event in world.events] == [GoCacheTrimmed]
    world.now = SOONEST
    await world.keeper.run(TREE, 2 * GROWTH)
    assert world.asked == 1


async def test_a_bound_that_cannot_be_kept_is_said_once() -> None:
    world = World(most=50)
    for now in (0.0, LATEST):
        world.now = now
        await world.keeper.run(TREE, 100)
    (notice,) = world.events
    assert isinstance(notice, Notice)
    assert "prune.go_cache_max is 50 B" in notice.text


async def test_caches_that_cannot_be_measured_are_said_where_they_may_be_too_large() -> None:
    world = World(most=50)
    world.unseen = NotMeasured("no du")
    await world.keeper.run(TREE, 49)
    assert not world.events
    assert world.keeper.sizes is None
    world.now = LATEST
    await world.keeper.run(TREE, 51)
    assert [event.text for event in world.events if isinstance(event, Notice)] == [
        "prune.go_cache_max cannot be enforced: no du"
    ]


async def test_what_could_not_be_measured_is_tried_again_soon() -> None:
    world = World()
    world.unseen = NotMeasured("the build failed")
    await world.keeper.run(TREE, 100)
    world.unseen, world.now = None, SOONEST - 1
    await world.keeper.run(TREE, 100)
    assert world.keeper.sizes is None
    world.now = SOONEST
    await world.keeper.run(TREE, 100)
    assert world.keeper.sizes
