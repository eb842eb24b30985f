"""Measure the gain of a pause container: the same deploys with `deploy.pause_container` on and off.

    ./dev bench start [--rounds 15]

A container of alpine's web server is deployed behind a front that only stores its upstream, so only the
deploy is measured: create, start, ready, switch. It is alone in its project, or there is a second service,
which finds it by its name through an address container. The ways take turns, so other load affects all.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from tests.unit.deploy.world import NotedFront
from watcher import compose
from watcher.deploy import ContainerDeployer, DeployPolicy
from watcher.deploy.compose_container import ComposeContainer
from watcher.deploy.dependencies import Dependencies
from watcher.engine import DockerEngine
from watcher.front import Front
from watcher.observers.events import Event

TEXT = """
services:
  app:
    build: .
    image: alpine:latest
    command: busybox httpd -f -p 9000
    init: true
    environment: {TURN: "${TURN}"}
    ports: ["9000"]
"""
OTHER = """
  other:
    image: alpine:latest
"""
PHASES = ("create", "start", "ready", "switch")


class Way:
    """One of the ways, with a project of its own."""

    def __init__(self, engine: DockerEngine, folder: Path, *, pause_container: bool, several: bool) -> None:
        self.name = f"start-{uuid.uuid4().hex[:8]}"
        self.engine, self.file = engine, folder / f"{self.name}.yaml"
        self.pause_container, self.several = pause_container, several
        self.file.write_text(TEXT + OTHER * several)
        self.rounds: list[Mapping[str, float]] = []
        self.deployer = ContainerDeployer(
            self.recipe(),
            engine=engine,
            fronts={9000: cast(Front, NotedFront())},
            policy=DeployPolicy(soak=0.0, drain=0.0),
            observer=self,
            on_lost=self.notify,
            on_rolled_back=self.notify,
        )

    def notify(self, event: Event) -> None:
        """Ignore the event."""

    def recipe(self) -> ComposeContainer:
        project = compose.load(
            self.file, services=("app",), env={"COMPOSE_PROJECT_NAME": self.name, "TURN": "1"}
        )
        return ComposeContainer(
            project,
            project.managed_services[0],
            self.name,
            self.engine,
            self,
            Dependencies(self.engine, self, project, self.name, managed=project.managed),
            self.pause_container,
            address=True,
        )

    async def deploy(self, image: str, number: int) -> None:
        begun = time.monotonic()
        deployed = await self.deployer.deploy(f"{number:012x}", image)
        self.rounds.append({**dict(deployed.phases), "all": time.monotonic() - begun})
        await self.deployer._retirement.done()  # the old one is gone and the next network is ready

    def report(self) -> str:
        kept = self.rounds[2:]  # the first one creates its own network with any setting
        medians = [statistics.median(each[name] for each in kept) for name in (*PHASES, "all")]
        shown = "  ".join(f"{value * 1000:8.0f}" for value in medians)
        return f"{1 + self.several:>8}  {'on' if self.pause_container else 'off':>15}  {shown}"

    async def clean(self) -> None:
        await self.deployer.close(stop=True)
        label = f"com.docker.compose.project={self.name}"
        for network in self.engine._client.networks(filters={"label": label}):
            self.engine._client.remove_network(network["Id"])


async def main(rounds: int) -> None:
    engine = await DockerEngine.open()
    image = await engine.image("alpine:latest")
    assert image
    # Two names of one image: a deploy of the same one would replace nothing.
    images = (image.id, "alpine:latest")
    with tempfile.TemporaryDirectory() as folder:
        ways = [
            Way(engine, Path(folder), pause_container=pause_container, several=several)
            for several in (False, True)
            for pause_container in (False, True)
        ]
        try:
            for number in range(rounds + 2):
                for way in ways:
                    await way.deploy(images[number % 2], number)
        finally:
            for way in ways:
                await way.clean()
            await engine.close()
    print(f"medians of {rounds} deploys, milliseconds")
    print(f"services  {'pause_container':>15}  {'  '.join(f'{name:>8}' for name in (*PHASES, 'all'))}")
    for way in ways:
        print(way.report())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    asyncio.run(main(parser.parse_args().rounds))
