"""Run a watch backend in worker threads, and start it again after it failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from watcher.fswatch.backend import EventsUnavailable, WatchBackend

_PROBE_TIMEOUT = 2.0  # seconds


class BackendRunner:
    """Makes the blocking calls of one backend, one at a time.

    A backend that raises EventsUnavailable is stopped, and `probe` starts a new one. `unavailable` is the
    reason why there are no events, `silent` why those of a running backend do not arrive; else empty.
    """

    def __init__(
        self, make: Callable[[], WatchBackend], subscribed: Callable[[frozenset[str]], None]
    ) -> None:
        """`subscribed` is called in the worker thread with directories that were not listened to before."""
        self.unavailable = ""
        self.silent = ""
        self._make, self._subscribed = make, subscribed
        self._directories: frozenset[str] = frozenset(("",))
        self._backend: WatchBackend | None = None
        self._lock = asyncio.Lock()  # the backend is for one thread at a time

    async def listen_to(self, directories: frozenset[str]) -> None:
        """Listen to these directories from now on."""
        self._directories = directories
        await self._call(self._subscribe)

    async def probe(self) -> None:
        """Start the backend if there is none, and find out whether its events arrive."""
        await self._call(self._probe, start=True)

    async def renew_watches(self) -> None:
        """Make the next `listen_to` subscribe again: what is watched can differ from what is there."""
        await self._call(lambda backend: backend.forget())

    async def stop(self) -> None:
        """Stop the backend and release everything."""
        async with self._lock:
            await asyncio.to_thread(self._drop)

    async def _call(self, work: Callable[[WatchBackend], None], *, start: bool = False) -> None:
        async with self._lock:
            try:
                await asyncio.to_thread(self._call_in_thread, work, start=start)
            except EventsUnavailable as error:
                self.unavailable = str(error)
                await asyncio.to_thread(self._drop)

    def _call_in_thread(self, work: Callable[[WatchBackend], None], *, start: bool) -> None:
        if self._backend is None:
            if not start:
                return
            self._backend = self._make()
            self._backend.start()
            self._subscribe(self._backend)
        work(self._backend)
        self.unavailable = ""

    def _subscribe(self, backend: WatchBackend) -> None:
        if added := backend.watch(self._directories):
            self._subscribed(added)

    def _probe(self, backend: WatchBackend) -> None:
        arrived = backend.probe(_PROBE_TIMEOUT)
        text = f"an event caused on purpose did not arrive within {_PROBE_TIMEOUT:.0f} s"
        self.silent = "" if arrived else text

    def _drop(self) -> None:
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.stop()
