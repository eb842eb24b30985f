"""The managed services of a project: assemble, start, run, reconfigure and stop them.

Each runs by itself: what happens to one stops no other.
"""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import replace

from watcher.backoff import Backoff
from watcher.compose import ComposeProject
from watcher.daemon.left_services import LeftServices
from watcher.daemon.port_exchange import exchange_ports
from watcher.daemon.recipe import check_dockerfile
from watcher.daemon.service import Service
from watcher.daemon.service_config import ServiceConfig, SharedResources, assemble_service
from watcher.daemon.service_conflicts import check_conflicts
from watcher.daemon.shared_images import share_recipes
from watcher.errors import ConfigError, PartlyApplied, WatcherError, raise_all
from watcher.observers.events import InternalError, Notice, ServiceRemoved
from watcher.settings import Settings

LEAST_BUILDS = 2  # at once, if the settings do not say
RESTART = Backoff(first=1.0, most=60.0)  # seconds until a service runs again whose loop has failed


def count_builds(settings: Settings) -> int:
    """Return how many builds may run at once."""
    return settings.build.parallel or max(os.cpu_count() or 1, LEAST_BUILDS)


def count_kept_builds(project: ComposeProject, settings: Settings) -> dict[str, int | None]:
    """Return how many revisions of each service in the compose file keep their build steps; None for all.

    Any service prunes the steps of all of them: a step can be of builds of several services.
    """
    rules = {name: settings.for_service(name).prune for name in (*project.services, *project.others)}
    return {name: rule.keep if rule.enabled else None for name, rule in rules.items()}


def check_service_settings(project: ComposeProject, settings: Settings) -> None:
    """Raise ConfigError for settings of a service that the compose file does not have."""
    known = (*project.services, *project.others)
    for name in settings.per_service:
        if name not in known:
            rule = f"there is no such service in {project.file.name} (it has {', '.join(known)})"
            raise ConfigError(f"service.{name}", None, rule)


async def assemble_configs(
    shared: SharedResources,
    project: ComposeProject,
    settings: Settings,
    *,
    running: Mapping[str, Service],
    avoid: Collection[int] = (),
) -> dict[str, ServiceConfig]:
    """Return the configuration of each managed service; raise all that is wrong as one ConfigError.

    Nothing is started or changed. What is `running` continues with its fronts. `avoid` are host ports that
    another part of this process takes.
    """
    check_service_settings(project, settings)
    found: dict[str, ServiceConfig] = {}
    problems: list[ConfigError] = []
    for spec in project.managed_services:
        own, before = settings.for_service(spec.name), running.get(spec.name)
        try:
            if before is None:
                check_dockerfile(spec, settings.root)
            held = before.held_ports if before else ()
            front = own.deploy.strategy == "front"
            chosen = await shared.host_ports.choose(
                spec, project, front=front, avoid=avoid, held=held, reserve=True
            )
            fronts = before.fronts if before else None
            found[spec.name] = assemble_service(shared, chosen, project, own, fronts)
        except ConfigError as error:
            problems.append(error)
    raise_all(problems)
    check_conflicts(found.values())
    recipes = share_recipes({name: config.recipe for name, config in found.items()})
    return {name: replace(config, recipe=recipes[name]) for name, config in found.items()}


