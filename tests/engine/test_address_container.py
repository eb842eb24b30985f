"""What another service of the project finds under a service's name, on a real engine."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from watcher import compose, labels
from watcher.deploy import ContainerDeployer, DeployPolicy
from watcher.deploy.compose_container import ComposeContainer
from watcher.deploy.dependencies import Dependencies
from watcher.deploy.network_sockets import NetworkSockets
from watcher.engine import ContainerCommand, DockerEngine
from watcher.errors import UserError
from watcher.front import Front, Listen
from watcher.observers.events import Event, Notice

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]

# 9000 has a front; 9001 is what only other services use.
SERVES = (
    "mkdir /www; echo $$VERSION > /www/index.html; busybox httpd -p 9001 -h /www; "
    "exec busybox httpd -f -p 9000 -h /www"
)
TEXT = f"""
services:
  app:
    build: .
    image: alpine:latest
    init: true
    command: [sh, -c, "{SERVES}"]
    environment: {{VERSION: "${{VERSION}}"}}
    ports: ["9000"]
  caller:
    image: alpine:latest
    init: true
    command: sleep 1000
    depends_on: [app]
"""


@dataclass
class Stage:
    """The service, behind a real front, and a container that calls it."""

    folder: Path
    engine: DockerEngine
    front: Front
    name: str = field(default_factory=lambda: f"address-{uuid.uuid4().hex[:8]}")
    notices: list[str] = field(default_factory=list)
    text: str = TEXT
    caller: str = ""
    only_exposed: bool = False  # no port is published

    def __post_init__(self) -> None:
        self.deployer = ContainerDeployer(
            self.recipe("one"),
            engine=self.engine,
            fronts={9000: self.front},
            policy=DeployPolicy(soak=0.5, drain=2.0, startup_timeout=5.0),
            observer=self,
            on_lost=self.notify,
            on_rolled_back=self.notify,
            sockets=NetworkSockets(self.engine, self.folder / "network"),
            make_front=lambda _: Front([], observer=self),
        )

    def notify(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.text)

    def recipe(self, version: str) -> ComposeContainer:
        file = self.folder / "compose.yaml"
        file.write_text(self.text)
        env = {"COMPOSE_PROJECT_NAME": self.name, "VERSION": version}
        project = compose.load(file, services=("app",), env=env)
        return ComposeContainer(
            project,
            project.managed_services[0],
            self.name,
            self.engine,
            self,
            Dependencies(self.engine, self, project, self.name, managed=project.managed),
            address=True,
        )

    async def deploy(self, version: str, *, command: str = "", revision: str = "") -> None:
        recipe = self.recipe(version)
        if command:
            recipe = replace(recipe, spec=replace(recipe.spec, command=("sh", "-c", command)))
        fronts = {} if self.only_exposed else {9000: self.front}
        await self.deployer.reconfigure(recipe, fronts=fronts, policy=self.deployer.policy)
        image = await self.engine.image("alpine:latest")
        assert image
        # Two names of one image: a deploy of the same one would replace nothing.
        await self.deployer.deploy(revision or version, image.id if revision else "alpine:latest")
        await self.deployer._address.settled()  # the kernel's rules: what a front serves does not wait
        while fronts and not self.deployer._factory.pause_containers.ids:
            await asyncio.sleep(0.05)

    async def call(self, words: str) -> str:
        """What a command in the other container prints."""
        if not self.caller:
            network = f"{self.name}_default"
            body = {
                "Image": "alpine:latest",
                "Cmd": ["sleep", "1000"],
                "HostConfig": {"NetworkMode": network, "Init": True},
            }
            self.caller = await self.engine.create(f"{self.name}-caller", body)
            await self.engine.start(self.caller)
        status, lines = await self.engine.execute(self.caller, ContainerCommand(("sh", "-c", words)))
        assert status == 0, lines
        return "\n".join(lines)

    async def clean(self) -> None:
        await self.deployer.close(stop=True)
        for front in (self.front, *self.deployer.exposed_fronts.values()):
            await front.close()
        if self.caller:
            await self.engine.stop(self.caller, 0.0)
            await self.engine.remove(self.caller)
        for network in await self.engine.networks(labels=(f"com.docker.compose.project={self.name}",)):
            await self.engine.remove_network(network.id)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    engine = await DockerEngine.open()
    front = Front([Listen("127.0.0.1", 0)], observer=_Silent())
    await front.start()
    made = Stage(tmp_path, engine, front)
    try:
        yield made
    finally:
        await made.clean()
        left = await engine.containers(labels=(f"{labels.PROJECT}={made.name}",))
        await engine.close()
        assert left == []


class _Silent:
    def notify(self, event: Event) -> None:
        """Ignore the event."""


FRONT, DIRECT = "wget -q -O- http://app:9000/", "wget -q -O- http://app:9001/"
LOOK_UP = "nslookup app | grep Address | tail -1"


async def test_a_name_leads_to_the_live_container_at_an_address_that_stays(stage: Stage) -> None:
    await stage.deploy("one")
    address = await stage.call(LOOK_UP)
    assert await stage.call(FRONT) == "one"
    assert await stage.call(DIRECT) == "one"
    await stage.deploy("two")
    assert await stage.call(f"{FRONT}; {DIRECT}; {LOOK_UP}") == f"two\ntwo\n{address}"
    await stage.deploy("two", revision="again")
    live = stage.deployer.container
    assert live
    found = await stage.engine.container(live.id)
    assert found
    assert found.joined, "its network was made ready beforehand, although there are other services"
    with pytest.raises(UserError):
        await stage.deploy("three", command="sleep 1000")
    assert await stage.call(f"{FRONT}; {DIRECT}; {LOOK_UP}") == f"two\ntwo\n{address}"
    assert stage.notices == []


async def test_calls_wait_while_nothing_is_live(stage: Stage) -> None:
    await stage.deploy("one")
    assert await stage.call(FRONT) == "one"
    live = stage.deployer.container
    assert live
    await stage.engine.stop(live.id, 0.0)
    await stage.deployer.check()
    calls = [asyncio.create_task(stage.call(words)) for words in (FRONT, DIRECT)]
    await asyncio.wait(calls, timeout=0.5)
    assert not any(call.done() for call in calls)
    await stage.deploy("two")
    assert await asyncio.gather(*calls) == ["two", "two"]


async def test_the_kernel_forwards_when_the_fronts_are_withdrawn(stage: Stage) -> None:
    await stage.deploy("one")
    assert await stage.call(FRONT) == "one"
    assert stage.front.stats.exchanges == 1
    await stage.deployer.withdraw()
    assert await stage.call(FRONT) == "one"
    assert stage.front.stats.exchanges == 1


async def test_a_front_serves_a_port_that_is_only_exposed(stage: Stage) -> None:
    stage.text = TEXT.replace('ports: ["9000"]', 'expose: ["9000", "9002"]')
    stage.only_exposed = True
    await stage.deploy("one")
    assert await stage.call(FRONT) == "one"
    front = stage.deployer.exposed_fronts[9000]
    before = front.backend
    assert front.stats.exchanges == 1
    first = stage.deployer.container
    await stage.deploy("two")
    assert front.backend != before, "a kept connection goes on at the new container"
    assert await stage.call(f"{FRONT}; {DIRECT}") == "two\ntwo"
    assert front.stats.exchanges == 2
    live = stage.deployer.container
    assert live
    assert first
    while await stage.engine.container(first.id):  # until then it would take the traffic back
        await asyncio.sleep(0.05)
    await stage.engine.stop(live.id, 0.0)
    await stage.deployer.check()
    call = asyncio.create_task(stage.call(FRONT))
    await asyncio.wait([call], timeout=0.5)
    assert not call.done(), "it is held"
    await stage.deploy("three")
    assert await call == "three"
