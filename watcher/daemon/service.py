"""One managed service: its tree, its builder, its fronts, its deployer, its reconciler."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any

from watcher.builder import ImageBuilder
from watcher.daemon.image_explainer import ImageExplainer
from watcher.daemon.last_good import find_last_good
from watcher.daemon.maintenance import Maintenance
from watcher.daemon.port_holder import name_both
from watcher.daemon.service_config import ServiceConfig, SharedResources, limits_of_fronts, make_front
from watcher.daemon.service_maintenance import assemble_maintenance
from watcher.daemon.service_notices import ServiceNotices, holds_port
from watcher.daemon.service_sources import ServiceSources, SilentObserver, network_sockets
from watcher.daemon.shared_images import SharedImageBuilder
from watcher.daemon.start_order import OrderedDeployer
from watcher.daemon.suggestion_reader import SuggestionReader
from watcher.deploy import ContainerDeployer, digest_mounted
from watcher.engine import find_login
from watcher.errors import UserError, WatcherError
from watcher.front import Front, PortInUse
from watcher.image.summary import ImageSummary
from watcher.observers.events import DeployFinished, DeployOutcome, Notice
from watcher.prune import Needed
from watcher.reconcile.reconciler import Reconciler
from watcher.reconcile.tree_watcher import TreeWatcher
from watcher.system.inherited_sockets import Handover
from watcher.tree import Snapshot

LINGER = 1.0  # seconds in which kept connections learn, with an answer, that they are to be closed
APPLY_WITHIN = 10.0  # seconds that a change of configuration is waited for; others go on then
HANDOVER_GRACE = 10.0  # seconds that requests in progress may take then; clients that are new wait meanwhile

Change = tuple[ServiceConfig, asyncio.Future[None]]  # the new configuration; done once it is in force


class Service:
    """A managed service: `start` takes its ports, `run` reconciles, `change` reconfigures, `stop` ends it."""

    def __init__(self, shared: SharedResources, config: ServiceConfig) -> None:
        self.name = config.spec.name
        self._shared, self._config = shared, config
        self._latest = config  # the last one given to `change`; `_config` is the one in force
        self._notices = ServiceNotices(shared)
        self._changes: asyncio.Queue[Change] = asyncio.Queue()
        self._background: set[asyncio.Task[None]] = set()
        sources = ServiceSources(config, shared.observer, shared.backends)
        self._mounted_trees = sources.mounted_trees()
        self._own_images: set[str] = set()  # ids
        self.builder = self._assemble_builder(config)
        self.deployer = self._assemble_deployer(config)
        self._explainer = ImageExplainer(
            self.name,
            config.settings.engine,
            shared.observer,
            shared.summarize_image,
            lambda: self._config.settings.image.components,
        )
        self._suggestion = SuggestionReader(shared.project, self.name, shared.observer)
        self._maintenance = self._assemble_maintenance(config)
        self.reconciler = self._assemble_reconciler(config)
        self.watch = TreeWatcher(
            self.name,
            config.tree,
            sources.notifications(self.reconciler.hold),
            inputs=config.inputs,
            observer=shared.observer,
        )
        self.watch.include_mounted(self._mounted_trees.refresh)

    def _assemble_builder(self, config: ServiceConfig) -> ImageBuilder:
        shared = self._shared
        return ImageBuilder(
            config.recipe,
            engine=shared.engine,
            connection=shared.connection,
            observer=shared.observer,
            journal=shared.journal,
            logins=find_login,
            progressed=lambda: self.reconciler.record_progress(),  # noqa: PLW0108 - the loop is made after this
            base_notices=shared.base_notices,
        )

    def _assemble_deployer(self, config: ServiceConfig) -> ContainerDeployer:
        shared = self._shared
        return ContainerDeployer(
            config.container,
            engine=shared.engine,
            fronts=config.fronts,
            policy=config.policy,
            observer=shared.observer,
            on_lost=lambda event: self.reconciler.record_lost(event),  # noqa: PLW0108 - the loop is made after this
            on_rolled_back=self._record_rollback,
            mounted=self._mounted,
            where=self.builder.locate_in_container,
            references=lambda: self._config.recipe.moving,
            sockets=network_sockets(shared),
            make_front=lambda port: make_front(shared, self._config.container, self._config.settings, port),
        )

    def _assemble_reconciler(self, config: ServiceConfig) -> Reconciler[Snapshot]:
        shared = self._shared
        return Reconciler(
            self.name,
            builder=SharedImageBuilder(self.builder, shared.images, shared.engine),
            deployer=OrderedDeployer(
                self.deployer,
                shared.order,
                lambda: self._config.spec,
                lambda reason: self.reconciler.show_turn_wait(reason),  # noqa: PLW0108 - is being made
            ),
            chores=self._maintenance,
            observer=shared.observer,
            limits=config.limits,
            request_scan=lambda: self.watch.request_scan(),  # noqa: PLW0108 - the watch is made after this
            chores_every=self._maintenance.every,
            slots=shared.slots,
            image_key=self.find_image_owner,
            choose_first=lambda snapshot, changes: shared.build_order.choose_first(
                self._config.recipe, snapshot, str(self._config.tree.root), changes
            ),
        )

    def _assemble_maintenance(self, config: ServiceConfig) -> Maintenance:
        return assemble_maintenance(
            self._shared,
            config,
            self.builder,
            needed=lambda: self._shared.images.needed(self.name),
            own_images=self._own_images,
            explain=self._explain_later,
        )

    async def _explain_later(self) -> None:
        await self._suggestion.report()
        await self.explain_image()

    async def explain_image(self) -> ImageSummary | None:
        """Explain the live image unless that was done; return its summary."""
        live = self.deployer.container
        return await self._explainer.explain(live.revision, live.image) if live else None

    def _mounted(self, revision: str) -> str:
        """Return a digest of the sources that a container of this revision sees through its bind mounts."""
        mounts = self._config.source_mounts
        snapshot = self.reconciler.find_snapshot(revision) if mounts else None
        digest = digest_mounted(mounts, snapshot) if snapshot else ""
        return " ".join((digest, *self._mounted_trees.inputs.values())).strip()

    def _record_rollback(self, event: DeployFinished) -> None:
        self.reconciler.record_rollback(event)
        self._shared.order.report_replaced(self.name)

    def find_image_owner(self) -> str:
        """Return the service in whose name the image is labelled."""
        return self._config.recipe.labelled_service

    def find_needed(self) -> Needed:
        """Return what pruning must leave, because this process still needs it."""
        state, live = self.reconciler.state, self.deployer.container
        built = state.built[0] if state.built else None
        revisions = (state.desired, state.building, built, state.deploying, state.live, self.deployer.live)
        return Needed(
            live=live.image if live else None,
            ids=self.deployer.needed,
            revisions=frozenset(revision for revision in revisions if revision),
            failed=self.deployer.failed_images,
        )

    async def start(self) -> None:
        """Take the ports and adopt a live container; raises PortInUse or EngineUnavailable."""
        waiting = await self._listen()  # first: the front holds requests until a container is live
        with contextlib.suppress(UserError):  # the first deploy reports it
            await self._config.container.join()
        await self.deployer.remove_conflicting()
        await self._shared.dependencies.release(self._config.spec)
        for front in waiting:
            try:
                await front.start()
            except PortInUse as error:
                raise await name_both(error, self._shared.engine, self._config) from error
        self._notices.emit(self._config)
        await self._adopt()
        await self._notices.warn_of_copy(self._config)

    async def _listen(self) -> list[Front]:
        """Start the fronts whose ports are free; return the others."""
        waiting = []
        for front in self._config.fronts.values():
            try:
                await front.start()
            except PortInUse:  # perhaps by a container of ours that publishes the port
                waiting.append(front)
        return waiting

    @property
    def _keeps(self) -> bool:
        return self._config.settings.deploy.on_exit == "keep"

    async def _adopt(self) -> None:
        begun = time.monotonic()
        await self.deployer.adopt()
        if live := self.deployer.container:
            self.reconciler.record_adopted(
                DeployFinished(
                    service=self.name,
                    revision=live.revision,
                    image=live.image,
                    outcome=DeployOutcome.ADOPTED,
                    seconds=time.monotonic() - begun,
                    container=live.id,
                )
            )
            self._shared.order.report_live(self.name)
            self.builder.sizes.report_later(live.revision, live.image)
        elif lost := self.deployer.lost:
            self.reconciler.record_stopped(lost.revision, lost.image)
        elif not self._keeps and (found := await find_last_good(self._shared.engine, self._config)):
            self.reconciler.record_last_good(*found)

    @property
    def container_id(self) -> str | None:
        """Return the id of the live container."""
        return self.deployer.container.id if self.deployer.container else None

    @property
    def has_failed(self) -> bool:
        """Return whether the tree as it is now is known to fail."""
        state = self.reconciler.state
        return state.failed is not None and state.failed == state.desired

    @property
    def is_current(self) -> bool:
        """Return whether the tree as it is now is live, or paused by hand."""
        state = self.reconciler.state
        return state.paused or (state.live is not None and state.live == state.desired)

    @property
    def fronts(self) -> Mapping[int, Front]:
        """Return the fronts by container port, as of the last change; none if it publishes its ports."""
        return self._latest.fronts

    async def run(self) -> None:
        """Keep the container equal to the tree, until cancelled."""
        while True:
            config, done = await self._until_change()
            try:
                await self._apply(config)
            finally:
                if not done.done():
                    done.set_result(None)

    async def _until_change(self) -> Change:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.watch.run(self.reconciler)),
                group.create_task(self.reconciler.run()),
                group.create_task(self._mounted_trees.run(self.watch.request_scan)),
            ]
            change = await self._changes.get()
            for task in tasks:  # cancels a build, and a deploy unless it switches already
                task.cancel()
        return change

    @property
    def held_ports(self) -> frozenset[int]:
        """Return the host ports that its fronts listen on."""
        return frozenset(item.port for front in self.fronts.values() for item in front.addresses)

    async def change(self, config: ServiceConfig) -> None:
        """Apply another configuration while `run` runs; return when it is in force, at most `APPLY_WITHIN`.

        An equal one changes nothing: a build or deploy that runs goes on. The live container serves on, and
        ports that stay are listened on throughout. Raises CannotListen; then nothing has changed.
        """
        if config.equals(self._latest):
            return
        begun: list[Front] = []
        try:
            for front in config.fronts.values():
                if front not in self._latest.fronts.values():
                    await front.start()
                    begun.append(front)
        except WatcherError:
            for front in begun:
                await front.close(grace=0.0)
            raise
        self._latest = config
        done = asyncio.get_running_loop().create_future()
        self._changes.put_nowait((config, done))
        await asyncio.wait([done], timeout=APPLY_WITHIN)
        if not done.done():
            text = "the change takes effect once the deploy that runs has ended"
            self._shared.observer.notify(Notice(service=self.name, level="warning", text=text))

    async def _apply(self, config: ServiceConfig) -> None:
        limits, extra_headers = limits_of_fronts(config.settings, config.container)
        for port, front in (*config.fronts.items(), *self.deployer.exposed_fronts.items()):
            front.configure(protocol=config.protocol(port), limits=limits, extra_headers=extra_headers)
        before, self._config = self._config, config
        self.builder.recipe = config.recipe
        await self.deployer.reconfigure(config.container, fronts=config.fronts, policy=config.policy)
        await self._maintenance.close()
        self._maintenance = self._assemble_maintenance(config)
        self.reconciler.reconfigure(
            self._maintenance, limits=config.limits, chores_every=self._maintenance.every
        )
        self.reconciler.hold("")  # its holder is gone; the new one holds again if need be
        sources = ServiceSources(config, self._shared.observer, self._shared.backends)
        self._mounted_trees = sources.mounted_trees()
        self.watch.include_mounted(self._mounted_trees.refresh)
        await self.watch.reconfigure(
            config.tree, sources.notifications(self.reconciler.hold), inputs=config.inputs
        )
        self._notices.emit(self._config)
        for front in before.fronts.values():
            if front not in config.fronts.values():
                self._spawn(front.close(grace=config.policy.drain))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def hand_over(self, handover: Handover) -> None:
        """Leave the listening sockets to a successor: new clients wait for it."""
        for front in self._config.fronts.values():
            for sock in front.sockets:
                with sock:
                    handover.keep(sock.fileno())

    async def stop(self, *, successor: bool = False, removed: bool = False) -> None:
        """Drain and end. With `deploy.on_exit = keep` the container stays and publishes the port itself.

        With a `successor` it stays as it is, behind the sockets that were handed over. If the service was
        `removed` from the compose file, the container is stopped in any case.
        """
        keep = (self._keeps and not removed) or successor
        live = self.deployer.container
        await self._maintenance.close()
        if keep:
            await self.deployer.withdraw()
        if successor:  # while the container still answers
            fronts = (*self._config.fronts.values(), *self.deployer.exposed_fronts.values())
            await asyncio.gather(*(front.close(grace=HANDOVER_GRACE, linger=LINGER) for front in fronts))
        await self.deployer.close(stop=not keep)
        exposed = self.deployer.exposed_fronts.values()
        for front in dict.fromkeys((*self._config.fronts.values(), *self.fronts.values(), *exposed)):
            await front.close()
        await asyncio.gather(*self._background, return_exceptions=True)
        if (
            keep
            and not successor
            and live
            and (self._config.fronts or self._config.container.address_endpoints)
            and not holds_port(self._shared, self._config)
        ):
            await self._publish(live.revision, live.image)
            text = "the container keeps serving on its published ports; `watcher down` removes it"
            self._shared.observer.notify(Notice(service=self.name, level="info", text=text))
        self.watch.close()

    async def remove_networks(self) -> None:
        """Remove the project's networks, once no service runs any more; see `ComposeContainer`."""
        if self._keeps:
            return
        try:
            await self._config.container.remove_networks()
        except WatcherError as error:
            text = f"the project's networks could not be removed: {error}"
            self._shared.observer.notify(Notice(service=self.name, level="warning", text=text))

    async def _publish(self, revision: str, image: str) -> None:
        """Replace the container by one that publishes the ports itself, as compose would have it."""
        alone = ContainerDeployer(
            replace(self._config.container, address=False),
            engine=self._shared.engine,
            fronts={},
            policy=self.deployer.policy,
            observer=SilentObserver(),
            on_lost=lambda _: None,
            on_rolled_back=lambda _: None,
            mounted=self._mounted,
            references=lambda: self._config.recipe.moving,
        )
        await alone.remove_conflicting()
        try:
            await alone.deploy(revision, image)
        finally:
            await alone.close(stop=False)
