"""The app, its controls and a client, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from prometheus_client import CollectorRegistry

from tests.unit.observers.conftest import told
from tests.unit.observers.story import Story, revision
from watcher.observers.metrics import Metrics
from watcher.observers.status_board import StatusBoard
from watcher.settings import HttpSettings
from watcher.tree import TreeGone
from watcher.web import create_app, serve
from watcher.web.connection import DEFAULT_LIMITS, ConnectionLimits


@dataclass
class Desk:
    """Controls that remember what they were asked."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    revision: str = revision(1)
    gone: bool = False
    runs: bool = True
    look_seconds: float = 0.0

    def rebuild(self, service: str) -> None:
        self.asked.append(("rebuild", service))

    def cancel(self, service: str) -> bool:
        self.asked.append(("cancel", service))
        return self.runs

    def pause(self, service: str) -> None:
        self.asked.append(("pause", service))

    def resume(self, service: str) -> None:
        self.asked.append(("resume", service))

    async def upgrade(self) -> None:
        self.asked.append(("upgrade", ""))
        if self.gone:
            raise TreeGone("it does not start")

    async def rescan(self, service: str) -> str:
        self.asked.append(("rescan", service))
        if self.gone:
            raise TreeGone("the project folder is gone")
        await asyncio.sleep(self.look_seconds)
        return self.revision


@dataclass
class Site:
    client: httpx.AsyncClient
    board: StatusBoard
    desk: Desk
    url: str


@asynccontextmanager
async def site(
    story: Story, limits: ConnectionLimits = DEFAULT_LIMITS, **settings: str
) -> AsyncGenerator[Site]:
    """The app served on a free loopback port, having heard `story`; `settings` are those of the app."""
    board, registry, desk = told(story), CollectorRegistry(), Desk()
    metrics = Metrics(registry, board)
    for event in story.events:
        metrics.notify(event)
    app = create_app(board, registry, desk, HttpSettings.model_validate(settings))
    async with (
        serve(app, "127.0.0.1", [0], limits) as url,
        httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client,
    ):
        yield Site(client, board, desk, url)
