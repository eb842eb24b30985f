"""Assemble what notices changes of a service's sources: its tree, further contexts, mounted folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from watcher.daemon.mounted_trees import MountedTrees
from watcher.daemon.service_config import ServiceConfig, unwatched_notice
from watcher.deploy.live_reloader import outputs
from watcher.fswatch import Source
from watcher.observers.events import Event, Notice, Observer
from watcher.reconcile.debounce import Lookout
from watcher.reconcile.lookouts import ContextLookouts
from watcher.tree import TreeWithContexts


class SilentObserver:
    """An observer that drops every event."""

    def notify(self, event: Event) -> None:
        """Drop `event`."""


class ServiceSources:
    """Makes the sources of notifications for one service as `config` has it."""

    def __init__(self, config: ServiceConfig, observer: Observer) -> None:
        self._config, self._observer = config, observer
        self._service = config.spec.name

    def lookout(self, hold: Callable[[str], None]) -> Lookout | ContextLookouts:
        """Return what watches the build context and its additional contexts; `hold` see `Lookout`."""
        tree = self._config.tree
        main = self._lookout_at(tree.root, hold, self._observer)
        if not isinstance(tree, TreeWithContexts):
            return main
        others = {
            name: self._lookout_at(each.root, lambda _: None, self._observer)
            for name, each in tree.contexts.items()
        }
        return ContextLookouts(main, others, tree)

    def mounted_trees(self) -> MountedTrees:
        """Return the mounted folders that are not in the build context."""
        config, settings = self._config, self._config.settings
        return MountedTrees(
            config.spec,
            settings.root,
            ignore=(*outputs(config.command, settings.root), *settings.watch.ignore),
            lookout=lambda folder: self._lookout_at(folder, lambda _: None, SilentObserver()),
            tell=self._report_unwatched,
        )

    def _lookout_at(self, root: Path, hold: Callable[[str], None], observer: Observer) -> Lookout:
        watch = self._config.settings.watch
        source = Source(
            root, observer=observer, service=self._service, mode=watch.mode, full_look=watch.full_scan
        )
        return Lookout(source, root, hold=hold, warn=self._warn)

    def _warn(self, text: str) -> None:
        self._observer.notify(Notice(service=self._service, level="warning", text=text))

    def _report_unwatched(self, folders: tuple[str, ...]) -> None:
        if folders:
            text = unwatched_notice(folders)
            self._observer.notify(Notice(service=self._service, level="info", text=text))
