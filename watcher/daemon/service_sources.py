"""Assemble what notices changes of a service's sources: its tree, further contexts, mounted folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from watcher.daemon.mounted_trees import MountedTrees
from watcher.daemon.service_config import ServiceConfig, SharedResources, unwatched_notice
from watcher.deploy.live_reloader import outputs
from watcher.deploy.network_sockets import NetworkSockets
from watcher.fswatch import NativeBackends, NotificationSource
from watcher.observers.events import Event, Notice, Observer
from watcher.reconcile.debounce import Debouncer
from watcher.reconcile.git_state import Git
from watcher.reconcile.tree_notifications import TreeNotifications
from watcher.system.state_dir import network_folder
from watcher.tree import Tree, TreeWithContexts


def network_sockets(shared: SharedResources) -> NetworkSockets | None:
    """Return what fronts listen with in networks of the engine, if that is on this machine."""
    if shared.own or not shared.info.endpoint.startswith("unix://"):
        return None
    return NetworkSockets(shared.engine, network_folder())


class SilentObserver:
    """An observer that drops every event."""

    def notify(self, event: Event) -> None:
        """Drop `event`."""


class ServiceSources:
    """Makes the sources of notifications for one service as `config` has it."""

    def __init__(self, config: ServiceConfig, observer: Observer, backends: NativeBackends) -> None:
        """`backends` are shared by all services: of several that watch a directory the kernel counts one."""
        self._config, self._observer, self._backends = config, observer, backends
        self._service = config.spec.name

    def notifications(self, hold: Callable[[str], None]) -> TreeNotifications:
        """Return the notifications of all build contexts; `hold` see `Debouncer`."""
        tree = self._config.tree
        main = self._debouncer(tree.root, self._observer, hold)
        others = tree.contexts if isinstance(tree, TreeWithContexts) else {}
        contexts = {name: self._debouncer(each.root, self._observer) for name, each in others.items()}
        return TreeNotifications(tree, main, contexts)

    def mounted_trees(self) -> MountedTrees:
        """Return the mounted folders that are not in the build context."""
        config, settings = self._config, self._config.settings
        return MountedTrees(
            config.spec,
            settings.root,
            ignore=(*outputs(config.command, settings.root), *settings.watch.ignore),
            listen=self._mounted_notifications,
            tell=self._report_unwatched,
        )

    def _mounted_notifications(self, tree: Tree) -> TreeNotifications:
        return TreeNotifications(tree, self._debouncer(tree.root, SilentObserver()))

    def _debouncer(
        self, root: Path, observer: Observer, hold: Callable[[str], None] = lambda _: None
    ) -> Debouncer:
        watch = self._config.settings.watch
        source = NotificationSource(
            root,
            observer=observer,
            service=self._service,
            mode=watch.mode,
            full_scan=watch.full_scan,
            backend=self._backends,
        )
        return Debouncer(source, Git(root), hold=hold, warn=self._warn)

    def _warn(self, text: str) -> None:
        self._observer.notify(Notice(service=self._service, level="warning", text=text))

    def _report_unwatched(self, folders: tuple[str, ...]) -> None:
        if folders:
            text = unwatched_notice(folders)
            self._observer.notify(Notice(service=self._service, level="info", text=text))
