"""One service of the compose file, kept: its tree, its builder, its front, its deployer, its loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from watcher import labels
from watcher.builder import ImageBuilder
from watcher.compose import ComposeProject, ServiceSpec
from watcher.daemon.maintenance import Maintenance
from watcher.daemon.mounted_trees import MountedTrees
from watcher.daemon.service_config import (
    ServiceConfig,
    SharedResources,
    assemble_service,
    beside_notice,
    front_options,
)
from watcher.deploy import ContainerDeployer, digest_mounted
from watcher.deploy.live_reloader import outputs
from watcher.engine import find_login
from watcher.errors import UserError, WatcherError
from watcher.front import Front, PortInUse
from watcher.fswatch import Source
from watcher.observers.events import (
    DeployFinished,
    DeployOutcome,
    Event,
    InternalError,
    Notice,
    ServiceStarted,
)
from watcher.prune import CacheNames, DiskMeter, GoCacheKeeper, Marks, Needed, Pruner, RecordPruner, Scope
from watcher.prune import Policy as PrunePolicy
from watcher.prune.build_cache import build_cache
from watcher.prune.go_cache import GoCaches
from watcher.reconcile.debounce import Lookout
from watcher.reconcile.lookouts import ContextLookouts
from watcher.reconcile.reconciler import Reconciler
from watcher.reconcile.tree_watcher import TreeWatch
from watcher.settings import Settings
from watcher.system import lock
from watcher.system.inherited_sockets import Handover
from watcher.tree import Snapshot, TreeWithContexts

LINGER = 1.0  # seconds in which kept connections learn, with an answer, that they are to be closed
HANDOVER_GRACE = 10.0  # seconds that requests in progress may take then; clients that are new wait meanwhile

Change = tuple[ServiceConfig, asyncio.Future[None]]  # how to go on, and whom to tell that it is done


class Service:
    """A kept service. `start` takes the ports, `run` keeps it, `change` reconfigures it, `stop` ends it."""

    def __init__(self, site: SharedResources, fitted: ServiceConfig) -> None:
        self.name = fitted.spec.name
        self._site, self._fit = site, fitted
        self._told: ServiceStarted | None = None
        self._changes: asyncio.Queue[Change] = asyncio.Queue()
        self._background: set[asyncio.Task[None]] = set()
        self._side = self._side_trees(fitted)
        self._own_images: set[str] = set()  # ids
        self.builder = ImageBuilder(
            fitted.recipe,
            engine=site.engine,
            link=site.link,
            observer=site.observer,
            journal=site.journal,
            logins=find_login,
            progressed=lambda: self.reconciler.progressed(),  # noqa: PLW0108 - the loop is made after this
        )
        self.deployer = ContainerDeployer(
            fitted.container,
            engine=site.engine,
            fronts=fitted.fronts,
            policy=fitted.policy,
            observer=site.observer,
            on_lost=lambda event: self.reconciler.lost(event),  # noqa: PLW0108 - the loop is made after this
            on_rolled_back=lambda event: self.reconciler.rolled_back(event),  # noqa: PLW0108
            mounted=self._mounted,
            where=self.builder.in_container,
            references=lambda: self._fit.recipe.moving,
        )
        self._idle_work = chores = self._chores(fitted)
        self.reconciler: Reconciler[Snapshot] = Reconciler(
            self.name,
            builder=self.builder,
            deployer=self.deployer,
            chores=chores,
            observer=site.observer,
            limits=fitted.limits,
            scan_again=lambda: self.watch.scan_again(),  # noqa: PLW0108 - the watch is made after this
            chores_every=chores.every,
        )
        self.watch = TreeWatch(
            self.name, fitted.tree, self._lookout(fitted), inputs=fitted.inputs, observer=site.observer
        )
        self.watch.look_beside(self._side.refresh)

    def _side_trees(self, fitted: ServiceConfig) -> MountedTrees:
        watch = fitted.settings.watch

        def lookout(folder: Path) -> Lookout:
            source = Source(
                folder, observer=_Nobody(), service=self.name, mode=watch.mode, full_look=watch.full_scan
            )
            return Lookout(source, folder, hold=lambda _: None, warn=self._warn)

        return MountedTrees(
            fitted.spec,
            fitted.settings.root,
            ignore=(*outputs(fitted.command, fitted.settings.root), *watch.ignore),
            lookout=lookout,
            tell=self._tell_unwatched,
        )

    def _chores(self, fitted: ServiceConfig) -> Maintenance:
        settings = fitted.settings
        records = RecordPruner(
            self._site.link,
            self._site.journal,
            Marks(self._site.project),
            keep=settings.prune.keep,
            services={self.name},
        )
        policy = PrunePolicy.of(settings.prune, builder_image=settings.build.builder_image)
        pruner = Pruner(
            self._site.engine,
            self._site.observer,
            scope=Scope.of(fitted.recipe, container=fitted.container.name),
            policy=replace(policy, knows_needed=True),
            records=records,
            needed=self._needed,
            known=self._own_images,
        )
        return Maintenance(
            self.builder,
            pruner if settings.prune.enabled else None,
            build_cache(settings, self._site.link, self._site.observer, self.name),
            self._meter(fitted, records),
            export_builder=settings.build.builder_image,
            stage_size=records.stage_size,
            on_error=self._prune_failed,
            prune_every=settings.prune.interval,
        )

    def _meter(self, fitted: ServiceConfig, records: RecordPruner) -> DiskMeter:
        site, prune = self._site, fitted.settings.prune
        names = CacheNames(site.journal.folder)
        caches = GoCacheKeeper(
            GoCaches(fitted.recipe, self.builder.texts, site.link, site.journal, names),
            site.observer,
            service=self.name,
            most=prune.go_cache_max if prune.enabled else 0,
        )
        return DiskMeter(
            site.engine,
            site.observer,
            records,
            caches,
            service=self.name,
            project=site.project,
            standalone=site.link.standalone,
        )

    def _lookout(self, fitted: ServiceConfig) -> Lookout | ContextLookouts:
        tree = fitted.tree
        main = self._lookout_at(fitted, tree.root, self.reconciler.hold)
        if not isinstance(tree, TreeWithContexts):
            return main
        others = {
            name: self._lookout_at(fitted, each.root, lambda _: None) for name, each in tree.contexts.items()
        }
        return ContextLookouts(main, others, tree)

    def _lookout_at(self, fitted: ServiceConfig, root: Path, hold: Callable[[str], None]) -> Lookout:
        watch = fitted.settings.watch
        source = Source(
            root,
            observer=self._site.observer,
            service=self.name,
            mode=watch.mode,
            full_look=watch.full_scan,
        )
        return Lookout(source, root, hold=hold, warn=self._warn)

    def _warn(self, text: str) -> None:
        self._site.observer.notify(Notice(service=self.name, level="warning", text=text))

    def _mounted(self, revision: str) -> str:
        """A digest over the sources that a container of this revision sees through its bind mounts."""
        mounts = self._fit.source_mounts
        snapshot = self.reconciler.snapshot_of(revision) if mounts else None
        digest = digest_mounted(mounts, snapshot) if snapshot else ""
        return " ".join((digest, *self._side.inputs.values())).strip()

    def _needed(self) -> Needed:
        """What this process must not lose to pruning."""
        state, live = self.reconciler.state, self.deployer.container
        built = state.built[0] if state.built else None
        revisions = (state.wanted, state.building, built, state.deploying, state.live, self.deployer.live)
        return Needed(
            live=live.image if live else None,
            ids=self.deployer.needed,
            revisions=frozenset(revision for revision in revisions if revision),
            failed=self.deployer.failed_images,
        )

    def _prune_failed(self, error: Exception) -> None:
        """Tell that pruning beside builds failed; the next deploy tries again."""
        if isinstance(error, WatcherError):
            text = f"pruning failed, the next deploy tries again: {error}"
            self._site.observer.notify(Notice(service=self.name, level="warning", text=text))
        else:
            trace = "".join(traceback.format_exception(error))
            self._site.observer.notify(InternalError(service=self.name, where="chores", traceback=trace))

    async def start(self) -> None:
        """Take the ports and adopt what serves already; raises PortInUse or EngineUnavailable."""
        waiting = await self._listen()  # first: requests wait in the front until somebody serves
        with contextlib.suppress(UserError):  # a deploy says so: until then there is nobody to reach
            await self._fit.container.join()
        await self.deployer.remove_conflicting()
        for front in waiting:
            await front.start()
        self._tell()
        await self._adopt()
        await self._warn_of_copy()

    async def _listen(self) -> list[Front]:
        """Start the fronts whose ports are free now; those that are left."""
        waiting = []
        for front in self._fit.fronts.values():
            try:
                await front.start()
            except PortInUse:  # perhaps by a container of ours that publishes it itself
                waiting.append(front)
        return waiting

    def _tell(self) -> None:
        """Tell what is kept and where, when it is not what was told before."""
        event = ServiceStarted(
            service=self.name,
            urls=self.urls,
            compose_file=self._fit.compose_file,
            image=self._fit.recipe.image,
            container=self._fit.container.name,
            image_budget=self._fit.settings.image.max_size,
        )
        if self._told is None or replace(event, at=self._told.at) != self._told:
            self._told = event
            self._site.observer.notify(event)
            if self._fit.fronts:
                self._tell_of_limits()
            self._tell_from_inside()
            for chosen in self._site.host_ports.chosen(self.name):
                self._site.observer.notify(Notice(service=self.name, level="info", text=str(chosen)))
            for text in self._fit.notices():
                self._site.observer.notify(Notice(service=self.name, level="info", text=text))

    def _tell_of_limits(self) -> None:
        """Say which ports no front serves, and why a new container cannot start beside the old one."""
        texts = []
        if direct := self._fit.container.direct:
            texts.append(
                f"{', '.join(direct)}: the front serves TCP only; the container publishes this itself"
            )
        if reasons := self._fit.spec.side_by_side_conflicts:
            texts.append(
                f"{', '.join(reasons)}: the old container is stopped before the new one starts, and requests "
                "wait meanwhile"
            )
        for text in texts:
            self._site.observer.notify(Notice(service=self.name, level="warning", text=text))

    def _tell_from_inside(self) -> None:
        """Tell what is different because the watcher runs in a container."""
        texts = list(self._fit.container.notices()) if self._fit.fronts else []
        if self._keeps and self._holds_port:
            texts.append(
                "deploy.on_exit = keep: the port is the watcher's own container's, so your container runs on "
                "when the watcher ends, but nobody reaches it until the watcher is started again"
            )
        for text in texts:
            self._site.observer.notify(Notice(service=self.name, level="warning", text=text))

    @property
    def _keeps(self) -> bool:
        return self._fit.settings.deploy.on_exit == "keep"

    @property
    def _holds_port(self) -> bool:
        """Whether the watcher's own container publishes what the service's would."""
        own = self._site.own
        return bool(self._fit.fronts and own and own.holds(self._fit.container.published))

    async def _warn_of_copy(self) -> None:
        """Say so where another watcher builds under the same name: tags go to and fro, nothing is lost."""
        image = self._fit.recipe.image
        found = await self._site.engine.image(image)
        other = found.labels.get(labels.PROJECT, self._site.project) if found else self._site.project
        if other != self._site.project and lock.find(other):
            text = (
                f"the watcher of another project ({other}; is it a copy of this one?) builds {image} too: "
                "the name goes to whoever builds last; give one of the two another image"
            )
            self._site.observer.notify(Notice(service=self.name, level="warning", text=text))

    async def _adopt(self) -> None:
        begun = time.monotonic()
        await self.deployer.adopt()
        if live := self.deployer.container:
            self.reconciler.adopted(
                DeployFinished(
                    service=self.name,
                    revision=live.revision,
                    image=live.image,
                    outcome=DeployOutcome.ADOPTED,
                    seconds=time.monotonic() - begun,
                    container=live.id,
                )
            )
            self.builder.measure(live.revision, live.image)
        elif lost := self.deployer.lost:
            self.reconciler.found_stopped(lost.revision, lost.image)

    @property
    def fronts(self) -> Mapping[int, Front]:
        """By port of the container; none when it publishes its ports itself."""
        return self._fit.fronts

    @property
    def urls(self) -> tuple[str, ...]:
        """Where the service answers."""
        reached: Mapping[int, Iterable[tuple[str, int]]] = self._fit.container.published
        if self._fit.fronts:
            reached = {
                port: [(item.host, item.port) for item in front.addresses]
                for port, front in self._fit.fronts.items()
            }
        schemes = {port: "tcp" if self._fit.protocol(port) == "tcp" else "http" for port in reached}
        addresses = [(schemes[port], *address) for port, bound in reached.items() for address in bound]
        names = {"": "localhost", "0.0.0.0": "localhost", "::": "localhost", "127.0.0.1": "localhost"}
        urls = (f"{scheme}://{names.get(host, host)}:{number}" for scheme, host, number in addresses)
        return tuple(dict.fromkeys(urls))

    async def run(self) -> None:
        """Keep the container equal to the tree until cancelled."""
        while True:
            fitted, done = await self._until_change()
            try:
                await self._go_on_with(fitted)
            finally:
                if not done.done():
                    done.set_result(None)

    async def _until_change(self) -> Change:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.watch.run(self.reconciler)),
                group.create_task(self.reconciler.run()),
                group.create_task(self._side.run(self.watch.scan_again)),
            ]
            change = await self._changes.get()
            for task in tasks:  # a build is cancelled, and a deploy unless it switches already
                task.cancel()
        return change

    async def change(self, spec: ServiceSpec, compose_project: ComposeProject, settings: Settings) -> None:
        """Go on with another configuration, while `run` runs; returns when it is in force.

        What is live serves on, and ports that stay are listened on throughout. Raises ConfigError, NoFreePort
        or CannotListen; then nothing has changed.
        """
        fronts = self._fit.fronts
        held = {item.port for front in fronts.values() for item in front.addresses}
        spec = await self._site.host_ports.choose(spec, compose_project, front=bool(fronts), held=held)
        fitted = assemble_service(self._site, spec, compose_project, settings, fronts)
        begun: list[Front] = []
        try:
            for front in fitted.fronts.values():
                if front not in self._fit.fronts.values():
                    await front.start()
                    begun.append(front)
        except WatcherError:
            for front in begun:
                await front.close(grace=0.0)
            raise
        done = asyncio.get_running_loop().create_future()
        self._changes.put_nowait((fitted, done))
        await done

    async def _go_on_with(self, fitted: ServiceConfig) -> None:
        limits, extra_headers = front_options(fitted.settings, len(fitted.fronts))
        for port, front in fitted.fronts.items():
            front.configure(protocol=fitted.protocol(port), limits=limits, extra_headers=extra_headers)
        before, self._fit = self._fit, fitted
        self.builder.recipe = fitted.recipe
        await self.deployer.reconfigure(fitted.container, fronts=fitted.fronts, policy=fitted.policy)
        await self._idle_work.close()
        self._idle_work = chores = self._chores(fitted)
        self.reconciler.reconfigure(chores, limits=fitted.limits, chores_every=chores.every)
        self.reconciler.hold("")  # whoever held it is gone; the new look-out says so again
        self._side = self._side_trees(fitted)
        self.watch.look_beside(self._side.refresh)
        await self.watch.reconfigure(fitted.tree, self._lookout(fitted), inputs=fitted.inputs)
        self._tell()
        for front in before.fronts.values():
            if front not in fitted.fronts.values():
                self._spawn(front.close(grace=fitted.policy.drain))

    def _tell_unwatched(self, folders: tuple[str, ...]) -> None:
        """Tell of sources that the container reads and no build gets."""
        if folders:
            text = beside_notice(folders)
            self._site.observer.notify(Notice(service=self.name, level="info", text=text))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def hand_over(self, handover: Handover) -> None:
        """Leave the listening sockets to a successor: clients that come from now on wait for it."""
        for front in self._fit.fronts.values():
            for sock in front.sockets:
                with sock:
                    handover.keep(sock.fileno())

    async def stop(self, *, successor: bool = False) -> None:
        """Drain and end; the container stays, publishing the port itself, if the settings say so.

        With a `successor` it stays as it is, behind the sockets that were handed over.
        """
        keep = self._keeps or successor
        live = self.deployer.container
        await self._idle_work.close()
        if successor:  # while the container still answers
            closing = (
                front.close(grace=HANDOVER_GRACE, linger=LINGER) for front in self._fit.fronts.values()
            )
            await asyncio.gather(*closing)
        await self.deployer.close(stop=not keep)
        for front in self._fit.fronts.values():
            await front.close()
        await asyncio.gather(*self._background, return_exceptions=True)
        if keep and not successor and live and self._fit.fronts and not self._holds_port:
            await self._publish(live.revision, live.image)
        if not keep:
            await self._remove_networks()
        self.watch.close()

    async def _remove_networks(self) -> None:
        try:
            await self._fit.container.remove_networks()
        except WatcherError as error:
            self._warn(f"the project's networks could not be removed: {error}")

    async def _publish(self, revision: str, image: str) -> None:
        """From now on the container publishes the ports itself, as compose would have it."""
        alone = ContainerDeployer(
            self.deployer.recipe,
            engine=self._site.engine,
            fronts={},
            policy=self.deployer.policy,
            observer=_Nobody(),
            on_lost=lambda _: None,
            on_rolled_back=lambda _: None,
            mounted=self._mounted,
            references=lambda: self._fit.recipe.moving,
        )
        await alone.remove_conflicting()
        try:
            await alone.deploy(revision, image)
        finally:
            await alone.close(stop=False)


class _Nobody:
    """An observer for what happens when nobody is there any more."""

    def notify(self, event: Event) -> None:
        """Nobody wants to know."""
