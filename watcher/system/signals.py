"""Handle signals.

=================  ==========================================================================================
SIGINT, SIGTERM    stop in order; a second SIGINT (Ctrl-C) exits immediately
SIGHUP             the same: the terminal was closed. Under `nohup` it is ignored, as everywhere
SIGQUIT (Ctrl-\\)   print the stacks of all threads and exit immediately: for a program that hangs
SIGPIPE            nothing: output without a reader is dropped (`output.py`)
=================  ==========================================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import threading
from collections.abc import AsyncGenerator, Callable

from watcher.errors import EXIT_STOPPED

ONE_PRESS = 0.5  # seconds in which a repeated Ctrl-C is the same one, passed on by a program around this one
STOPPED_AT_ONCE = "\nstopped; containers may still run: `watcher run` or `watcher down`\n"
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Presses:
    """Hands the first signal on, ends the process at a second Ctrl-C."""

    def __init__(self, stop: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._stop, self._clock = stop, clock
        self._first: float | None = None

    def take(self, number: signal.Signals) -> None:
        """A signal has come."""
        now = self._clock()
        if self._first is None:
            self._first = now
            self._stop(number.name)
        elif number == signal.SIGINT and now - self._first >= ONE_PRESS:
            _say_on_stderr(STOPPED_AT_ONCE)
            os._exit(EXIT_STOPPED)


def _say_on_stderr(text: str) -> None:
    """Write the text, unless the terminal takes nothing: that may be why the user ends it."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        writer = threading.Thread(target=os.write, args=(2, text.encode()), daemon=True)
        writer.start()
        writer.join(0.2)


@contextlib.asynccontextmanager
async def stopping_signals(stop: Callable[[str], None]) -> AsyncGenerator[None]:
    """Call `stop` with the name of the first signal that ends the program, while the context lasts."""
    loop = asyncio.get_running_loop()
    presses = _Presses(stop, loop.time)
    heard = [number for number in _STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
    for number in heard:
        loop.add_signal_handler(number, presses.take, number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)  # see `hold`
    try:
        yield
    finally:
        for number in heard:
            loop.remove_signal_handler(number)


def hold_signals(name: str = "") -> None:
    """Let signals that end the program wait, through an exec, until the next program hears them.

    `name` is one that has come already.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    if name:
        os.kill(os.getpid(), signal.Signals[name])


def dump_on_quit() -> None:
    """Let SIGQUIT print the stacks of all threads before it ends the process, however stuck it is."""
    faulthandler.register(signal.SIGQUIT, all_threads=True, chain=True)
