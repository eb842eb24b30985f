"""A save that is undone in the soak time: the container before still runs, and gets the traffic back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.deploy.world import NAME, Daemon, World
from watcher.observers.events import DeployOutcome
from watcher.reconcile.ports import Deployed


def note_calls(daemon: Daemon) -> list[str]:
    """Return the list of the engine's calls that change something, which grows from now on."""
    calls: list[str] = []

    def rule(_number: int, name: str, done: bool) -> None:
        if done and name in ("create", "start", "stop", "remove", "rename"):
            calls.append(name)

    daemon.engine.rule = rule
    return calls


async def test_it_is_live_without_another_container(world: World) -> None:
    daemon = await world.begin()
    image, other = world.image(), world.image()
    first = await world.good("one", image)
    second = await world.good("two", other)
    await asyncio.sleep(0.1)  # the network of the next one is ready then
    calls = note_calls(daemon)
    back = await world.deploy("one", image)
    assert isinstance(back, Deployed)
    assert (back.container, back.outcome) == (first, DeployOutcome.LIVE)
    assert calls == []
    assert await world.serving() == "one"
    await asyncio.sleep(0.1)
    assert await world.named() == {NAME: "running", f"{NAME}.old-{second[:12]}": "running"}
    assert daemon.front.pointed == ["one", "two", "one"]
    await world.settle()
    assert [item.id for item in await world.mine()] == [first]
    assert [backend.revision for backend in daemon.front.drained] == ["two"]
    await world.hold()


async def test_the_one_that_served_in_between_can_take_over_in_turn(world: World) -> None:
    await world.begin()
    image = world.image()
    first = await world.good("one", image)
    second = await world.good("two")
    await world.good("one", image)
    world.engine.end(first, 2)
    await asyncio.sleep(1)
    assert await world.serving() == "two"
    await world.settle()
    assert [item.id for item in await world.mine()] == [second]


async def test_many_returns_in_a_row_create_nothing(world: World) -> None:
    daemon = await world.begin()
    images = {"one": world.image(), "two": world.image()}
    for revision, image in images.items():
        await world.good(revision, image)
    await asyncio.sleep(0.1)
    calls = note_calls(daemon)
    for _ in range(5):
        for revision, image in images.items():
            await world.good(revision, image)
            await asyncio.sleep(1)
            assert await world.serving() == revision
    assert "create" not in calls
    await world.settle()
    assert len(await world.mine()) == 1


async def test_another_revision_of_the_same_image_returns_too(world: World) -> None:
    daemon = await world.begin()
    image = world.image()
    first = await world.good("one", image)
    await world.good("two")
    assert await world.good("three", image) == first
    assert daemon.deployer.live == "three"
    assert daemon.front.pointed[-1] == "three"


def end(world: World, container: str) -> None:
    world.engine.end(container, 2)


def silence(world: World, container: str) -> None:
    world.silent.add(world.engine._boxes[container].shown.image)


def pause(world: World, container: str) -> None:
    world.engine.pause(container)


def sicken(world: World, container: str) -> None:
    world.engine.set_health(container, "unhealthy")


def change_configuration(world: World, _: str) -> None:
    world.recipe.digest = "changed"


def make_exclusive(world: World, _: str) -> None:
    world.recipe.exclusive = True


@pytest.mark.parametrize("spoil", [end, pause, sicken, change_configuration, make_exclusive])
async def test_a_container_that_would_not_do_is_not_taken(world: World, spoil: Any) -> None:
    await world.begin()
    image = world.image()
    first = await world.good("one", image)
    await world.good("two")
    spoil(world, first)
    assert await world.good("one", image) != first
    await world.settle()
    assert len(await world.mine()) == 1


async def test_a_container_that_does_not_answer_is_not_taken(world: World) -> None:
    daemon = await world.begin()
    image = world.image()
    first = await world.good("one", image)
    await world.good("two")
    silence(world, first)
    calls = note_calls(daemon)
    failed = await world.deploy("one", image)
    assert not isinstance(failed, Deployed)
    assert calls[:2] == ["create", "start"]
    assert await world.serving() == "two"


async def test_after_the_soak_time_it_is_another_container(world: World) -> None:
    await world.begin()
    image = world.image()
    first = await world.good("one", image)
    await world.good("two")
    await world.settle()
    assert await world.good("one", image) != first


async def test_without_a_soak_time_nothing_is_kept(world: World) -> None:
    world.policy = replace(world.policy, soak=0.0)
    await world.begin()
    image = world.image()
    first = await world.good("one", image)
    await world.good("two")
    await asyncio.sleep(0.01)
    assert await world.good("one", image) != first
