"""Sources that the container reads through bind mounts and that are no part of the build context.

They are beside the tree: no build gets them, but what runs does. So each folder is watched as a tree of its
own, and what it holds is a part of the revision.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from watcher.compose import ServiceSpec
from watcher.deploy import DATA, unwatched_sources
from watcher.fswatch import ScanReport
from watcher.reconcile.tree_notifications import TreeNotifications
from watcher.tree import Snapshot, Tree, TreeGone


class MountedTrees:
    """The mounted folders beside one tree. `refresh` says what they hold, `run` notices changes.

    `listen` returns the notifications of a folder; `tell` gets the names of the folders once they are
    known, or changed. `ignore` are patterns over what is not watched there either.
    """

    def __init__(
        self,
        spec: ServiceSpec,
        project: Path,
        *,
        ignore: tuple[str, ...],
        listen: Callable[[Tree], TreeNotifications],
        tell: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._spec, self._project, self._ignore = spec, project, ignore
        self._listen, self._tell = listen, tell
        self._trees: dict[str, Tree] = {}
        self._excludes: tuple[str, ...] | None = None  # of the ignore file, when the folders were looked for
        self._renewed = asyncio.Event()
        self._lock = asyncio.Lock()
        self.inputs: Mapping[str, str] = {}  # a digest for each folder, as of the last `refresh`

    async def refresh(self, snapshot: Snapshot) -> Mapping[str, str]:
        """Look at the folders beside this tree: a digest for each."""
        if not any(mount.type == "bind" for mount in self._spec.mounts):
            return {}
        async with self._lock:
            if self._excludes != snapshot.excludes:
                await self._find(snapshot)
            self.inputs = {
                f"mounted {name}": await asyncio.to_thread(_digest, tree)
                for name, tree in self._trees.items()
            }
            return self.inputs

    async def _find(self, snapshot: Snapshot) -> None:
        names = await asyncio.to_thread(unwatched_sources, self._spec, self._project, snapshot)
        self._excludes = snapshot.excludes
        if names != tuple(self._trees):
            self._trees = {
                name: Tree(self._project / name, ignore=(*DATA, *self._ignore), ignore_file=False)
                for name in names
            }
            self._renewed.set()
            self._tell(names)

    async def run(self, changed: Callable[[], None]) -> None:
        """Call `changed` when a folder may hold something else, until cancelled."""
        while True:
            self._renewed.clear()
            work = [self._follow(tree, changed) for tree in self._trees.values()]
            tasks = [asyncio.create_task(each) for each in (*work, self._until_renewed())]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for task in done:
                task.result()

    async def _until_renewed(self) -> None:
        await self._renewed.wait()

    async def _follow(self, tree: Tree, changed: Callable[[], None]) -> None:
        notifications = self._listen(tree)
        known: Snapshot | None = None
        await notifications.start()
        try:
            while True:
                notification = await notifications.next_notification()
                started = time.monotonic()
                try:
                    async with self._lock:
                        snapshot = await asyncio.to_thread(tree.scan, notification.touched)
                except TreeGone:
                    changed()
                    await notifications.report_gone()
                    continue
                seconds = time.monotonic() - started
                await notifications.report_scan(ScanReport(notification, seconds, (), snapshot.unsettled))
                if snapshot is not known:
                    known = snapshot
                    changed()
        finally:
            await notifications.stop()


def _digest(tree: Tree) -> str:
    try:
        return tree.scan().digest
    except TreeGone:
        return "gone"
