"""A network made ready beforehand: used once, gone with who used it, and done without where it cannot be."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.deploy.world import NAME, PORT, World, outcomes
from watcher.engine import EngineError
from watcher.observers.events import ContainerLost
from watcher.reconcile.ports import Deployed

pytestmark = pytest.mark.parametrize("world", [True], ids=["pause-container"], indirect=True)


async def joined(world: World, container: str) -> str:
    found = await world.engine.container(container)
    assert found
    return found.joined


async def spares(world: World) -> list[str]:
    """Networks that wait to be used."""
    used = {box.joined for box in await world.mine()}
    return [item.id for item in await world.holders() if item.id not in used]


async def test_the_next_container_joins_the_network_that_was_made_after_the_deploy_before(
    world: World,
) -> None:
    await world.begin()
    first = await world.good("one")
    assert not await joined(world, first), "the first one had to make its own"
    await world.settle()
    (spare,) = await spares(world)
    second = await world.good("two")
    assert await joined(world, second) == spare
    assert await world.serving() == "two"
    await world.settle()
    assert len(await spares(world)) == 1
    third = await world.good("three")
    await world.settle()
    assert await world.named() == {NAME: "running"}
    assert spare not in {item.id for item in await world.holders()}, "it went with who used it"
    assert await joined(world, third)
    await world.hold()


async def test_what_is_ready_for_the_next_deploy_is_no_orphan(world: World) -> None:
    daemon = await world.begin()
    await world.good("one")
    await world.settle()
    (spare,) = await spares(world)
    await daemon.deployer.remove_orphans()
    assert await spares(world) == [spare]


async def test_an_adopted_container_keeps_its_network_and_a_dead_daemons_spare_goes(world: World) -> None:
    before = await world.begin()
    await world.good("one")
    await world.settle()
    live = await world.good("two")
    await world.settle()
    network, (spare,) = await joined(world, live), await spares(world)
    before.kill()
    after = await world.begin()
    assert after.deployer.live == "two"
    await world.settle()
    left = {item.id for item in await world.holders()}
    assert network in left
    assert spare not in left
    await world.good("three")
    await world.settle()
    await after.stop()
    await world.nothing_left()


async def test_a_spare_that_somebody_ended_is_done_without(world: World) -> None:
    await world.begin()
    await world.good("one")
    await world.settle()
    (spare,) = await spares(world)
    world.engine.end(spare, 137)
    assert not await joined(world, await world.good("two"))
    await world.settle()
    assert len(await world.holders()) == 1
    await world.hold()


async def test_an_image_that_cannot_sleep_is_done_without(world: World) -> None:
    daemon = await world.begin()
    refused = EngineError("executable file not found in $PATH")
    daemon.engine.rule = lambda _, name, done: refused if name == "start" and _sleeps(world) else None
    await world.good("one", image := world.image())
    await world.settle()
    assert await world.holders() == []
    assert not await joined(world, await world.good("two", world.image()))
    daemon.engine.rule = lambda *_: None
    world.recipe.digest = "told otherwise"
    await world.good("three", image)
    await world.settle()
    assert await world.holders() == [], "it is not tried again with the same image"
    assert outcomes(daemon) == []


def _sleeps(world: World) -> bool:
    last = list(world.engine._boxes.values())[-1]
    return "Entrypoint" in last.config


async def test_an_option_that_the_engine_refuses_with_it_is_done_without(world: World) -> None:
    daemon = await world.begin()
    await world.good("one")
    await world.settle()
    refused, asked = EngineError("conflicting options"), list[int]()

    def rule(number: int, name: str, done: bool) -> Exception | None:
        if name == "create" and not asked:
            asked.append(number)
            return refused
        return None

    daemon.engine.rule = rule
    deployed = await world.deploy("two", world.image())
    assert isinstance(deployed, Deployed)
    assert not await joined(world, deployed.container)
    await world.settle()
    await world.hold()


async def test_another_configuration_does_not_use_the_network_of_the_one_before(world: World) -> None:
    await world.begin()
    await world.good("one")
    await world.settle()
    (spare,) = await spares(world)
    world.recipe.digest = "told otherwise"
    assert not await joined(world, await world.good("two"))
    await world.settle()
    assert spare not in {item.id for item in await world.holders()}


async def test_a_live_one_whose_network_ended_is_lost(world: World) -> None:
    daemon = await world.begin()
    await world.good("one")
    await world.settle()
    live = await world.good("two")
    await world.settle()
    world.engine.end(await joined(world, live), 137)
    await asyncio.sleep(0.1)
    assert outcomes(daemon) == ["lost two"]
    assert daemon.of(ContainerLost)[0].excused, "its program did not crash"
    await world.good("two")
    await world.settle()
    await world.hold()


async def test_a_live_one_that_somebody_removed_takes_its_network_along(world: World) -> None:
    await world.begin()
    await world.good("one")
    await world.settle()
    live = await world.good("two")
    await world.settle()
    network = await joined(world, live)
    await world.engine.remove_by_force(live)
    await world.settle()
    assert network not in {item.id for item in await world.holders()}


async def test_the_network_goes_also_when_the_lost_one_is_put_back_at_once(world: World) -> None:
    """A deploy that is under way keeps networks that may be its own: nothing looks for them later."""
    daemon = await world.begin()
    await world.good("one")
    await world.settle()
    live = await world.good("two", image := world.image())
    await world.settle()
    network = await joined(world, live)
    await world.engine.remove_by_force(live)
    while daemon.deployer.lost is None:
        await asyncio.sleep(0.001)
    await world.good("two", image)
    assert network not in {item.id for item in await world.holders()}
    await world.settle()
    await world.hold()


@pytest.mark.parametrize("which", ["live", "previous"])
async def test_an_adopted_one_and_one_in_its_soak_time_take_their_networks_along(
    world: World, which: str
) -> None:
    daemon = await world.begin()
    await world.good("one")
    await world.settle()
    live = await world.good("two")
    await world.settle()
    network = await joined(world, live)
    if which == "live":
        daemon.kill()
        await world.begin()
    else:
        await world.good("three")
    await world.engine.remove_by_force(live)
    await world.settle()
    assert network not in {item.id for item in await world.holders()}


async def test_over_a_network_of_the_engine_nothing_is_published(world: World) -> None:
    daemon = await world.begin()
    world.recipe.network = "net"
    await world.engine.ensure_network({"Name": "net"})
    holder = ""
    for revision in ("one", "two"):  # the second one joins what was made ready after the first
        found = await world.engine.container(await world.good(revision))
        assert found
        holder = found.joined
        assert not found.ports
        reached = daemon.front.backend
        assert reached
        assert (reached.host, reached.port) == (found.addresses["net"], PORT)
        await world.settle()
    await daemon.deployer.check()
    assert outcomes(daemon) == []
    world.engine.end(holder, 137)
    await asyncio.sleep(0.1)
    assert outcomes(daemon) == ["lost two"]
