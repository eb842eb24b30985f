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
import traceback
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

from watcher import labels
from watcher.deploy import names, ready
from watcher.deploy.model import ContainerRecipe, Live, Phases, Policy, Published, backends, fits
from watcher.diagnose import container_failure
from watcher.engine import Container, Engine, EngineError, EngineEvent
from watcher.errors import EngineUnavailable, UserError
from watcher.front import Front
from watcher.observe import (
    ContainerLost,
    DeployFinished,
    DeployOutcome,
    Failure,
    InternalError,
    Notice,
    Observer,
)
from watcher.reconcile import Deployed

RESTART_PATIENCE = 5.0  # seconds that a container which somebody else restarted may take to answer again


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
        # Who is live changes under this lock only, so that what is told of it is told in its order.
        self._turn = asyncio.Lock()
        self._live: Live | None = None
        # Kept running for the soak time, or stopped while it is replaced in place.
        self._previous: Live | None = None
        self._lost: Live | None = None  # was live and ended by itself; replaced by the next deploy
        self._soaking: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._retiring: set[str] = set()
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
        """Ids of the containers that serve, may serve again, come up or are drained, and of their images."""
        lives = [live for live in (self._live, self._previous) if live]
        ids = (*self._candidates, *self._retiring)
        return frozenset((*ids, *(live.id for live in lives), *(live.image for live in lives)))

    @property
    def unfit(self) -> frozenset[str]:
        """Ids of images whose containers never got ready, or died in their soak time."""
        return frozenset(self._unfit)

    # Deploying.

    async def deploy(self, revision: str, image: str) -> Deployed:
        """Make `image` live; raises UserError (the last good one serves on) or EngineUnavailable."""
        async with self._turn:
            if same := await self._unchanged(revision, image):
                return same
            self._end_soak()
        clock = Phases()
        await self.recipe.prepare()
        candidate = await self._create(revision, image, clock)
        self._candidates = {candidate, image}
        try:
            if self._fronts:
                live = await self._bring_up(candidate, revision, image, clock)
            else:
                live = await self._replace_in_place(candidate, revision, image, clock)
            async with self._turn:
                self._switch(live)
                clock.mark("switch")
                await names.take(self._engine, self.recipe, live.id, self._warn)
        except BaseException as error:
            if isinstance(error, UserError):
                self._unfit.add(image)
            await asyncio.shield(self._spawn(self._discard(candidate)))
            raise
        finally:
            self._candidates = set()
        self._unfit.discard(image)
        # It may have ended between its answer and the switch, when nobody listened for its end yet.
        self._spawn(self._check_quietly())
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
        self._point_fronts()
        return Deployed(live.id, DeployOutcome.UNCHANGED)

    async def _create(self, revision: str, image: str, clock: Phases) -> str:
        recipe = self.recipe
        publish: Published = recipe.published
        if self._fronts:
            publish = {} if recipe.network else dict.fromkeys(recipe.ports, (("127.0.0.1", 0),))
        extra = labels.app(recipe.project, recipe.service, revision) | {labels.CONFIG: recipe.digest}
        name, container = names.candidate(recipe, revision), ""
        try:
            await names.free(self._engine, recipe, name, self.needed)
            container = await self._engine.create(
                name, recipe.config(image, publish, extra), platform=recipe.platform
            )
            await recipe.created(container)
        except BaseException as error:
            if container:
                await asyncio.shield(self._spawn(self._discard(container)))
            if isinstance(error, EngineError):
                failure = Failure("container", f"the container {name} cannot be created: {error}")
                raise UserError(failure) from error
            raise
        clock.mark("create")
        return container

    async def _bring_up(self, candidate: str, revision: str, image: str, clock: Phases) -> Live:
        """Start it and wait until it answers; raises UserError with its last lines."""
        try:
            await self._engine.start(candidate)
        except EngineError as error:
            summary = "the container cannot be started"
            failure = container_failure(summary, (), exit_code=1, oom=False, error=str(error))
            raise UserError(failure) from error
        clock.mark("start")
        reached = await ready.until_ready(self._engine, self.recipe, self.policy, candidate, revision)
        clock.mark("ready")
        return Live(candidate, image, revision, self.recipe.digest, reached, time.monotonic())

    async def _replace_in_place(self, candidate: str, revision: str, image: str, clock: Phases) -> Live:
        """The ports are free only once the old container is stopped; it comes back if the new one fails."""
        async with self._turn:
            # From here on its end is our doing, not a loss.
            old, self._live = self._live, None
            self._previous = old
        try:
            for stopped in (old, self._lost):
                if stopped:
                    await self._engine.stop(stopped.id, self.recipe.stop_timeout)
            clock.mark("stop")
            live = await self._bring_up(candidate, revision, image, clock)
        except BaseException:
            if old:
                await asyncio.shield(self._spawn(self._bring_back(candidate, old)))
            raise
        self._previous = None
        if old:
            self._retire(old)
        return live

    async def _bring_back(self, candidate: str, old: Live) -> None:
        self._previous = None
        try:
            await self._discard(candidate)
            await self._engine.start(old.id)
        except (EngineError, EngineUnavailable) as error:
            self._lost = old
            self._warn(f"the container before it could not be started again: {error}")
            return
        self._live = replace(old, since=time.monotonic())

    async def _discard(self, container: str) -> None:
        with contextlib.suppress(EngineError, EngineUnavailable):
            await self._engine.remove(container)

    def _switch(self, live: Live) -> None:
        old, self._live = self._live, live
        self._point_fronts()
        if self._lost:
            self._retire(self._lost)
            self._lost = None
        if old is None:
            return
        if self._fronts and self.policy.soak:
            self._previous = old
            self._soaking = asyncio.create_task(self._soak(old))
        else:
            self._retire(old)

    def _point_fronts(self) -> None:
        for port, front in self._fronts.items():
            front.switch(self._live.backends.get(port) if self._live else None)

    def _warn(self, text: str) -> None:
        self._observer.notify(Notice(service=self.recipe.service, level="warning", text=text))

    # After the switch.

    async def _soak(self, old: Live) -> None:
        await asyncio.sleep(self.policy.soak)
        self._previous = self._soaking = None
        self._retire(old)

    def _end_soak(self) -> None:
        """A newer deploy begins: the live container has proven itself enough."""
        if previous := self._take_previous():
            self._retire(previous)

    def _take_previous(self) -> Live | None:
        """The container that could take the traffic back; from now on it is not kept for that any more."""
        if self._soaking:
            self._soaking.cancel()
        previous, self._previous, self._soaking = self._previous, None, None
        return previous

    def _retire(self, old: Live) -> None:
        self._retiring.add(old.id)
        self._spawn(self._drain_and_remove(old))

    async def _drain_and_remove(self, old: Live) -> None:
        try:
            for port, front in self._fronts.items():
                backend = old.backends.get(port)
                if backend and backend != front.backend:
                    await front.drain(backend, self.policy.drain)
            with contextlib.suppress(EngineError, EngineUnavailable):
                await self._engine.stop(old.id, self.recipe.stop_timeout)
                await self._engine.remove(old.id)
        finally:
            self._retiring.discard(old.id)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work that nobody may wait for; if it fails that is told all the same."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()):
            text = "".join(traceback.format_exception(error))
            self._observer.notify(InternalError(service=self.recipe.service, where="deploy", traceback=text))

    # What the engine says.

    async def take(self, event: EngineEvent) -> None:
        """Something happened to a container of this project; raises EngineUnavailable."""
        if not self._is_live(event.container):
            return
        if event.action in ("die", "start"):
            await self.check()
        elif event.action == "health_status: unhealthy":
            async with self._turn:
                if self._previous and self._is_live(event.container):
                    found = await self._engine.container(event.container)
                    await self._gone("the container's HEALTHCHECK says unhealthy", found)

    def _is_live(self, container: str) -> bool:
        return self._live is not None and container == self._live.id

    async def check(self) -> None:
        """See whether the live container still runs, and where; events may have been missed.

        Raises EngineUnavailable; then nothing has changed.
        """
        async with self._turn:
            live = self._live
            if live is None:
                return
            found = await self._engine.container(live.id)
            if found is None or not found.running:
                await self._gone("the container ended", found)
            elif backends(self.recipe, found, live.revision) != live.backends:
                await self._follow(live)
            elif found.name != self.recipe.name:
                await names.take(self._engine, self.recipe, live.id, self._warn)

    async def _check_quietly(self) -> None:
        with contextlib.suppress(EngineUnavailable):  # who notices that calls `check` when it is back
            await self.check()

    async def _follow(self, live: Live) -> None:
        """Somebody else restarted the live container: its loopback ports are new ones."""
        policy = replace(self.policy, startup_timeout=min(RESTART_PATIENCE, self.policy.startup_timeout))
        for front in self._fronts.values():
            front.switch(None)
        try:
            reached = await ready.until_ready(self._engine, self.recipe, policy, live.id, live.revision)
        except UserError:
            await self._gone("the container was restarted and did not answer", None)
            return
        self._live = replace(live, backends=reached)
        self._point_fronts()

    async def _gone(self, summary: str, found: Container | None) -> None:
        """The live container failed by itself: the one before takes over, or everybody waits."""
        live, previous = self._live, self._take_previous()
        if live is None:
            return
        self._live = previous
        self._point_fronts()
        failure = await ready.why(self._engine, live.id, found, summary)
        service = self.recipe.service
        if previous is None:
            self._lost = live
            # Whether it is started again is decided here, not by the engine's restart policy.
            with contextlib.suppress(EngineError, EngineUnavailable):
                await self._engine.stop(live.id, self.recipe.stop_timeout)
            self._on_lost(
                ContainerLost(service=service, revision=live.revision, container=live.id, failure=failure)
            )
            return
        self._unfit.add(live.image)
        await self._discard(live.id)
        await names.take(self._engine, self.recipe, previous.id, self._warn)
        self._on_rolled_back(
            DeployFinished(
                service=service,
                revision=live.revision,
                image=live.image,
                outcome=DeployOutcome.ROLLED_BACK,
                seconds=time.monotonic() - live.since,
                container=previous.id,
                failure=failure,
            )
        )
        self._spawn(self._check_quietly())  # what ended the one may have ended the other too

    # Beginning and end.

    async def adopt(self) -> str | None:
        """Keep what is serving already, and remove what a killed daemon left half-done; the live revision."""
        recipe = self.recipe
        mine = await self._engine.containers(labels=labels.selector(recipe.project, recipe.service))
        running = [item for item in mine if item.running]
        running.sort(key=lambda item: (item.name != recipe.name, item.name))
        for item in running:
            found = await self._engine.container(item.id)
            if found and await self._serves(found):
                revision, digest = item.labels.get(labels.REVISION, ""), item.labels.get(labels.CONFIG, "")
                reached = backends(recipe, found, revision)
                self._live = Live(item.id, item.image, revision, digest, reached, time.monotonic())
                self._point_fronts()
                break
        kept = self._live.id if self._live else ""
        for item in mine:
            if item.id != kept:
                await self._discard(item.id)
        if self._live:
            await names.take(self._engine, recipe, self._live.id, self._warn)
        return self.live

    async def _serves(self, found: Container) -> bool:
        """Whether a running container was live: one that has the name was, another must answer first."""
        if not fits(self.recipe, found, behind_front=bool(self._fronts)):
            return False
        return found.name == self.recipe.name or (await ready.answer(self.recipe, self.policy, found)).ready

    async def clear_the_way(self) -> None:
        """Remove containers of this service that publish the ports themselves, which the front will own."""
        recipe = self.recipe
        for item in await self._engine.containers(labels=labels.selector(recipe.project, recipe.service)):
            found = await self._engine.container(item.id)
            if found and found.running and not fits(recipe, found, behind_front=bool(self._fronts)):
                await self._engine.stop(item.id, recipe.stop_timeout)
                await self._engine.remove(item.id)

    async def close(self, *, stop: bool) -> None:
        """End background work; with `stop` the live container too. Old containers are removed either way."""
        self._end_soak()
        while self._background:
            await asyncio.wait(self._background)
        if stop and (live := self._live):
            self._live = None
            try:
                await self._engine.stop(live.id, self.recipe.stop_timeout)
                await self._engine.remove(live.id)
            except (EngineError, EngineUnavailable) as error:
                self._warn(f"the live container could not be stopped: {error}")
