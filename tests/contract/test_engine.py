"""What the stages rely on of an engine: the same of the fake and of the real one."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import pytest

from tests.contract.conftest import RUN, World
from watcher.engine import Container, DockerEngine, EngineError, Printed, Removal
from watcher.errors import EngineUnavailable

LONG_AGO = 1_000_000_000.0


def mine(world: World) -> list[str]:
    return [f"{RUN}={world.run}"]


async def created(world: World, config: Mapping[str, Any], name: str = "box") -> str:
    return await world.engine.create(f"{name}-{world.run}", config)


async def until(world: World, container: str, state: str) -> Container:
    """The container once it is in that state; the test's own time limit ends a wait in vain."""
    while True:
        found = await world.engine.container(container)
        assert found is not None
        if found.state == state:
            return found
        await asyncio.sleep(0.01)


async def test_it_says_what_it_is_and_what_time_it_has(world: World) -> None:
    info = await world.engine.info()
    assert info.store
    assert info.version
    assert abs(info.clock - time.time()) < 60


# Images.


async def test_an_unknown_image_is_none_and_gone(world: World) -> None:
    name = f"nothing-{world.run}:latest"
    assert await world.engine.image(name) is None
    assert await world.engine.image_size(name) is None
    assert await world.engine.remove_image(name) is Removal.GONE


async def test_an_image_is_found_by_id_and_by_every_tag_with_its_labels_and_age(world: World) -> None:
    tags = (f"app-{world.run}:one", f"app-{world.run}:latest")
    image = await world.add_image(tags=tags, labels={"stage": "builder"}, created=LONG_AGO)
    for ref in (image, *tags, f"app-{world.run}"):
        found = await world.engine.image(ref)
        assert found is not None
        assert found.id == image
        assert set(found.tags) == set(tags)
        assert found.labels["stage"] == "builder"
        assert found.created == LONG_AGO
        assert found.parent == ""


async def test_a_tag_says_when_it_was_set(world: World) -> None:
    before = (await world.engine.info()).clock
    image = await world.add_image(created=LONG_AGO)
    untagged = await world.engine.image(image)
    assert untagged
    assert untagged.tagged == 0.0 or untagged.tagged >= before - 1  # the containerd store: when it came
    await world.engine.tag(image, f"app-{world.run}:late")
    found = await world.engine.image(image)
    assert found
    assert before - 1 <= found.tagged <= (await world.engine.info()).clock + 1
    assert found.created == LONG_AGO


async def test_images_are_listed_by_labels_and_by_dangling(world: World) -> None:
    plain = await world.add_image()
    marked = await world.add_image(labels={"stage": "builder"}, tags=[f"app-{world.run}:1"])

    async def listed(*labels: str, dangling: bool | None = None) -> set[str]:
        found = await world.engine.images(labels=[*mine(world), *labels], dangling=dangling)
        return {image.id for image in found}

    assert await listed() == {plain, marked}
    assert await listed("stage") == await listed("stage=builder") == {marked}
    assert await listed("stage=other") == set()
    assert await listed(dangling=True) == {plain}
    assert await listed(dangling=False) == {marked}


async def test_a_tag_that_moves_leaves_the_older_image_untagged(world: World) -> None:
    ref = f"app-{world.run}:latest"
    old, new = await world.add_image(tags=[ref]), await world.add_image()
    await world.engine.tag(new, ref)
    found = {image.id: image.tags for image in await world.engine.images(labels=mine(world))}
    assert found == {old: (), new: (ref,)}


async def test_tagging_an_image_that_is_gone_is_refused(world: World) -> None:
    with pytest.raises(EngineError):
        await world.engine.tag("sha256:" + "0" * 64, f"app-{world.run}:1")


async def test_the_size_is_the_sum_of_the_layers_files_on_every_store(world: World) -> None:
    image = await world.add_image(layers={"base": 300_123, "binary": 500_456})
    assert await world.engine.image_size(image) == 800_579
    assert await world.engine.image_size(image) == 800_579  # the second time, it may be remembered
    assert await world.engine.image_size("sha256:" + "0" * 64) is None


async def test_a_list_says_what_an_image_occupies(world: World) -> None:
    await world.add_image(layers={"base": 300_123, "binary": 500_456})
    (listed,) = await world.engine.images(labels=mine(world))
    # The containerd store has each layer twice: packed, and as files in whole blocks.
    assert listed.size == 800_579 or 1_601_158 <= listed.size < 1_700_000


