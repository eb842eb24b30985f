"""What is told of services that the watched one depends on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.fake_engine import FakeEngine
from watcher import compose
from watcher.compose import ComposeProject
from watcher.daemon.dependencies import DependencyWatch, in_force
from watcher.observers.events import Event, InternalError, Notice

TEXT = """
name: shop
services:
  app:
    build: .
    depends_on:
      db: {condition: service_started}
      seed: {condition: service_completed_successfully}
  db: {image: "postgres:16", environment: {LEVEL: "LEVEL-OF-DB"}}
  seed: {image: seed}
networks: {default: {internal: INTERNAL}}
"""


def project(folder: Path, level: str = "one", internal: str = "false") -> ComposeProject:
    file = folder / "compose.yaml"
    file.write_text(TEXT.replace("LEVEL-OF-DB", level).replace("INTERNAL", internal))
    return compose.load(file, service="app", env={})


class Rig:
    def __init__(self, folder: Path) -> None:
        self.engine = FakeEngine()
        self.told: list[str] = []
        self.watch = DependencyWatch(self.engine, self, lambda: self.project)
        self.project = project(folder)

    def notify(self, event: Event) -> None:
        assert not isinstance(event, InternalError), event
        if isinstance(event, Notice):
            self.told.append(f"{event.level}: {event.text}")

    async def start(self, service: str) -> str:
        image = self.engine.add_image()
        found = {"com.docker.compose.project": "shop", "com.docker.compose.service": service}
        container = await self.engine.create(f"shop-{service}-1", {"Image": image, "Labels": found})
        await self.engine.start(container)
        return container


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def until(rig: Rig, count: int) -> None:
    async with asyncio.timeout(10):
        while len(rig.told) < count:
            await asyncio.sleep(0.005)


async def test_a_dependency_that_is_killed_is_told_at_once_and_once(rig: Rig) -> None:
    db = await rig.start("db")
    task = asyncio.create_task(rig.watch.run())
    try:
        while not rig.engine._listeners:
            await asyncio.sleep(0.005)
        rig.engine.end(db, 137)
        await until(rig, 1)
        assert rig.told[0].startswith("warning: db, which app depends on, ended with exit status")
        assert "`docker compose up -d db` starts it now" in rig.told[0]
        await rig.watch.look()
        assert len(rig.told) == 1
        await rig.engine.start(db)
        await until(rig, 2)
        assert rig.told[1] == "info: db runs again"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_one_that_ended_while_nobody_looked_is_told(rig: Rig) -> None:
    rig.engine.end(await rig.start("db"), 3)
    await rig.watch.look()
    assert "ended with exit status 3" in rig.told[0]


async def test_what_was_to_end_and_what_is_of_others_is_not_told(rig: Rig) -> None:
    rig.engine.end(await rig.start("seed"), 0)
    rig.engine.end(await rig.start("app"), 1)
    rig.engine.end(await rig.start("unrelated"), 1)
    await rig.watch.look()
    assert rig.told == []


async def test_one_that_was_never_started_is_not_called_ended(rig: Rig) -> None:
    await rig.watch.look()
    assert rig.told == []


def test_what_stays_as_it_is_is_not_said_to_be_in_force(tmp_path: Path) -> None:
    before = project(tmp_path)
    assert in_force("compose.yaml", before, project(tmp_path)) == (
        "compose.yaml changed: what it says is in force"
    )
    assert in_force("compose.yaml", before, project(tmp_path, level="two")) == (
        "compose.yaml changed: what it says is in force, except for db: its running container stays as it "
        "is; `docker compose up -d db` replaces it"
    )
    assert in_force("compose.yaml", before, project(tmp_path, internal="true")).endswith(
        "in force; the network default stays as it was made"
    )
