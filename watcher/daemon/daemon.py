"""The daemon: makes the objects, owns their lifetime, hears signals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from fastapi import FastAPI

from watcher import __version__
from watcher.backoff import Backoff
from watcher.daemon import config_reload, status_port
from watcher.daemon.config_reload import Configuration, ConfigurationWatch
from watcher.daemon.container_logs import LogStreamer
from watcher.daemon.engine_recovery import EngineRecovery
from watcher.daemon.project import Opened, open_project, secrets_of
from watcher.daemon.service import Service
from watcher.daemon.supervision import UPGRADE, Supervision
from watcher.daemon.target_file import TargetFile
from watcher.daemon.unavailable import HeldRequestReleaser, unavailable
from watcher.deploy.dependency_watch import DependencyWatch
from watcher.engine import Engine
from watcher.errors import PartlyApplied, WatcherError
from watcher.front import Front, Unavailable
from watcher.labels import PROJECT
from watcher.observers.events import (
    DaemonStarted,
    DaemonStopping,
    EngineDown,
    EngineUp,
    Fanout,
    Notice,
    Observer,
)
from watcher.observers.exposition import MetricRegistry
from watcher.observers.metrics import Metrics
from watcher.observers.redact import Redactor
from watcher.observers.size_budget import SizeBudget
from watcher.observers.status_board import StatusBoard
from watcher.reconcile.tree_watcher import NoLongerManaged
from watcher.settings import HttpSettings, Settings
from watcher.system import inherited_sockets, reexec
from watcher.system.blocking_call import in_thread
from watcher.system.inherited_sockets import Handover, ListenAddress
from watcher.system.lock import watcher_at
from watcher.system.loop_watchdog import LoopWatchdog
from watcher.system.signals import stopping_signals
from watcher.web import create_app, serve

THREADS = 16  # docker-py blocks a thread per call; a slow stop must not delay a create
ENGINE_BACKOFF = Backoff(first=0.5, most=10.0)  # seconds until an engine that went away is asked again


def _choose_ports(http: HttpSettings, opened: Opened) -> list[int]:
    return status_port.candidate_ports(http, opened.published, opened.lock.before)


class Daemon:
    """Manages the services of one project."""

    def __init__(self, settings: Settings, *observers: Observer, board: StatusBoard) -> None:
        """`board` gets each event before `observers` do, which may read it."""
        self.settings, self.board = settings, board
        self.registry = MetricRegistry()
        listeners = Fanout(
            self.board, HeldRequestReleaser(self._fronts), Metrics(self.registry, board), *observers
        )
        listeners.add(SizeBudget(listeners))
        listeners.add(EngineRecovery(listeners))
        self._supervision = Supervision(board)
        listeners.add(self._supervision)
        self.observers = Redactor(listeners)
        self.services: dict[str, Service] = {}
        self.handover: Handover | None = None  # set when another program is to take this one's place
        self.interrupted = ""  # name of a signal that came while this program was making way
        self._announce: Callable[[], None] = lambda: None
        self._apply_dependencies: Callable[[], None] = lambda: None
        self._stop = asyncio.Event()
        self._started = asyncio.Event()  # every service has its ports, and knows what serves already

    def stop(self, reason: str) -> None:
        """End `run`, in good order."""
        if self._stop.is_set():
            self.interrupted = reason  # the program that takes this one's place is to end
            return
        self.observers.notify(DaemonStopping(reason=reason))
        self._stop.set()

    async def run(self) -> None:
        """Manage the services until `stop`; raises ConfigError, EngineUnavailable, AlreadyRunning."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        settings = self.settings
        app = create_app(self.board, self.registry, self, settings.http)
        async with (  # signals first and last: neither opening nor closing is cut in the middle
            stopping_signals(self.stop),
            LoopWatchdog(self.observers).watch_loop(),
            open_project(settings, self.observers, self._explain) as opened,
            serve(app, settings.http.host, _choose_ports(settings.http, opened)) as url,
        ):
            self.services = opened.fleet.services
            self.observers.notify(
                DaemonStarted(
                    version=__version__,
                    project=str(settings.root),
                    url=url,
                    services=tuple(self.services),
                )
            )
            self._explain_port(url, opened)
            token = settings.http.token or ""
            announced = replace(opened.lock.running, url=url, token=token)
            opened.lock.announce(announced)  # from here on clients find it
            try:
                await self._tell_engine(opened.engine)
                await opened.fleet.start()
                self._announce = partial(self._announce_addresses, opened, app)
                self._announce()
                inherited_sockets.close_unused()
                for name in opened.lock.before.paused if opened.lock.before else ():
                    if name in self.services:
                        self.pause(name)
                self._started.set()
                self._supervision.announce_ready()
                target = TargetFile(opened.id, settings.root, url, self.observers)
                async with target.keep(lambda: self.handover is not None):
                    await self._keep(opened)
            finally:
                if self.handover:
                    self._hand_over(opened, app)
                await opened.fleet.stop(successor=self.handover is not None)
                keep = settings.deploy.on_exit == "keep" or self.handover is not None
                await opened.dependencies.close(stop=not keep)
                if not keep:
                    await opened.fleet.remove_networks()

    def _explain_port(self, url: str, opened: Opened) -> None:
        """Notify why the status page is not at its default port."""
        http, port = self.settings.http, urlsplit(url).port or 0
        text = status_port.explain_other_port(http, port, opened.published, watcher_at(http.port))
        if text:
            self.observers.notify(Notice(level="info", text=text))

    def _announce_addresses(self, opened: Opened, app: FastAPI) -> None:
        """Write down what a successor needs should this one be killed: where it listens, what is paused."""
        lock = opened.lock
        paused = tuple(service.name for service in self.board.status.services if service.paused)
        lock.announce(replace(lock.running, listening=tuple(self._addresses(app)), paused=paused))

    def _addresses(self, app: FastAPI) -> Iterator[ListenAddress]:
        """Where this daemon listens."""
        yield inherited_sockets.address_of(app.state.listener)
        for service in self.services.values():
            for front in service.fronts.values():
                for sock in front.sockets:
                    with sock:
                        yield inherited_sockets.address_of(sock)

    def _hand_over(self, opened: Opened, app: FastAPI) -> None:
        """Leave lock and listening sockets to the successor."""
        if self.handover:
            opened.lock.pass_on(self.handover)
            self.handover.keep(app.state.listener.fileno())
            for service in self.services.values():
                service.hand_over(self.handover)

    async def _keep(self, opened: Opened) -> None:
        """Run everything until stopped, or until something fails that cannot."""
        configured = ConfigurationWatch(
            opened.configuration, observer=self.observers, apply=partial(self._reconfigure, opened)
        )
        opened.fleet.run_before_scans(configured.current)
        opened.fleet.watch_left_services(opened.configuration.compose, opened.configuration.settings)
        opened.dependencies.followers.on_replaced = self._replace_container
        opened.dependencies.followers.on_former_owner = self._replace_container
        dependencies = DependencyWatch(opened.dependencies, opened.engine, self.observers)
        self._apply_dependencies = opened.dependencies.followers.on_outdated = dependencies.apply_changes
        work = [
            opened.fleet.run(),
            self._follow(opened),
            configured.run(),
            dependencies.run(),
            self._stopped(),
        ]
        work += [opened.registration.keep_touching(), self._supervision.keep_alive()]
        tasks = [asyncio.create_task(each) for each in work]
        _, running = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def _reconfigure(self, opened: Opened, new: Configuration) -> None:
        """Put another configuration in force; raises WatcherError when it cannot be used."""
        secrets = await in_thread(lambda: list(secrets_of(new.compose, new.settings)), "a secret's file")
        self.observers.add_secrets(secrets)
        try:
            await opened.fleet.reconfigure(new.compose, new.settings)
        except PartlyApplied:
            await self._publish_changes(opened, new)
            raise
        finally:
            self._apply_dependencies()
        await self._publish_changes(opened, new)

    async def _publish_changes(self, opened: Opened, new: Configuration) -> None:
        """Write down what a changed configuration uses and where it listens."""
        await opened.registration.write(new.compose, new.settings)
        self._announce()

    async def _tell_engine(self, engine: Engine) -> None:
        info = await engine.info()
        self.observers.notify(EngineUp(version=info.version, store=info.store, endpoint=info.endpoint))

    async def _stopped(self) -> None:
        await self._stop.wait()

    async def _follow(self, opened: Opened) -> None:
        """Pass the engine's events on to whom they concern; when it goes away, wait for it."""
        failures, down = 0, False
        follower = LogStreamer(opened.engine, self.observers, opened.id)
        try:
            while True:
                try:
                    since = time.time()
                    if down:
                        await self._tell_engine(opened.engine)
                    for service in [*self.services.values()]:
                        await service.deployer.check(engine_restarted=down)
                        await service.deployer.remove_orphans()
                        service.reconciler.record_engine_recovered()
                    await follower.look()
                    failures, down = 0, False
                    async for event in opened.engine.events(labels=[f"{PROJECT}={opened.id}"], since=since):
                        follower.take(event)
                        for service in [*self.services.values()]:
                            await service.deployer.take(event)
                except WatcherError as error:
                    pause = ENGINE_BACKOFF.pause(failures)
                    self.observers.notify(EngineDown(reason=str(error), retry_in=pause))
                    down = True
                    await asyncio.sleep(pause)
                    failures += 1
        finally:
            await follower.close()

    def _replace_container(self, name: str, replaced: str, only: frozenset[str] | None = None) -> None:
        """Replace a service's container because another one was replaced; `only`: if it is one of these."""
        if service := self.services.get(name):
            service.deployer.replace_container(
                f"{replaced}, which it depends on, was replaced or has restarted", only
            )

    def _explain(self, name: str) -> Unavailable:
        """Return what the front tells a client that could not be answered."""
        return unavailable(self.board.service(name), self.board.status.engine)

    def _fronts(self, name: str) -> tuple[Front, ...]:
        """Return the fronts of a service."""
        service = self.services.get(name)
        if service is None:
            return ()
        return (*service.fronts.values(), *service.deployer.exposed_fronts.values())

    # What the API may ask (`web.Controls`).

    def rebuild(self, service: str) -> None:
        """Build the tree again, whatever is known of it."""
        self.services[service].reconciler.rebuild()

    def cancel(self, service: str) -> bool:
        """Stop the build or deploy that runs; False when there is none to stop."""
        return self.services[service].reconciler.cancel()

    async def upgrade(self) -> None:
        """Make way for the program as it is installed now; raises WatcherError when it could not start."""
        await self._started.wait()
        await asyncio.to_thread(lambda: config_reload.read(self.settings.reload()))
        command = await reexec.find_command()
        if self._stop.is_set():
            raise WatcherError("the watcher is being stopped, or upgraded already")
        self.handover = Handover(command)
        self.stop(UPGRADE)

    def pause(self, service: str) -> None:
        """Stop the build that runs, and begin no more."""
        self.services[service].reconciler.pause(paused=True)
        self._announce()

    def resume(self, service: str) -> None:
        """Go on after a pause."""
        self.services[service].reconciler.pause(paused=False)
        self._announce()

    async def rescan(self, service: str) -> str:
        """Scan the whole tree now, once the service has started; its revision."""
        await self._started.wait()
        managed = self.services.get(service)
        if managed is None:
            raise NoLongerManaged(f"{service} is no longer managed")
        return await managed.watch.scan_now(managed.reconciler)
