"""Labels are inherited, so they prove nothing: what somebody else created from ours is never touched."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.facts import missing
from tests.fake_engine import FakeEngine
from tests.unit.deploy.world import NAME, World, outcomes
from watcher import labels
from watcher.deploy.owned import NotOurs, OwnContainers
from watcher.engine import Container
from watcher.engine.ownership import proven_containers

IMAGES = ("sha256:ours", "sha256:committed", "sha256:child")


async def foreign(world: World, name: str, image: str) -> str:
    """Somebody runs an image under this name; it must never change."""
    return await world.stranger(name, Image=image)


async def test_what_an_earlier_daemon_created_is_proven_when_it_is_changed(world: World) -> None:
    await world.begin()
    live = await world.good("one")
    own = OwnContainers(world.engine, world.recipe.project, world.recipe.service)
    await own.remove(live)
    assert await world.mine() == []


async def test_a_container_of_a_commit_of_the_live_one_is_not_touched_by_a_start(world: World) -> None:
    daemon = await world.begin()
    live = await world.good("one")
    image = world.engine.commit(live, "x:latest")
    for name in ("x", f"{NAME}.{'a' * 12}", f"{NAME}.old-000000000001"):
        await foreign(world, name, image)
    daemon.kill()
    second = await world.begin()
    assert second.deployer.container
    assert second.deployer.container.id == live
    await world.settle()
    await world.untouched()
    await second.stop()
    await world.untouched()


async def test_a_container_of_a_commit_is_not_adopted_also_when_ours_is_gone(world: World) -> None:
    daemon = await world.begin()
    live = await world.good("one")
    image = world.engine.commit(live, "x:latest")
    await foreign(world, "x", image)
    daemon.kill()
    await world.engine.remove_by_force(live)
    second = await world.begin()
    assert second.deployer.container is None
    assert second.deployer.lost is None
    await world.good("two")
    await world.settle()
    await world.untouched()


async def test_a_commit_that_has_the_services_name_keeps_it_and_that_is_said(world: World) -> None:
    daemon = await world.begin()
    live = await world.good("one")
    image = world.engine.commit(live, "x:latest")
    daemon.kill()
    await world.engine.remove_by_force(live)
    await foreign(world, NAME, image)
    second = await world.begin()
    await world.good("two")
    (said,) = outcomes(second)
    assert missing(said, "live container", NAME, "did not create", "that name") == []
    await world.settle()
    await world.untouched()


async def test_a_commit_of_a_network_container_is_not_touched(world: World) -> None:
    world.recipe.pause_container = True
    daemon = await world.begin()
    await world.good("one")
    await world.settle()
    holder = (await world.holders())[0]
    image = world.engine.commit(holder.id, "net:latest")
    await foreign(world, "net", image)
    daemon.kill()
    second = await world.begin()
    await world.settle()
    await second.stop()
    await world.untouched()


async def test_a_candidates_name_that_a_commit_has_is_a_failure_that_names_it(world: World) -> None:
    await world.begin()
    image = world.engine.commit(await world.good("one"), "x:latest")
    await foreign(world, f"{NAME}.{'a' * 12}", image)
    error: Any = await world.deploy("a" * 64, world.image())
    assert "already in use" in error.failure.summary
    await world.untouched()


async def test_what_is_not_ours_is_refused_at_every_change() -> None:
    engine = FakeEngine()
    own = OwnContainers(engine, "project", "app")
    image = engine.add_image(
        labels=labels.app_labels("project", "app", "r") | labels.proof_labels("sha256:another")
    )
    theirs = await engine.create("x", {"Image": image})
    await engine.start(theirs)
    for change in (own.stop(theirs, 0), own.rename(theirs, "y"), own.remove(theirs)):
        with pytest.raises(NotOurs, match="not proven to be the watcher's"):
            await change
    found = await engine.container(theirs)
    assert found
    assert (found.name, found.running) == ("x", True)


async def test_a_container_of_an_earlier_version_is_adopted(world: World) -> None:
    """It has no proof of its own, but compose's labels, which compose itself would have overwritten."""
    image = world.image()
    compose = {"com.docker.compose.config-hash": world.recipe.digest, "com.docker.compose.image": image}
    found = labels.app_labels("project", "app", "r1") | {labels.CONFIG: world.recipe.digest} | compose
    publish = {9000: (("127.0.0.1", 0 if world.fronts else 9000),)}
    old = await world.engine.create(NAME, world.recipe.config(image, publish, found))
    await world.engine.start(old)
    daemon = await world.begin()
    assert daemon.deployer.live == "r1"
    await world.good("r2")
    await world.settle()
    assert old in world.engine.removed
    await world.hold()


async def test_a_container_that_was_paused_is_removed_too(world: World) -> None:
    await world.begin()
    first = await world.good("one")
    world.engine.pause(first)
    await asyncio.sleep(0.1)
    await world.good("two")
    await world.settle()
    assert first in world.engine.removed


# Any inventory.

_CLAIMS = {
    **labels.app_labels("project", "app", "r"),
    labels.CONFIG: "c",
    "com.docker.compose.config-hash": "c",
}


@st.composite
def inventories(draw: st.DrawFn) -> list[tuple[Container, bool]]:
    """Containers with labels of ours, each with whether we created it."""
    found: list[tuple[Container, bool]] = []
    for number in range(draw(st.integers(0, 6))):
        image = draw(st.sampled_from(IMAGES))
        name = draw(st.sampled_from(("box", "box.0123", "x", "watcher-net-0123456789ab")))
        claims = dict(_CLAIMS)
        how = draw(st.sampled_from(("created", "old", "inherited", "inherited old", "copied")))
        ours = how in ("created", "old")
        if how == "created":
            claims |= labels.proof_labels(image)
        elif how == "old":
            claims["com.docker.compose.image"] = image
        elif how == "inherited":  # the id in it is of the image that the committed container had
            claims |= labels.proof_labels("sha256:another")
        elif how == "inherited old":
            claims["com.docker.compose.image"] = "sha256:another"
        elif originals := [item for item, own in found if own and labels.CREATION in item.labels]:
            original = draw(st.sampled_from(originals))
            claims, image = dict(original.labels), original.image
        else:
            continue
        found.append((Container(f"{number:064x}", name, image, claims, "running", changed=number), ours))
    return draw(st.permutations(found))


@settings(deadline=None)
@given(inventories())
def test_of_any_containers_exactly_those_we_created_are_ours(found: list[tuple[Container, bool]]) -> None:
    ours = {item.id for item in proven_containers(item for item, _ in found)}
    assert ours == {item.id for item, own in found if own}


def test_two_copies_of_the_same_second_are_both_left_alone() -> None:
    proof = _CLAIMS | labels.proof_labels("sha256:ours")
    boxes = [Container(f"{n}", "x", "sha256:ours", proof, "running", changed=7.0) for n in range(2)]
    assert proven_containers(boxes) == []


def test_compose_that_starts_a_commit_of_an_old_container_does_not_make_it_ours() -> None:
    """It writes the id of the image that it starts, and its own hash, over the labels from the image."""
    theirs = _CLAIMS | {"com.docker.compose.image": "sha256:x", "com.docker.compose.config-hash": "compose's"}
    assert not labels.is_proven(theirs, "box", "sha256:x")