async def test_an_untagged_image_is_removed_by_id(world: World) -> None:
    image = await world.add_image()
    assert await world.engine.remove_image(image) is Removal.REMOVED
    assert await world.engine.image(image) is None
    assert await world.engine.remove_image(image) is Removal.GONE


async def test_removing_one_of_two_tags_leaves_the_image_and_removing_both_does_not(world: World) -> None:
    one, two = f"app-{world.run}:1", f"app-{world.run}:2"
    image = await world.add_image(tags=[one, two])
    assert await world.engine.remove_image(one) is Removal.REMOVED
    found = await world.engine.image(image)
    assert found
    assert found.tags == (two,)
    assert await world.engine.remove_image(two) is Removal.REMOVED
    assert await world.engine.image(image) is None


async def test_an_image_with_two_tags_is_not_removed_by_id(world: World) -> None:
    image = await world.add_image(tags=[f"app-{world.run}:1", f"app-{world.run}:2"])
    assert await world.engine.remove_image(image) is Removal.IN_USE
    found = await world.engine.image(image)
    assert found
    assert len(found.tags) == 2


async def test_an_image_of_a_stopped_container_is_in_use_by_id_and_by_its_last_tag(world: World) -> None:
    tag = f"app-{world.run}:1"
    image = await world.add_image(tags=[tag])
    box = await created(world, {"Image": image, "Cmd": ["none"], "Labels": {RUN: world.run}})
    assert await world.engine.remove_image(image) is Removal.IN_USE
    assert await world.engine.remove_image(tag) is Removal.IN_USE
    await world.engine.remove(box)
    assert await world.engine.remove_image(tag) is Removal.REMOVED


async def test_layers_that_two_images_share_are_counted_once(world: World) -> None:
    one = await world.add_image(layers={"shared": 3_000_000, "one": 1_000_000})
    await world.add_image(layers={"shared": 3_000_000, "two": 1_000_000})
    before = await world.engine.usage()
    await world.engine.remove_image(one)
    after = await world.engine.usage()
    # Somebody else may add layers at the same time, never take them away. The containerd store counts a layer
    # twice, packed and unpacked.
    assert before.layers - after.layers < 3_000_000
    assert before.layers > 4_000_000


async def test_pulling_what_no_registry_has_is_refused(world: World) -> None:
    with pytest.raises(EngineError):
        await world.engine.pull(f"localhost:1/nothing-{world.run}:1")


# Containers.


async def test_an_unknown_container_is_none_gone_and_has_no_lines(world: World) -> None:
    name = f"nothing-{world.run}"
    assert await world.engine.container(name) is None
    assert await world.engine.remove(name) is Removal.GONE
    assert await world.engine.logs(name, tail=5) == ()
    await world.engine.stop(name, 0)


async def test_a_container_is_created_started_and_stopped(world: World) -> None:
    box = await created(world, await world.add_program(None, ["up"]))
    found = await world.engine.container(box)
    assert found
    assert (found.state, found.running, found.name) == ("created", False, f"box-{world.run}")
    await world.engine.start(box)
    assert (await until(world, box, "running")).running
    await world.engine.stop(box, 0)
    stopped = await until(world, box, "exited")
    assert not stopped.running
    assert stopped.changed >= found.changed


async def test_a_program_that_ends_leaves_its_exit_code_and_its_lines(world: World) -> None:
    box = await created(world, await world.add_program(3, ["one", "two", "three"]))
    await world.engine.start(box)
    assert (await until(world, box, "exited")).exit_code == 3
    assert await world.engine.logs(box, tail=2) == ("two", "three")


async def test_a_list_of_containers_has_those_in_every_state(world: World) -> None:
    config = await world.add_program(None, [])
    resting, running = await created(world, config, "resting"), await created(world, config, "running")
    await world.engine.start(running)
    listed = {item.id: item for item in await world.engine.containers(labels=mine(world))}
    assert {item.state for item in listed.values()} == {"created", "running"}
    assert listed[resting].name == f"resting-{world.run}"
    found = await world.engine.container(resting)
    assert found
    assert listed[resting].image == found.image
    assert int(listed[resting].changed) == int(found.changed)
    assert await world.engine.containers(labels=[*mine(world), "other=label"]) == []


async def test_a_running_container_is_not_removed(world: World) -> None:
    box = await created(world, await world.add_program(None, []))
    await world.engine.start(box)
    assert await world.engine.remove(box) is Removal.IN_USE
    assert (await until(world, box, "running")).running
    await world.engine.stop(box, 0)
    assert await world.engine.remove(box) is Removal.REMOVED
    assert await world.engine.container(box) is None


