"""The services of a project end in the order that `depends_on` gives, as many at once as it allows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from watcher import compose
from watcher.daemon.fleet import Fleet
from watcher.daemon.service_config import SharedResources
from watcher.errors import WatcherError
from watcher.observers.events import Event, Notice


class Service:
    def __init__(self, name: str, log: list[str], error: Exception | None = None) -> None:
        self.name, self._log, self._error = name, log, error

    async def stop(self, **_: bool) -> None:
        self._log.append(f"{self.name} begins")
        await asyncio.sleep(0)
        if self._error:
            raise self._error
        self._log.append(f"{self.name} ends")


class Rig:
    def __init__(self, root: Path) -> None:
        file = root / "compose.yaml"
        file.write_text(
            "services: {web: {build: ., depends_on: [api]}, api: {build: .},"
            " page: {build: ., depends_on: [api]}}"
        )
        project = compose.load(file, env={})
        self.log, self.events = list[str](), list[Event]()
        shared = SimpleNamespace(dependencies=SimpleNamespace(project=project), observer=self)
        self.fleet = Fleet(cast(SharedResources, shared))

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def add(self, *names: str, **errors: Exception) -> None:
        services: dict[str, Any] = {name: Service(name, self.log, errors.get(name)) for name in names}
        self.fleet.services.update(services)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_what_depends_on_a_service_ends_before_it_and_the_rest_at_once(rig: Rig) -> None:
    rig.add("api", "web", "page")
    await rig.fleet.stop()
    assert rig.log == ["web begins", "page begins", "web ends", "page ends", "api begins", "api ends"]


async def test_nothing_waits_where_containers_stay(rig: Rig) -> None:
    rig.add("api", "web", "page")
    await rig.fleet.stop(successor=True)
    assert sorted(rig.log[:3]) == ["api begins", "page begins", "web begins"]


async def test_one_that_cannot_be_stopped_keeps_no_other_from_ending(rig: Rig) -> None:
    rig.add("api", "web", web=WatcherError("the engine does not answer"))
    await rig.fleet.stop()
    assert rig.log == ["web begins", "api begins", "api ends"]
    notices = [event for event in rig.events if isinstance(event, Notice)]
    assert [(event.service, event.level) for event in notices] == [("web", "error")]
