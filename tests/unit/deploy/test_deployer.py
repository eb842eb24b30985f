"""Histories of one service's containers: who has the traffic, what is told, what is left."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import groupby
from typing import cast

import pytest

from tests.facts import missing
from tests.unit.deploy.world import NAME, PORT, Daemon, NotedFront, World, outcomes
from watcher import labels
from watcher.deploy import ContainerRecipe, DeployPolicy
from watcher.deploy.pid_owner import OwnerEnded
from watcher.engine import EngineError
from watcher.errors import EngineUnavailable, UserError
from watcher.front import Front
from watcher.observers.events import ContainerLost, ContainerPaused, DeployOutcome, Notice
from watcher.reconcile.ports import Deployed

# The straight way.


async def test_the_new_one_comes_up_beside_the_old_and_gets_the_traffic_and_the_name(world: World) -> None:
    daemon = await world.begin()
    first = await world.good("one")
    assert await world.named() == {NAME: "running"}
    second = await world.good("two")
    assert await world.serving() == "two"
    assert await world.named() == {NAME: "running", f"{NAME}.old-{first[:12]}": "running"}
    assert daemon.front.pointed == ["one", "two"], "there was always somebody to ask"
    await world.settle()
    assert [item.id for item in await world.mine()] == [second]
    assert [backend.revision for backend in daemon.front.drained] == ["one"]
    await world.hold()


async def test_the_phases_of_a_deploy_are_told(world: World) -> None:
    await world.begin()
    deployed = await world.deploy("one", world.image())
    assert isinstance(deployed, Deployed)
    assert [name for name, _ in deployed.phases] == ["create", "start", "ready", "switch"]


async def test_the_same_image_in_the_same_circumstances_is_not_replaced(world: World) -> None:
    daemon = await world.begin()
    image = world.image()
    container = await world.good("one", image)
    same = await world.deploy("two", image)
    assert same == Deployed(container, DeployOutcome.UNCHANGED)
    assert daemon.front.pointed == ["one", "two"]
    world.recipe.digest = "told otherwise"
    assert await world.good("three", image) != container


async def test_a_container_that_has_just_ended_well_does_not_serve_the_next_revision(world: World) -> None:
    """Its end is seen by asking: the event can come later."""
    daemon = await world.begin()
    image = world.image()
    container = await world.good("one", image)
    await world.settle()
    world.engine.end(container, 0)
    assert await daemon.deployer.keep_unchanged("two", image) is None


async def test_a_container_without_the_ports_of_the_service_gets_no_traffic_back(world: World) -> None:
    daemon = await world.begin()
    await world.good("one")
    second = await world.good("two")
    changed = replace(world.recipe, ports=(PORT + 1,))
    front = {PORT + 1: cast(Front, NotedFront())}
    await daemon.deployer.reconfigure(cast(ContainerRecipe, changed), fronts=front, policy=world.policy)
    world.engine.end(second, 1)
    await world.settle()
    assert [line for line in outcomes(daemon) if line.startswith("lost")] == ["lost two"]
    assert [item.id for item in await world.mine()] == [second]


async def test_a_newer_save_in_the_soak_time_leaves_one_container(world: World) -> None:
    await world.begin()
    for number in range(4):
        await world.good(f"r{number}")
    await world.settle()
    assert await world.named() == {NAME: "running"}
    assert await world.serving() == "r3"


async def test_what_only_the_program_can_end_is_cut_after_it_was_told_to_stop(world: World) -> None:
    daemon = await world.begin()
    daemon.front.left = 2
    stops: list[str] = []

    def rule(_number: int, name: str, done: bool) -> None:
        if name == "stop" and done:
            stops.append(name)

    daemon.engine.rule = rule
    daemon.front.has_stopped = lambda: bool(stops)
    await world.good("one")
    await world.good("two")
    await world.settle()
    assert daemon.front.stopped_when_cut == [True]
    texts = [event.text for event in daemon.of(Notice)]
    assert [text for text in texts if "2 TLS" in text and "SIGTERM" in text]
    assert [text for text in texts if text.startswith("1 TLS") and "were cut" in text]


# The image's moving names.


async def named_by(world: World, reference: str) -> str | None:
    found = await world.engine.image(reference)
    return found.id if found else None


async def test_the_moving_names_of_the_image_follow_what_is_live(world: World) -> None:
    world.references = ("box:latest", "other/box:1")
    await world.begin()
    good = world.image()
    await world.good("good", good)
    await world.settle()
    assert [await named_by(world, each) for each in world.references] == [good, good]
    await world.deploy("bad", world.image(exit_code=1))
    await world.settle()
    assert [await named_by(world, each) for each in world.references] == [good, good]


async def test_a_failed_first_deploy_gives_no_image_a_moving_name(world: World) -> None:
    world.references = ("box:latest",)
    await world.begin()
    await world.deploy("bad", world.image(silent=True))
    await world.settle()
    assert await named_by(world, "box:latest") is None


async def test_a_roll_back_takes_the_moving_name_back_too(world: World) -> None:
    world.references = ("box:latest",)
    await world.begin()
    good, bad = world.image(), world.image()
    await world.good("good", good)
    broken = await world.good("bad", bad)
    await asyncio.sleep(0.1)
    assert await named_by(world, "box:latest") == bad, "it is live"
    world.engine.end(broken, 2)
    await world.settle()
    assert await named_by(world, "box:latest") == good


async def test_a_name_that_somebody_else_took_comes_back_with_the_next_start_and_save(world: World) -> None:
    world.references = ("box:latest",)
    daemon = await world.begin()
    good, theirs = world.image(), world.image()
    await world.good("good", good)
    await world.settle()
    world.engine.add_tag(theirs, "box:latest")
    await world.deploy("same image", good)
    await world.settle()
    assert await named_by(world, "box:latest") == good
    world.engine.add_tag(theirs, "box:latest")
    daemon.kill()
    await world.begin()
    await world.settle()
    assert await named_by(world, "box:latest") == good


async def test_a_live_image_that_cannot_be_named_serves_on_and_that_is_said(world: World) -> None:
    world.references = ("box:latest",)
    daemon = await world.begin()
    daemon.engine.rule = lambda _number, name, done: (
        EngineError("invalid reference format") if name == "tag" and not done else None
    )
    await world.good("one")
    await world.settle()
    assert await world.serving() == "one"
    (said,) = outcomes(daemon)
    assert missing(said, "live image", "names", "invalid reference format") == []


# New containers that fail.


@pytest.mark.parametrize("how", ["ends", "silent", "unhealthy"])
async def test_a_new_one_that_fails_leaves_the_old_one_alone(world: World, how: str) -> None:
    daemon = await world.begin()
    before = await world.good("good")
    image = world.image(exit_code=3 if how == "ends" else None, silent=True)
    deploy = asyncio.create_task(world.deploy("bad", image))
    if how == "unhealthy":
        while len(await world.mine()) < 2 or not all(item.running for item in await world.mine()):
            await asyncio.sleep(0.01)
        (new,) = (item.id for item in await world.mine() if item.id != before)
        world.say_unhealthy(new)
    error = await deploy
    assert isinstance(error, UserError)
    assert error.failure.lines == ("what it says",)
    said = {"ends": "exit status 3", "silent": "within 30 s", "unhealthy": "HEALTHCHECK"}[how]
    assert said in error.failure.summary
    assert image in daemon.deployer.failed_images
    assert daemon.front.pointed == ["good"]
    await world.settle()
    assert [item.id for item in await world.mine()] == [before]
    await world.hold()


async def _waits(world: World, daemon: Daemon) -> None:
    while not daemon.deployer.waiting:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("how", ["beside", "in place", "recreate"])
async def test_a_deploy_that_is_cancelled_while_it_waits_leaves_the_old_one_serving(
    world: World, how: str
) -> None:
    world.recipe.exclusive = how == "in place"
    world.fronts = how != "recreate"
    daemon = await world.begin()
    before = await world.good("good")
    assert not daemon.deployer.waiting
    image = world.image(silent=True)
    deploy = asyncio.create_task(world.deploy("slow", image))
    await _waits(world, daemon)
    deploy.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deploy
    assert not daemon.deployer.waiting
    assert daemon.deployer.live == "good"
    assert image not in daemon.deployer.failed_images, "it was never seen to fail"
    assert [item.id for item in await world.mine() if item.running] == [before]
    await world.good("newer")
    assert await world.serving() == "newer"
    await world.settle()
    await world.hold()


async def test_a_deploy_that_is_cancelled_when_it_has_the_traffic_is_live(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = await world.begin()
    await world.good("good")
    naming = asyncio.Event()

    async def take(*_: object) -> None:
        naming.set()
        await asyncio.sleep(1.0)

    with monkeypatch.context() as patch:
        patch.setattr("watcher.deploy.names.take_name", take)
        deploy = asyncio.create_task(world.deploy("new", world.image()))
        await naming.wait()
        deploy.cancel()
        deployed = await deploy
    assert isinstance(deployed, Deployed)
    assert daemon.deployer.live == "new"
    await world.settle()
    assert await world.named() == {NAME: "running"}, "it gets its name all the same"
    await world.hold()


async def test_one_that_dies_in_its_soak_time_is_rolled_back_at_once(world: World) -> None:
    daemon = await world.begin()
    before = await world.good("good")
    bad = await world.good("bad", image := world.image())
    world.engine.end(bad, 2)
    await asyncio.sleep(0.1)
    assert await world.serving() == "good"
    assert outcomes(daemon) == ["rolled_back bad"]
    assert image in daemon.deployer.failed_images
    await world.settle()
    assert await world.named() == {NAME: "running"}
    assert (await world.mine())[0].id == before
    await world.hold()


@pytest.mark.parametrize("how", ["stop", "remove"])
@pytest.mark.parametrize("soaked", [False, True])
async def test_one_that_somebody_stops_is_no_failure_of_the_revision(
    world: World, how: str, *, soaked: bool
) -> None:
    daemon = await world.begin()
    await world.good("before")
    container = await world.good("new", image := world.image())
    await (world.settle() if soaked else asyncio.sleep(0.1))
    if how == "stop":
        world.engine.stop_by_hand(container)
    else:
        await world.engine.remove_by_force(container)
    await asyncio.sleep(0.1)
    assert outcomes(daemon) == ["lost new"], "not rolled back"
    (lost,) = daemon.of(ContainerLost)
    assert lost.excused
    assert "not by the watcher" in lost.failure.summary
    assert image not in daemon.deployer.failed_images
    await world.settle()
    await world.hold()


@pytest.mark.parametrize("how", ["ends later", "ended", "restarted", "removed"])
async def test_a_container_that_ends_with_the_owner_of_its_pid_namespace_did_not_crash(
    world: World, how: str
) -> None:
    owner = await world.stranger("owner")
    world.recipe.pid = f"container:{owner}"
    daemon = await world.begin()
    await world.good("before")
    container = await world.good("new", image := world.image())
    await asyncio.sleep(0.1)
    if how == "ends later":  # the engine reports the end of the follower first
        world.engine.end(container, 137)
        await asyncio.sleep(0.1)
        assert not daemon.of(ContainerLost)
        world.engine.end(owner, 137)
    else:
        await world.engine.stop(owner, 0)
        if how == "removed":
            await world.engine.remove(owner)
        world.engine.end(container, 137)
        if how == "restarted":
            world.now += 1
            await world.engine.start(owner)
    await asyncio.sleep(1)
    assert outcomes(daemon) == ["lost new"], "not rolled back"
    (lost,) = daemon.of(ContainerLost)
    assert lost.excused
    assert "PID namespace" in lost.failure.summary
    assert "137" not in lost.failure.summary
    assert image not in daemon.deployer.failed_images


async def test_a_start_that_ends_with_the_owner_of_the_pid_namespace_is_no_failure_of_the_tree(
    world: World,
) -> None:
    owner = await world.stranger("owner")
    world.recipe.pid = f"container:{owner}"
    daemon = await world.begin()
    await world.engine.stop(owner, 0)
    with pytest.raises(OwnerEnded, match="PID namespace"):
        await world.deploy("one", image := world.image(exit_code=137))
    assert image not in daemon.deployer.failed_images


@pytest.mark.parametrize(("exit_code", "oom"), [(137, False), (137, True), (2, False)])
async def test_a_container_that_ends_while_the_owner_of_its_pid_namespace_runs_has_crashed(
    world: World, exit_code: int, oom: bool
) -> None:
    owner = await world.stranger("owner")
    world.recipe.pid = f"container:{owner}"
    daemon = await world.begin()
    container = await world.good("one")
    await world.settle()
    world.engine.end(container, exit_code, oom=oom)
    if oom or exit_code != 137:
        world.engine.end(owner, 0)  # that does not excuse it
    await asyncio.sleep(5)
    (lost,) = daemon.of(ContainerLost)
    assert not lost.excused
    assert f"exit status {exit_code}" in lost.failure.summary


async def test_one_that_was_told_to_reload_and_dies_later_has_failed_by_itself(world: World) -> None:
    daemon = await world.begin()
    container = await world.good("one")
    await world.settle()
    world.engine.say(container, "kill", signal="1")
    world.engine.end(container, 2)
    await asyncio.sleep(0.1)
    (lost,) = daemon.of(ContainerLost)
    assert not lost.excused


async def test_a_roll_back_to_a_paused_container_says_that_requests_wait(world: World) -> None:
    daemon = await world.begin()
    paused = await world.good("paused")
    world.engine.pause(paused)
    await asyncio.sleep(0.1)
    bad = await world.good("bad")
    await asyncio.sleep(0.1)
    world.engine.end(bad, 2)
    await asyncio.sleep(0.1)
    assert outcomes(daemon) == ["rolled_back bad"]
    assert [event.container for event in daemon.of(ContainerPaused)] == [paused, paused]
    assert daemon.front.backend is None
    world.engine.unpause(paused)
    await world.settle()
    await world.hold()


async def test_one_that_turns_unhealthy_in_its_soak_time_is_rolled_back(world: World) -> None:
    daemon = await world.begin()
    await world.good("good")
    world.say_unhealthy(await world.good("bad"))
    await asyncio.sleep(0.1)
    assert await world.serving() == "good"
    assert outcomes(daemon) == ["rolled_back bad"]
    await world.settle()
    await world.hold()


async def test_one_that_turns_unhealthy_later_serves_on_and_that_is_said(world: World) -> None:
    daemon = await world.begin()
    container = await world.good("good")
    await world.settle()
    world.say_unhealthy(container)
    await asyncio.sleep(0.1)
    assert await world.serving() == "good"
    assert len(outcomes(daemon)) == 1
    assert "unhealthy" in outcomes(daemon)[0]


async def test_one_that_dies_while_the_next_comes_up_gives_the_traffic_back(world: World) -> None:
    """The next may never get ready: until it has, the last good one is kept."""
    daemon = await world.begin()
    await world.good("good")
    dying = await world.good("dying")
    deploy = asyncio.create_task(world.deploy("silent", world.image(silent=True)))
    await asyncio.sleep(1.0)
    world.engine.end(dying, 1)
    await asyncio.sleep(0.1)
    assert await world.serving() == "good"
    assert isinstance(await deploy, UserError)
    assert outcomes(daemon) == ["rolled_back dying"]
    await world.settle()
    await world.hold()


async def test_one_that_ended_between_its_answer_and_the_switch_is_noticed(world: World) -> None:
    daemon = await world.begin()
    await world.good("good")

    def rule(number: int, name: str, done: bool) -> None:
        if name == "container" and done and daemon.deployer.live == "bad":
            new = daemon.deployer.container
            assert new
            box = world.engine._boxes.get(new.id)
            if box and box.shown.running:
                world.engine.end(new.id, 1)

    daemon.engine.rule = rule
    await world.deploy("bad", world.image())
    await world.settle()
    assert await world.serving() == "good"
    await world.hold()


async def test_both_ending_together_is_a_loss(world: World) -> None:
    daemon = await world.begin()
    one, two = await world.good("one"), await world.good("two")
    world.engine.end(one, 1)
    world.engine.end(two, 1)
    await world.settle()
    assert outcomes(daemon) == ["rolled_back two", "lost one"]
    assert daemon.front.backend is None, "requests wait"
    await world.hold()
    await world.good("three")
    await world.settle()
    assert await world.named() == {NAME: "running"}


async def test_an_image_that_has_soaked_is_not_needed_any_more(world: World) -> None:
    daemon = await world.begin()
    before = [world.image(), world.image()]
    for image in before:
        await world.good(f"of {image}", image)
    container = await world.good("live", image := world.image())
    assert before[-1] in daemon.deployer.needed, "for a roll-back"
    await world.settle()
    assert daemon.deployer.needed == {container, image}


# The live one and what others do to it.


async def test_a_live_one_that_ends_is_told_with_its_last_lines_and_goes_once_another_is_live(
    world: World,
) -> None:
    daemon = await world.begin()
    container = await world.good("one", image := world.image())
    await world.settle()
    world.engine.end(container, 137)
    await asyncio.sleep(0.1)
    (lost,) = daemon.of(ContainerLost)
    assert (lost.revision, lost.container, lost.image) == ("one", container, image)
    assert "exit status 137" in lost.failure.summary
    assert lost.failure.lines == ("what it says",)
    assert {container, image} <= daemon.deployer.needed, "it may be looked at, and put back"
    await world.good("one", image)
    await world.settle()
    assert container not in {item.id for item in await world.mine()}
    await world.hold()


async def test_a_live_one_that_somebody_removed_is_told(world: World) -> None:
    daemon = await world.begin()
    container = await world.good("one")
    await world.settle()
    await world.engine.remove_by_force(container)
    await asyncio.sleep(0.1)
    assert outcomes(daemon) == ["lost one"]
    await world.hold()


async def test_a_live_one_that_somebody_restarted_is_followed_to_its_new_port(world: World) -> None:
    daemon = await world.begin()
    container = await world.good("one")
    await world.settle()
    before = daemon.front.backend
    box = world.engine._boxes[container]
    box.shown = replace(box.shown, state="exited", ports={})
    await world.engine.start(container)  # its end was not seen in time
    await world.settle()
    assert daemon.front.backend not in (before, None)
    assert await world.serving() == "one"
    assert outcomes(daemon) == []
    await world.hold()


def _fields(shown: object) -> dict[str, object]:
    return {name: getattr(shown, name) for name in shown.__slots__}  # type: ignore[attr-defined]


async def test_a_restarted_one_that_does_not_answer_is_lost(world: World) -> None:
    daemon = await world.begin()
    container = await world.good("one", image := world.image())
    await world.settle()
    world.silent.add(image)
    box = world.engine._boxes[container]
    box.shown = replace(box.shown, state="exited", ports={})
    await world.engine.start(container)
    await world.settle()
    assert outcomes(daemon) == ["lost one"]
    await world.hold()


async def test_a_live_one_that_somebody_renamed_gets_its_name_back(world: World) -> None:
    daemon = await world.begin()
    container = await world.good("one")
    await world.settle()
    await world.engine.rename(container, "mine-now")
    await daemon.deployer.check()
    assert await world.named() == {NAME: "running"}


async def test_a_renamed_live_one_gets_its_name_back_by_itself(world: World) -> None:
    daemon = await world.begin()
    container = await world.good("one")
    await world.settle()
    await world.engine.rename(container, "mine-now")
    await asyncio.sleep(0.1)
    assert await world.named() == {NAME: "running"}
    assert outcomes(daemon) == []


async def test_a_paused_live_one_is_told_as_paused_and_requests_wait(world: World) -> None:
    daemon = await world.begin()
    container = await world.good("one")
    await world.settle()
    backend = daemon.front.backend
    world.engine.pause(container)
    await asyncio.sleep(0.1)
    assert daemon.front.backend is None, "it would not answer"
    assert daemon.deployer.live == "one", "it is not lost"
    world.engine.unpause(container)
    await asyncio.sleep(0.1)
    assert daemon.front.backend == backend
    told = [(event.name, event.paused) for event in daemon.of(ContainerPaused)]
    assert told == [(NAME, True), (NAME, False)]
    assert daemon.of(ContainerLost) == []
    await world.hold()


async def test_a_paused_live_one_is_adopted_as_paused_not_replaced(world: World) -> None:
    daemon = await world.begin()
    container = await world.good("one")
    await world.settle()
    daemon.kill()
    world.engine.pause(container)
    second = await world.begin()
    await asyncio.sleep(0.1)
    assert second.deployer.live == "one"
    assert second.front.backend is None
    assert [event.paused for event in second.of(ContainerPaused)] == [True]
    world.engine.unpause(container)
    await asyncio.sleep(0.1)
    await world.hold()


async def test_a_save_while_the_live_one_is_paused_goes_live(world: World) -> None:
    daemon = await world.begin()
    world.engine.pause(await world.good("one"))
    await asyncio.sleep(0.1)
    await world.good("two")
    assert daemon.front.backend is not None
    assert await world.serving() == "two"
    await world.settle()
    await world.hold()


async def test_a_paused_one_that_is_removed_is_lost(world: World) -> None:
    daemon = await world.begin()
    container = await world.good("one")
    await world.settle()
    world.engine.pause(container)
    await asyncio.sleep(0.1)
    await world.engine.remove_by_force(container)
    await asyncio.sleep(0.1)
    assert outcomes(daemon) == ["lost one"]


async def test_a_deploy_that_fails_as_the_engine_goes_away_is_not_the_trees_fault(world: World) -> None:
    daemon = await world.begin()
    daemon.engine.rule = lambda _number, name, done: (
        EngineUnavailable("away") if name == "info" and not done else None
    )
    image = world.image(exit_code=137)
    assert isinstance(await world.deploy("one", image), EngineUnavailable)
    assert image not in daemon.deployer.failed_images


async def test_an_end_while_the_engine_was_away_is_told_as_that(world: World) -> None:
    daemon = await world.begin()
    container = await world.good("one")
    await world.settle()
    for task in daemon.tasks:  # the stream of events is gone with the engine
        task.cancel()
    await asyncio.gather(*daemon.tasks, return_exceptions=True)
    world.engine.end(container, 137)
    await daemon.deployer.check(engine_restarted=True)
    (lost,) = daemon.of(ContainerLost)
    assert lost.excused
    assert missing(lost.failure.summary, "ended", "engine", "away") == []


async def test_events_of_other_containers_are_not_our_business(world: World) -> None:
    daemon = await world.begin()
    await world.good("one")
    labelled = {"Labels": {labels.PROJECT: world.recipe.project}}
    world.engine.end(await world.stranger("other", **labelled), 1)
    world.strangers.clear()
    await world.settle()
    assert outcomes(daemon) == []
    await world.hold()


# Strangers.


async def test_a_name_that_a_stranger_has_is_left_to_it_and_the_service_goes_live(world: World) -> None:
    daemon = await world.begin()
    await world.stranger(NAME)
    await world.good("one")
    assert await world.serving() == "one"
    (said,) = outcomes(daemon)
    assert missing(said, "live container", NAME, "not the watcher's", "that name") == []
    await world.good("two")
    await world.settle()
    assert await world.serving() == "two"
    await world.hold()


async def test_a_container_of_docker_compose_that_has_the_name_is_named_with_what_to_do(world: World) -> None:
    daemon = await world.begin()
    image = world.image()
    theirs = {"com.docker.compose.version": "2.40.3", labels.PROJECT: world.recipe.project}
    await world.stranger(NAME, Image=image, Labels=theirs)
    await world.good("one")
    (said,) = outcomes(daemon)
    assert missing(said, "live container", NAME, "docker compose created", "other services") == []
    assert missing(said, f"`docker rm -f {NAME}`") == []
    await world.settle()
    await world.hold()


async def test_another_watched_project_that_has_the_name_is_named(world: World) -> None:
    daemon = await world.begin()
    image = world.image()
    theirs = labels.app_labels("clone-0123456789", "web", "c" * 64) | labels.proof_labels(image)
    await world.stranger(NAME, Image=image, Labels=theirs)
    await world.good("one")
    assert await world.serving() == "one"
    (said,) = outcomes(daemon)
    assert missing(said, "live container", NAME, "another watched project", "that name") == []
    assert missing(said, "clone-0123456789", "copy of this one", "container_name", "image") == []
    await world.settle()
    await world.hold()


async def test_a_stranger_with_a_candidates_name_is_a_failure_that_names_it(world: World) -> None:
    await world.begin()
    await world.good("one")
    await world.stranger(f"{NAME}.{'a' * 12}")
    error = await world.deploy("a" * 64, world.image())
    assert isinstance(error, UserError)
    assert "already in use" in error.failure.summary
    await world.settle()
    assert await world.serving() == "one"
    await world.hold()


async def test_a_stranger_on_the_port_is_a_failure_and_the_old_one_comes_back(recreating: World) -> None:
    world = recreating
    await world.begin()
    await world.good("one")
    (live,) = await world.mine()
    await world.engine.stop(live.id, 0)
    bindings = {"9000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "9000"}]}
    await world.stranger("other", HostConfig={"PortBindings": bindings})
    error = await world.deploy("two", world.image())
    assert isinstance(error, UserError)
    assert "port is already allocated" in error.failure.summary
    await world.untouched()


# Recreate.


async def test_recreate_stops_the_old_one_first_and_keeps_it_for_the_soak_time(in_place: World) -> None:
    world = in_place
    await world.begin()
    first = await world.good("one")
    deployed = await world.deploy("two", world.image())
    assert isinstance(deployed, Deployed)
    assert [name for name, _ in deployed.phases] == ["create", "stop", "start", "ready", "switch"]
    assert await world.serving() == "two"
    assert await world.named() == {NAME: "running", f"{NAME}.old-{first[:12]}": "exited"}
    await world.settle()
    assert await world.named() == {NAME: "running"}
    await world.hold()


@pytest.mark.parametrize("how", ["ends", "silent"])
async def test_recreate_brings_the_old_one_back_when_the_new_one_fails(in_place: World, how: str) -> None:
    world = in_place
    daemon = await world.begin()
    first = await world.good("one")
    error = await world.deploy("bad", world.image(exit_code=1 if how == "ends" else None, silent=True))
    assert isinstance(error, UserError)
    assert await world.serving() == "one"
    assert daemon.deployer.live == "one"
    await world.settle()
    assert [item.id for item in await world.mine()] == [first]
    assert outcomes(daemon) == []
    await world.hold()


async def test_recreate_brings_the_old_one_back_when_the_new_one_dies_in_its_soak_time(
    in_place: World,
) -> None:
    world = in_place
    daemon = await world.begin()
    first = await world.good("one")
    world.engine.end(await world.good("bad"), 1)
    await asyncio.sleep(0.1)
    assert await world.serving() == "one"
    assert outcomes(daemon) == ["rolled_back bad"]
    await world.settle()
    assert [item.id for item in await world.mine()] == [first]
    assert await world.named() == {NAME: "running"}
    await world.hold()


async def test_recreate_says_when_the_old_one_cannot_be_brought_back(in_place: World) -> None:
    world = in_place
    daemon = await world.begin()
    first = await world.good("one")

    def rule(number: int, name: str, done: bool) -> Exception | None:
        refused = name == "start" and daemon.deployer.live is None and world.engine._boxes[first]
        return EngineError("no") if refused and len(world.engine._boxes) == 1 else None

    daemon.engine.rule = rule
    assert isinstance(await world.deploy("bad", world.image(exit_code=1)), UserError)
    (lost,) = daemon.of(ContainerLost)
    assert missing(lost.failure.summary, "could not be started", "no") == []
    daemon.engine.rule = lambda *_: None
    await world.hold()


async def test_requests_wait_while_one_that_cannot_run_twice_is_replaced(world: World) -> None:
    world.recipe.exclusive = True
    daemon = await world.begin()
    await world.good("one")
    first = daemon.front.backend
    await world.deploy("bad", world.image(exit_code=1))
    assert daemon.front.drained == [first]
    await world.good("two")
    pointed = [revision for revision, _ in groupby(daemon.front.pointed)]
    assert pointed == [None, "one", None, "one", None, "two"]


# Beginning and end.


async def test_the_live_one_of_a_killed_daemon_is_adopted_as_it_runs(world: World) -> None:
    before = await world.begin()
    container = await world.good("one")
    before.kill()
    after = await world.begin()
    assert after.deployer.live == "one"
    assert after.front.pointed == ["one"]
    assert [item.id for item in await world.mine()] == [container]
    await world.hold()


async def test_what_ended_while_no_daemon_looked_is_known_as_lost(world: World) -> None:
    before = await world.begin()
    container = await world.good("one", image := world.image())
    before.kill()
    world.engine.end(container, 137)
    after = await world.begin()
    assert after.deployer.container is None
    lost = after.deployer.lost
    assert lost
    assert (lost.id, lost.revision, lost.image) == (container, "one", image)
    await world.good("one", image)
    await world.settle()
    assert await world.named() == {NAME: "running"}


async def test_one_that_publishes_the_port_itself_makes_way_for_the_front(recreating: World) -> None:
    world = recreating
    before = await world.begin()
    await world.good("one")
    before.kill()
    world.fronts = True
    after = await world.begin()
    await world.nothing_left()
    assert after.deployer.live is None
    await world.good("one")
    await world.hold()


async def test_the_end_leaves_nothing(world: World) -> None:
    daemon = await world.begin()
    await world.stranger("other")
    await world.good("one")
    await world.good("two")
    await daemon.stop()
    await world.nothing_left()
    await world.untouched()


async def test_the_end_leaves_no_lost_container_either(world: World) -> None:
    daemon = await world.begin()
    container = await world.good("one")
    await world.settle()
    world.engine.end(container, 1)
    await world.settle()
    await daemon.stop()
    await world.nothing_left()


async def test_the_end_may_leave_the_live_one(world: World) -> None:
    daemon = await world.begin()
    await world.good("one")
    container = await world.good("two")
    await daemon.deployer.close(stop=False)
    assert [item.id for item in await world.mine()] == [container]


async def test_an_end_without_an_engine_is_said(world: World) -> None:
    daemon = await world.begin()
    await world.good("one")
    await world.settle()
    daemon.engine.rule = lambda *_: EngineUnavailable("gone")
    await daemon.stop()
    (said,) = outcomes(daemon)
    assert missing(said, "live container", "could not be stopped", "gone") == []


async def test_a_service_without_ports_is_live_as_soon_as_it_runs(world: World) -> None:
    world.recipe.ports = ()
    world.fronts = False
    await world.begin()
    await world.good("one")
    assert await world.named() == {NAME: "running"}


async def test_without_a_soak_time_the_old_one_goes_at_once(world: World) -> None:
    world.policy = DeployPolicy(soak=0.0, drain=0.0)
    await world.begin()
    await world.good("one")
    await world.good("two")
    await asyncio.sleep(0.01)
    assert await world.named() == {NAME: "running"}


async def test_only_the_container_that_is_meant_is_replaced_on_request(world: World) -> None:
    """It was possibly replaced between the question and the answer."""
    daemon = await world.begin()
    first = await world.good("one")
    second = await world.good("two")
    daemon.deployer.replace_container("db was replaced", only={first})
    await asyncio.sleep(0.1)
    assert (daemon.of(ContainerLost), daemon.deployer.live) == ([], "two")
    daemon.deployer.replace_container("db was replaced", only={second})
    await asyncio.sleep(0.1)
    assert daemon.deployer.live is None


async def test_a_container_is_replaced_on_request_and_serves_until_then(world: World) -> None:
    daemon = await world.begin()
    image = world.image()
    first = await world.good("one", image)
    daemon.deployer.replace_container("db was replaced")
    await asyncio.sleep(0.1)
    (lost,) = daemon.of(ContainerLost)
    assert (lost.excused, lost.failure.summary, lost.image) == (True, "db was replaced", image)
    assert daemon.deployer.live is None, "requests wait"
    second = await world.good("one", image)
    await world.settle()
    assert [item.id for item in await world.mine()] == [second]
    assert first != second
