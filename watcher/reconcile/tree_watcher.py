"""Events are hints: turn them into looks at the tree, and tell the loop what was seen.

The look itself runs in one worker thread; everything else here is bookkeeping: what changed since the last
revision, when it was saved, what the tree's problems are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from watcher.fswatch import Hint, Looked
from watcher.observers.events import (
    Change,
    Notice,
    Observer,
    SourceGone,
    SourceScanned,
    SourceScanning,
    Wanted,
)
from watcher.reconcile.debounce import Lookout
from watcher.reconcile.lookouts import ContextLookouts
from watcher.reconcile.ports import Look
from watcher.tree import ChangeSet, RestlessFiles, Snapshot, Tree, TreeGone, diff
from watcher.tree import revision as revision_of

UNSETTLED_MOST = 3.0
"""Seconds for which files that are being written hold a new revision; then they count as they were read.

Somebody writes them all the time, and the saves of everything else must go live.
"""

_UNSETTLED_PAUSE = 0.1  # seconds until files that were being written are looked at again
_PROGRESS_EVERY = 1.0  # seconds of a look after which, and then between which, its progress is told
_FIRST = "first scan"
_CONFIGURED = "configuration changed"
_BESIDE = "mounted sources changed"


Beside = Callable[[Snapshot], Awaitable[Mapping[str, str]]]  # what else is a part of the revision


class Sink(Protocol):
    """Who wants to know of looks."""

    def saw(self, look: Look[Snapshot], wanted: Wanted | None) -> None:
        """The tree was looked at and its snapshot is new; `wanted` is set when its revision is new too."""
        ...


class TreeWatch:
    """Looks at one service's tree whenever something hints at a change."""

    def __init__(
        self,
        service: str,
        tree: Tree,
        lookout: Lookout | ContextLookouts,
        *,
        inputs: Mapping[str, str],
        observer: Observer,
    ) -> None:
        self._service, self._tree, self._lookout = service, tree, lookout
        self._inputs, self._observer = inputs, observer
        self._last: Look[Snapshot] | None = None
        self._told: frozenset[str] = frozenset()
        self._gone = ""  # why the tree could not be scanned
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tree")
        self._lock = asyncio.Lock()
        self._unsettled = False  # files were being written at the last look
        self._unsettled_since: float | None = None  # monotonic seconds
        self._restless = RestlessFiles()
        self._first: Callable[[], Awaitable[None]] | None = None
        self._beside: Beside | None = None
        self._extra: Mapping[str, str] = {}  # what is beside the tree, as of the last look

    def ask_first(self, first: Callable[[], Awaitable[None]]) -> None:
        """Await `first` before each look: it may change what the tree is."""
        self._first = first

    def look_beside(self, beside: Beside) -> None:
        """From the next look on what is beside the tree counts too."""
        self._beside = beside

    async def reconfigure(
        self, tree: Tree, lookout: Lookout | ContextLookouts, *, inputs: Mapping[str, str]
    ) -> None:
        """Go on with another tree and other inputs, while `run` does not run."""
        async with self._lock:
            self._tree, self._lookout, self._inputs = tree, lookout, inputs

    async def run(self, sink: Sink) -> None:
        """Look at every hint, the first of which comes at once, until cancelled."""
        await self._lookout.source.start()
        try:
            while True:
                hint = await self._lookout.next()
                try:
                    await self.look(sink, hint)
                except TreeGone as error:
                    self._tell_problems((str(error),))
                    await self._lookout.gone()
        finally:
            await self._lookout.source.stop()

    async def look_now(self, sink: Sink) -> str:
        """Look at the whole tree because somebody asks; its revision. Raises TreeGone.

        While files are being written there is no revision to give: it looks until they are complete.
        """
        while True:
            now = time.monotonic()
            revision = await self.look(sink, Hint(None, "request", first_seen=now, last_seen=now))
            if not self._unsettled:
                return revision
            await asyncio.sleep(_UNSETTLED_PAUSE)

    async def look(self, sink: Sink, hint: Hint) -> str:
        """Look where `hint` says, and tell `sink`; the tree's revision. Raises TreeGone."""
        if self._first:
            await self._first()
        async with self._lock:
            begun = time.monotonic()
            try:
                snapshot = await self._take(hint)
            except TreeGone as error:
                self._tell_gone(str(error))
                raise
            self._tell_gone("")
            seconds = time.monotonic() - begun
            before = self._last
            changes = () if before is None else diff(before.snapshot, snapshot).changes
            paths = tuple(change.path for change in changes)
            await self._lookout.follow(self._tree, Looked(hint, seconds, paths, snapshot.unsettled))
            self._tell_scan(snapshot, hint, seconds)
            known, self._extra = self._extra, await self._beside(snapshot) if self._beside else {}
            extra = self._extra
            revision = revision_of(snapshot, {**self._inputs, **extra})
            self._unsettled = self._must_settle(snapshot, begun)
            if before is not None and self._unsettled:
                # Files that are still being written are scanned again before they count.
                return before.revision
            if before is not None and before.revision == revision:
                self._renew(sink, before, snapshot)
                return revision
            saved = None if before is None else hint.first_seen
            self._last = Look(revision, snapshot, _wall_clock(hint.first_seen), saved)
            wanted = Wanted(
                service=self._service,
                revision=revision,
                changes=changes,
                summary=_summary(before, changes, beside=known != extra),
                saved_at=self._last.saved_at,
            )
            sink.saw(self._last, wanted)
            self._warn(self._restless.add(changes, begun))
            return revision

    def _must_settle(self, snapshot: Snapshot, now: float) -> bool:
        """Whether files are being written that may come to rest soon."""
        if not snapshot.unsettled:
            self._unsettled_since = None
            return False
        if self._unsettled_since is None:
            self._unsettled_since = now
        if now - self._unsettled_since < UNSETTLED_MOST:
            return True
        self._unsettled_since = None
        self._warn(self._restless.name(snapshot.unsettled))
        return False

    def _warn(self, texts: Iterable[str]) -> None:
        for text in texts:
            self._observer.notify(Notice(service=self._service, level="warning", text=text))

    async def _take(self, hint: Hint) -> Snapshot:
        """Look in the worker thread, and tell how far that has come when it takes long. Raises TreeGone."""
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._tree.take, hint.touched)
        # Who is cancelled leaves it behind, and nobody asks then how it ended.
        work.add_done_callback(lambda done: done.cancelled() or done.exception())
        while not (await asyncio.wait([work], timeout=_PROGRESS_EVERY))[0]:
            self._observer.notify(SourceScanning(service=self._service, files=self._tree.seen))
        return work.result()

    def _renew(self, sink: Sink, before: Look[Snapshot], snapshot: Snapshot) -> None:
        """Replace the snapshot of the same revision: its stamps are newer, and a build checks them."""
        if snapshot is not before.snapshot:
            self._last = replace(before, snapshot=snapshot)
            sink.saw(self._last, None)

    def scan_again(self) -> None:
        """Have the whole tree scanned soon: a build found a file other than the last scan did."""
        self._lookout.source.ask("build")

    def _tell_scan(self, snapshot: Snapshot, hint: Hint, seconds: float) -> None:
        problems = tuple(problem.text for problem in snapshot.problems)
        self._observer.notify(
            SourceScanned(
                service=self._service,
                reason=hint.reason,
                full=hint.touched is None,
                seconds=seconds,
                files=snapshot.count,
                context_bytes=snapshot.total_bytes,
                problems=problems,
            )
        )
        self._tell_problems(problems)

    def _tell_gone(self, reason: str) -> None:
        """Tell why the tree is not known, and when it is again."""
        if reason != self._gone:
            self._gone = reason
            self._observer.notify(SourceGone(service=self._service, reason=reason))

    def _tell_problems(self, problems: tuple[str, ...]) -> None:
        """Tell of each problem once, and again when it comes back."""
        for text in problems:
            if text not in self._told:
                self._warn([text])
        self._told = frozenset(problems)

    def close(self) -> None:
        """Give the thread back."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _summary(before: Look[Snapshot] | None, changes: tuple[Change, ...], *, beside: bool) -> str:
    if before is None:
        return _FIRST
    if changes:
        return ChangeSet(changes).summary()
    return _BESIDE if beside else _CONFIGURED


def _wall_clock(monotonic: float) -> float:
    """Unix seconds of a moment of the monotonic clock."""
    return time.time() - max(0.0, time.monotonic() - monotonic)