class Fleet:
    """The managed services of a project. `services` holds them by name, and is changed in place."""

    def __init__(self, shared: SharedResources) -> None:
        self.services: dict[str, Service] = {}
        self._shared = shared
        self._left = LeftServices(
            shared.project,
            shared.engine,
            shared.observer,
            needed=shared.images.needed_by_all,
            turn=shared.pruning,
        )
        self._before_scan: Callable[[], Awaitable[None]] | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def add(self, configs: Mapping[str, ServiceConfig]) -> list[Service]:
        """Construct services; return them. None is started."""
        new = [Service(self._shared, config) for config in configs.values()]
        for service in new:
            if self._before_scan:
                service.watch.run_before_scans(self._before_scan)
            self._shared.order.add(service.name, service)
            self._shared.images.add(service.name, service.find_image_owner, service.find_needed)
            self.services[service.name] = service
        return new

    def watch_left_services(self, project: ComposeProject, settings: Settings) -> None:
        """Remove what services left that are not in this compose file, while `run` runs."""
        self._left.reconfigure(project, settings.prune)

    def run_before_scans(self, action: Callable[[], Awaitable[None]]) -> None:
        """Await `action` before each scan of each service, those that are added later too."""
        self._before_scan = action
        for service in self.services.values():
            service.watch.run_before_scans(action)

    async def start(self) -> None:
        """Start all services: take their ports, adopt what is live. Raises what went wrong with any."""
        starts = [service.start() for service in self.services.values()]
        raise_all(_find_problems(await asyncio.gather(*starts, return_exceptions=True)))

    async def run(self) -> None:
        """Run all services until cancelled, those that are added meanwhile too."""
        for service in self.services.values():
            self._spawn(service)
        left = asyncio.create_task(self._left.run())
        try:
            await asyncio.Event().wait()
        finally:
            tasks = [left, *self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, service: Service) -> None:
        self._tasks[service.name] = asyncio.create_task(self._keep_running(service))

    async def _keep_running(self, service: Service) -> None:
        """Run one service. A bug in it is reported and stops no other; it runs again after a pause."""
        failures = 0
        while True:
            try:
                await service.run()
            except Exception as error:
                text = "".join(traceback.format_exception(error))
                self._shared.observer.notify(
                    InternalError(service=service.name, where="service", traceback=text)
                )
                await asyncio.sleep(RESTART.pause(failures))
                failures += 1

    async def reconfigure(self, project: ComposeProject, settings: Settings) -> None:
        """Manage what the compose file and the settings now say, while `run` runs.

        Raises ConfigError or NoFreePort, with nothing changed; and PartlyApplied for what could not be
        applied, with all other changes in force.
        """
        with self._shared.host_ports.reserving():
            configs = await assemble_configs(self._shared, project, settings, running=self.services)
            await self._apply(project, settings, configs)

    async def _apply(
        self, project: ComposeProject, settings: Settings, configs: Mapping[str, ServiceConfig]
    ) -> None:
        """Put assembled configurations in force; raises as `reconfigure`."""
        self._shared.slots.resize(count_builds(settings))
        self._left.reconfigure(project, settings.prune)
        removed = [name for name in self.services if name not in configs]
        for name in removed:  # first: what is a dependency from now on is not stopped then
            await self._remove(name)
        before = self._shared.dependencies.project
        self._shared.dependencies.reconfigure(project, project.managed)
        self._shared.kept_builds.clear()
        self._shared.kept_builds.update(count_kept_builds(project, settings))
        changing = dict(self.services)
        changes = [service.change(configs[name]) for name, service in changing.items()]
        fronts = ((each.fronts.values(), configs[name].fronts.values()) for name, each in changing.items())
        with exchange_ports(fronts):
            outcomes = await asyncio.gather(*changes, return_exceptions=True)
        problems = _find_problems(outcomes)
        failed = [name for name, each in zip(changing, outcomes, strict=True) if each is not None]
        new = self.add({name: configs[name] for name in configs if name not in self.services})
        for service in new:
            try:
                await service.start()
            except WatcherError as error:
                problems.append(error)
                failed.append(service.name)
                await self._forget(service)
                self._shared.observer.notify(ServiceRemoved(service=service.name))
            else:
                self._spawn(service)
        ordered = {name: self.services[name] for name in configs if name in self.services}
        self.services.clear()
        self.services.update(ordered)
        try:
            raise_all(problems)
        except WatcherError as error:
            if len(problems) < len(removed) + len(changes) + len(new):
                raise PartlyApplied(str(error), failed) from error
            self._shared.dependencies.reconfigure(before, before.managed)
            raise

    async def _remove(self, name: str) -> None:
        """Stop a service that is no longer managed, and its container."""
        service = self.services[name]
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self._forget(service)
        self._shared.observer.notify(ServiceRemoved(service=name))

    async def _forget(self, service: Service) -> None:
        self._shared.order.remove(service.name)
        self._shared.build_order.remove(service.name)
        self._shared.images.remove(service.name)
        await self._end(service, removed=True)
        del self.services[service.name]

    async def stop(self, *, successor: bool = False) -> None:
        """End all services, dependents first; with a `successor` containers stay as they are."""
        project, left = self._shared.dependencies.project, dict(self.services)
        while left:
            needed = {need for name in left if name in project.services for need in project.needs(name)}
            last = [name for name in left if successor or name not in needed] or [*left]
            ends = [self._end(left.pop(name), successor=successor) for name in last]
            await asyncio.gather(*ends)

    async def remove_networks(self) -> None:
        """Remove the project's networks, once neither services nor dependencies use them."""
        for service in [*self.services.values()][:1]:
            await service.remove_networks()

    async def _end(self, service: Service, *, successor: bool = False, removed: bool = False) -> None:
        """Stop a service. What cannot be done is reported, and keeps no other from ending."""
        try:
            await service.stop(successor=successor, removed=removed)
        except WatcherError as error:
            text = f"the service was not left as it should be: {error}"
            self._shared.observer.notify(Notice(service=service.name, level="error", text=text))


def _find_problems(outcomes: Iterable[object]) -> list[WatcherError]:
    """Return the errors among these outcomes; raise one that is a bug."""
    problems = []
    for outcome in outcomes:
        if isinstance(outcome, WatcherError):
            problems.append(outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
    return problems
