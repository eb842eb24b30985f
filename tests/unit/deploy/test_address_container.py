"""The address that other services use: it stays, and leads to what is live, or holds connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.deploy.world import NAME, World
from watcher import labels
from watcher.deploy.forwarding import IMAGE, OPTIONAL
from watcher.engine import Container, EngineError

pytestmark = pytest.mark.parametrize("world", [False], ids=["plain"], indirect=True)
NETWORK = "p_default"


@pytest.fixture
async def shared(world: World) -> World:
    """A world whose service has a network that others are on too."""
    world.engine.add_image(tags=(IMAGE,))
    await world.engine.ensure_network({"Name": NETWORK})
    world.recipe.network = NETWORK
    world.recipe.address_endpoints = {NETWORK: {"Aliases": ["app"]}}
    return world


async def holder(world: World) -> Container:
    """The address container, with its address."""
    selector = labels.address_filter(world.recipe.project, world.recipe.service)
    (found,) = await world.engine.containers(labels=selector)
    one = await world.engine.container(found.id)
    assert one
    return one


def forwarded(world: World, container: str) -> list[tuple[str, str]]:
    """(own address, target) pairs that the last rules of this container have."""
    texts = [
        command.words[4]
        for each, command in world.engine.executed
        if each == container and command.words[4].startswith("*nat")
    ]
    parts = [line.split() for line in texts[-1].splitlines() if "DNAT" in line]
    return [(line[3], line[-1]) for line in parts]


async def address(world: World, container: str) -> str:
    found = await world.engine.container(container)
    assert found
    return found.addresses[NETWORK]


async def test_the_address_stays_and_leads_to_the_container_that_is_live(shared: World) -> None:
    daemon = await shared.begin()
    first = await shared.good("one")
    keeper = await holder(shared)
    here = keeper.addresses[NETWORK]
    assert forwarded(shared, keeper.id) == [(here, await address(shared, first))]
    second = await shared.good("two")
    assert (await holder(shared)).id == keeper.id
    assert forwarded(shared, keeper.id) == [(here, await address(shared, second))]
    assert shared.recipe.named == [False, False], "the containers have no names of the service"
    await shared.settle()
    await daemon.stop()
    await shared.nothing_left()
    selector = labels.address_filter(shared.recipe.project, shared.recipe.service)
    assert await shared.engine.containers(labels=selector) == []


async def test_a_new_container_gets_nothing_before_it_answers(shared: World) -> None:
    await shared.begin()
    first = await shared.good("one")
    keeper = await holder(shared)
    await shared.deploy("two", shared.image(silent=True))
    assert forwarded(shared, keeper.id) == [(keeper.addresses[NETWORK], await address(shared, first))]


async def test_connections_are_held_while_nothing_is_live(shared: World) -> None:
    await shared.begin()
    first = await shared.good("one")
    await shared.settle()
    keeper = await holder(shared)
    shared.engine.end(first, 1)
    await shared.settle(1)
    assert forwarded(shared, keeper.id) == []


async def test_the_one_before_gets_the_connections_back_when_a_new_one_fails(shared: World) -> None:
    await shared.begin()
    first = await shared.good("one")
    await shared.settle()
    second = await shared.good("two")
    shared.engine.end(second, 1)
    await shared.settle(1)
    keeper = await holder(shared)
    assert forwarded(shared, keeper.id) == [(keeper.addresses[NETWORK], await address(shared, first))]


async def test_an_old_container_is_drained_of_the_connections_of_services(shared: World) -> None:
    await shared.begin()
    first = await shared.good("one")
    there = await address(shared, first)
    await shared.good("two")
    await shared.settle()
    patterns = [
        command.words[-2] for _, command in shared.engine.executed if "ESTABLISHED" in command.words[2]
    ]
    assert patterns == [f"src={there}"]


async def test_where_the_engine_cannot_forward_containers_have_the_names(shared: World) -> None:
    shared.engine.answers["/bin/sh"] = (1, ("iptables: not found",))
    daemon = await shared.begin()
    await shared.good("one")
    await shared.good("two")
    assert shared.recipe.named == [True, True]
    warnings = [notice for notice in shared.notices() if "iptables: not found" in notice]
    assert len(warnings) == 1, "it is said once"
    await shared.settle()
    assert daemon.deployer.live == "two"
    selector = labels.address_filter(shared.recipe.project, shared.recipe.service)
    assert await shared.engine.containers(labels=selector) == []


async def test_another_one_is_made_when_it_ends(shared: World) -> None:
    await shared.begin()
    live = await shared.good("one")
    before = await holder(shared)
    shared.engine.end(before.id, 137)
    await shared.settle(1)
    after = await holder(shared)
    assert after.id != before.id
    assert forwarded(shared, after.id) == [(after.addresses[NETWORK], await address(shared, live))]


async def test_the_next_daemon_goes_on_with_it(shared: World) -> None:
    before = await shared.begin()
    await shared.good("one")
    keeper = await holder(shared)
    before.kill()
    await shared.begin()
    assert (await holder(shared)).id == keeper.id
    second = await shared.good("two")
    assert (await holder(shared)).id == keeper.id
    assert forwarded(shared, keeper.id) == [(keeper.addresses[NETWORK], await address(shared, second))]


async def test_a_container_that_is_started_again_is_looked_up_again(shared: World) -> None:
    await shared.begin()
    live = await shared.good("one")
    keeper = await holder(shared)
    count = len(shared.engine.executed)
    await shared.engine.stop(live, 0.0)
    await shared.engine.start(live)
    await shared.settle(30)
    assert len(shared.engine.executed) > count
    assert forwarded(shared, keeper.id) == [(keeper.addresses[NETWORK], await address(shared, live))]


async def test_other_names_get_another_one_that_leads_to_what_is_live(shared: World) -> None:
    daemon = await shared.begin()
    await shared.good("one")
    before = await holder(shared)
    shared.recipe.address_endpoints = {NETWORK: {"Aliases": ["app", "www"]}}
    second = await shared.good("two")
    after = await holder(shared)
    assert after.id != before.id
    assert forwarded(shared, after.id) == [(after.addresses[NETWORK], await address(shared, second))]
    shared.recipe.address_endpoints = {}
    await shared.good("three")
    await shared.settle()
    selector = labels.address_filter(shared.recipe.project, shared.recipe.service)
    assert await shared.engine.containers(labels=selector) == []
    assert shared.recipe.named == [False, False, True]
    assert await shared.named() == {NAME: "running"}
    await daemon.stop()


async def test_an_image_that_is_removed_before_it_is_used_is_loaded_again(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`watcher down` of another project removes the image that no container uses."""
    create = shared.engine.create

    async def remove_first(name: str, config: Mapping[str, Any], *, platform: str | None = None) -> str:
        if name.startswith(labels.ADDRESS_NAME) and not removed:
            removed.append(name)
            shared.engine.forget(config["Image"])
        return await create(name, config, platform=platform)

    async def load(archive: object) -> None:
        shared.engine.add_image(tags=(IMAGE,))

    removed: list[str] = []
    monkeypatch.setattr(shared.engine, "create", remove_first)
    monkeypatch.setattr(shared.engine, "load", load)
    await shared.begin()
    live = await shared.good("one")
    keeper = await holder(shared)
    assert forwarded(shared, keeper.id) == [(keeper.addresses[NETWORK], await address(shared, live))]
    assert shared.recipe.named == [False]


async def test_an_address_that_a_killed_daemon_left_and_nobody_needs_is_removed(shared: World) -> None:
    daemon = await shared.begin()
    await shared.good("one")
    await holder(shared)
    daemon.kill()
    shared.recipe.address_endpoints = {}
    await shared.begin()
    await shared.settle()
    selector = labels.address_filter(shared.recipe.project, shared.recipe.service)
    assert await shared.engine.containers(labels=selector) == []


async def test_a_host_without_some_folders_of_iptables_has_an_address_container_too(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = shared.engine.create

    async def refuse(name: str, config: Mapping[str, Any], **more: Any) -> str:
        mounts = config["HostConfig"].get("Mounts", ())
        if OPTIONAL & {mount["Source"] for mount in mounts}:
            raise EngineError("invalid mount config: bind source path does not exist", 400)
        return await create(name, config, **more)

    monkeypatch.setattr(shared.engine, "create", refuse)
    await shared.begin()
    first = await shared.good("one")
    keeper = await holder(shared)
    assert forwarded(shared, keeper.id) == [(keeper.addresses[NETWORK], await address(shared, first))]
