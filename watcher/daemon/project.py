"""One project, opened: compose file read, engine reached, services put together, nobody else in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

from watcher import labels
from watcher.builder import BuildJournal, open_journal
from watcher.compose import ComposeProject, SecretSource
from watcher.daemon import config_reload as configuration
from watcher.daemon import status_port
from watcher.daemon.config_reload import Configuration
from watcher.daemon.engine_access import EngineAccess, open_engine
from watcher.daemon.fleet import Fleet, assemble_configs, count_builds, count_kept_builds
from watcher.daemon.registration import Registration
from watcher.daemon.service_config import SharedResources
from watcher.daemon.shared_images import SharedImages
from watcher.daemon.start_order import StartOrder
from watcher.deploy import HostPorts, fixed_addresses, own_container
from watcher.deploy.dependencies import Dependencies
from watcher.deploy.own_container import OwnContainer
from watcher.engine import Engine
from watcher.front import Unavailable
from watcher.observers.events import Notice
from watcher.observers.redact import Redactor
from watcher.observers.secrets import secret_values
from watcher.prune import CacheNames
from watcher.reconcile.build_slots import BuildSlots
from watcher.settings import Settings
from watcher.system.blocking_call import in_thread
from watcher.system.lock import ProjectLock
from watcher.system.regular_file import read_regular

MOST_SECRET = 512 * 1024  # bytes of a file whose lines are masked


@dataclass(frozen=True, slots=True)
class Opened:
    """What a command works with while it has the project."""

    id: str
    configuration: Configuration
    engine: Engine
    fleet: Fleet
    dependencies: Dependencies
    lock: ProjectLock
    registration: Registration
    published: frozenset[int]  # host ports of the project's services


def secrets_of(project: ComposeProject, settings: Settings) -> Iterator[str]:
    """What must never be shown: variables and build arguments that are named so, build secrets."""
    for name in ("", *settings.per_service):
        yield from secret_values(settings.for_service(name).build.args)
    if settings.http.token:
        yield settings.http.token
    for spec in project.services.values():
        yield from secret_values({name: value for name, value in spec.environment.items() if value})
        for file in spec.files:
            if file.secret:
                yield from _spoken(file.content.decode("utf-8", "replace"))
        if spec.build:
            yield from secret_values(spec.build.args)
            for source in spec.build.secrets:
                yield from _lines(source)


def _lines(source: SecretSource) -> Iterator[str]:
    """A secret, line by line: as output shows it."""
    text = source.value or ""
    if source.file:
        with suppress(OSError):  # the build says so, if it needs it
            text = read_regular(source.file, MOST_SECRET).decode("utf-8", "replace")
    yield from _spoken(text)


def _spoken(text: str) -> Iterator[str]:
    yield from (line.strip() for line in text.splitlines())


def notify_journal(loop: asyncio.AbstractEventLoop, observer: Redactor, problem: str) -> None:
    """Notify that the journal of builds stopped or resumed; called in any thread."""
    notice = Notice(level="info", text="builds are written down again")
    if problem:
        text = f"builds cannot be written down, so what they leave in the build cache stays: {problem}"
        notice = Notice(level="warning", text=text)
    with suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(observer.notify, notice)


async def _assemble_shared(
    project: ComposeProject,
    settings: Settings,
    access: EngineAccess,
    journal: BuildJournal,
    observer: Redactor,
    *,
    explain: Callable[[str], Unavailable],
    own: OwnContainer | None,
) -> SharedResources:
    """Construct what all services of the project share. Raises EngineUnavailable."""
    engine, project_id = access.engine, labels.project_id(settings.root)
    dependencies = Dependencies(engine, observer, project, project_id, managed=project.managed)
    order = StartOrder(engine, dependencies)
    dependencies.followers.find_live = order.find_live
    return SharedResources(
        project=project_id,
        engine=engine,
        connection=access.connection,
        journal=journal,
        observer=observer,
        explain=explain,
        info=await engine.info(),
        host_ports=HostPorts(engine, project_id, journal.folder, own.ports if own else None),
        dependencies=dependencies,
        order=order,
        slots=BuildSlots(count_builds(settings)),
        images=SharedImages(),
        cache_names=CacheNames(journal.folder),
        kept_builds=count_kept_builds(project, settings),
        pruning=asyncio.Lock(),
        own=own,
    )


def _find_published(project: ComposeProject, fleet: Fleet, host_ports: HostPorts) -> frozenset[int]:
    """Return the host ports of the project: fixed ones, and those chosen of a range."""
    fixed = {address.port for each in project.services.values() for address in fixed_addresses(each)}
    return frozenset(fixed | {each.port for name in fleet.services for each in host_ports.chosen(name)})


@asynccontextmanager
async def open_project(
    settings: Settings, observer: Redactor, explain: Callable[[str], Unavailable]
) -> AsyncGenerator[Opened]:
    """Have the project while the context lasts; no service is started. `observer` learns its secrets.

    Raises ConfigError, AlreadyRunning, EngineUnavailable.
    """
    configured = await in_thread(lambda: configuration.read(settings), str(settings.project))
    project = configured.compose
    observer.add_secrets(await in_thread(lambda: list(secrets_of(project, settings)), "a secret's file"))
    project_id = labels.project_id(settings.root)
    lock = ProjectLock.take(settings.root, project_id)
    try:
        async with open_engine(settings) as access:
            engine, own = access.engine, None
            journal: BuildJournal | None = None
            try:
                for text in project.warnings:
                    observer.notify(Notice(level="warning", text=text))
                own = await own_container.find_own_container(engine)
                notify = partial(notify_journal, asyncio.get_running_loop(), observer)
                journal = open_journal(project_id, notify, cache=access.build_cache)
                await asyncio.to_thread(journal.check)
                shared = await _assemble_shared(
                    project, settings, access, journal, observer, explain=explain, own=own
                )
                fleet = Fleet(shared)
                avoid = status_port.preferred_ports(settings.http, lock.before)
                fleet.add(await assemble_configs(shared, project, settings, running={}, avoid=avoid))
                registration = Registration(settings.root, project_id, shared.info, observer)
                registration.begin(project, settings)
                yield Opened(
                    project_id,
                    configured,
                    engine,
                    fleet,
                    shared.dependencies,
                    lock,
                    registration,
                    _find_published(project, fleet, shared.host_ports),
                )
                await registration.end()
            finally:
                if own:
                    await own.leave()
                if journal is not None:
                    await asyncio.to_thread(journal.close)
    finally:
        lock.release()
