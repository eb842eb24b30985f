"""A running daemon removes what services left that are no longer in its compose file."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from tests.facts import missing
from tests.unit.prune.worlds import NOTHING, SCOPE, box, final, rev
from watcher import compose
from watcher.daemon.left_services import LeftServices
from watcher.engine import Container, Engine, Image, Removal
from watcher.errors import EngineUnavailable
from watcher.observers.events import Event, Notice
from watcher.prune import Needed
from watcher.settings import PruneSettings

PROJECT = SCOPE.project


class FewCalls:
    """An engine with these objects."""

    def __init__(self, images: list[Image], containers: list[Container]) -> None:
        self.there: dict[str, Image | Container] = {item.id: item for item in images}
        self.there |= {item.id: item for item in containers}
        self.error: Exception | None = None

    async def containers(self) -> list[Container]:
        if self.error:
            raise self.error
        return [item for item in self.there.values() if isinstance(item, Container)]

    async def images(self) -> list[Image]:
        return [item for item in self.there.values() if isinstance(item, Image)]

    async def image(self, ref: str) -> Image | None:
        found = self.there.get(ref)
        return found if isinstance(found, Image) else None

    async def container(self, ref: str) -> Container | None:
        found = self.there.get(ref)
        return found if isinstance(found, Container) else None

    async def remove_image(self, ref: str) -> Removal:
        for item in [*self.there.values()]:
            if isinstance(item, Image) and ref in item.tags:
                left = replace(item, tags=tuple(tag for tag in item.tags if tag != ref))
                self.there[item.id] = left
                if not left.tags:
                    del self.there[item.id]
                return Removal.REMOVED
        return Removal.GONE

    async def remove(self, ref: str, *, volumes: bool = True) -> Removal:
        return Removal.REMOVED if self.there.pop(ref, None) else Removal.GONE


class Rig:
    def __init__(self, root: Path) -> None:
        self.root, self.events, self.needed = root, list[Event](), [NOTHING]
        self.engine = FewCalls([final(1), final(2, tags=(rev(2), "web-dev:latest"))], [box(1, final(1))])
        engine: Engine = self.engine  # type: ignore[assignment]
        self.left = LeftServices(PROJECT, engine, self, needed=self.list_needed, turn=asyncio.Lock())

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def list_needed(self) -> Collection[Needed]:
        return self.needed

    def configure(self, *services: str, grace: float = 0.0, enabled: bool = True) -> None:
        file = self.root / "compose.yaml"
        file.write_text("services:\n" + "".join(f"  {name}: {{build: .}}\n" for name in services))
        self.left.reconfigure(compose.load(file, env={}), PruneSettings(grace=grace, enabled=enabled))

    def notices(self) -> list[tuple[str, str]]:
        return [(event.level, event.text) for event in self.events if isinstance(event, Notice)]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def run_until(rig: Rig, texts: int) -> None:
    task = asyncio.create_task(rig.left.run())
    async with asyncio.timeout(10):
        while len(rig.events) < texts:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_left_is_removed_after_the_grace_period_and_said(rig: Rig) -> None:
    rig.configure("api")
    await run_until(rig, 1)
    assert rig.engine.there == {}
    ((level, text),) = rig.notices()
    assert level == "info"
    assert missing(text, "1 container", "2 images", "web", "compose file") == []


async def test_a_service_that_comes_back_within_it_keeps_its_images(rig: Rig) -> None:
    rig.configure("api", grace=0.2)
    task = asyncio.create_task(rig.left.run())
    await asyncio.sleep(0.02)
    rig.configure("api", "web", grace=0.0)
    await asyncio.sleep(0.4)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(rig.engine.there) == 3
    assert rig.events == []


async def test_nothing_is_removed_where_pruning_is_off_or_nothing_left(rig: Rig) -> None:
    rig.configure("api", enabled=False)
    await rig.left._try_prune()
    rig.configure("web")
    await rig.left._try_prune()
    assert len(rig.engine.there) == 3
    assert rig.events == []


async def test_an_engine_that_does_not_answer_is_reported_and_the_next_change_tries_again(rig: Rig) -> None:
    rig.engine.error = EngineUnavailable("refused")
    rig.configure("api")
    await run_until(rig, 1)
    assert [level for level, _ in rig.notices()] == ["warning"]
    rig.engine.error = None
    rig.configure("api")
    await run_until(rig, 2)
    assert rig.engine.there == {}
