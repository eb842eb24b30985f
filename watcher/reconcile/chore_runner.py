"""Run the chores (export of the builder image, pruning) while nothing else is to do."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from watcher.reconcile.ports import Chores, Scan

S = TypeVar("S")


class ChoreRunner(Generic[S]):
    """Starts the chores when they are due, and cancels them for more important work.

    They are due `after` seconds after a deploy, and `every` seconds after they ended.
    """

    def __init__(
        self,
        chores: Chores[S],
        *,
        after: float,
        every: float,
        clock: Callable[[], float],
        on_error: Callable[[BaseException], None],
        on_end: Callable[[], None],
    ) -> None:
        """`on_error` gets what the chores raised; `on_end` is called each time they have ended."""
        self._chores, self._after, self._every, self._clock = chores, after, every, clock
        self._on_error, self._on_end = on_error, on_end
        self._scan: Scan[S] | None = None  # of the last deploy, until its chores are done
        self._due = clock() + every
        self.task: asyncio.Task[None] | None = None  # while the chores run

    def reconfigure(self, chores: Chores[S], *, every: float) -> None:
        """Continue with these, while none run."""
        self._chores, self._every = chores, every
        self._due = min(self._due, self._clock() + every)

    @property
    def due(self) -> float:
        """When to call `start_if_due`; never while the chores run."""
        return math.inf if self.task else self._due

    def record_deploy(self, scan: Scan[S] | None) -> None:
        """Make the chores due soon; `scan` is None for a container that was restored."""
        self._chores.deployed()
        self._scan, self._due = scan or self._scan, self._clock() + self._after

    def hurry(self) -> None:
        """Make the chores due soon: pruning can free the disk that is full."""
        self._due = min(self._due, self._clock() + self._after)

    def start_if_due(self) -> None:
        """Start the chores if it is time."""
        if self._clock() >= self.due:
            scan, self._scan = self._scan, None
            self.task = asyncio.create_task(self._chores.run(scan))
            self.task.add_done_callback(partial(self._record_end, scan))

    def cancel(self) -> None:
        """Cancel the chores; they are due again soon."""
        if self.task:
            self.task.cancel()

    def _record_end(self, scan: Scan[S] | None, task: asyncio.Task[None]) -> None:
        """Plan the next chores; a callback, because a task cancelled before its first step runs no code."""
        self.task, pause = None, self._every
        if task.cancelled():
            self._scan, pause = self._scan or scan, self._after  # a deploy can have left a newer scan
        elif error := task.exception():
            self._on_error(error)
        self._due = self._clock() + pause
        self._on_end()
