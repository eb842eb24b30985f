"""Let the builds of the project's daemon go first: what the doctor builds is cancelled by a save."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from watcher.cli.remote import Api, parse_document
from watcher.errors import WatcherError
from watcher.system import lock

Result = TypeVar("Result")
POLL = 0.3  # seconds between two questions to the daemon
_TIMEOUT = 5.0  # seconds for an answer
_QUIET = frozenset({"live", "failed", "paused", "down"})  # phases in which a service builds nothing


def is_daemon_busy(project: str) -> bool:
    """Return whether a service of the project's running daemon builds, deploys or waits. Blocks."""
    running = lock.find_running(project)
    if running is None:
        return False
    if not running.url:
        return True  # it starts
    try:
        status = parse_document(Api(running.url, running.token, _TIMEOUT).get("/api/status"))
        return any(service["phase"] not in _QUIET for service in status["services"])
    except (WatcherError, ValueError, LookupError, TypeError, AttributeError):
        return lock.find_running(project) is not None  # it does not answer: be careful


class IdleTurn:
    """Runs work while `is_busy` (called in a thread) returns False, and from the start again after it."""

    def __init__(self, is_busy: Callable[[], bool], *, poll: float = POLL) -> None:
        self._is_busy, self._poll = is_busy, poll
        self.interrupted = 0  # how often work was cancelled

    async def run(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Return what `work` returns; each time a build of the daemon begins, cancel it and wait."""
        while True:
            while await asyncio.to_thread(self._is_busy):  # noqa: ASYNC110 - the daemon is another process
                await asyncio.sleep(self._poll)
            task = asyncio.ensure_future(work())
            try:
                while not task.done():
                    await asyncio.wait({task}, timeout=self._poll)
                    if not task.done() and await asyncio.to_thread(self._is_busy):
                        break
                if task.done():
                    return task.result()
            finally:
                if not task.done():
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
            self.interrupted += 1
