"""The engine goes away at each call of a deploy, and the daemon is killed at each: every one in turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.unit.deploy.world import NAME, Daemon, World
from watcher.errors import EngineUnavailable
from watcher.reconcile.ports import Deployed

Story = Callable[[World], Awaitable[object]]
MOST_CALLS = 60  # no story has so many; it is told again and again with a fault at each call in turn


async def _a_good_one(world: World) -> object:
    return await world.deploy("new", world.image())


async def _one_that_ends(world: World) -> object:
    return await world.deploy("new", world.image(exit_code=1))


async def _one_that_dies_in_its_soak_time(world: World) -> object:
    deployed = await world.deploy("new", world.image())
    if isinstance(deployed, Deployed) and world.engine._boxes[deployed.container].shown.running:
        world.engine.end(deployed.container, 1)
    await world.settle(1.0)
    return deployed


async def _one_after_the_other(world: World) -> object:
    await world.deploy("between", world.image())
    return await world.deploy("new", world.image())


STORIES = [_a_good_one, _one_that_ends, _one_that_dies_in_its_soak_time, _one_after_the_other]


def _goes_away(calls: range, *, done: bool, hit: list[int]) -> Callable[[int, str, bool], Exception | None]:
    def rule(number: int, _name: str, now: bool) -> Exception | None:
        if number not in calls or now != done:
            return None
        hit.append(number)
        return EngineUnavailable("the engine went away")

    return rule


async def _begun(world: World) -> Daemon:
    daemon = await world.begin()
    if not world.strangers:
        await world.stranger("a-stranger")
    await world.good("old")
    await world.settle()
    return daemon


@pytest.mark.parametrize("fronts", [True, False], ids=["front", "recreate"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("story", STORIES)
async def test_an_engine_that_goes_away_at_any_call_leaves_nothing_behind(
    world: World, story: Story, done: bool, fronts: bool
) -> None:
    world.fronts = fronts
    met = 0
    for at in range(1, MOST_CALLS):
        daemon = await _begun(world)
        first = daemon.engine.calls + at
        hit: list[int] = []

        def rule(
            number: int, name: str, now: bool, first: int = first, hit: list[int] = hit
        ) -> Exception | None:
            # It is away for a few calls, then it is back.
            if first <= number < first + 3 and now == done:
                hit.append(number)
                return EngineUnavailable("the engine went away")
            return None

        daemon.engine.rule = rule
        await story(world)
        await world.settle(5.0)
        daemon.engine.rule = lambda *_: None
        await daemon.deployer.check()
        await daemon.deployer.remove_orphans()
        if lost := daemon.deployer.lost:  # the loop puts it back
            await world.good(lost.revision, lost.image)
        await world.settle()
        await world.hold()
        await world.good("last")
        await world.settle()
        assert await world.named() == {NAME: "running"}
        assert await world.serving() == "last"
        await daemon.stop()
        await world.hold()
        await world.nothing_left()
        met += bool(hit)
        if not hit:
            break
    assert met >= 5


@pytest.mark.parametrize("fronts", [True, False], ids=["front", "recreate"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("story", STORIES)
async def test_a_daemon_killed_at_any_call_leaves_its_successor_one_container(
    world: World, story: Story, done: bool, fronts: bool
) -> None:
    world.fronts = fronts
    met = 0
    for at in range(1, MOST_CALLS):
        daemon = await _begun(world)
        first = daemon.engine.calls + at

        def rule(number: int, name: str, now: bool, daemon: Daemon = daemon, first: int = first) -> None:
            if number >= first and now == done:
                daemon.engine.killed = True

        daemon.engine.rule = rule
        daemon.spawn(story(world))  # type: ignore[arg-type]
        await world.settle(60.0)
        killed = daemon.engine.killed
        daemon.kill()
        after = await world.begin()
        await world.settle()
        await world.hold()
        assert await world.serving() in ("old", "between", "new") or after.deployer.lost
        await world.good("last")
        await world.settle()
        assert await world.named() == {NAME: "running"}
        assert await world.serving() == "last"
        await after.stop()
        await world.nothing_left()
        met += killed
        if not killed:
            break
    assert met >= 5
