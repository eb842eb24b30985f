"""Order of deploys: a service waits until the managed services it depends on are live.

That is so for its first deploy. Later ones wait for jobs only (`service_completed_successfully`): a migration
of the same save runs before what depends on it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Protocol

from watcher.compose import ServiceSpec
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
        """Whether the tree as it is now is known to fail."""
        ...

    @property
    def is_current(self) -> bool:
        """Whether the tree as it is now is live, or paused by hand."""
        ...


class StartOrder:
    """Knows the managed services of a project. Dependencies that are not managed are no concern of it."""

    def __init__(self, engine: Engine, dependencies: Dependencies) -> None:
        """`dependencies` learns which services are live: others of the project may depend on them."""
        self._engine, self._dependencies = engine, dependencies
        self._services: dict[str, ManagedService] = {}

    def add(self, name: str, service: ManagedService) -> None:
        """Let others wait for this service."""
        self._services[name] = service

    def remove(self, name: str) -> None:
        """Let no service wait for this one any longer."""
        self._services.pop(name, None)

    def report_live(self, name: str) -> None:
        """Let what is not managed start, if it depends on this service."""
        is_job = name in self._dependencies.one_shots
        self._dependencies.report(name, NodeState.COMPLETED if is_job else NodeState.HEALTHY)

    async def wait(self, spec: ServiceSpec, *, first: bool, show: Callable[[str], None]) -> None:
        """Return when the conditions of `depends_on` on managed services are met; `first`: not only jobs.

        `show` gets what is waited for; "" once that is over.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            while missing := [name async for name in self._missing(spec, first=first)]:
                if loop.time() - begun >= PAUSE:
                    verb = "is" if len(missing) == 1 else "are"
                    show(f"waiting until {', '.join(missing)} {verb} live, as depends_on asks")
                await asyncio.sleep(PAUSE)
        finally:
            show("")

    async def _missing(self, spec: ServiceSpec, *, first: bool) -> AsyncIterator[str]:
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
            if not first:
                continue
            found = await self._engine.container(service.container_id) if service.container_id else None
            healthy = found is not None and found.health in ("", "healthy")
            if found is None or (dependency.condition == "service_healthy" and not healthy):
                yield name


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
        """Deploy, at the first time only once its turn has come; see `ContainerDeployer.deploy`."""
        first = not (self._has_started or self._deployer.live)
        self._waits_for_turn, begun = True, time.monotonic()
        try:
            await self._order.wait(self._spec(), first=first, show=self._show)
        finally:
            self._waits_for_turn = False
        seconds = time.monotonic() - begun
        deployed = await self._deployer.deploy(revision, image)
        self._has_started = True
        self._order.report_live(self._spec().name)
        waited = (("turn", seconds),) if seconds >= PAUSE else ()
        return replace(deployed, phases=(*waited, *deployed.phases))
