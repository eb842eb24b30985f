"""Dependencies beside docker compose itself: the same containers, started in an order that both allow."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_compose_peer import COMPOSE
from watcher import compose
from watcher.deploy.compose_program import ComposeHashes
from watcher.deploy.dependencies import Dependencies
from watcher.engine import DockerEngine
from watcher.observers.events import Event, InternalError

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(200),
    pytest.mark.skipif(not COMPOSE, reason="docker compose is not here"),
]

CHAIN = """
services:
  api: {image: alpine, init: true, command: sleep 99, depends_on: [cache, mail]}
  cache:
    image: alpine
    init: true
    command: sleep 99
    depends_on: {migrate: {condition: service_completed_successfully}}
  migrate:
    image: alpine
    command: sh -c 'sleep 1; echo done'
    depends_on: {db: {condition: service_healthy}}
    volumes: [data:/data]
  mail: {image: alpine, init: true, command: sleep 99, networks: [back, default]}
  db:
    image: alpine
    init: true
    command: sh -c 'sleep 1; touch /tmp/ready; exec sleep 99'
    healthcheck: {test: [CMD, test, -f, /tmp/ready], interval: 1s}
    environment: {LEVEL: one, OUT: , SAID: "a<b & ${OUT}"}
    env_file: [one.env, {path: gone.env, required: false}]
    ports: ["127.0.0.1::80"]
    deploy: {resources: {limits: {cpus: "0.5", memory: 64M}}}
    networks: {back: {aliases: [database]}}
    volumes: [data:/data, /scratch]
volumes: {data: }
networks: {back: }
"""
OPTIONAL = """
services:
  api:
    image: alpine
    init: true
    command: sleep 99
    depends_on: {a: {condition: service_healthy}, b: {condition: service_started}}
  a:
    image: alpine
    init: true
    command: sleep 99
    healthcheck: {test: [CMD, "true"], interval: 1s}
    depends_on: {c: {condition: service_completed_successfully, required: false}}
  b: {image: alpine, init: true, command: sleep 99, deploy: {replicas: 2}}
  c: {image: alpine, command: "false"}
