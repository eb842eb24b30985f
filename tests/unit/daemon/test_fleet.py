"""The services of a project: the order in which they end, and what a refused change leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import pytest

from watcher import compose
from watcher.daemon.fleet import Fleet
from watcher.daemon.service_config import SharedResources
from watcher.deploy import HostPorts
from watcher.errors import PartlyApplied, WatcherError
from watcher.observers.events import Event, Notice
from watcher.settings import Settings


class Service:
    fronts: Mapping[int, object] = MappingProxyType({})

    def __init__(self, name: str, log: list[str], error: Exception | None = None) -> None:
        self.name, self._log, self._error = name, log, error

    async def change(self, _: object) -> None:
        if self._error:
            raise self._error

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
        self.project = project = compose.load(file, env={})
        self.log, self.events = list[str](), list[Event]()
        self.reconfigured, self.managed = list[compose.ComposeProject](), list[set[str]]()
        nothing = SimpleNamespace(remove=lambda _: None, resize=lambda _: None, needed_by_all=tuple)
        shared = SimpleNamespace(
            dependencies=SimpleNamespace(project=project, reconfigure=self.reconfigure),
            observer=self,
            order=nothing,
            build_order=nothing,
            images=nothing,
            slots=nothing,
            project="p",
            engine=None,
            pruning=None,
            kept_builds={},
            host_ports=HostPorts(None, "p", None),
        )
        self.fleet = Fleet(cast(SharedResources, shared))

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def add(self, *names: str, **errors: Exception) -> None:
        services: dict[str, Any] = {name: Service(name, self.log, errors.get(name)) for name in names}
        self.fleet.services.update(services)
        self.fleet._tasks = {name: asyncio.create_task(asyncio.sleep(0)) for name in names}

    def reconfigure(self, project: compose.ComposeProject, managed: Iterable[str]) -> None:
        self.reconfigured.append(project)
        self.managed.append({*managed})

    def manage(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        """Let these services be what the changed files ask for."""

        async def assemble(*_: object, **__: object) -> dict[str, object]:
            return {name: SimpleNamespace(fronts={}) for name in names}

        monkeypatch.setattr("watcher.daemon.fleet.assemble_configs", assemble)


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


async def test_a_change_that_removed_a_service_is_not_called_refused(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else of it can be applied, and yet what was in force does not stay."""
    rig.add("api", "web", api=WatcherError("cannot listen on *:9000"))
    rig.manage(monkeypatch, "api")
    with pytest.raises(PartlyApplied, match="cannot listen on") as applied:
        await rig.fleet.reconfigure(rig.project, Settings())
    assert [*rig.fleet.services] == ["api"]
    assert applied.value.services == ("api",)
    assert rig.reconfigured == [rig.project]


async def test_a_refused_change_leaves_all_services_managed_that_the_file_has(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service whose start failed is none of the dependencies, which are started without being built."""
    rig.add("api", api=WatcherError("cannot listen on *:9000"))
    rig.manage(monkeypatch, "api")
    with pytest.raises(WatcherError, match="cannot listen on") as refused:
        await rig.fleet.reconfigure(rig.project, Settings())
    assert not isinstance(refused.value, PartlyApplied)
    assert rig.managed == [{"api", "web", "page"}] * 2
