"""docker compose itself beside us: what it shows of our container, what it takes down, what it left for us.

The compose file is a real one with a dependency; nothing is built, the "image" of the service is alpine.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.unit.deploy.world import NotedFront
from watcher import compose, labels
from watcher.deploy import ContainerDeployer, DeployPolicy
from watcher.deploy.compose_container import ComposeContainer
from watcher.deploy.dependencies import Dependencies
from watcher.engine import DockerEngine
from watcher.errors import UserError
from watcher.front import Front
from watcher.observers.events import Event

PLUGIN = Path("/var/cache/watcher-peers/debian/usr/libexec/docker/cli-plugins/docker-compose")
COMPOSE = shutil.which("docker-compose") or (str(PLUGIN) if PLUGIN.exists() else "")

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

TEXT = """
version: "3.5"
x-common: &common
  init: true
  restart: "no"
services:
  app:
    <<: *common
    build: .
    image: alpine:latest
    container_name: NAME-box
    command: >-
      sh -c "busybox nslookup db || busybox ping -c 1 db; mkdir -p /www; hostname > /www/index.html; echo up;
      exec busybox httpd -f -p 9000 -h /www"
    hostname: app-host
    ports: ["127.0.0.1:${APP_PORT:-0}:9000"]
    environment: {GREETING: "${GREETING:-hello}"}
    working_dir: /tmp
    user: "0:0"
    extra_hosts: ["elsewhere:10.1.2.3"]
    cap_drop: [NET_RAW]
    security_opt: ["no-new-privileges:true"]
    tmpfs: [/scratch]
    ulimits: {nofile: 512}
    mem_limit: 64m
    cpus: 0.5
    labels: {example: "yes"}
    logging: {driver: json-file, options: {max-size: 1m}}
    stop_signal: SIGTERM
    stop_grace_period: 2s
    volumes: ["data:/data", "./:/src:ro"]
    networks: {back: {aliases: [application]}}
    depends_on: {db: {condition: service_healthy}}
  db:
    <<: *common
    image: alpine:latest
    command: sleep 600
    healthcheck: {test: ["CMD", "true"], interval: 1s}
    networks: [back]
