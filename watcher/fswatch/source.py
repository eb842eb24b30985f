"""The source of notifications: events while they can be believed, the clock always.

A notification is only about where to scan, never about what to do. Losing every event costs seconds, not
correctness: a full scan runs when the clock is due, when the kernel's queue overflowed, when the root was
replaced, and after the machine slept. The interval depends on whether events are believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from watchdog.observers import Observer as NativeObserver

from watcher.backoff import Backoff
from watcher.fswatch.backend import WatchBackend
from watcher.fswatch.backend_runner import BackendRunner
from watcher.fswatch.inbox import Inbox, Mail
from watcher.fswatch.inotify import Inotify
from watcher.fswatch.inotify_share import InotifyShare
from watcher.fswatch.mounts import mounted_at, remote_type
from watcher.fswatch.notification import Notification
from watcher.fswatch.recursive import Recursive
from watcher.fswatch.schedule import ScanSchedule
from watcher.fswatch.trust import Trust
from watcher.observers.events import Observer, SourceEvents, SourceMode
from watcher.tree import Rules

PROBE_EVERY = 30.0
"""Seconds between probes of the events, and between attempts to get them while they are not available."""

_RETRY_MOST = 600.0  # seconds
_TICK = 1.0  # seconds between checks of the clock; how long a sleep of the machine can go unnoticed
_PLACE_EVERY = 1.0  # seconds between checks of the root and of what is mounted in it
_SLEPT = 2.0  # seconds by which the wall clock must have run ahead of the monotonic one
_ROOT_EVERY = 0.25  # seconds between attempts to find a root that is gone
_UNSETTLED_AFTER = 0.1  # seconds until files that were being written are scanned again


@dataclass(frozen=True, slots=True)
class ScanReport:
    """The result of a scan: its cause, the seconds it took, the paths that changed or were being written."""

    notification: Notification
    seconds: float
    changed: Collection[str] = ()
    unsettled: Collection[str] = ()


class NotificationSource:
    """Notifies of changes below one root. For the event loop's thread; what blocks runs in a worker thread.

    `mode` is events or polling, `mode_reason` a sentence; the observer is notified when they change.
    """

    def __init__(
        self,
        root: Path,
        *,
        observer: Observer,
        service: str = "",
        mode: str = "auto",
        full_scan: float = 60.0,
        probe_every: float = PROBE_EVERY,
        backend: Callable[[str, Inbox], WatchBackend] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`mode` is auto, events (never poll) or polling (do not even ask for events).

        `full_scan` and `probe_every` are seconds: between scans of everything while events are believed (0:
        never), and between probes. `clock` and `wall` give monotonic and Unix seconds.
        """
        self.mode = "polling"
        self.mode_reason = ""
        self._base = os.path.abspath(root)  # noqa: PTH100 - as the tree does it
        self._observer, self._service = observer, service
        self._setting, self._probe_every = mode, probe_every
        self._clock, self._wall = clock, wall
        foreign = remote_type(root)
        self._trust = Trust(foreign)
        self._schedule = ScanSchedule(clock(), full_scan=full_scan, foreign=bool(foreign))
        make = backend or NativeBackends()
        self._backend = BackendRunner(lambda: make(self._base, self._inbox), self._subscribed)
        self._wake = asyncio.Event()
        self._root_due: float | None = None  # when to check whether a root that is gone is back
        self._place: Place | None = None
        self._place_due = 0.0
        self._skew = wall() - clock()
        self._stopping = asyncio.Event()
        self._upkeep: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Get events if they are available. The first notification asks for a full scan immediately."""
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox(self._wake_up, self._clock)
        if self._setting != "polling":
            await self._backend.probe()
            self._upkeep = asyncio.create_task(self._keep_probing())
        self._decide_mode()
        self._place = await asyncio.to_thread(_place_of, self._base)
        self._push(None, "start")

    async def stop(self) -> None:
        """Stop listening and release everything."""
        self._stopping.set()
        if self._upkeep is not None:
            await self._upkeep
        await self._backend.stop()

    async def watch(self, directories: Collection[str], rules: Rules, *, also: Collection[str] = ()) -> None:
        """Listen to these directories from now on (see `Tree.watch_dirs`), and only to what `rules` let in.

        `rules` must be a copy for this source alone. Events of the paths `also` (relative to the root) count
        under any rules; their directories are listened to. A notification follows for directories that were
        not listened to before: they can have changed since they were scanned.
        """
        self._inbox.listen_for(rules, also)
        above = (os.path.dirname(path) for path in also)  # noqa: PTH120
        await self._backend.listen_to(frozenset((*directories, *above)))
        self._decide_mode()

    def report_scan(self, report: ScanReport) -> None:
        """Report a scan, to get the next notification at the right time and in the right mode."""
        now = self._clock()
        before = self._schedule.last_scan
        if report.notification.touched is None:
            self._schedule.record_full_scan(now, report.seconds)
        if report.changed and report.notification.reason in ("timer", "poll"):
            self._trust.record_found(report.changed, since=before, now=now)
        elif report.changed and report.notification.by_events:
            self._trust.record_confirmed()
        if report.unsettled:
            directories = frozenset(path.rpartition("/")[0] for path in report.unsettled)
            self._push(directories, "unsettled", after=_UNSETTLED_AFTER)
        self._decide_mode()

    async def report_gone(self) -> None:
        """Report that the root could not be scanned: a notification follows when it is there again."""
        self._root_due = self._clock() + _ROOT_EVERY
        await self._renew_watches()

    def request_scan(self, reason: str) -> None:
        """Notify that everything is to be scanned, for a reason other than the file system."""
        self._push(None, reason)

    async def wait(self, timeout: float | None = None) -> Notification | None:
        """Return all that is known by now as one notification; None if `timeout` seconds pass without any."""
        deadline = None if timeout is None else self._clock() + timeout
        while True:
            self._wake.clear()
            await self._open_mail(self._inbox.take_all())
            await self._check_clock()
            if notification := self._schedule.pop_due(self._clock()):
                return notification
            now = self._clock()
            if deadline is not None and now >= deadline:
                return None
            until = min(self._next_due(), now + _TICK, now + _TICK if deadline is None else deadline)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, until - now)):
                    await self._wake.wait()

    def _push(self, touched: frozenset[str] | None, reason: str, *, after: float = 0.0) -> None:
        self._schedule.push(touched, reason, self._clock() + after)
        self._wake.set()

    def _next_due(self) -> float:
        gone = self._root_due is not None
        due = self._schedule.next_due(polling=self.mode == "polling", root_is_gone=gone)
        return due if self._root_due is None else min(due, self._root_due)

    async def _open_mail(self, mail: Mail) -> None:
        if mail.count:
            self._observer.notify(SourceEvents(service=self._service, count=mail.count))
        if mail.notification is not None:
            self._schedule.push_events(mail.notification, self._clock())
            self._trust.record_events(mail.notification.touched or (), self._clock())
        if mail.overflowed:
            await self._renew_watches()
            self._push(None, "overflow")
        if mail.root_lost:
            await self.report_gone()
            self._push(None, "root")

    async def _check_clock(self) -> None:
        """Push what is due by the clock."""
        now = self._clock()
        skew, self._skew = self._skew, self._wall() - now
        if abs(self._skew - skew) > _SLEPT:  # the machine slept, or the wall clock was set
            self._push(None, "resume")
        if self._root_due is None:
            self._schedule.push_full_scan(now, polling=self.mode == "polling")
        elif now >= self._root_due:
            self._root_due = now + _ROOT_EVERY
            if self._root_is_there():
                self._root_due = None
                self._push(None, "root")
        if self._trust.settle_doubts(now):
            await self._renew_watches()
        if now >= self._place_due:
            self._place_due = now + _PLACE_EVERY
            await self._check_place()
        self._decide_mode()

    def _root_is_there(self) -> bool:
        return os.path.isdir(self._base)  # noqa: PTH112

    async def _check_place(self) -> None:
        """Notice what no event reports: a link above that leads elsewhere, a mount over a folder."""
        if self._root_due is not None:
            return
        found, before = await asyncio.to_thread(_place_of, self._base), self._place
        if found == before or before is None:
            return
        self._place = found
        moved = found[0] != before[0]
        await (self.report_gone() if moved else self._renew_watches())
        self._push(None, "root" if moved else "mount")

    def _decide_mode(self) -> None:
        auto = self._setting == "auto"
        trouble = self._backend.unavailable or self._backend.silent or (self._trust.doubt if auto else "")
        if self._setting == "polling":
            found = "polling", "the setting watch.mode says so"
        elif trouble and auto:
            found = "polling", trouble
        else:
            found = "events", trouble or "events arrive"
        if found != (self.mode, self.mode_reason):
            self.mode, self.mode_reason = found
            self._observer.notify(SourceMode(service=self._service, mode=self.mode, reason=self.mode_reason))

    async def _keep_probing(self) -> None:
        """Probe regularly; while there are no events, try less and less often to get them back."""
        backoff = Backoff(self._probe_every, max(self._probe_every, _RETRY_MOST))
        failures = 0
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff.pause(failures)):
                    await self._stopping.wait()
                    return
            if self._root_due is None:
                await self._backend.probe()
            self._decide_mode()
            failures = failures + 1 if self._backend.unavailable else 0

    async def _renew_watches(self) -> None:
        await self._backend.renew_watches()
        self._decide_mode()

    def _subscribed(self, added: frozenset[str]) -> None:
        """Notify of directories that are listened to now; called in a worker thread."""
        self._loop.call_soon_threadsafe(self._push, added, "subscribed")

    def _wake_up(self) -> None:
        """Wake `wait`; called in the backend's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing waits
            self._loop.call_soon_threadsafe(self._wake.set)


Place = tuple[tuple[int, int] | None, frozenset[str]]  # device and inode of the root, mounts in it


def _place_of(base: str) -> Place:
    """Return what the path `base` is now; its identity is None when there is nothing."""
    try:
        status = os.stat(base)  # noqa: PTH116
    except OSError:
        return None, frozenset()
    return (status.st_dev, status.st_ino), mounted_at(os.path.realpath(base))


class NativeBackends:
    """Makes backends for this operating system, which share what the system counts."""

    def __init__(self) -> None:
        self._share = InotifyShare()

    def __call__(self, base: str, inbox: Inbox) -> WatchBackend:
        """Return the backend for one root."""
        linux = sys.platform.startswith("linux")
        return Inotify(base, inbox, self._share) if linux else Recursive(base, inbox, NativeObserver)