"""


class Peer:
    """One compose file, started by us and by docker compose, under a project name each."""

    def __init__(self, folder: Path, engine: DockerEngine) -> None:
        self.engine, self.file = engine, folder / "compose.yaml"
        self.ours, self.theirs = (f"order-{uuid.uuid4().hex[:8]}" for _ in range(2))

    def notify(self, event: Event) -> None:
        assert not isinstance(event, InternalError), event.traceback

    def load(self) -> compose.ComposeProject:
        return compose.load(
            self.file, services=("api",), env={**os.environ, "COMPOSE_PROJECT_NAME": self.ours}
        )

    def dependencies(self, project: compose.ComposeProject) -> Dependencies:
        made = Dependencies(self.engine, self, project, self.ours, managed=["api"])
        made.containers.hashes = ComposeHashes([[COMPOSE]])
        return made

    async def compose(self, project: str, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(COMPOSE, "-p", project, "-f", str(self.file), *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 100)
        assert process.returncode == 0, output.decode()
        return output.decode()

    async def found(self, project: str) -> dict[str, dict[str, Any]]:
        """The containers of a project by their names without its name."""
        api = self.engine._client
        filters: Any = {"label": [f"com.docker.compose.project={project}"]}
        listed = await asyncio.to_thread(api.containers, all=True, filters=filters)
        details = [await asyncio.to_thread(api.inspect_container, each["Id"]) for each in listed]
        return {each["Name"].removeprefix(f"/{project}-"): each for each in details}


@pytest.fixture
async def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Peer]:
    monkeypatch.setenv("OUT", "side")
    (tmp_path / "one.env").write_text("FROM_FILE='it is $OUT'\n")
    engine = await DockerEngine.open()
    made = Peer(tmp_path, engine)
    yield made
    for project in (made.ours, made.theirs):
        await made.compose(project, "down", "-v", "-t", "1")
    await engine.close()


def shape(found: dict[str, Any], project: str) -> dict[str, Any]:
    """What both must agree on."""
    config, host, networks = found["Config"], found["HostConfig"], found["NetworkSettings"]["Networks"]
    labels = {key for key in config["Labels"] if key.startswith("com.docker.compose.")}
    return {
        "command": config["Cmd"],
        "environment": sorted(config["Env"]),
        "health": config.get("Healthcheck"),
        "restart": host["RestartPolicy"]["Name"] or "no",
        "init": host.get("Init"),
        "networks": sorted(name.removeprefix(project) for name in networks),
        "aliases": sorted(
            alias.removeprefix(project)
            for network in networks.values()
            for alias in network["Aliases"] or ()
            if alias != found["Id"][:12]  # which some engines add; "db" may be anywhere in an id
        ),
        "mounts": sorted(
            (
                mount["Type"],
                mount["Destination"],
                mount["Name"].removeprefix(project)[:6] * ("_" in mount["Name"]),
            )
            for mount in found["Mounts"]
        ),
        "labels": labels - {"com.docker.compose.replace"},
        "hash": config["Labels"]["com.docker.compose.config-hash"],
        "status": found["State"]["Status"],
        "exit": found["State"]["ExitCode"],
    }


@pytest.mark.parametrize("text", [CHAIN, OPTIONAL], ids=["chain", "optional"])
async def test_the_same_containers_in_the_same_order(peer: Peer, text: str) -> None:
    peer.file.write_text(text)
    project = peer.load()
    dependencies = peer.dependencies(project)
    await dependencies.require("api")
    names = [name for name in project.services if name != "api"]
    await peer.compose(peer.theirs, "up", "-d", "--wait=false", *names)
    ours, theirs = await peer.found(peer.ours), await peer.found(peer.theirs)
    assert ours.keys() == theirs.keys()
    for name, found in ours.items():
        assert shape(found, peer.ours) == shape(theirs[name], peer.theirs), name
    for side in (ours, theirs):
        for name, needs in dependencies.graph.items():
            for other, dependency in needs.items():
                if name != "api":
                    moment = "FinishedAt" if "completed" in dependency.condition else "StartedAt"
                    before = side[f"{other}-1"]["State"][moment]
                    assert before <= side[f"{name}-1"]["State"]["StartedAt"], (name, other)
    await peer.compose(peer.ours, "up", "-d", "--wait=false", *names)
    after = await peer.found(peer.ours)
    assert {name: each["Id"] for name, each in after.items()} == {
        name: each["Id"] for name, each in ours.items()
    }, "docker compose leaves alone what is as it would create it"
    assert "api" not in await peer.compose(peer.ours, "ps", "--services")
    assert set((await peer.compose(peer.ours, "ps", "-a", "--services")).split()) == set(names)


async def test_what_docker_compose_started_is_adopted(peer: Peer) -> None:
    peer.file.write_text(OPTIONAL)
    await peer.compose(peer.ours, "up", "-d", "a", "b")
    before = await peer.found(peer.ours)
    await peer.dependencies(peer.load()).require("api")
    after = await peer.found(peer.ours)
    assert {name: found["Id"] for name, found in after.items()} == {
        name: found["Id"] for name, found in before.items()
    }


async def test_what_docker_compose_started_before_an_edit_is_replaced(peer: Peer) -> None:
    peer.file.write_text(OPTIONAL)
    await peer.compose(peer.ours, "up", "-d", "a", "b")
    before = await peer.found(peer.ours)
    peer.file.write_text(OPTIONAL.replace("b: {image: alpine,", "b: {image: alpine, hostname: new,"))
    await peer.dependencies(peer.load()).require("api")
    after = await peer.found(peer.ours)
    assert {name for name in after if after[name]["Id"] != before[name]["Id"]} == {"b-1", "b-2"}