networks: {back: {}}
volumes: {data: {}}
"""


class Stage:
    """A project in a folder, and its service deployed as the daemon does it."""

    def __init__(self, folder: Path, engine: DockerEngine, text: str = TEXT) -> None:
        self.name = f"peer-{uuid.uuid4().hex[:8]}"
        self.folder, self.engine = folder, engine
        self.front, self.told = NotedFront(), list[Event]()
        (folder / "Dockerfile").write_text("FROM alpine\n")
        self.file = folder / "docker-compose.yml"
        self.file.write_text(text.replace("NAME", self.name))
        self.deployer = self.make()

    def make(self) -> ContainerDeployer:
        env = {"COMPOSE_PROJECT_NAME": self.name}
        project = compose.load(self.file, services=("app",), env=env)
        self.dependencies = Dependencies(self.engine, self, project, self.name, managed=["app"])
        recipe = ComposeContainer(
            project, project.managed_services[0], self.name, self.engine, self, self.dependencies
        )
        return ContainerDeployer(
            recipe,
            engine=self.engine,
            fronts={9000: cast(Front, self.front)},
            policy=DeployPolicy(startup_timeout=60.0, soak=0.0, drain=0.0),
            observer=self,
            on_lost=self.told.append,
            on_rolled_back=self.told.append,
        )

    def notify(self, event: Event) -> None:
        self.told.append(event)

    async def compose(self, *arguments: str) -> str:
        command = [COMPOSE, "-p", self.name, "-f", str(self.file), *arguments]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def details(self, name: str) -> dict[str, Any]:
        return dict(await asyncio.to_thread(self.engine._client.inspect_container, name))

    async def clean(self) -> None:
        await self.deployer.close(stop=True)
        api = self.engine._client
        mine: Any = {"label": [f"com.docker.compose.project={self.name}"]}
        ours: Any = {"label": [f"{labels.PROJECT}={self.name}"]}
        for filters in (mine, ours):
            for item in api.containers(all=True, filters=filters):
                api.remove_container(item["Id"], force=True, v=True)
        for item in api.networks(filters=mine):
            api.remove_network(item["Id"])
        for item in api.volumes(filters=mine)["Volumes"] or ():
            api.remove_volume(item["Name"])


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    engine = await DockerEngine.open()
    made = Stage(tmp_path, engine)
    try:
        yield made
    finally:
        await made.clean()
        await engine.close()


async def test_a_dependency_is_brought_up_once_and_found_by_name(stage: Stage) -> None:
    await stage.deployer.deploy("one", "alpine:latest")
    before = (await stage.details(f"{stage.name}-db-1"))["Id"]
    box = await stage.details(f"{stage.name}-box")
    log = await stage.engine.logs(box["Id"], tail=20)
    network = box["NetworkSettings"]["Networks"][f"{stage.name}_back"]
    assert {"app", "application"} <= set(network["Aliases"])
    assert "up" in log
    address = (await stage.details(f"{stage.name}-db-1"))["NetworkSettings"]["Networks"]
    assert any(address[f"{stage.name}_back"]["IPAddress"] in line for line in log), log
    (stage.folder / "docker-compose.yml").touch()
    await stage.deployer.deploy("two", (await stage.engine.image("alpine:latest")).id)  # type: ignore[union-attr]
    assert (await stage.details(f"{stage.name}-db-1"))["Id"] == before


async def test_everything_that_the_file_says_arrives(stage: Stage) -> None:
    await stage.deployer.deploy("one", "alpine:latest")
    box = await stage.details(f"{stage.name}-box")
    config, host = box["Config"], box["HostConfig"]
    assert (config["Hostname"], config["WorkingDir"], config["User"]) == ("app-host", "/tmp", "0:0")
    assert "GREETING=hello" in config["Env"]
    assert config["Labels"]["example"] == "yes"
    assert config["StopSignal"] == "SIGTERM"
    assert config["StopTimeout"] == 2
    assert host["ExtraHosts"] == ["elsewhere:10.1.2.3"]
    assert host["CapDrop"] == ["NET_RAW"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert "/scratch" in host["Tmpfs"]
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 512, "Hard": 512}]
    assert (host["Memory"], host["NanoCpus"], host["Init"]) == (64 << 20, 500_000_000, True)
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m"}}
    mounts = {item["Destination"]: (item["Type"], item["RW"]) for item in box["Mounts"]}
    assert mounts["/data"] == ("volume", True)
    assert mounts["/src"] == ("bind", False)


async def test_a_dependency_that_gets_unhealthy_is_named(stage: Stage) -> None:
    text = stage.file.read_text().replace(
        '["CMD", "true"], interval: 1s', '["CMD", "false"], interval: 1s, retries: 1'
    )
    stage.file.write_text(text)
    stage.deployer = stage.make()
    with pytest.raises(UserError) as caught:
        await stage.deployer.deploy("one", "alpine:latest")
    assert caught.value.failure.summary == "db, which app needs, is unhealthy"


@pytest.mark.skipif(not COMPOSE, reason="no docker-compose here: `deploy/peers/engine` brings one")
async def test_docker_compose_sees_logs_and_takes_down_what_we_deployed(stage: Stage) -> None:
    await stage.deployer.deploy("one", "alpine:latest")
    shown = [json.loads(line) for line in (await stage.compose("ps", "--format", "json")).splitlines()]
    named = {item["Service"]: item for item in shown}
    assert named["app"]["Name"] == f"{stage.name}-box"
    assert named["app"]["State"] == named["db"]["State"] == "running"
    assert "up" in await stage.compose("logs", "app")
    assert (await stage.compose("exec", "-T", "app", "cat", "/www/index.html")).strip() == "app-host"
    assert (await stage.compose("ps", "-q", "app")).strip() == stage.deployer.container.id  # type: ignore[union-attr]
    await stage.compose("down", "--volumes")
    assert await stage.engine.containers(labels=[f"com.docker.compose.project={stage.name}"]) == []
    assert stage.engine._client.networks(names=[f"{stage.name}_back"]) == []
    await stage.deployer.check()
    await stage.deployer.deploy("two", "alpine:latest")  # network, volume and dependency come back
    assert (await stage.details(f"{stage.name}-box"))["State"]["Running"]


@pytest.mark.skipif(not COMPOSE, reason="no docker-compose here: `deploy/peers/engine` brings one")
async def test_what_docker_compose_brought_up_is_used_and_left_alone(stage: Stage) -> None:
    await stage.compose("up", "-d", "db")
    before = (await stage.details(f"{stage.name}-db-1"))["Id"]
    await stage.deployer.deploy("one", "alpine:latest")
    after = await stage.details(f"{stage.name}-db-1")
    assert (after["Id"], after["State"]["Running"]) == (before, True)
    await stage.deployer.close(stop=True)
    assert (await stage.details(f"{stage.name}-db-1"))["State"]["Running"]
