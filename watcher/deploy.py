"""Image → a healthy container that receives the traffic of the service's ports.

With the front a new container comes up beside the old one, is asked until it answers, and gets the traffic in
one step; the old one is kept for the soak time, to take the traffic back, then drained and removed. With
`recreate` the container publishes the ports itself: the old one is stopped first, and started again when the
new one fails. Which container is live is written in Docker (name and labels); there is no state file.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from watcher import labels, probe
from watcher.diagnose import container_failure, not_ready
from watcher.engine import Container, Engine, EngineError, EngineEvent
from watcher.errors import EngineUnavailable, UserError
from watcher.front import Backend, Front
from watcher.observe import (
    ContainerLost,
    DeployFinished,
    DeployOutcome,
    Failure,
    Notice,
    Observer,
    short,
)
from watcher.reconcile import Deployed

LOG_LINES = 60
Published = Mapping[int, Sequence[tuple[str, int]]]  # container port -> addresses on the host; port 0 = any


class ContainerRecipe(Protocol):
    """What a container of the service is made of, beside its image."""

    @property
    def name(self) -> str:
        """The name that the live container has."""
        ...

    @property
    def project(self) -> str:
        """Project id."""
        ...

    @property
    def service(self) -> str:
        """Service of the compose file."""
        ...

    @property
    def digest(self) -> str:
        """Digest over all that decides how the container runs."""
        ...

    @property
    def ports(self) -> tuple[int, ...]:
        """TCP ports of the container that the front serves; the first one is asked for readiness."""
        ...

    @property
    def published(self) -> Published:
        """Where the compose file publishes these ports."""
        ...

    @property
    def stop_timeout(self) -> float:
        """Seconds that the program may take to stop."""
        ...

    @property
    def network(self) -> str | None:
        """A network over which the container is reached by its address; None: over loopback ports."""
        ...

    @property
    def platform(self) -> str | None:
        """The platform to create it for; None for the engine's own."""
        ...

    def config(self, image: str, publish: Published, extra_labels: Mapping[str, str]) -> Mapping[str, Any]:
        """The Engine API's body for creating it."""
        ...

    async def prepare(self) -> None:
        """Bring up what it needs: networks, volumes, services it depends on."""
        ...

    async def created(self, container: str) -> None:
        """Finish a created container that does not run yet: further networks."""
        ...


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient a deploy is; seconds."""

    ready_path: str | None = None
    protocol: str = "http"
    startup_timeout: float = 30.0
    soak: float = 3.0
    drain: float = 10.0


@dataclass(frozen=True, slots=True)
class Live:
    """A container that serves."""

    id: str
    image: str
    revision: str
    digest: str
    backends: Mapping[int, Backend]
    since: float  # monotonic seconds

    def as_revision(self, revision: str) -> Live:
        """The same container, known to be of another revision too."""
        backends = {port: replace(backend, revision=revision) for port, backend in self.backends.items()}
        return replace(self, revision=revision, backends=backends)


class ContainerDeployer:
    """Deploys one service. `fronts` maps container ports to their fronts; empty means `recreate`."""

    def __init__(
        self,
        recipe: ContainerRecipe,
        *,
        engine: Engine,
        fronts: Mapping[int, Front],
        policy: Policy,
        observer: Observer,
        on_lost: Callable[[ContainerLost], None],
        on_rolled_back: Callable[[DeployFinished], None],
    ) -> None:
        self.recipe, self.policy = recipe, policy
        self._engine, self._fronts, self._observer = engine, fronts, observer
        self._on_lost, self._on_rolled_back = on_lost, on_rolled_back
        self._live: Live | None = None
        self._previous: Live | None = None  # kept running for the soak time
        self._soaking: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._candidates: set[str] = set()
        self._unfit: set[str] = set()

    @property
    def live(self) -> str | None:
        """The revision that serves now."""
        return self._live.revision if self._live else None

    @property
    def container(self) -> Live | None:
        """The container that serves now."""
        return self._live

    @property
    def needed(self) -> frozenset[str]:
        """Ids of the containers that serve, may serve again, or are being brought up, and of their images."""
        lives = [live for live in (self._live, self._previous) if live]
        return frozenset((*self._candidates, *(live.id for live in lives), *(live.image for live in lives)))

    @property
    def unfit(self) -> frozenset[str]:
        """Ids of images whose containers never got ready, or died in their soak time."""
        return frozenset(self._unfit)

    # Deploying.

    async def deploy(self, revision: str, image: str) -> Deployed:
        """Make `image` live; raises UserError (the last good one serves on) or EngineUnavailable."""
        if same := await self._unchanged(revision, image):
            return same
        self._end_soak()
        clock = _Phases()
        await self.recipe.prepare()
        candidate = await self._create(revision, image, clock)
        self._candidates = {candidate, image}
        try:
            if self._fronts:
                live = await self._bring_up(candidate, revision, image, clock)
            else:
                live = await self._replace_in_place(candidate, revision, image, clock)
        except BaseException as error:
            if isinstance(error, UserError):
                self._unfit.add(image)
            await asyncio.shield(self._discard(candidate))
            raise
        finally:
            self._candidates = set()
        self._unfit.discard(image)
        self._switch(live)
        clock.mark("switch")
        await self._take_the_name(live)
        return Deployed(live.id, DeployOutcome.LIVE, clock.done)

    async def _unchanged(self, revision: str, image: str) -> Deployed | None:
        """The same image in the same circumstances is not replaced: it becomes this revision as it runs."""
        live = self._live
        if live is None or (live.image, live.digest) != (image, self.recipe.digest):
            return None
        found = await self._engine.container(live.id)
        if found is None or not found.running:
            return None
        self._live = live.as_revision(revision)
        self._point_fronts(self._live)
        return Deployed(live.id, DeployOutcome.UNCHANGED)

    async def _create(self, revision: str, image: str, clock: _Phases) -> str:
        recipe = self.recipe
        publish: Published = recipe.published
        if self._fronts:
            publish = {} if recipe.network else dict.fromkeys(recipe.ports, (("127.0.0.1", 0),))
        extra = labels.app(recipe.project, recipe.service, revision) | {labels.CONFIG: recipe.digest}
        name = f"{recipe.name}.{short(revision)}"
        await self._remove_leftover(name)
        try:
            container = await self._engine.create(
                name, recipe.config(image, publish, extra), platform=recipe.platform
            )
            await recipe.created(container)
        except EngineError as error:
            raise UserError(Failure("container", f"the container cannot be created: {error}")) from error
        clock.mark("create")
        return container

    async def _remove_leftover(self, name: str) -> None:
        """A candidate of the same revision that a killed daemon left behind is in the way of its name."""
        found = await self._engine.container(name)
        if found and labels.is_app(found.labels, self.recipe.project, self.recipe.service):
            await self._engine.remove(found.id)

    async def _bring_up(self, candidate: str, revision: str, image: str, clock: _Phases) -> Live:
        """Start it and wait until it answers; raises UserError with its last lines."""
        try:
            await self._engine.start(candidate)
        except EngineError as error:
            summary = "the container cannot be started"
            failure = container_failure(summary, (), exit_code=1, oom=False, error=str(error))
            raise UserError(failure) from error
        clock.mark("start")
        found = await self._engine.container(candidate)
        backends = self._backends(found, revision) if found else {}
        await self._until_ready(candidate, found, backends)
        clock.mark("ready")
        return Live(candidate, image, revision, self.recipe.digest, backends, time.monotonic())

    def _backends(self, found: Container, revision: str) -> dict[int, Backend]:
        backends = {}
        for port in self.recipe.ports:
            bound = found.ports.get(f"{port}/tcp", ())
            if self.recipe.network and self.recipe.network in found.addresses:
                backends[port] = Backend(found.addresses[self.recipe.network], port, revision)
            elif bound:
                host, host_port = bound[0]
                backends[port] = Backend(
                    {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), host_port, revision
                )
        return backends

    async def _until_ready(
        self, candidate: str, found: Container | None, backends: Mapping[int, Backend]
    ) -> None:
        """Ask tightly at first, then less often, until it answers, dies, turns unhealthy, or time is up."""
        policy, pause = self.policy, probe.FIRST_PAUSE
        deadline = time.monotonic() + policy.startup_timeout
        path = policy.ready_path or (probe.health_path(found.healthcheck) if found else None)
        port = next(iter(self.recipe.ports), None)
        answer = probe.Answer(ready=port is None, text="no port to ask")
        while True:
            if port is not None and (backend := backends.get(port)):
                if policy.protocol == "http":
                    answer = await probe.http(backend.host, backend.port, path)
                else:
                    answer = await probe.tcp(backend.host, backend.port)
            found = await self._engine.container(candidate)
            if found is None or not found.running:
                raise UserError(await self._death(candidate, found, "the new container ended at once"))
            if found.health == "unhealthy":
                log = await self._engine.logs(candidate, tail=LOG_LINES)
                raise UserError(Failure("container", "the new container's HEALTHCHECK says unhealthy", log))
            if answer.ready:
                return
            if not backends:
                backends = {**self._backends(found, "")}
            if time.monotonic() > deadline:
                log = await self._engine.logs(candidate, tail=LOG_LINES)
                raise UserError(not_ready(policy.startup_timeout, port or 0, answer.text, log))
            await asyncio.sleep(pause)
            pause = min(pause * 2, probe.LONGEST_PAUSE)

    async def _death(self, container: str, found: Container | None, summary: str) -> Failure:
        if found is None:
            return Failure("container", f"{summary}: it was removed")
        log = await self._engine.logs(container, tail=LOG_LINES)
        summary = f"{summary} with exit status {found.exit_code}"
        return container_failure(
            summary, log, exit_code=found.exit_code, oom=found.oom_killed, error=found.error
        )

    async def _replace_in_place(self, candidate: str, revision: str, image: str, clock: _Phases) -> Live:
        """The ports are free only once the old container is stopped; it comes back if the new one fails."""
        old = self._live
        if old:
            await self._engine.stop(old.id, self.recipe.stop_timeout)
            clock.mark("stop")
        try:
            return await self._bring_up(candidate, revision, image, clock)
        except BaseException:
            if old:
                await asyncio.shield(self._bring_back(candidate, old))
            raise

    async def _bring_back(self, candidate: str, old: Live) -> None:
        await self._engine.remove(candidate)
        with contextlib.suppress(EngineError):
            await self._engine.start(old.id)

    async def _discard(self, container: str) -> None:
        with contextlib.suppress(EngineError, EngineUnavailable):
            await self._engine.remove(container)

    def _switch(self, live: Live) -> None:
        old, self._live = self._live, live
        self._point_fronts(live)
        if old is None:
            return
        if self._fronts and self.policy.soak:
            self._previous = old
            self._soaking = asyncio.create_task(self._soak(old))
        else:
            self._retire(old)

    def _point_fronts(self, live: Live | None) -> None:
        for port, front in self._fronts.items():
            front.switch(live.backends.get(port) if live else None)

    async def _take_the_name(self, live: Live) -> None:
        """The live container has the compose file's name; whoever had it before steps aside."""
        name = self.recipe.name
        try:
            holder = await self._engine.container(name)
            if holder and holder.id != live.id:
                if not labels.is_app(holder.labels, self.recipe.project, self.recipe.service):
                    raise EngineError(f"a container that is not the watcher's has the name {name}")
                await self._engine.rename(holder.id, f"{name}.old-{holder.id[:12]}")
            await self._engine.rename(live.id, name)
        except EngineError as error:
            self._tell("warning", f"the live container could not be named {name}: {error}")

    def _tell(self, level: str, text: str) -> None:
        self._observer.notify(Notice(service=self.recipe.service, level=level, text=text))

    # After the switch.

    async def _soak(self, old: Live) -> None:
        await asyncio.sleep(self.policy.soak)
        self._previous = self._soaking = None
        self._retire(old)

    def _end_soak(self) -> None:
        """A newer deploy begins: the live container has proven itself enough."""
        if self._soaking and self._previous:
            self._soaking.cancel()
            previous, self._previous, self._soaking = self._previous, None, None
            self._retire(previous)

    def _retire(self, old: Live) -> None:
        task = asyncio.create_task(self._drain_and_remove(old))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _drain_and_remove(self, old: Live) -> None:
        current = set(self._live.backends.values()) if self._live else set()
        for port, front in self._fronts.items():
            backend = old.backends.get(port)
            if backend and backend not in current:
                await front.drain(backend, self.policy.drain)
        with contextlib.suppress(EngineError, EngineUnavailable):
            await self._engine.stop(old.id, self.recipe.stop_timeout)
            await self._engine.remove(old.id)

    # What the engine says.

    async def take(self, event: EngineEvent) -> None:
        """Something happened to a container of this project."""
        if self._live is None or event.container != self._live.id:
            return
        if event.action == "die":
            await self._gone("the container ended")
        elif event.action == "health_status: unhealthy" and self._previous:
            await self._gone("the container's HEALTHCHECK says unhealthy")

    async def check(self) -> None:
        """See whether the live container still runs; events may have been missed."""
        if self._live:
            found = await self._engine.container(self._live.id)
            if found is None or not found.running:
                await self._gone("the container ended")

    async def _gone(self, summary: str) -> None:
        """The live container failed by itself: the one before takes over, or everybody waits."""
        live, previous = self._live, self._previous
        if live is None:
            return
        self._live = previous
        self._point_fronts(previous)
        found = await self._engine.container(live.id)
        failure = await self._death(live.id, found, summary)
        if previous is None:
            self._on_lost(
                ContainerLost(
                    service=self.recipe.service, revision=live.revision, container=live.id, failure=failure
                )
            )
            return
        if self._soaking:
            self._soaking.cancel()
        self._previous = self._soaking = None
        self._unfit.add(live.image)
        await self._discard(live.id)
        await self._take_the_name(previous)
        self._on_rolled_back(
            DeployFinished(
                service=self.recipe.service,
                revision=live.revision,
                image=live.image,
                outcome=DeployOutcome.ROLLED_BACK,
                seconds=time.monotonic() - live.since,
                container=previous.id,
                failure=failure,
            )
        )

    # Beginning and end.

    async def adopt(self) -> str | None:
        """Keep what is serving already, and remove what a killed daemon left half-done; the live revision."""
        recipe = self.recipe
        mine = await self._engine.containers(labels=labels.selector(recipe.project, recipe.service))
        running = [item for item in mine if item.running]
        running.sort(key=lambda item: (item.name != recipe.name, item.name))
        for item in running:
            found = await self._engine.container(item.id)
            revision = item.labels.get(labels.REVISION, "")
            backends = self._backends(found, revision) if found else {}
            if self._fits(backends, found):
                digest = item.labels.get(labels.CONFIG, "")
                self._live = Live(item.id, item.image, revision, digest, backends, time.monotonic())
                self._point_fronts(self._live)
                break
        kept = self._live.id if self._live else ""
        for item in mine:
            if item.id != kept:
                await self._discard(item.id)
        if self._live:
            await self._take_the_name(self._live)
        return self.live

    def _fits(self, backends: Mapping[int, Backend], found: Container | None) -> bool:
        """Whether a container is published as this strategy publishes: by itself, or behind the front."""
        if found is None or set(backends) != set(self.recipe.ports):
            return False
        wanted = {port for bound in self.recipe.published.values() for _, port in bound if port}
        direct = bool(wanted & {port for bound in found.ports.values() for _, port in bound})
        return direct != bool(self._fronts)

    async def clear_the_way(self) -> None:
        """Remove containers of this service that publish the ports themselves, which the front will own."""
        recipe = self.recipe
        for item in await self._engine.containers(labels=labels.selector(recipe.project, recipe.service)):
            found = await self._engine.container(item.id)
            if found and found.running and not self._fits(self._backends(found, ""), found):
                await self._engine.stop(item.id, recipe.stop_timeout)
                await self._engine.remove(item.id)

    async def close(self, *, stop: bool) -> None:
        """End background work; with `stop` the live container too. Old containers are removed either way."""
        self._end_soak()
        if self._retiring:
            await asyncio.wait(self._retiring)
        if stop and self._live:
            live, self._live = self._live, None
            await self._engine.stop(live.id, self.recipe.stop_timeout)
            await self._engine.remove(live.id)


class _Phases:
    """Seconds per phase, by name."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self.done: tuple[tuple[str, float], ...] = ()

    def mark(self, name: str) -> None:
        """The phase `name` ends now."""
        now = time.monotonic()
        self.done = (*self.done, (name, now - self._last))
        self._last = now
