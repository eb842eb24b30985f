"""One project, opened: compose file read, engine reached, services put together, nobody else in it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from watcher import compose, labels, service
from watcher.build import BuildkitLink
from watcher.compose import ComposeProject, ServiceSpec
from watcher.engine import DockerEngine, Engine
from watcher.errors import ConfigError
from watcher.front import Unavailable
from watcher.lock import ProjectLock
from watcher.observe import Notice, Observer
from watcher.service import Service
from watcher.settings import Settings


@dataclass(frozen=True, slots=True)
class Opened:
    """What a command works with while it has the project."""

    id: str
    compose: ComposeProject
    engine: Engine
    services: dict[str, Service]
    lock: ProjectLock


def compose_project(settings: Settings) -> ComposeProject:
    """The project's compose file, read; raises ConfigError."""
    if not settings.root.is_dir():
        raise ConfigError("project", str(settings.project), "there is no such folder")
    path = compose.find_compose_file(settings.root, settings.compose_file)
    return compose.load(path, service=settings.service, env=dict(os.environ))


def kept_services(project: ComposeProject) -> Sequence[ServiceSpec]:
    """The services to keep."""
    return (project.service,)


@asynccontextmanager
async def open_project(
    settings: Settings, observer: Observer, explain: Callable[[str], Unavailable]
) -> AsyncGenerator[Opened]:
    """Have the project while the context lasts; no service is started.

    Raises ConfigError, AlreadyRunning, EngineUnavailable.
    """
    project = compose_project(settings)
    project_id = labels.project_id(settings.root)
    lock = ProjectLock.take(settings.root, project_id)
    try:
        engine = await DockerEngine.open(settings.engine)
        link = BuildkitLink(engine.endpoint)
        try:
            for text in project.warnings:
                observer.notify(Notice(level="warning", text=text))
            services = {
                spec.name: service.create(
                    spec,
                    compose_project=project,
                    settings=settings,
                    project=project_id,
                    engine=engine,
                    link=link,
                    observer=observer,
                    explain=explain,
                )
                for spec in kept_services(project)
            }
            yield Opened(project_id, project, engine, services, lock)
        finally:
            await link.close()
            await engine.close()
    finally:
        lock.release()
