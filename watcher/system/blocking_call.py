"""Blocking calls that can be left behind: a file system or a registry does not always answer."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from watcher.errors import ConfigError

T = TypeVar("T")

PATIENCE = 20.0  # seconds within which a project's files must be read
SPARE = 2.0  # seconds that a thread waits for its next call: longer than between two looks at the settings


_Call = Callable[[], Callable[[], None]]  # blocks, and returns how to report its outcome


class _Worker(threading.Thread):
    """A thread that makes one call after the other, and ends when none came for some time after the last.

    It is a daemon thread, and is in `_spare` only between two calls: a call that does not come back keeps its
    thread, and no other call.
    """

    def __init__(self) -> None:
        super().__init__(name="blocking call", daemon=True)
        self._calls: queue.SimpleQueue[tuple[_Call, float]] = queue.SimpleQueue()

    def make(self, call: _Call, spare: float) -> None:
        """Make a call, then wait `spare` seconds for the next; only for one that is not in `_spare`."""
        self._calls.put((call, spare))

    def run(self) -> None:
        spare: float | None = None  # the first call is on its way
        while True:
            try:
                call, spare = self._calls.get(timeout=spare)
            except queue.Empty:
                with _lock:
                    if self in _spare:  # if not, a call is on its way
                        _spare.remove(self)
                        return
                continue
            report = call()
            del call  # and what it holds
            with _lock:
                _spare.append(self)
            report()  # last, so that a call that follows finds this thread
            del report


_lock = threading.Lock()
_spare: list[_Worker] = []


def _make_in_worker(call: _Call, spare: float) -> None:
    with _lock:
        worker = _spare.pop() if _spare else None  # the last one: those before it end
    if worker is None:
        worker = _Worker()
        worker.start()
    worker.make(call, spare)


async def in_own_thread(function: Callable[[], T], *, spare: float = SPARE) -> T:
    """Run the function in a thread of its own, however long it takes; a cancelled call is left behind.

    The thread is a daemon thread: a thread of a pool would keep the process from exiting. It makes later
    calls too: idle daemons look at their settings twice a second, and a deploy has dozens of calls.
    `spare`: how many seconds it waits for the next one.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def work() -> Callable[[], None]:
        try:
            result = function()
        except BaseException as error:  # passed to the caller
            return partial(_report, loop, partial(_set_outcome, done, done.set_exception, error))
        return partial(_report, loop, partial(_set_outcome, done, done.set_result, result))

    _make_in_worker(work, spare)
    return await done


async def in_thread(function: Callable[[], T], what: str, *, patience: float = PATIENCE) -> T:
    """Run the function in a thread; raises ConfigError for `what` if it takes too long."""
    try:
        async with asyncio.timeout(patience) as limit:
            return await in_own_thread(function)
    except TimeoutError:
        if not limit.expired():
            raise  # the function's own
        rule = f"took longer than {patience:g} s to read: does its file system answer?"
        raise ConfigError(what, None, rule) from None


def _report(loop: asyncio.AbstractEventLoop, settle: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(settle)


def _set_outcome(done: asyncio.Future[T], how: Callable[[Any], None], what: object) -> None:
    if not done.done():
        how(what)
