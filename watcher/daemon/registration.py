"""Keeps the open project in the registry of projects, so that what it leaves can be found when it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import time

from watcher.compose import ComposeProject
from watcher.engine import SystemInfo
from watcher.errors import ConfigError
from watcher.observers.events import Notice, Observer
from watcher.prune import EngineUse, ProjectRecord, Registry, ServiceUse, locate
from watcher.settings import Settings
from watcher.system.blocking_call import in_thread

TOUCH_SECONDS = 3600.0  # between two notes that the project is watched still


class Registration:
    """One project's entry. A write that fails is notified once, and stops nothing."""

    def __init__(self, root: Path, project: str, info: SystemInfo, observer: Observer) -> None:
        self._root, self._project, self._info, self._observer = root, project, info, observer
        self._failed = False
        self._begun: asyncio.Task[None] | None = None

    def begin(self, compose: ComposeProject, settings: Settings) -> None:
        """Begin to `write`: a start need not wait for the disk."""
        self._begun = asyncio.create_task(self.write(compose, settings))

    async def end(self) -> None:
        """Note that the project was watched until now."""
        if self._begun:
            await self._begun
        await self.touch()

    async def write(self, compose: ComposeProject, settings: Settings) -> None:
        """Write down where the project is, and by which names its objects go at which engine."""
        await self._try(partial(self._write, compose, settings))

    def _write(self, compose: ComposeProject, settings: Settings) -> None:
        build = settings.build
        keys = str(build.buildkit_certs.expanduser().resolve()) if build.buildkit_certs else ""
        now = time()
        record = ProjectRecord(
            id=self._project,
            location=locate(self._root),
            compose_project=compose.name,
            services=tuple(
                ServiceUse(each.name, each.image, each.default_name) for each in compose.managed_services
            ),
            engines=(EngineUse.of(self._info, build.buildkit or "", keys),),
            first_seen=now,
            last_seen=now,
        )
        Registry().write(record)

    async def touch(self) -> None:
        """Note that the project is watched now."""
        await self._try(lambda: Registry().touch(self._project))

    async def keep_touching(self) -> None:
        """Note it from time to time, until cancelled."""
        while True:
            await asyncio.sleep(TOUCH_SECONDS)
            await self.touch()

    async def _try(self, write: Callable[[], None]) -> None:
        try:
            await in_thread(write, "the registry of projects")
        except (OSError, ConfigError) as error:
            if not self._failed:
                self._failed = True
                text = (
                    f"the project cannot be registered, so `watcher prune --gone` will not know it: {error}"
                )
                self._observer.notify(Notice(level="warning", text=text))
