"""One stream of notifications for a tree and for the other folders that its build reads."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

from watcher.fswatch import Notification, ScanReport
from watcher.reconcile.debounce import Debouncer
from watcher.tree import Tree, TreeWithContexts, is_outside

_MAIN = ""


class TreeNotifications:
    """Merges the notifications of all folders of a tree, and reports each scan back to their sources.

    `contexts` has a debouncer for each context of a `TreeWithContexts`, by name. A scan is reported to the
    folders that caused it: what they listen to, and when they ask for the next scan, follows from it.
    """

    def __init__(self, tree: Tree, main: Debouncer, contexts: Mapping[str, Debouncer] | None = None) -> None:
        self._tree = tree
        self._debouncers = {_MAIN: main, **(contexts or {})}
        self._waiting: dict[str, asyncio.Task[Notification]] = {}
        self._scanning: dict[str, Notification] = {}  # what each folder contributed to the running scan

    async def start(self) -> None:
        """Start to listen."""
        for debouncer in self._debouncers.values():
            await debouncer.source.start()

    async def stop(self) -> None:
        """Stop listening and release everything."""
        for debouncer in self._debouncers.values():
            await debouncer.source.stop()

    def request_scan(self, reason: str) -> None:
        """Cause a notification that asks for a scan of everything."""
        for debouncer in self._debouncers.values():
            debouncer.source.request_scan(reason)

    async def next_notification(self) -> Notification:
        """Return the next notification, once the burst that it is part of is over."""
        for name, debouncer in self._debouncers.items():
            if name not in self._waiting:
                self._waiting[name] = asyncio.create_task(debouncer.next_notification())
        try:
            await asyncio.wait(self._waiting.values(), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            for task in self._waiting.values():
                task.cancel()
            await asyncio.gather(*self._waiting.values(), return_exceptions=True)
            self._waiting = {}
            raise
        self._scanning = {name: task.result() for name, task in self._waiting.items() if task.done()}
        self._waiting = {name: task for name, task in self._waiting.items() if name not in self._scanning}
        merged = [self._translate(name, notification) for name, notification in self._scanning.items()]
        return reduce(Notification.then, merged)

    def _translate(self, name: str, notification: Notification) -> Notification:
        """Return what a folder's notification means for the main folder; another's touches nothing there."""
        if not isinstance(self._tree, TreeWithContexts) or name == _MAIN:
            return notification
        self._tree.touch(name, notification.touched)
        return replace(notification, touched=frozenset(), writing=frozenset())

    async def report_scan(self, report: ScanReport) -> None:
        """Report a scan to the folders that caused it; to all of them if something else did."""
        causes = self._scanning or dict.fromkeys(self._debouncers, report.notification)
        self._scanning = {}
        for name, notification in causes.items():
            tree, own = self._split(name, replace(report, notification=notification))
            source = self._debouncers[name].source
            await source.watch(tree.watch_dirs, tree.rules.copy(), also=tree.links)
            source.report_scan(own)

    def _split(self, name: str, report: ScanReport) -> tuple[Tree, ScanReport]:
        """Return a folder's tree and the part of a report that concerns it."""
        if not isinstance(self._tree, TreeWithContexts):
            return self._tree, report
        if name == _MAIN:
            inside = [path for path in report.changed if not is_outside(path)]
            return self._tree, replace(report, changed=inside)
        changed = self._tree.paths_in(name, report.changed)
        unsettled = self._tree.paths_in(name, report.unsettled)
        return self._tree.contexts[name], replace(report, changed=changed, unsettled=unsettled)

    async def report_gone(self) -> None:
        """Report that a scan raised TreeGone: the folders that are missing notify when they are back.

        If none is missing (one cannot be read now), all of them notify soon.
        """
        self._scanning = {}
        roots = {_MAIN: self._tree.root}
        if isinstance(self._tree, TreeWithContexts):
            roots |= {name: tree.root for name, tree in self._tree.contexts.items()}
        missing = [name for name in self._debouncers if not roots[name].is_dir()]
        for name in missing or self._debouncers:
            await self._debouncers[name].source.report_gone()
