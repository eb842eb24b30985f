"""Order of deploys: a service waits until the managed services it depends on are live.

That is so for its first deploy. Later ones wait for jobs only (`service_completed_successfully`): a migration
of the same save runs before what depends on it. A service that uses namespaces or volumes of another one is
replaced with it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import replace
from typing import Protocol

from watcher.compose import ServiceSpec, find_references
from watcher.deploy import ContainerDeployer
from watcher.deploy.dependencies import Dependencies
from watcher.deploy.dependency_graph import NodeState
from watcher.engine import Engine
from watcher.reconcile.ports import Deployed

PAUSE = 0.1  # seconds between looks at what is waited for


class ManagedService(Protocol):
    """What others wait for."""

    @property
    def container_id(self) -> str | None:
        """Id of the live container."""
        ...

    @property
    def has_failed(self) -> bool:
        """Return whether the tree as it is now is known to fail."""
        ...

    @property
    def is_current(self) -> bool:
        """Return whether the tree as it is now is live, or paused by hand."""
        ...


class StartOrder:
    """Knows the managed services of a project. Dependencies that are not managed are no concern of it."""

    def __init__(self, engine: Engine, dependencies: Dependencies, *, pause: float = PAUSE) -> None:
        """`dependencies` learns which services are live: others of the project may depend on them.

        `pause` is the time between two looks, in seconds.
        """
        self._engine, self._dependencies, self._pause = engine, dependencies, pause
        self._services: dict[str, ManagedService] = {}
        self._replacements = Counter[str]()
        self._reported: set[str] = set()  # whose live container has its name

    def add(self, name: str, service: ManagedService) -> None:
        """Let others wait for this service."""
        self._services[name] = service

    def remove(self, name: str) -> None:
        """Let no service wait for this one any longer."""
        self._services.pop(name, None)
        self._reported.discard(name)

    def find_live(self, name: str) -> str | None:
        """Return the id of the live container of a managed service."""
        service = self._services.get(name)
        return service.container_id if service else None

    def report_live(self, name: str) -> None:
        """Let what is not managed start, if it depends on this service."""
        self._reported.add(name)
        is_job = name in self._dependencies.one_shots
        self._dependencies.report(name, NodeState.COMPLETED if is_job else NodeState.HEALTHY)

    def report_replaced(self, name: str) -> None:
        """Have what uses the container of this service replaced too: it is another one now."""
        self._replacements[name] += 1
        self._dependencies.followers.report_replaced(name)

    def count_replacements(self, spec: ServiceSpec) -> dict[str, int]:
        """Return the services whose namespaces or volumes a service uses; how often each was replaced."""
        names = find_references(spec, self._dependencies.project.services)
        return {name: self._replacements[name] for name in self._services if name in names}

    async def wait(self, spec: ServiceSpec, *, first: bool, show: Callable[[str], None]) -> None:
        """Return when the conditions of `depends_on` on managed services are met.

        Unless it is the `first` time, only jobs are waited for, and what the container cannot be without.

        `show` gets what is waited for; "" once that is over.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            while missing := [name async for name in self._missing(spec, first=first)]:
                if loop.time() - begun >= self._pause:
                    show(
                        _describe_wait(missing, {name for name in missing if self._services[name].has_failed})
                    )
                await asyncio.sleep(self._pause)
        finally:
            show("")

    async def _missing(self, spec: ServiceSpec, *, first: bool) -> AsyncIterator[str]:
        used = self.count_replacements(spec)
        for name, dependency in spec.depends_on.items():
            service = self._services.get(name)
            if service is None:
                continue
            if service.has_failed and not dependency.required:
                self._dependencies.report(name, NodeState.BROKEN)
                continue
            if dependency.condition == "service_completed_successfully" and not service.is_current:
                yield name
                continue
            if not first and name not in used:
                continue
            found = await self._engine.container(service.container_id) if service.container_id else None
            healthy = found is not None and found.health in ("", "healthy")
            unnamed = name in used and name not in self._reported
            job = dependency.condition == "service_completed_successfully"
            # Its end is possibly not known yet. The engine starts nothing in the namespaces of what ended.
            ended = name in used and not job and found and not (found.running or found.paused)
            unhealthy = dependency.condition == "service_healthy" and not healthy
            if found is None or unnamed or ended or unhealthy:
                yield name


def _describe_wait(missing: Sequence[str], failed: Collection[str]) -> str:
    verb = "is" if len(missing) == 1 else "are"
    text = f"waiting until {', '.join(missing)} {verb} live, as depends_on asks"
    broken = [name for name in missing if name in failed]
    return f"{text}; {', '.join(broken)} failed" if broken else text


class OrderedDeployer:
    """A deployer whose first deploy waits for its turn; see `reconcile.ports.Deployer`.

    `spec` returns the service as it is in force; `show` gets what a deploy waits for, "" once that is over.
    """

    def __init__(
        self,
        deployer: ContainerDeployer,
        order: StartOrder,
        spec: Callable[[], ServiceSpec],
        show: Callable[[str], None],
    ) -> None:
        self._deployer, self._order, self._spec, self._show = deployer, order, spec, show
        self._has_started = False
        self._waits_for_turn = False

    @property
    def live(self) -> str | None:
        """Return the revision that is live."""
        return self._deployer.live

    @property
    def waiting(self) -> bool:
        """Return whether a deploy only waits, so that it may be cancelled."""
        return self._waits_for_turn or self._deployer.waiting

    async def deploy(self, revision: str, image: str) -> Deployed:
        """Deploy; see `ContainerDeployer.deploy`. The first deploy waits for the service's dependencies.

        A container that runs and need not be replaced does not wait, not even for a job that failed.
        """
        if same := await self._deployer.keep_unchanged(revision, image):
            self._has_started = True
            self._order.report_live(self._spec().name)
            return same
        first = not (self._has_started or self._deployer.live)
        self._waits_for_turn, begun = True, time.monotonic()
        try:
            await self._order.wait(self._spec(), first=first, show=self._show)
        finally:
            self._waits_for_turn = False
        seconds = time.monotonic() - begun
        spec, before = self._spec(), self._deployer.container
        used = self._order.count_replacements(spec)
        deployed = await self._deployer.deploy(revision, image)
        self._has_started = True
        self._order.report_live(spec.name)
        if before is None or before.id != deployed.container:
            self._order.report_replaced(spec.name)
        if used != self._order.count_replacements(spec):
            self._deployer.replace_container("a container that it uses was replaced while it started")
        waited = (("turn", seconds),) if seconds >= PAUSE else ()
        return replace(deployed, phases=(*waited, *deployed.phases))
