"""Blocking calls that can be left behind: a file system or a registry does not always answer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from watcher.errors import ConfigError

T = TypeVar("T")

PATIENCE = 20.0  # seconds within which a project's files must be read


async def in_own_thread(function: Callable[[], T]) -> T:
    """Run the function in a thread of its own, however long it takes; a cancelled call is left behind.

    The thread is a daemon thread: a thread of a pool would keep the process from exiting.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        try:
            result = function()
        except BaseException as error:  # passed to the caller
            settle: Callable[[], None] = partial(_set_outcome, done, done.set_exception, error)
        else:
            settle = partial(_set_outcome, done, done.set_result, result)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle)

    threading.Thread(target=work, name="blocking call", daemon=True).start()
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


def _set_outcome(done: asyncio.Future[T], how: Callable[[Any], None], what: object) -> None:
    if not done.done():
        how(what)
