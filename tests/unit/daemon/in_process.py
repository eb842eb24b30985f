"""A whole daemon in one process: real files, ports, fronts and API; engine and builds are made up.

The build of a service fails while its name is in the file `broken`. Containers answer on loopback.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import httpx
import pytest

from tests.fake_engine import FakeEngine
from tests.loaded_settings import load
from watcher.builder import BaseImages, BuildkitConnection, EngineConnection, ImageBuilder, Recipe
from watcher.daemon import project
from watcher.daemon.daemon import Daemon
from watcher.daemon.engine_access import EngineAccess
from watcher.errors import Failure, UserError
from watcher.labels import FINAL, image_labels
from watcher.observers.events import DaemonStarted, Event, RevisionStateChanged
from watcher.observers.status_board import StatusBoard
from watcher.observers.status_schema import ServiceStatus
from watcher.reconcile.ports import Scan
from watcher.settings import Settings
from watcher.tree import Snapshot

E = TypeVar("E", bound=Event)
PATIENCE = 20.0  # seconds, of a test that would otherwise hang


class LoopbackEngine(FakeEngine):
    """All of its containers are one program that listens on this machine."""

    def _publish(self, box: Any) -> dict[str, tuple[tuple[str, int], ...]]:
        return {name: (("127.0.0.1", int(name.partition("/")[0])),) for name in super()._publish(box)}


class Seen:
    """An observer that keeps every event, and lets tests wait for what they look for."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = asyncio.Event()

    def notify(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; it is asked after each event."""
        async with asyncio.timeout(PATIENCE):
            while not holds():
                self._news.clear()
                await self._news.wait()


class House:
    """A project with services that listen on one port of loopback, and the engine that runs them."""

    def __init__(self, root: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.port = root, port
        self.engine = LoopbackEngine()
        self.built: list[tuple[str, str]] = []  # service and revision of each build
        self.same_image = ""  # what builds result in from now on, as if nothing differed in their context
        (root / "Dockerfile").write_text("FROM scratch\nCOPY . .\n")
        (root / "main.go").write_text("package main\n")
        (root / ".dockerignore").write_text("compose.yaml\nwatcher.toml\n")
        self.write_services("web")
        monkeypatch.setattr(project, "open_engine", self._open_engine)
        monkeypatch.setattr(ImageBuilder, "_try_strategies", self._build)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(root.parent))
        monkeypatch.setenv("XDG_STATE_HOME", str(root.parent / "state"))

    def write_services(self, *names: str, **more: str) -> None:
        """Write the compose file: `more` are further lines of a service, by its name."""
        lines = [
            f"  {name}: {{build: ., ports: ['127.0.0.1::{self.port}'], {more.get(name, '')}}}"
            for name in names
        ]
        (self.root / "compose.yaml").write_text("\n".join(["services:", *lines, ""]))

    @asynccontextmanager
    async def _open_engine(self, _: Settings) -> AsyncGenerator[EngineAccess]:
        connection = BuildkitConnection("unix:///nowhere/at/all", self.engine)
        own = cast(EngineConnection, SimpleNamespace(engine=self.engine, built_in=connection))
        yield EngineAccess(own, connection, BaseImages(self.engine, connection, lambda: lambda _: None))

    async def _build(self, recipe: Recipe, scan: Scan[Snapshot], *_: object) -> str:
        self.built.append((recipe.service, scan.revision))
        broken = self.root / "broken"
        if broken.exists() and recipe.service in broken.read_text():
            raise UserError(Failure("build", "main.go:1: it is broken"))
        return self.same_image or self.engine.add_image(
            tags=(recipe.tag(scan.revision), recipe.image),
            labels=image_labels(recipe.project, recipe.labelled_service, FINAL),
            layers={scan.revision: 1000},
        )

    def settings(self, **values: Any) -> Settings:
        given: Mapping[str, Any] = {
            "http": {"port": 0},
            "deploy": {"soak": 0, "drain": 0, "pause_container": False},
            "prune": {"enabled": False},
            "build": {"accelerate": "off"},
        }
        return load(project=self.root, **{**given, **values})

    @asynccontextmanager
    async def daemon(self, **values: Any) -> AsyncGenerator[Running]:
        """Run a daemon while the context lasts; at its end it is stopped in good order."""
        seen, board = Seen(), StatusBoard()
        daemon = Daemon(self.settings(**values), seen, board=board)
        run = asyncio.create_task(daemon.run())
        run.add_done_callback(lambda _: seen._news.set())
        running = Running(daemon, seen, board)
        try:
            await seen.until(lambda: bool(seen.of(DaemonStarted)) or run.done())
            if run.done():
                await run
            yield running
        finally:
            daemon.stop("a test")
            async with asyncio.timeout(PATIENCE):
                await run


class Running:
    """A daemon that runs."""

    def __init__(self, daemon: Daemon, seen: Seen, board: StatusBoard) -> None:
        self.daemon, self.seen, self.board = daemon, seen, board

    @property
    def url(self) -> str:
        return self.seen.of(DaemonStarted)[0].url

    def service(self, name: str = "web") -> ServiceStatus:
        """Its status, which follows what happens."""
        found = self.board.service(name)
        assert found is not None
        return found

    async def until_live(self, name: str = "web") -> str:
        """Wait until the tree as it is, is live; its revision."""
        await self.seen.until(lambda: self._state(name)[0] == "live")
        return self._state(name)[1]

    async def until_failed(self, name: str = "web") -> str:
        """Wait until the tree as it is has failed; its revision."""
        await self.seen.until(lambda: self._state(name)[0] == "failed")
        return self._state(name)[1]

    def _state(self, name: str) -> tuple[str, str]:
        last = [event for event in self.seen.of(RevisionStateChanged) if event.service == name][-1:]
        for state in last:
            if state.desired:
                return {state.live: "live", state.failed: "failed"}.get(state.desired, ""), state.desired
        return "", ""

    async def ask(self, name: str = "web") -> httpx.Response:
        """Ask the service by its front."""
        (front,) = self.daemon.services[name].fronts.values()
        (address,) = front.addresses
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            return await client.get(f"http://127.0.0.1:{address.port}/")
