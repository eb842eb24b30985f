"""Image → a healthy container that receives the traffic of the service's ports.

Behind the front a new container starts side by side with the old one, is probed until it is ready, and gets
the traffic in one step. The old one is kept for the soak time, to take the traffic back, then drained and
removed. Where two cannot run at once, requests are held while the one replaces the other. A service without
published ports is replaced side by side if other services reach it through an address container and a port of
it answers (`replacement.py`). With `recreate` the container publishes the ports itself: the old one is
stopped first, and started again when the new one fails, in its soak time too. Docker holds which container is
live (name and labels); there is no state file.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from watcher.deploy import discovery, ready
from watcher.deploy.address_container import AddressContainer
from watcher.deploy.creation import ContainerFactory
from watcher.deploy.exposed_fronts import ExposedFronts, MakeFront
from watcher.deploy.failover import Failover
from watcher.deploy.live_names import LiveNames
from watcher.deploy.model import ContainerRecipe, DeployPolicy, Live, Phases, has_completed
from watcher.deploy.network_sockets import NetworkSockets
from watcher.deploy.owned import OwnContainers
from watcher.deploy.replacement import plan_replacement
from watcher.deploy.retirement import Retirement
from watcher.deploy.traffic import Traffic
from watcher.diagnosis.diagnose import container_failure, engine_trouble, trouble_hint
from watcher.diagnosis.positions import Where, find_nothing
from watcher.engine import Engine, EngineError, EngineEvent
from watcher.errors import EngineTrouble, EngineUnavailable, UserError
from watcher.front import Front
from watcher.observers.events import ContainerLost, DeployFinished, DeployOutcome, Observer
from watcher.reconcile.ports import Deployed


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
        policy: DeployPolicy,
        observer: Observer,
        on_lost: Callable[[ContainerLost], None],
        on_rolled_back: Callable[[DeployFinished], None],
        mounted: Callable[[str], str] = lambda _: "",
        where: Where = find_nothing,
        references: Callable[[], Sequence[str]] = tuple,
        sockets: NetworkSockets | None = None,
        make_front: MakeFront | None = None,
    ) -> None:
        """`where` finds the user's files in the output of a container.

        `sockets`: see `AddressContainer`; `make_front`: see `ExposedFronts`.
        """
        self._engine, self._where, self._mounted = engine, where, mounted
        self._own = own = OwnContainers(engine, recipe.project, recipe.service)
        self._address = AddressContainer(
            engine, own, self._warn, sockets, ExposedFronts(make_front) if make_front else None
        )
        self._retirement = Retirement(
            recipe,
            own=own,
            fronts=fronts,
            policy=policy,
            observer=observer,
            engine=engine,
            address=self._address,
        )
        self._factory = ContainerFactory(engine, own, self._retirement)
        self._traffic = Traffic(
            recipe, fronts=fronts, policy=policy, retirement=self._retirement, address=self._address
        )
        self._names = LiveNames(engine, own, self._traffic, observer, references)
        self._failover = Failover(
            self._traffic,
            engine=engine,
            own=own,
            retirement=self._retirement,
            names=self._names,
            observer=observer,
            on_lost=on_lost,
            on_rolled_back=on_rolled_back,
            where=where,
            address=self._address,
        )
        self._named = True  # whether containers have the names of the service themselves
        self._deploying = self._closing = self._waiting = False
        self._candidates: set[str] = set()

    @property
    def recipe(self) -> ContainerRecipe:
        """Return what containers are made of."""
        return self._traffic.recipe

    @property
    def policy(self) -> DeployPolicy:
        """Return how patient a deploy is."""
        return self._traffic.policy

    @property
    def live(self) -> str | None:
        """Return the revision that serves now."""
        return self._traffic.live.revision if self._traffic.live else None

    @property
    def container(self) -> Live | None:
        """Return the container that serves now."""
        return self._traffic.live

    @property
    def exposed_fronts(self) -> Mapping[int, Front]:
        """The fronts of ports that are not published, made when needed; the caller closes them."""
        return self._address.exposed_fronts

    @property
    def lost(self) -> Live | None:
        """Return the container that served last, when none does."""
        return self._traffic.lost

    @property
    def needed(self) -> frozenset[str]:
        """Return the ids of containers that serve, can serve again, start or drain, and of their images."""
        lives = list(self._traffic.all())
        ids = (*self._candidates, *self._retirement.retiring)
        return frozenset((*ids, *(live.id for live in lives), *(live.image for live in lives)))

    @property
    def failed_images(self) -> frozenset[str]:
        """Return the ids of images whose containers failed to start, or died while they soaked."""
        return frozenset(self._failover.failed_images)

    @property
    def waiting(self) -> bool:
        """Return whether a deploy only waits, for dependencies or its container: cancelling is safe then."""
        return self._waiting

    async def reconfigure(
        self, recipe: ContainerRecipe, *, fronts: Mapping[int, Front], policy: DeployPolicy
    ) -> None:
        """Continue with these, while no deploy runs. What is live serves on until the next deploy."""
        async with self._traffic.lock:
            self._retirement.reconfigure(recipe, fronts=fronts, policy=policy)
            self._traffic.reconfigure(recipe, fronts=fronts, policy=policy)
        await self._address.serve(fronts)

    async def withdraw(self) -> None:
        """Let other services reach the live container without the fronts, which are to be closed."""
        await self._address.withdraw()

    def _warn(self, text: str) -> None:
        self._names.warn(text)

    # Deploying.

    async def deploy(self, revision: str, image: str) -> Deployed:
        """Make `image` live; raises UserError (the last good one serves on) or EngineUnavailable."""
        if same := await self.keep_unchanged(revision, image):
            return same
        mounted = self._mounted(revision)
        wanted = (image, self.recipe.digest, mounted)
        async with self._traffic.lock:
            if returned := await self._failover.return_to_previous(revision, wanted):
                return returned
        self._deploying = True
        try:
            return await self._replace(revision, image, mounted)
        except UserError:
            await self._engine.info()  # an engine that stops ends containers: the tree is not at fault
            self._failover.failed_images.add(image)
            raise
        finally:
            self._candidates, self._deploying = set(), False
            self._prepare_pause_container(image)

    def _prepare_pause_container(self, image: str) -> None:
        if self._traffic.fronts and not self._closing:
            self._factory.prepare_pause_container(self.recipe, image, named=self._named)

    async def _replace(self, revision: str, image: str, mounted: str) -> Deployed:
        clock = Phases()
        self._waiting = True  # for what it depends on, perhaps for long
        try:
            await self.recipe.prepare()
        finally:
            self._waiting = False
        self._named = not await self._address.ensure(self.recipe)
        candidate = await self._factory.create(
            self.recipe,
            revision,
            image,
            mounted=mounted,
            behind_front=bool(self._traffic.fronts),
            named=self._named,
            needed=self.needed,
        )
        clock.mark("create")
        self._candidates = {candidate, image}
        try:
            way = await plan_replacement(self._engine, self._traffic, candidate, addressed=not self._named)
            if way.notice:
                self._names.inform_once(f"{self.recipe.service} {way.notice}")
            if way.side_by_side:
                live = await self._bring_up(candidate, revision, image, clock, way.ports)
            else:
                live = await self._replace_in_place(candidate, revision, image, clock)
            async with self._traffic.lock:
                self._traffic.switch_to(replace(live, mounted=mounted), old_runs=way.side_by_side)
                clock.mark("switch")
                await asyncio.gather(self._names.name_container(live.id), self._address.until_reached())
        except BaseException as error:
            if not self._traffic.is_live(candidate):
                await self._retirement.discard(candidate)
                raise
            if not isinstance(error, asyncio.CancelledError):
                raise
            if task := asyncio.current_task():  # it came too late: the container has the traffic
                task.uncancel()
        self._failover.failed_images.discard(image)
        # It can end between its answer and the switch, when its end is not watched yet.
        self._retirement.spawn(self._failover.check_quietly())
        self._retirement.spawn(self._names.name_image())
        return Deployed(live.id, DeployOutcome.LIVE, clock.done)

    async def keep_unchanged(self, revision: str, image: str) -> Deployed | None:
        """Make the live container this revision as it runs; None if it has to be replaced."""
        wanted = (image, self.recipe.digest, self._mounted(revision))
        async with self._traffic.lock:
            live = self._traffic.live
            if live is None or (live.image, live.digest, live.mounted) != wanted:
                return None
            found = await self._engine.container(live.id)
            if found is None or not (found.running or (self.recipe.completes and has_completed(found))):
                return None
            self._traffic.live = live.as_revision(revision)
            self._traffic.point_fronts()
            self._retirement.spawn(self._names.name_image())
            return Deployed(live.id, DeployOutcome.UNCHANGED)

    async def _bring_up(
        self, candidate: str, revision: str, image: str, clock: Phases, exposed: Sequence[int] = ()
    ) -> Live:
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
                self._engine,
                self.recipe,
                self.policy,
                candidate,
                revision,
                where=self._where,
                exposed=exposed,
            )
        finally:
            self._waiting = False
        clock.mark("ready")
        live = Live(candidate, image, revision, self.recipe.digest, reached, time.monotonic())
        return replace(live, answered=tuple(exposed))

    async def _replace_in_place(self, candidate: str, revision: str, image: str, clock: Phases) -> Live:
        """The ports are free only once the old container is stopped; it comes back if the new one fails."""
        async with self._traffic.lock:
            old = self._traffic.step_down()
        try:
            if old:
                await self._retirement.drain(old, moving=0.0)
                await self._retirement.stop(old)
            if lost := self._traffic.lost:
                await self._retirement.stop_container(lost)
            clock.mark("stop")
            return await self._bring_up(candidate, revision, image, clock)
        except BaseException:
            if old:
                await asyncio.shield(self._retirement.spawn(self._failover.put_back(candidate, old)))
            raise

    def replace_container(self, reason: str, only: Collection[str] | None = None) -> None:
        """Replace the live container with another one of the same image; hold requests until then.

        `only`: if it is one of these.
        """
        self._retirement.spawn(self._failover.replace(reason, only))

    # Events of the engine.

    async def take(self, event: EngineEvent) -> None:
        """React to what happened to a container of this project; raises EngineUnavailable."""
        await self._failover.handle_event(event)

    async def check(self, *, engine_restarted: bool = False) -> None:
        """See whether the live container still runs, and where; see `Failover.check`."""
        await self._failover.check(engine_restarted=engine_restarted)

    # Beginning and end.

    async def adopt(self) -> str | None:
        """Keep what is serving already, and remove what a killed daemon left half-done; the live revision."""
        behind_front = bool(self._traffic.fronts)
        await self._address.serve(self._traffic.fronts)
        await self._address.adopt(self.recipe)
        async with self._traffic.lock:
            found = await discovery.find_serving(
                self._own, self.recipe, self.policy, behind_front=behind_front
            )
            if found:
                self._traffic.live = found
                self._traffic.point_fronts()
                await self._names.name_container(found.id)
            else:
                self._traffic.lost = await discovery.find_stopped(self._own, self.recipe)
        await self.remove_orphans()
        if live := self._traffic.live:
            self._named = not await self._address.ensure(self.recipe)
            self._prepare_pause_container(live.image)
            self._retirement.spawn(self._names.name_image())
        return self.live

    async def remove_orphans(self) -> None:
        """Remove containers of this service that nothing needs: left by a killed daemon, or while the engine
        was away. Raises EngineUnavailable.
        """
        async with self._traffic.lock:
            used = set(self._factory.pause_containers.ids)
            for item in await self._own.apps():
                # A running deploy has possibly just created it.
                if item.id in self.needed or self._deploying:
                    found = await self._engine.container(item.id)
                    used.add(found.joined if found else "")
                else:
                    await self._retirement.discard(item.id)
            for item in await self._own.address_containers():
                if item.id not in self._address.ids and not self._address.busy:
                    await self._retirement.discard(item.id)
            for item in await self._own.pause_containers():
                if item.id not in used and not (self._deploying or self._factory.pause_containers.busy):
                    await self._retirement.discard(item.id)

    async def remove_conflicting(self) -> None:
        """Remove containers of this service that publish the ports themselves, which the front will own."""
        for item in await discovery.find_incompatible(
            self._own, self.recipe, behind_front=bool(self._traffic.fronts)
        ):
            await self._own.stop(item.id, self.recipe.stop_timeout)
            await self._own.remove(item.id)

    async def close(self, *, stop: bool) -> None:
        """End background work; with `stop` the live container too. Old containers are removed either way."""
        self._closing = True
        self._traffic.keep_previous(None)
        self._traffic.retire_lost()
        await self._address.close(remove=False)
        await self._retirement.done()
        await self._factory.pause_containers.close()
        if stop and (live := self._traffic.live) and not self.recipe.completes:  # a job would run again
            self._traffic.live = None
            try:
                await self._retirement.stop_container(live)
                await self._own.remove(live.id)
            except (EngineError, EngineUnavailable) as error:
                self._names.warn(f"the live container could not be stopped: {error}")
        if stop:
            await self._address.close(remove=True)
        with contextlib.suppress(EngineUnavailable):
            await self.remove_orphans()  # a network whose container was removed by another program
