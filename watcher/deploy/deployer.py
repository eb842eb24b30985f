"""Image → a healthy container that receives the traffic of the service's ports.

With the front a new container comes up beside the old one, is asked until it answers, and gets the traffic in
one step; the old one is kept for the soak time, to take the traffic back, then drained and removed. Where two
cannot run at once, requests are held while the one replaces the other. With
`recreate` the container publishes the ports itself: the old one is stopped first, and started again when the
new one fails, in its soak time too. Which container is live is written in Docker (name and labels); there is
no state file.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from watcher import labels
from watcher.deploy import discovery as finds
from watcher.deploy import events as telling
from watcher.deploy import names, ready
from watcher.deploy.creation import Maker
from watcher.deploy.model import ContainerRecipe, Live, Phases, Policy, backends
from watcher.deploy.outside_stop import OutsideStop
from watcher.deploy.owned import OwnContainers
from watcher.deploy.retirement import Background
from watcher.diagnosis.diagnose import container_failure, engine_trouble, trouble_hint
from watcher.diagnosis.positions import Where, nowhere
from watcher.engine import Container, Engine, EngineError, EngineEvent
from watcher.errors import EngineTrouble, EngineUnavailable, UserError
from watcher.front import Front
from watcher.observers.events import (
    ContainerLost,
    ContainerPaused,
    DeployFinished,
    DeployOutcome,
    Failure,
    Notice,
    Observer,
)
from watcher.reconcile.reconciler import Deployed

RESTART_PATIENCE = 5.0  # seconds that a container which was started again may take to answer


class ContainerDeployer:
    """Deploys one service. `fronts` maps container ports to their fronts; empty means `recreate`.

    `mounted` gives the digest over the sources that are mounted into a container of a revision, `references`
    the image's names that are to follow what is live.
    """

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
        mounted: Callable[[str], str] = lambda _: "",
        where: Where = nowhere,
        references: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """`where` knows the user's files in what a container says."""
        self.recipe, self.policy = recipe, policy
        self._engine, self._fronts, self._observer = engine, fronts, observer
        self._on_lost, self._on_rolled_back, self._where = on_lost, on_rolled_back, where
        self._mounted = mounted
        self._references = references
        self._own = own = OwnContainers(engine, recipe.project, recipe.service)
        self._background = Background(recipe, own=own, fronts=fronts, policy=policy, observer=observer)
        self._maker = Maker(engine, own, self._background)
        # Who is live changes under this lock only, so that what is told of it is told in its order.
        self._turn = asyncio.Lock()
        self._live: Live | None = None
        # Takes the traffic back if the live one fails: runs on behind the front, is stopped in `recreate`.
        self._previous: Live | None = None
        self._lost: Live | None = None  # was live and ended by itself; goes once another one is live
        self._soaking: asyncio.Task[None] | None = None
        self._deploying = self._closing = self._waiting = False
        self._candidates: set[str] = set()
        self._unfit: set[str] = set()
        self._outside_stop = OutsideStop()
        self._warned: set[str] = set()
        self._paused = ""  # id of the live container, while somebody has frozen it

    @property
    def live(self) -> str | None:
        """The revision that serves now."""
        return self._live.revision if self._live else None

    @property
    def container(self) -> Live | None:
        """The container that serves now."""
        return self._live

    @property
    def lost(self) -> Live | None:
        """The container that served last, when none does."""
        return self._lost

    @property
    def needed(self) -> frozenset[str]:
        """Ids of the containers that serve, may serve again, come up or are drained, and of their images."""
        lives = [live for live in (self._live, self._previous, self._lost) if live]
        ids = (*self._candidates, *self._background.retiring)
        return frozenset((*ids, *(live.id for live in lives), *(live.image for live in lives)))

    @property
    def unfit(self) -> frozenset[str]:
        """Ids of images whose containers never got ready, or died in their soak time."""
        return frozenset(self._unfit)

    @property
    def waiting(self) -> bool:
        """Whether a deploy only waits for its container to answer: then it may be cancelled."""
        return self._waiting

    async def refit(self, recipe: ContainerRecipe, *, fronts: Mapping[int, Front], policy: Policy) -> None:
        """Go on with these, while no deploy runs. What is live serves on until the next deploy."""
        async with self._turn:
            before, self._fronts = self._fronts, fronts
            self.recipe, self.policy = recipe, policy
            self._background.refit(recipe, fronts=fronts, policy=policy)
            if self._previous and set(self._previous.backends) != set(recipe.ports):
                self._keep(None)  # it could not take the traffic of these ports back
            for port, front in fronts.items():
                if front not in before.values():
                    front.switch(self._live.backends.get(port) if self._live else None)

    # Deploying.

    @property
    def _beside(self) -> bool:
        """Whether a new container comes up beside the old one, or in its place."""
        return bool(self._fronts) and not self.recipe.exclusive

    async def deploy(self, revision: str, image: str) -> Deployed:
        """Make `image` live; raises UserError (the last good one serves on) or EngineUnavailable."""
        mounted = self._mounted(revision)
        async with self._turn:
            if same := await self._unchanged(revision, image, mounted):
                return same
        self._deploying = True
        try:
            return await self._replace(revision, image, mounted)
        except UserError:
            await self._engine.info()  # an engine that goes away ends containers: it is not the tree's fault
            self._unfit.add(image)
            raise
        finally:
            self._candidates, self._deploying = set(), False
            self._make_spare(image)

    def _make_spare(self, image: str) -> None:
        if self._fronts and not self._closing:
            self._maker.make_spare(self.recipe, image)

    async def _replace(self, revision: str, image: str, mounted: str) -> Deployed:
        clock = Phases()
        await self.recipe.prepare()
        candidate = await self._maker.create(
            self.recipe,
            revision,
            image,
            mounted=mounted,
            behind_front=bool(self._fronts),
            needed=self.needed,
        )
        clock.mark("create")
        self._candidates = {candidate, image}
        try:
            if self._beside:
                live = await self._bring_up(candidate, revision, image, clock)
            else:
                live = await self._replace_in_place(candidate, revision, image, clock)
            async with self._turn:
                self._switch(replace(live, mounted=mounted))
                clock.mark("switch")
                await names.take(self._engine, self._own, self.recipe, live.id, self._warn_once)
        except BaseException as error:
            if not self._is_live(candidate):
                await self._background.discard(candidate)
                raise
            if not isinstance(error, asyncio.CancelledError):
                raise
            if task := asyncio.current_task():  # it came too late: the container has the traffic
                task.uncancel()
        self._unfit.discard(image)
        # It may have ended between its answer and the switch, when nobody listened for its end yet.
        self._background.spawn(self._check_quietly())
        self._background.spawn(self._name_image())
        return Deployed(live.id, DeployOutcome.LIVE, clock.done)

    async def _unchanged(self, revision: str, image: str, mounted: str) -> Deployed | None:
        """The same image in the same circumstances is not replaced: it becomes this revision as it runs."""
        live, wanted = self._live, (image, self.recipe.digest, mounted)
        if live is None or (live.image, live.digest, live.mounted) != wanted:
            return None
        found = await self._engine.container(live.id)
        if found is None or not found.running:
            return None
        self._live = live.as_revision(revision)
        self._point_fronts()
        self._background.spawn(self._name_image())
        return Deployed(live.id, DeployOutcome.UNCHANGED)

    async def _bring_up(self, candidate: str, revision: str, image: str, clock: Phases) -> Live:
        """Start it and wait until it answers; raises UserError with its last lines."""
        try:
            await self._engine.start(candidate)
        except EngineError as error:
            if trouble := engine_trouble(str(error)):
                raise EngineTrouble(trouble, trouble_hint(trouble)) from error
            summary = "the container cannot be started"
            failure = container_failure(summary, (), exit_code=1, oom=False, error=str(error))
            raise UserError(failure) from error
        await self.recipe.started(candidate)
        clock.mark("start")
        self._waiting = True
        try:
            reached = await ready.until_ready(
                self._engine, self.recipe, self.policy, candidate, revision, where=self._where
            )
        finally:
            self._waiting = False
        clock.mark("ready")
        return Live(candidate, image, revision, self.recipe.digest, reached, time.monotonic())

    async def _replace_in_place(self, candidate: str, revision: str, image: str, clock: Phases) -> Live:
        """The ports are free only once the old container is stopped; it comes back if the new one fails."""
        async with self._turn:
            # From here on its end is our doing, not a loss.
            old, self._live = self._live, None
            self._keep(old)
            self._point_fronts()
        try:
            if old:
                await self._background.drain(old, moving=0.0)
                await self._background.stop(old)
            if self._lost:
                await self.recipe.stopping(self._lost.id)
                await self._own.stop(self._lost.id, self.recipe.stop_timeout)
            clock.mark("stop")
            return await self._bring_up(candidate, revision, image, clock)
        except BaseException:
            if old:
                await asyncio.shield(self._background.spawn(self._put_back(candidate, old)))
            raise

    async def _put_back(self, candidate: str, old: Live) -> None:
        async with self._turn:
            self._take_previous()
            await self._background.discard(candidate)
            try:
                await self._engine.start(old.id)
            except (EngineError, EngineUnavailable) as error:
                summary = f"the container before it could not be started again: {error}"
                self._tell_lost(old, Failure("container", summary))
            else:
                self._live = replace(old, since=time.monotonic())
                if self._fronts:
                    await self._follow(self._live)

    def _switch(self, live: Live) -> None:
        old, self._live = self._live, live
        self._point_fronts()
        if self._beside:
            self._keep(old)
        if old and set(old.backends) != set(live.backends):
            self._keep(None)  # it could not take the traffic of these ports back
        if self._lost:
            self._background.retire(self._lost)
            self._lost = None
        if self._previous:
            self._soaking = asyncio.create_task(self._soak())

    def _point_fronts(self) -> None:
        serves = self._live if self._live and self._live.id != self._paused else None
        for port, front in self._fronts.items():
            front.switch(serves.backends.get(port) if serves else None)

    def _warn(self, text: str) -> None:
        self._observer.notify(Notice(service=self.recipe.service, level="warning", text=text))

    def _warn_once(self, text: str) -> None:
        """Warn, but not again and again of the same: another container may have the name for a long time."""
        if text not in self._warned:
            self._warned.add(text)
            self._warn(text)

    async def _name_image(self) -> None:
        """Let the image's moving names follow what is live; what failed or was rolled back has none."""
        async with self._turn:
            if (live := self._live) is None:
                return
            try:
                for reference in self._references():
                    await self._engine.tag(live.image, reference)
            except EngineError as error:
                self._warn(f"the live image could not get all of its names: {error}")
            except EngineUnavailable:
                return  # named when a container goes live again, or is adopted

    # After the switch.

    def _keep(self, old: Live | None) -> None:
        """From now on `old` takes the traffic back if need be; the one that was kept before goes."""
        if before := self._take_previous():
            self._background.retire(before)
        self._previous = old

    def _take_previous(self) -> Live | None:
        """The container that could take the traffic back; from now on it is not kept for that any more."""
        if self._soaking:
            self._soaking.cancel()
        previous, self._previous, self._soaking = self._previous, None, None
        return previous

    async def _soak(self) -> None:
        await asyncio.sleep(self.policy.soak)
        async with self._turn:
            self._soaking = None
            self._keep(None)

    # What the engine says.

    async def take(self, event: EngineEvent) -> None:
        """Something happened to a container of this project; raises EngineUnavailable."""
        if event.attributes.get(labels.KIND) == labels.SANDBOX:
            if event.action == "die":  # of the network that the live one uses, it may be
                await self.check()
            return
        if not self._is_live(event.container):
            return
        self._outside_stop.add(event)
        if event.action in ("die", "start", "pause", "unpause", "rename"):
            await self.check()
        elif event.action == "health_status: unhealthy":
            await self._unhealthy(event.container)

    async def _unhealthy(self, container: str) -> None:
        """In its soak time the container before takes over; later there is none, and it serves on."""
        async with self._turn:
            if not self._is_live(container):
                return
            summary = "the container's HEALTHCHECK says unhealthy"
            if self._previous:
                await self._gone(summary, await self._engine.container(container))
            else:
                self._warn(f"{summary}; it serves on, because there is no container to go back to")

    def _is_live(self, container: str) -> bool:
        return self._live is not None and container == self._live.id

    async def check(self, *, engine_restarted: bool = False) -> None:
        """See whether the live container still runs, and where; events may have been missed.

        Raises EngineUnavailable; then nothing has changed.
        """
        async with self._turn:
            live = self._live
            if live is None:
                return
            found = await self._engine.container(live.id)
            if found is None or not (found.running or found.paused):
                summary = "the container ended"
                if engine_restarted and found:
                    summary = "the container ended while the engine was away"
                if engine_restarted and found:
                    await self._gone(summary, found, excused=True)
                elif failure := self._outside_stop.failure(live.id, found):
                    await self._stopped_outside(live, failure, found)
                else:
                    await self._gone(summary, found)
                return
            self._tell_paused(found)
            if found.paused:
                return
            reached = backends(self.recipe, found, live.revision, live.backends)
            if found.joined and not reached and live.backends:
                await self._gone("the container that holds its network ended", found)
            elif reached != live.backends:
                await self._follow(live)
            if found.name != self.recipe.name and self._is_live(found.id):
                await names.take(self._engine, self._own, self.recipe, live.id, self._warn_once)

    def _tell_paused(self, found: Container) -> None:
        """While somebody has frozen the live container, requests wait instead of reaching it."""
        if found.paused == (self._paused == found.id):
            return
        self._paused = found.id if found.paused else ""
        self._point_fronts()
        self._observer.notify(
            ContainerPaused(
                service=self.recipe.service, container=found.id, name=found.name, paused=found.paused
            )
        )

    async def _check_quietly(self) -> None:
        with contextlib.suppress(EngineUnavailable):  # who notices that calls `check` when it is back
            await self.check()

    async def _tidy_quietly(self) -> None:
        with contextlib.suppress(EngineUnavailable):
            await self.tidy()

    async def _follow(self, live: Live) -> None:
        """Somebody else restarted the live container: its loopback ports are new ones."""
        for front in self._fronts.values():
            front.switch(None)
        try:
            self._live = await self._answering(live)
        except UserError:
            found = await self._engine.container(live.id)
            await self._gone("the container was restarted and did not answer", found)
            return
        self._point_fronts()

    async def _answering(self, live: Live) -> Live:
        """A container that was started again, once it answers; raises UserError when it does not soon."""
        patience = min(RESTART_PATIENCE, self.policy.startup_timeout)
        policy = replace(self.policy, startup_timeout=patience)
        reached = await ready.until_ready(self._engine, self.recipe, policy, live.id, live.revision)
        return replace(live, backends=reached)

    async def _stopped_outside(self, live: Live, failure: Failure, found: Container | None) -> None:
        """Requests wait until it is started again: that is no fault of this revision's."""
        if previous := self._take_previous():
            self._background.retire(previous)
        self._live = None
        self._point_fronts()
        if found is None:
            await self._background.discard(live.id)
        self._tell_lost(live, failure, excused=True)

    async def _gone(self, summary: str, found: Container | None, *, excused: bool = False) -> None:
        """The live container failed by itself: the one before takes over, or everybody waits."""
        live, previous = self._live, self._take_previous()
        if live is None:
            return
        self._live = previous if self._beside else None
        self._point_fronts()
        failure = await ready.why(self._engine, live.id, found, summary, where=self._where)
        if found is None:  # the container that held its network is still there
            await self._background.discard(live.id)
        if previous is None:
            # Whether it is started again is decided by the loop, not by the engine's restart policy.
            with contextlib.suppress(EngineError, EngineUnavailable):
                await self._own.stop(live.id, self.recipe.stop_timeout)
            self._tell_lost(live, failure, excused=excused)
            return
        self._unfit.add(live.image)
        await self._background.discard(live.id)
        self._tell_rolled_back(live, previous, failure)
        if self._beside or await self._start_again(previous):
            await names.take(self._engine, self._own, self.recipe, previous.id, self._warn_once)
            self._background.spawn(self._name_image())
            # What ended the one may have ended the other too, or somebody has paused it: that is said again.
            self._paused = ""
            self._background.spawn(self._check_quietly())

    async def _start_again(self, previous: Live) -> bool:
        """Whether a container that was stopped to make way serves again; if not, that is told."""
        try:
            await self._engine.start(previous.id)
            self._live = await self._answering(previous)
        except (UserError, EngineError, EngineUnavailable) as error:
            summary = f"the container before it could not be started again: {error}"
            self._tell_lost(previous, Failure("container", summary))
            return False
        self._point_fronts()
        return True

    def _tell_lost(self, live: Live, failure: Failure, *, excused: bool = False) -> None:
        self._lost = live
        self._on_lost(telling.lost(self.recipe.service, live, failure, excused=excused))

    def _tell_rolled_back(self, live: Live, previous: Live, failure: Failure) -> None:
        self._on_rolled_back(telling.rolled_back(self.recipe.service, live, previous, failure))

    # Beginning and end.

    async def adopt(self) -> str | None:
        """Keep what is serving already, and remove what a killed daemon left half-done; the live revision."""
        async with self._turn:
            found = await finds.serving(self._own, self.recipe, self.policy, behind_front=bool(self._fronts))
            if found:
                self._live = found
                self._point_fronts()
                await names.take(self._engine, self._own, self.recipe, found.id, self._warn_once)
            else:
                self._lost = await finds.stopped(self._own, self.recipe)
        await self.tidy()
        if self._live:
            self._make_spare(self._live.image)
            self._background.spawn(self._name_image())
        return self.live

    async def tidy(self) -> None:
        """Remove containers of this service that nobody needs: left by a killed daemon, or while the engine
        was away. Raises EngineUnavailable.
        """
        async with self._turn:
            used = set(self._maker.spares.ids)
            for item in await self._own.apps():
                # What a deploy under way has just made may not be known yet.
                if item.id in self.needed or self._deploying:
                    found = await self._engine.container(item.id)
                    used.add(found.joined if found else "")
                else:
                    await self._background.discard(item.id)
            for item in await self._own.sandboxes():
                if item.id not in used and not (self._deploying or self._maker.spares.busy):
                    await self._background.discard(item.id)

    async def clear_the_way(self) -> None:
        """Remove containers of this service that publish the ports themselves, which the front will own."""
        for item in await finds.misfits(self._own, self.recipe, behind_front=bool(self._fronts)):
            await self._own.stop(item.id, self.recipe.stop_timeout)
            await self._own.remove(item.id)

    async def close(self, *, stop: bool) -> None:
        """End background work; with `stop` the live container too. Old containers are removed either way."""
        self._closing = True
        self._keep(None)
        if self._lost:
            self._background.retire(self._lost)
            self._lost = None
        await self._background.done()
        await self._maker.spares.close()
        if stop and (live := self._live):
            self._live = None
            try:
                await self.recipe.stopping(live.id)
                await self._own.stop(live.id, self.recipe.stop_timeout)
                await self._own.remove(live.id)
            except (EngineError, EngineUnavailable) as error:
                self._warn(f"the live container could not be stopped: {error}")
        await self._tidy_quietly()  # a network whose container somebody else removed
