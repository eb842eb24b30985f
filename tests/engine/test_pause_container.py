"""The network made ready beforehand, on a real engine: it is used, and takes nothing from the container."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import docker
import httpx
import pytest

from tests.engine.test_compose_peer import COMPOSE, Stage
from tests.images import build
from watcher import labels
from watcher.engine import Container, DockerEngine

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]

TEXT = """
services:
  app:
    build: .
    image: alpine:latest
    container_name: NAME-box
    init: true
    command: COMMAND
    ports: ["9000"]
"""
SERVES = 'sh -c "mkdir /www; hostname > /www/index.html; echo up; exec busybox httpd -f -p 9000 -h /www"'


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    engine = await DockerEngine.open()
    made = Stage(tmp_path, engine, TEXT.replace("COMMAND", SERVES))
    try:
        yield made
        await made.deployer.close(stop=True)
        assert await holders(made) == []
    finally:
        await made.clean()
        await engine.close()


async def holders(stage: Stage) -> list[Container]:
    return await stage.engine.containers(labels=labels.pause_filter(stage.name, "app"))


async def spare(stage: Stage) -> Container:
    """The network that waits to be used, once there is one."""
    while True:
        live = stage.deployer.container
        used = await stage.engine.container(live.id) if live else None
        for item in await holders(stage):
            if item.running and item.id != (used.joined if used else ""):
                return item
        await asyncio.sleep(0.05)


async def test_the_second_container_joins_it_and_serves(stage: Stage) -> None:
    await stage.deployer.deploy("one", "alpine:latest")
    waiting = await spare(stage)
    stage.deployer.recipe.__dict__["digest"] = stage.deployer.recipe.digest  # the same, whatever is deployed
    image = await stage.engine.image("alpine:latest")
    assert image
    await stage.deployer.deploy("two", image.id)
    live = stage.deployer.container
    assert live
    found = await stage.engine.container(live.id)
    assert found
    assert found.joined == waiting.id
    backend = stage.front.backend
    assert backend
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://{backend.host}:{backend.port}/")
    assert answer.text.strip() == waiting.id[:12], "it has the host name of the one that holds its network"
    before = backend
    await asyncio.to_thread(stage.engine._client.restart, live.id, timeout=1)
    await stage.deployer.check()
    assert stage.front.backend == before, "its port outlives a restart"


async def test_an_image_without_sleep_goes_without(stage: Stage) -> None:
    api = docker.from_env(version="auto").api
    tag = f"bare-{uuid.uuid4().hex[:10]}:1"
    bare = "FROM scratch\nCOPY --from=alpine /lib /lib\nCOPY --from=alpine /bin/busybox /busybox\n"
    stage.file.write_text(TEXT.replace("NAME", stage.name).replace("COMMAND", "/busybox httpd -f -p 9000"))
    stage.deployer = stage.make()
    try:
        await asyncio.to_thread(build, api, tag, bare, {}, {})
        await stage.deployer.deploy("one", tag)
        await stage.deployer._retirement.done()
        assert await holders(stage) == []
        await stage.deployer.deploy("two", tag)
        assert stage.deployer.live == "two"
        await stage.deployer.close(stop=True)
    finally:
        api.remove_image(tag, force=True)
        api.close()


@pytest.mark.skipif(not COMPOSE, reason="no docker-compose here: `deploy/peers/engine` brings one")
async def test_docker_compose_sees_logs_enters_and_takes_down_a_container_that_joined(stage: Stage) -> None:
    await stage.deployer.deploy("one", "alpine:latest")
    await spare(stage)
    image = await stage.engine.image("alpine:latest")
    assert image
    await stage.deployer.deploy("two", image.id)
    await stage.deployer._retirement.done()  # the one before is gone
    live = stage.deployer.container
    assert live
    assert (await stage.compose("ps", "-q")).split() == [live.id]
    assert "up" in await stage.compose("logs", "app")
    assert (await stage.compose("exec", "-T", "app", "echo", "inside")).strip() == "inside"
    await stage.compose("down")
    assert await stage.engine.container(live.id) is None
