"""The source of hints: events when they can be believed, the clock always.

A hint never says what to do, only where to scan. Losing every event costs seconds, not
correctness: a full scan runs when the clock is due, when the kernel's queue ran over, when the root
was replaced, after the machine slept. The interval depends on whether events are believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import os
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from watchdog.observers import Observer as NativeObserver

from watcher.backoff import Backoff
from watcher.fswatch.backend import EventsUnavailable, WatchBackend
from watcher.fswatch.inbox import Inbox, Mail
from watcher.fswatch.inotify import Inotify
from watcher.fswatch.mounts import elsewhere, mounted_at
from watcher.fswatch.notification import Hint
from watcher.fswatch.recursive import Recursive
from watcher.fswatch.trust import Trust
from watcher.observers.events import Observer, SourceEvents, SourceMode
from watcher.tree import Rules

PROBE_EVERY = 30.0
"""Seconds between probes of the events, and between attempts to get them when they are not to be had."""

_PROBE_TIMEOUT = 2.0
_RETRY_MOST = 600.0  # seconds
_TICK = 1.0  # seconds between checks of the clock; how long a sleep of the machine can go unnoticed
_PLACE_EVERY = 1.0  # seconds between checks of the root and of what is mounted in it
_SLEPT = 2.0  # seconds by which the wall clock must have run ahead of the monotonic one
_ROOT_EVERY = 0.25  # seconds between attempts to find a root that is gone
_UNSETTLED_AFTER = 0.1  # seconds until files that were being written are scanned again
_POLL_SHARE = 20.0  # polling can take one twentieth of the time
_LOOK_SHARE = 500.0  # the scan by the clock, while events are believed, one five-hundredth
_POLL_LEAST, _POLL_MOST = 0.5, 10.0
_FOREIGN_LOOK = 5.0  # seconds between scans where another machine can write, even while events are believed


@dataclass(frozen=True, slots=True)
class Looked:
    """The result of a scan: its hint, how many seconds it took, which paths changed or were being written."""

    hint: Hint
    seconds: float
    changed: Collection[str] = ()
    unsettled: Collection[str] = ()


def look_interval(*, polling: bool, seconds: float, full_look: float, foreign: bool) -> float | None:
    """Seconds between scans of everything, when one takes `seconds`; None for never.

    `full_look` is the setting for while events are believed; 0 there means never.
    """
    if polling:
        return min(_POLL_MOST, max(_POLL_LEAST, seconds * _POLL_SHARE))
    if foreign:
        return max(_FOREIGN_LOOK, seconds * _POLL_SHARE)
    return max(full_look, seconds * _LOOK_SHARE) if full_look else None


class Source:
    """Hints about one root. For the event loop's thread; what blocks runs in a worker thread.

    `mode` is events or polling, `mode_reason` a sentence; the observer is notified when they change.
    `overflows` counts how often the kernel dropped events.
    """

    def __init__(
        self,
        root: Path,
        *,
        observer: Observer,
        service: str = "",
        mode: str = "auto",
        full_look: float = 60.0,
        probe_every: float = PROBE_EVERY,
        backend: Callable[[str, Inbox], WatchBackend] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`mode` is auto, events (never poll) or polling (do not even ask for events).

        `full_look` and `probe_every` are seconds: between scans of everything while events are believed (0:
        never), and between probes. `clock` and `wall` give monotonic and Unix seconds.
        """
        self.mode = "polling"
        self.mode_reason = ""
        self.overflows = 0
        self._base = os.path.abspath(root)  # noqa: PTH100 - as the tree does it
        self._observer, self._service = observer, service
        self._wish, self._full_look, self._probe_every = mode, full_look, probe_every
        self._clock, self._wall = clock, wall
        self._make = backend or native_backend
        self._foreign = elsewhere(root)
        self._trust = Trust(self._foreign)
        self._wake = asyncio.Event()
        self._blocking = asyncio.Lock()  # the backend is for one thread at a time
        self._backend: WatchBackend | None = None
        self._unavailable = ""  # why there are no events at all
        self._silent = ""  # why the ones there are cannot be heard
        self._wanted: frozenset[str] = frozenset(("",))
        self._hints: list[tuple[float, Hint]] = []  # due at
        self._root_due: float | None = None  # when to see whether a root that is gone is back
        self._place: Place | None = None
        self._place_due = 0.0
        self._look_seconds = 0.0
        self._look_began = self._look_from = clock()
        self._skew = wall() - clock()
        self._stopping = asyncio.Event()
        self._upkeep: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Get events if they are available. The first hint, for a full scan, is there immediately."""
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox(self._wake_up, self._clock)
        if self._wish != "polling":
            await self._probe_events()
            self._upkeep = asyncio.create_task(self._keep_up())
        self._decide_mode()
        self._place = await asyncio.to_thread(_place_of, self._base)
        self._push_hint(None, "start")

    async def stop(self) -> None:
        """Give everything back."""
        self._stopping.set()
        if self._upkeep is not None:
            await self._upkeep
        async with self._blocking:
            await asyncio.to_thread(self._drop_backend)

    async def watch(self, directories: Collection[str], rules: Rules, *, also: Collection[str] = ()) -> None:
        """Listen to these directories from now on (see `Tree.watch_dirs`), and only to what `rules` let in.

        `rules` must be a copy for this source alone. Events of the paths `also` (relative to the root) count
        whatever the rules say; their directories are listened to. A hint follows for directories that were
        not listened to before: they can have changed since they were scanned.
        """
        self._inbox.listen_for(rules, also)
        self._wanted = frozenset((*directories, *(os.path.dirname(path) for path in also)))  # noqa: PTH120
        await self._in_thread(self._subscribe_to)

    def looked(self, looked: Looked) -> None:
        """Report a scan, so that the next ones come at the right time and in the right mode."""
        now = self._clock()
        before = self._look_began
        if looked.hint.touched is None:
            self._look_seconds = looked.seconds
            self._look_began = now - looked.seconds
            self._look_from = now
        if looked.changed and looked.hint.reason in ("timer", "poll"):
            self._trust.found(looked.changed, since=before, now=now)
        elif looked.changed and looked.hint.by_events:
            self._trust.confirmed()
        if looked.unsettled:
            directories = frozenset(path.rpartition("/")[0] for path in looked.unsettled)
            self._push_hint(directories, "unsettled", after=_UNSETTLED_AFTER)
        self._decide_mode()

    async def gone(self) -> None:
        """Report that the root could not be scanned: a hint follows when it is there again."""
        self._root_due = self._clock() + _ROOT_EVERY
        await self._renew_watches()

    def ask(self, reason: str) -> None:
        """Give a hint for a full scan that something other than the file system asks for."""
        self._push_hint(None, reason)

    async def wait(self, timeout: float | None = None) -> Hint | None:
        """The next hint, all that is known by now in one; None when `timeout` seconds pass without."""
        deadline = None if timeout is None else self._clock() + timeout
        while True:
            self._wake.clear()
            await self._open_mail(self._inbox.empty())
            await self._watch_clock()
            if hint := self._due_hint():
                return hint
            now = self._clock()
            if deadline is not None and now >= deadline:
                return None
            until = min(self._next_due(), now + _TICK, now + _TICK if deadline is None else deadline)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, until - now)):
                    await self._wake.wait()

    # Hints.

    def _push_hint(self, touched: frozenset[str] | None, reason: str, *, after: float = 0.0) -> None:
        due = self._clock() + after
        self._hints.append((due, Hint(touched, reason, first_seen=due, last_seen=due)))
        self._wake.set()

    def _due_hint(self) -> Hint | None:
        now = self._clock()
        due = [hint for at, hint in self._hints if at <= now]
        self._hints = [(at, hint) for at, hint in self._hints if at > now]
        return functools.reduce(Hint.then, due) if due else None

    def _next_due(self) -> float:
        times = [at for at, _ in self._hints]
        if self._root_due is not None:
            times.append(self._root_due)
        elif (interval := self._interval) is not None:
            times.append(self._look_from + interval)
        return min(times, default=math.inf)

    @property
    def _interval(self) -> float | None:
        return look_interval(
            polling=self.mode == "polling",
            seconds=self._look_seconds,
            full_look=self._full_look,
            foreign=bool(self._foreign),
        )

    async def _open_mail(self, mail: Mail) -> None:
        if mail.count:
            self._observer.notify(SourceEvents(service=self._service, count=mail.count))
        if mail.hint is not None:
            self._hints.append((self._clock(), mail.hint))
            self._trust.told(mail.hint.touched or (), self._clock())
        if mail.overflowed:
            self.overflows += 1
            await self._renew_watches()
            self._push_hint(None, "overflow")
        if mail.root_lost:
            await self.gone()
            self._push_hint(None, "root")

    async def _watch_clock(self) -> None:
        """Push the hints that are due by the clock."""
        now = self._clock()
        skew, self._skew = self._skew, self._wall() - now
        if abs(self._skew - skew) > _SLEPT:  # the machine slept, or the wall clock was set
            self._push_hint(None, "resume")
        if self._root_due is not None:
            if now >= self._root_due:
                self._root_due = now + _ROOT_EVERY
                if self._root_is_there():
                    self._root_due = None
                    self._push_hint(None, "root")
        elif (interval := self._interval) is not None and now >= self._look_from + interval:
            self._look_from = now
            self._push_hint(None, "poll" if self.mode == "polling" else "timer")
        if self._trust.settle(now):
            await self._renew_watches()
        if now >= self._place_due:
            self._place_due = now + _PLACE_EVERY
            await self._watch_place()
        self._decide_mode()

    async def _watch_place(self) -> None:
        """Notice what no event reports: a link above that leads elsewhere, a mount over a folder."""
        if self._root_due is not None:
            return
        found, before = await asyncio.to_thread(_place_of, self._base), self._place
        if found == before or before is None:
            return
        self._place = found
        moved = found[0] != before[0]
        await (self.gone() if moved else self._renew_watches())
        self._push_hint(None, "root" if moved else "mount")

    def _root_is_there(self) -> bool:
        return os.path.isdir(self._base)  # noqa: PTH112

    def _decide_mode(self) -> None:
        trouble = self._unavailable or self._silent or (self._trust.doubt if self._wish == "auto" else "")
        if self._wish == "polling":
            found = "polling", "the setting watch.mode says so"
        elif trouble and self._wish == "auto":
            found = "polling", trouble
        else:
            found = "events", trouble or "events arrive"
        if found != (self.mode, self.mode_reason):
            self.mode, self.mode_reason = found
            self._observer.notify(SourceMode(service=self._service, mode=self.mode, reason=self.mode_reason))

    # The backend.

    async def _keep_up(self) -> None:
        """Probe now and then; get events back when they are lost, less and less often."""
        backoff = Backoff(self._probe_every, max(self._probe_every, _RETRY_MOST))
        failures = 0
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff.pause(failures)):
                    await self._stopping.wait()
                    return
            await self._probe_events()
            self._decide_mode()
            failures = failures + 1 if self._unavailable else 0

    async def _probe_events(self) -> None:
        if self._root_due is not None:
            return  # nothing to listen to
        await self._in_thread(self._ask_for_echo, revive=True)

    async def _in_thread(self, work: Callable[[WatchBackend], None], *, revive: bool = False) -> None:
        """Let `work` have the backend in a worker thread. What it cannot do is kept as the reason to poll."""
        async with self._blocking:
            try:
                await asyncio.to_thread(self._with_backend, work, revive=revive)
            except EventsUnavailable as error:
                self._unavailable = str(error)
                await asyncio.to_thread(self._drop_backend)
        self._decide_mode()

    def _with_backend(self, work: Callable[[WatchBackend], None], *, revive: bool) -> None:
        if self._backend is None:
            if not revive:
                return
            self._backend = self._make(self._base, self._inbox)
            self._backend.start()
            self._subscribe_to(self._backend)
        work(self._backend)
        self._unavailable = ""

    async def _renew_watches(self) -> None:
        """Have the next `watch` subscribe again: what is watched can differ from what is there."""
        await self._in_thread(lambda backend: backend.forget())

    def _subscribe_to(self, backend: WatchBackend) -> None:
        added = backend.watch(self._wanted)
        if added:
            self._loop.call_soon_threadsafe(self._push_hint, added, "subscribed")

    def _wake_up(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing waits
            self._loop.call_soon_threadsafe(self._wake.set)

    def _ask_for_echo(self, backend: WatchBackend) -> None:
        heard = backend.probe(_PROBE_TIMEOUT)
        self._silent = (
            "" if heard else f"an event caused on purpose did not arrive within {_PROBE_TIMEOUT:.0f} s"
        )

    def _drop_backend(self) -> None:
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.stop()


Place = tuple[tuple[int, int] | None, frozenset[str]]  # device and inode of the root, mounts in it


def _place_of(base: str) -> Place:
    """What the path `base` is now; its identity is None when there is nothing."""
    try:
        status = os.stat(base)  # noqa: PTH116
    except OSError:
        return None, frozenset()
    return (status.st_dev, status.st_ino), mounted_at(os.path.realpath(base))


def native_backend(base: str, inbox: Inbox) -> WatchBackend:
    """What this operating system has."""
    linux = sys.platform.startswith("linux")
    return Inotify(base, inbox) if linux else Recursive(base, inbox, NativeObserver)