async def test_a_created_container_goes(world: World) -> None:
    box = await created(world, await world.add_program(None, []))
    assert await world.engine.remove(box) is Removal.REMOVED


async def test_a_name_is_given_once(world: World) -> None:
    config = await world.add_program(None, [])
    one, two = await created(world, config, "one"), await created(world, config, "two")
    with pytest.raises(EngineError):
        await created(world, config, "one")
    with pytest.raises(EngineError):
        await world.engine.rename(two, f"one-{world.run}")
    await world.engine.rename(one, f"three-{world.run}")
    await world.engine.rename(two, f"one-{world.run}")
    found = await world.engine.container(f"one-{world.run}")
    assert found
    assert found.id == two


async def test_a_container_of_no_image_is_refused(world: World) -> None:
    with pytest.raises(EngineError) as caught:
        await created(world, {"Image": f"nothing-{world.run}:1", "Labels": {RUN: world.run}})
    assert caught.value.status == 404


async def test_starting_or_renaming_what_is_gone_is_refused(world: World) -> None:
    with pytest.raises(EngineError):
        await world.engine.start(f"nothing-{world.run}")
    with pytest.raises(EngineError):
        await world.engine.rename(f"nothing-{world.run}", f"other-{world.run}")


async def test_a_free_port_is_chosen_and_a_taken_one_is_refused_at_the_start(world: World) -> None:
    def publishing(config: Mapping[str, Any], port: str) -> dict[str, Any]:
        bindings = {"9000/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]}
        host = {**config.get("HostConfig", {}), "PortBindings": bindings}
        return {**config, "ExposedPorts": {"9000/tcp": {}}, "HostConfig": host}

    config = await world.add_program(None, [])
    one = await created(world, publishing(config, ""), "one")
    await world.engine.start(one)
    found = await world.engine.container(one)
    assert found
    ((host, port),) = found.ports["9000/tcp"]
    assert host == "127.0.0.1"
    assert port > 1024
    two = await created(world, publishing(config, str(port)), "two")
    with pytest.raises(EngineError, match="already allocated"):
        await world.engine.start(two)
    refused = await world.engine.container(two)
    assert refused
    assert refused.state == "created"


async def test_networks_are_made_once_joined_before_or_after_the_start_and_left(world: World) -> None:
    early, late = f"early-{world.run}", f"late-{world.run}"
    box = await created(world, await world.add_program(None, []))
    for name in (early, late, early, late):
        await world.engine.ensure_network({"Name": name, "Labels": {RUN: world.run}})
    await world.engine.connect(box, early, {"Aliases": ["web"]})
    await world.engine.start(box)
    await world.engine.connect(box, late, {})
    found = await world.engine.container(box)
    assert found
    assert found.addresses[early]
    assert found.addresses[late]
    for _ in range(2):
        await world.engine.disconnect(box, late)
    left = await world.engine.container(box)
    assert left
    assert {early, late} & left.addresses.keys() == {early}


async def test_a_network_is_found_by_its_labels_and_not_removed_while_a_container_runs_in_it(
    world: World,
) -> None:
    name = f"found-{world.run}"
    await world.engine.ensure_network({"Name": name, "Labels": {RUN: world.run, "of": "web"}})
    (found,) = await world.engine.networks(labels=(*mine(world), "of=web"))
    assert (found.name, found.labels["of"]) == (name, "web")
    assert await world.engine.networks(labels=(*mine(world), "of=db")) == []
    image = await world.add_program(None, [])
    endpoints: dict[str, Any] = {"NetworkingConfig": {"EndpointsConfig": {name: {}}}}
    box = await created(world, {**image, **endpoints})
    (listed,) = [item for item in await world.engine.containers() if item.id == box]
    assert name in listed.networks
    await world.engine.start(box)
    (listed,) = [item for item in await world.engine.containers() if item.id == box]
    assert {name, found.id} & listed.networks
    assert await world.engine.remove_network(found.id) is Removal.IN_USE
    await world.engine.stop(box, 0)
    assert await world.engine.remove_network(found.id) is Removal.REMOVED
    assert await world.engine.remove_network(found.id) is Removal.GONE


async def test_a_network_that_does_not_exist_is_refused_to_a_running_container(world: World) -> None:
    box = await created(world, await world.add_program(None, []))
    await world.engine.start(box)
    with pytest.raises(EngineError) as caught:
        await world.engine.connect(box, f"nothing-{world.run}", {})
    assert caught.value.status == 404


async def test_a_network_that_does_not_exist_is_refused_at_the_start_at_the_latest(world: World) -> None:
    box = await created(world, await world.add_program(None, []))

    async def connect_and_start() -> None:
        await world.engine.connect(box, f"nothing-{world.run}", {})
        await world.engine.start(box)

    with pytest.raises(EngineError):
        await connect_and_start()


async def test_a_container_that_joins_another_is_reached_where_that_one_is(world: World) -> None:
    config = await world.add_program(None, [])
    bindings = {"9000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
    plain = config.get("HostConfig", {})
    publishing = {
        **config,
        "ExposedPorts": {"9000/tcp": {}},
        "HostConfig": {**plain, "PortBindings": bindings},
    }
    holder = await created(world, publishing, "holder")
    box = await created(world, {**config, "HostConfig": {**plain, "NetworkMode": f"container:{holder}"}})
    with pytest.raises(EngineError):
        await world.engine.start(box)
    await world.engine.start(holder)
    await world.engine.start(box)
    found, held = await until(world, box, "running"), await until(world, holder, "running")
    assert (found.joined, held.joined) == (holder, "")
    assert found.ports == held.ports
    assert found.ports["9000/tcp"][0][0] == "127.0.0.1"
    await world.engine.stop(holder, 0)
    await world.engine.remove(holder)
    left = await world.engine.container(box)
    assert left
    assert left.ports == {}


async def test_a_volume_may_be_asked_for_twice(world: World) -> None:
    for _ in range(2):
        await world.engine.ensure_volume({"Name": f"vol-{world.run}", "Labels": {RUN: world.run}})


async def test_events_tell_of_containers_with_the_labels_asked_for_only(world: World) -> None:
    config = await world.add_program(0, [])
    other = {**config, "Labels": {RUN: f"other-{world.run}"}}
    since = (await world.engine.info()).clock - 1
    stranger, box = await created(world, other, "stranger"), await created(world, config)
    try:
        for container in (stranger, box):
            await world.engine.start(container)
            await until(world, container, "exited")
        events = world.engine.events(labels=mine(world), since=since)
        seen = []
        async for event in events:
            seen.append((event.container, event.action))
            if event.action == "die":
                break
        await events.aclose()  # type: ignore[attr-defined]
    finally:
        await world.engine.remove(stranger)
    assert {container for container, _ in seen} == {box}
    assert [action for _, action in seen if action in ("start", "die")] == ["start", "die"]


# docker-py leaves the socket of a connection that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_an_endpoint_where_nobody_answers_is_unavailable() -> None:
    async def told() -> str:
        try:
            await DockerEngine.open("unix:///nowhere/docker.sock")
        except EngineUnavailable as error:
            return str(error)
        return ""

    assert asyncio.run(told()).startswith("no Docker engine answers at unix:///nowhere/docker.sock: ")
    gc.collect()


# What containers print.


async def heard(world: World, container: str, *, since: float = 0.0, tail: int = 100) -> list[Printed]:
    """All lines until the stream ends by itself."""
    batches = world.engine.follow(container, since=since, tail=tail)
    return [line async for batch in batches for line in batch]


async def test_what_an_ended_container_printed_is_read_from_its_tail_with_times(world: World) -> None:
    box = await created(world, await world.add_program(0, ["one", "two", "three"]))
    await world.engine.start(box)
    await until(world, box, "exited")
    lines = await heard(world, box, tail=2)
    assert [line.text for line in lines] == ["two", "three"]
    assert all(abs(line.at - time.time()) < 600 for line in lines)


async def test_only_what_was_printed_since_a_time_is_read(world: World) -> None:
    box = await created(world, await world.add_program(0, ["one", "two"]))
    await world.engine.start(box)
    await until(world, box, "exited")
    last = (await heard(world, box))[-1]
    assert [line.text for line in await heard(world, box, since=last.at)][-1:] == ["two"]
    assert await heard(world, box, since=last.at + 0.001) == []


async def test_a_running_container_is_followed_until_it_ends(world: World) -> None:
    box = await created(world, await world.add_program(None, ["up"]))
    await world.engine.start(box)
    stream = world.engine.follow(box, since=0.0, tail=100)
    assert [line.text for line in await anext(stream)] == ["up"]
    await world.engine.stop(box, 0)
    assert [batch async for batch in stream] == []


async def test_following_can_be_given_up_and_what_is_gone_prints_nothing(world: World) -> None:
    box = await created(world, await world.add_program(None, ["up"]))
    await world.engine.start(box)
    async with aclosing(world.engine.follow(box, since=0.0, tail=100)) as stream:
        await anext(stream)
    assert await heard(world, f"nothing-{world.run}") == []
