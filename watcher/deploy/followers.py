"""Find what uses parts of another service's container, and have it replaced together with that one.

A container that joined a network, IPC or PID namespace, or mounts the volumes of another container, keeps
those of the former one when that is created again.
"""

from __future__ import annotations

from collections.abc import Callable

from watcher.compose import ComposeProject, ServiceSpec, find_followers, find_references
from watcher.deploy.dependency_containers import DependencyContainers
from watcher.deploy.former_owner import is_older, uses_former_owner, with_owner_ids
from watcher.engine import Engine


class Followers:
    """The services of one compose project that use parts of others.

    `outdated` are the dependencies that `Dependencies.bring_up` replaces at its next call. The callbacks are
    set after construction. `on_replaced` gets the name of a managed service that is to be replaced, and the
    name of the service because of which. `on_former_owner` also gets the ids of the containers that use parts
    of a container that is gone. `on_outdated` asks for `bring_up`.
    """

    def __init__(
        self,
        engine: Engine,
        containers: DependencyContainers,
        *,
        find_project: Callable[[], ComposeProject],
        is_managed: Callable[[str], bool],
    ) -> None:
        self._engine, self._containers = engine, containers
        self._find_project, self._is_managed = find_project, is_managed
        self.outdated: set[str] = set()
        self.on_replaced: Callable[[str, str], None] = lambda *_: None
        self.on_former_owner: Callable[[str, str, frozenset[str]], None] = lambda *_: None
        self.on_outdated: Callable[[], None] = lambda: None
        self.find_live: Callable[[str], str | None] = lambda _: None  # id of a managed service's container

    def with_owner_ids(self, spec: ServiceSpec) -> ServiceSpec:
        """Return the service with the ids of managed services' live containers in place of their names."""
        services = self._find_project().services
        used = [name for name in find_references(spec, services) if self._is_managed(name)]
        live = {services[name].default_name: self.find_live(name) for name in used}
        return with_owner_ids(spec, {name: found for name, found in live.items() if found})

    def report_replaced(self, service: str) -> None:
        """Have the followers of a managed service replaced: it has another container now."""
        if self.replace(service):
            self.on_outdated()

    def replace(self, name: str) -> bool:
        """Have the followers of `name` replaced; return whether dependencies are among them."""
        followers = find_followers(name, self._find_project().services)
        for other in followers:
            if self._is_managed(other):
                self.on_replaced(other, name)
            else:
                self.outdated.add(other)
        return any(not self._is_managed(other) for other in followers)

    def note_restart(self, name: str) -> None:
        """Have what is in a namespace of a dependency replaced: it is another one since its restart.

        The engine joins a network when a container starts, so a container in the former one reaches nothing.
        """
        mode = f"container:{self._find_project().services[name].default_name}"
        inside = [
            other
            for other, spec in self._find_project().services.items()
            if mode in (spec.network_mode, spec.ipc, spec.pid)
        ]
        for other in inside:
            if self._is_managed(other):
                self.on_replaced(other, name)
            else:
                self.outdated.add(other)
        if any(not self._is_managed(other) for other in inside):
            self.on_outdated()

    async def check_followers(self, name: str) -> None:
        """Have what follows a service replaced if that was created again, or restarted where that counts.

        A restart counts for what uses parts of it, a new container also for `links` and `restart: true`.
        Raises EngineUnavailable.
        """
        project, outdated = self._find_project(), False
        owner = await self._engine.container(self.find_live(name) or project.services[name].default_name)
        for other in find_followers(name, project.services):
            now = self.with_owner_ids(project.services[other])
            running = [
                item for item in await self._containers.find_containers(project, other) if item.running
            ]
            older = {item.id for item in running if is_older(item, owner)}
            former = {item.id for item in running if await uses_former_owner(self._engine, now, item)}
            if self._is_managed(other):
                if older or former:
                    self.on_former_owner(other, name, frozenset(older | former))
                continue
            if older - former:  # of the others `Dependencies` sees it itself
                self.outdated.add(other)
            outdated = outdated or bool(older or former)
        if outdated:
            self.on_outdated()

    async def check_all_followers(self) -> None:
        """Check the users of all services: events were possibly missed. Raises EngineUnavailable."""
        services = self._find_project().services
        for name in services:
            if find_followers(name, services):
                await self.check_followers(name)
