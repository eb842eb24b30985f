"""Measure the delay of the event loop, and end the process if its loop is stuck for good.

One loop does all the work, including the traffic of the published port, so a stuck loop is an outage without
an end. There are two guards, because each of them is blind to one kind:

- a thread counts its own ticks without a heartbeat of the loop: a call that blocks (a hung file system);
- a timer of the process's CPU time; the kernel delivers its signal without Python: code that never releases
  the interpreter (a runaway regular expression in C) and so stops every Python thread.

Neither counts time in which the process did not run: SIGSTOP or a suspended machine is no stuck loop.
Stacks of all threads go to standard error; then the process ends, and its supervisor starts it again.
Containers are left alone: the next start adopts them.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator
from typing import TextIO

from watcher.observers.events import LoopLag, Observer

BEAT = 0.25  # seconds between two heartbeats of the loop
REPORT_EVERY = 10.0  # seconds between two reports of the longest delay; each covers two of these spans
STUCK = 30.0  # seconds without a heartbeat after which the process ends
TICKS = 6  # of the thread, within STUCK
EXIT_STUCK = 70  # EX_SOFTWARE of sysexits.h


class LoopWatchdog:
    """Measures one event loop, and ends the process when it is stuck for `stuck` seconds."""

    def __init__(
        self,
        observer: Observer,
        *,
        stuck: float = STUCK,
        beat: float = BEAT,
        report_every: float = REPORT_EVERY,
        file: TextIO | None = None,
    ) -> None:
        self._observer, self._stuck = observer, stuck
        self._beat, self._report_every = beat, report_every
        self._file = file or sys.stderr
        self._beats = 0
        self._over = threading.Event()

    @contextlib.asynccontextmanager
    async def watch_loop(self) -> AsyncGenerator[None]:
        """Watch the running loop while the context lasts."""
        thread = threading.Thread(target=self._check_beats, name="watchdog", daemon=True)
        faulthandler.register(signal.SIGPROF, file=self._file, all_threads=True, chain=True)
        beating = asyncio.create_task(self._beat_loop())
        thread.start()
        try:
            yield
        finally:
            beating.cancel()
            self._over.set()
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            faulthandler.unregister(signal.SIGPROF)

    async def _beat_loop(self) -> None:
        """Record that the loop turns, and how late each turn was."""
        loop = asyncio.get_running_loop()
        before, worst, since = 0.0, 0.0, loop.time()
        while True:
            self._beats += 1
            signal.setitimer(signal.ITIMER_PROF, self._stuck)
            due = loop.time() + self._beat
            await asyncio.sleep(self._beat)
            now = loop.time()
            worst = max(worst, now - due)
            if now - since >= self._report_every:
                self._observer.notify(LoopLag(seconds=max(before, worst)))
                before, worst, since = worst, 0.0, now

    def _check_beats(self) -> None:
        """End the process after TICKS ticks in a row without a heartbeat."""
        seen, missed = self._beats, 0
        while not self._over.wait(self._stuck / TICKS):
            missed = missed + 1 if self._beats == seen else 0
            seen = self._beats
            if missed >= TICKS:
                self._end_process()

    def _end_process(self) -> None:
        print(
            f"watcher: the event loop is stuck for {self._stuck:g} s; stacks of all threads:", file=self._file
        )
        faulthandler.dump_traceback(self._file, all_threads=True)
        self._file.flush()
        os._exit(EXIT_STUCK)
