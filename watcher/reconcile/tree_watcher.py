"""Scan one service's tree when a notification asks for it, and pass the result to the reconciler.

The scan itself runs in one worker thread. Everything else here is bookkeeping: what changed since the last
revision, when it was saved, what the tree's problems are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from watcher.errors import WatcherError
from watcher.fswatch import Notification, ScanReport
from watcher.observers.events import (
    Change,
    DesiredChanged,
    Notice,
    Observer,
    SourceGone,
    SourceScanned,
    SourceScanning,
)
from watcher.reconcile.ports import Scan
from watcher.reconcile.tree_notifications import TreeNotifications
from watcher.tree import ChangeSet, RestlessFiles, Snapshot, Tree, TreeGone, diff
from watcher.tree import revision as revision_of

UNSETTLED_MOST = 3.0
"""Seconds for which files that are being written hold a new revision; then they count as they were read.

Some files are written all the time, and the saves of all others must go live.
"""

_UNSETTLED_PAUSE = 0.1  # seconds until files that were being written are scanned again
PROGRESS_EVERY = 1.0  # seconds between two progress events of a long scan
_FIRST = "first scan"
_CONFIGURED = "configuration changed"
_MOUNTED = "mounted sources changed"


DigestMounted = Callable[[Snapshot], Awaitable[Mapping[str, str]]]
"""Returns a digest for each mounted folder outside of the tree: part of the revision too."""


class NoLongerManaged(WatcherError):
    """The service left the compose file while its tree was to be scanned."""


class ScanSink(Protocol):
    """Receives scans: the reconciler."""

    def record_scan(self, scan: Scan[Snapshot], desired: DesiredChanged | None) -> None:
        """Take a scan with a new snapshot; `desired` is the event to emit if its revision is new too."""
        ...


class TreeWatcher:
    """Scans one service's tree at every notification that it can have changed."""

    def __init__(
        self,
        service: str,
        tree: Tree,
        notifications: TreeNotifications,
        *,
        inputs: Mapping[str, str],
        observer: Observer,
        unsettled_most: float = UNSETTLED_MOST,
        progress_every: float = PROGRESS_EVERY,
    ) -> None:
        self._service, self._tree, self._notifications = service, tree, notifications
        self._unsettled_most, self._progress_every = unsettled_most, progress_every
        self._inputs, self._observer = inputs, observer
        self._last: Scan[Snapshot] | None = None
        self._known_problems: frozenset[str] = frozenset()
        self._closed = False
        self._gone = ""  # why the tree could not be scanned
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tree")
        self._lock = asyncio.Lock()
        self._listening = False  # whether `run` has started the notifications
        self._unsettled = False  # files were being written during the last scan
        self._unsettled_since: float | None = None  # monotonic seconds
        self._restless = RestlessFiles()
        self._before_scan: Callable[[], Awaitable[None]] | None = None
        self._digest_mounted: DigestMounted | None = None
        self._mounted: Mapping[str, str] = {}  # digests of the mounted folders, as of the last scan

    def run_before_scans(self, action: Callable[[], Awaitable[None]]) -> None:
        """Await `action` before each scan: it can change which files the tree consists of."""
        self._before_scan = action

    def include_mounted(self, digest: DigestMounted) -> None:
        """Make the digests of mounted folders part of the revision, from the next scan on."""
        self._digest_mounted = digest

    async def reconfigure(
        self, tree: Tree, notifications: TreeNotifications, *, inputs: Mapping[str, str]
    ) -> None:
        """Continue with another tree and other inputs, while `run` does not run."""
        async with self._lock:
            self._tree, self._notifications, self._inputs = tree, notifications, inputs

    async def run(self, sink: ScanSink) -> None:
        """Scan at every notification, the first of which comes immediately, until cancelled."""
        await self._notifications.start()
        self._listening = True
        try:
            while True:
                notification = await self._notifications.next_notification()
                try:
                    await self.scan(sink, notification)
                except TreeGone as error:
                    self._report_problems((str(error),))
                    await self._notifications.report_gone()
        finally:
            self._listening = False
            await self._notifications.stop()

    async def scan_now(self, sink: ScanSink) -> str:
        """Scan the whole tree on request and return its revision. Raises TreeGone.

        While files are being written there is no revision to return: scan until they are complete.
        """
        while True:
            now = time.monotonic()
            revision = await self.scan(sink, Notification(None, "request", first_seen=now, last_seen=now))
            if not self._unsettled:
                return revision
            await asyncio.sleep(_UNSETTLED_PAUSE)

    def request_scan(self) -> None:
        """Scan the whole tree soon: a build found a file other than the last scan did."""
        self._notifications.request_scan("build")

    async def scan(self, sink: ScanSink, notification: Notification) -> str:
        """Scan what `notification` touched, pass it to `sink`, return the revision. Raises TreeGone."""
        if self._before_scan:
            await self._before_scan()
        if self._closed:
            raise NoLongerManaged(f"{self._service} is no longer managed")
        async with self._lock:
            started = time.monotonic()
            snapshot = await self._take_snapshot(notification)
            seconds = time.monotonic() - started
            before = self._last
            changes = () if before is None else diff(before.snapshot, snapshot).changes
            paths = tuple(change.path for change in changes)
            report = ScanReport(notification, seconds, paths, snapshot.unsettled)
            if self._listening:  # a request can come earlier; the first notification scans everything again
                await self._notifications.report_scan(report)
            self._emit_scanned(snapshot, notification, seconds)
            mounted = await self._digest_mounted(snapshot) if self._digest_mounted else {}
            mounted_changed, self._mounted = mounted != self._mounted, mounted
            revision = revision_of(snapshot, {**self._inputs, **mounted})
            self._unsettled = self._must_settle(snapshot, started)
            if before is not None and self._unsettled:
                # Files that are still being written are scanned again before they count.
                return before.revision
            if before is not None and before.revision == revision:
                self._replace_snapshot(sink, before, snapshot)
                return revision
            saved = None if before is None else notification.first_seen
            self._last = Scan(revision, snapshot, _wall_clock(notification.first_seen), saved)
            desired = DesiredChanged(
                service=self._service,
                revision=revision,
                changes=changes,
                summary=_summarize(before, changes, mounted_changed=mounted_changed),
                saved_at=self._last.saved_at,
            )
            sink.record_scan(self._last, desired)
            self._warn(self._restless.add(changes, started))
            return revision

    def _must_settle(self, snapshot: Snapshot, now: float) -> bool:
        """Return whether files are being written that will probably be complete soon."""
        if not snapshot.unsettled:
            self._unsettled_since = None
            return False
        if self._unsettled_since is None:
            self._unsettled_since = now
        if now - self._unsettled_since < self._unsettled_most:
            return True
        self._unsettled_since = None
        self._warn(self._restless.name(snapshot.unsettled))
        return False

    def _warn(self, texts: Iterable[str]) -> None:
        for text in texts:
            self._observer.notify(Notice(service=self._service, level="warning", text=text))

    async def _take_snapshot(self, notification: Notification) -> Snapshot:
        """Scan in the worker thread, and emit whether the tree is there. Raises TreeGone."""
        try:
            snapshot = await self._scan_in_thread(notification)
        except TreeGone as error:
            self._emit_gone(str(error))
            raise
        self._emit_gone("")
        return snapshot

    async def _scan_in_thread(self, notification: Notification) -> Snapshot:
        """Scan in the worker thread, and emit the progress of a long scan. Raises TreeGone."""
        work = asyncio.get_running_loop().run_in_executor(
            self._thread, self._tree.scan_since, notification.touched, notification.latest
        )
        # If this is cancelled the scan continues; asyncio must not report its result as never retrieved.
        work.add_done_callback(lambda done: done.cancelled() or done.exception())
        while not (await asyncio.wait([work], timeout=self._progress_every))[0]:
            self._observer.notify(SourceScanning(service=self._service, files=self._tree.seen))
        return work.result()

    def _replace_snapshot(self, sink: ScanSink, before: Scan[Snapshot], snapshot: Snapshot) -> None:
        """Replace the snapshot of the same revision: its time stamps are newer, and a build checks them."""
        if snapshot is not before.snapshot:
            self._last = replace(before, snapshot=snapshot)
            sink.record_scan(self._last, None)

    def _emit_scanned(self, snapshot: Snapshot, notification: Notification, seconds: float) -> None:
        problems = tuple(problem.text for problem in snapshot.problems)
        self._observer.notify(
            SourceScanned(
                service=self._service,
                reason=notification.reason,
                full=notification.touched is None,
                seconds=seconds,
                files=snapshot.count,
                context_bytes=snapshot.total_bytes,
                problems=problems,
            )
        )
        self._report_problems(problems)

    def _emit_gone(self, reason: str) -> None:
        """Emit why the tree cannot be scanned, once, and when it can be again."""
        if reason != self._gone:
            self._gone = reason
            self._observer.notify(SourceGone(service=self._service, reason=reason))

    def _report_problems(self, problems: tuple[str, ...]) -> None:
        """Warn of each problem once, and again when it comes back."""
        for text in problems:
            if text not in self._known_problems:
                self._warn([text])
        self._known_problems = frozenset(problems)

    def close(self) -> None:
        """Release the thread; a scan that is asked for later raises NoLongerManaged."""
        self._closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)


def _summarize(before: Scan[Snapshot] | None, changes: tuple[Change, ...], *, mounted_changed: bool) -> str:
    if before is None:
        return _FIRST
    if changes:
        return ChangeSet(changes).summary()
    return _MOUNTED if mounted_changed else _CONFIGURED


def _wall_clock(monotonic: float) -> float:
    """Return the Unix seconds of a moment of the monotonic clock."""
    return time.time() - max(0.0, time.monotonic() - monotonic)
