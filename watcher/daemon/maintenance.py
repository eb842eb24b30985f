"""Work that no save waits for: prune, keep programs, measure the base and the builder stage."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from watcher.builder import CompileStage
from watcher.engine import Usage
from watcher.errors import EngineUnavailable
from watcher.prune import PruneReport
from watcher.reconcile.ports import Scan
from watcher.tree import Snapshot

SPACE_EVERY = 60.0  # seconds between looks at the engine's disk
PRUNE_WITHIN = 5.0  # seconds after a deploy in which pruning waits for an idle moment
MEASURE_WITHIN = 60.0  # seconds without a measurement after which that does not wait for one either


class Prunes(Protocol):
    """Removes what is stale."""

    def became_short(self) -> bool:
        """Return whether the engine's disk has become short of room since the last prune."""
        ...

    async def prune(self) -> PruneReport:
        """Look at what is there, and remove what is stale; may be cancelled between two removals."""
        ...


class Trims(Protocol):
    """Keeps the engine's build cache small."""

    async def trim(self) -> object:
        """Remove what has not been used for longest."""
        ...


class MeasuresDisk(Protocol):
    """Keeps the Go caches within their bound, and tells what the project holds."""

    async def run(self, snapshot: Snapshot | None, usage: Usage | None) -> bool:
        """Measure; `usage` is what a prune has just asked of the engine. False if it is too soon."""
        ...


class Maintenance:
    """What a service does when there is nothing to build: to be run after a deploy and every `every` seconds.

    It prunes after a deploy, every `prune_every` seconds (0: not by the clock), and once when the engine's
    disk becomes short of room. Pruning comes first, and a deploy is followed by one within `PRUNE_WITHIN`
    seconds even if saves leave no idle moment. The build cache of everybody, if `cache` is there, is not
    looked at after each deploy. `stage_size` gives the bytes that the steps of a stage added to its base.
    `meter` comes last, after each prune, or later if that was too soon. Saves that leave no idle moment do
    not keep it from measuring every `MEASURE_WITHIN` seconds; only trimming the Go caches waits for them.
    """

    def __init__(
        self,
        compile_stage: CompileStage,
        pruner: Prunes | None,
        cache: Trims | None = None,
        meter: MeasuresDisk | None = None,
        *,
        export_builder: bool,
        stage_size: Callable[[str], Awaitable[int | None]],
        prune_every: float,
        on_error: Callable[[Exception], None],
        clock: Callable[[], float] = time.monotonic,
        prune_within: float = PRUNE_WITHIN,
        turn: asyncio.Lock | None = None,
        explain: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """`turn` is shared by those that may not prune at the same time; `explain` is for the live image."""
        self._compile_stage, self._pruner, self._export = compile_stage, pruner, export_builder
        self._cache, self._stage_size, self._on_error = cache, stage_size, on_error
        self._meter, self._unmeasured = meter, False
        self._measuring, self._measured = False, clock()
        self._snapshot: Snapshot | None = None  # of the tree that went live last
        self._prune_every, self._clock = prune_every or float("inf"), clock
        self._prune_within, self._explain = prune_within, explain
        self._pruned = self._trimmed = clock()
        self._owed = False  # a deploy has not been followed by a prune yet
        self._pruning = turn or asyncio.Lock()
        self._in_time: asyncio.Task[None] | None = None

    @property
    def every(self) -> float:
        """Seconds after which there may be something to do again, without a deploy."""
        return min(SPACE_EVERY, self._prune_every) if self._pruner else float("inf")

    def deployed(self) -> None:
        """Something went live: what it superseded may go."""
        self._owed = self._pruner is not None
        if (self._owed or self._meter) and self._in_time is None:
            self._in_time = asyncio.create_task(self._work_in_time())

    async def _work_in_time(self) -> None:
        """Prune what is owed, and measure, also while saves come one after the other."""
        try:
            while True:
                await asyncio.sleep(self._prune_within)
                usage = await self._prune()
                # The engine is asked for its usage only if that would be missing for long.
                if usage is not None or self._clock() - self._measured >= MEASURE_WITHIN:
                    with contextlib.suppress(EngineUnavailable):
                        await self._measure(None, usage)
                if not self._owed:
                    break
        except Exception as error:
            self._on_error(error)
        finally:
            self._in_time = None

    async def close(self) -> None:
        """End what goes on in the background."""
        if (task := self._in_time) is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def run(self, scan: Scan[Snapshot] | None) -> None:
        """Do what is due; `scan` is set after a deploy. May be cancelled at any point."""
        short, usage = self._pruner is not None and self._pruner.became_short(), None
        due = scan is not None or short or self._due(self._pruned)
        if due:
            self._owed = self._pruner is not None
            usage = await self._prune()
        if scan is not None:
            self._snapshot = scan.snapshot
            await self._compile_stage.report_base_size(scan)
            await self._compile_stage.save_binaries(scan)
            if self._export:
                await self._compile_stage.export_image(scan)
            await self._compile_stage.report_size(scan, self._stage_size)
        if self._explain:
            await self._explain()
        self._unmeasured |= due
        if self._unmeasured:
            self._unmeasured = not await self._measure(self._snapshot, usage)
        if self._cache and (short or self._due(self._trimmed)):
            await self._cache.trim()
            self._trimmed = self._clock()

    async def _measure(self, snapshot: Snapshot | None, usage: Usage | None) -> bool:
        """Measure what the project holds; return False if that has to be tried again later."""
        if self._meter is None:
            return True
        if self._measuring:  # beside a build, or in an idle moment
            return False
        self._measuring = True
        try:
            done = await self._meter.run(snapshot, usage)
        finally:
            self._measuring = False
        if done:
            self._measured = self._clock()
        return done

    async def _prune(self) -> Usage | None:
        """Prune unless another task has just done so; what the engine holds then, where it was asked."""
        async with self._pruning:
            if not self._pruner or not self._owed:
                return None
            self._owed = False
            try:
                report = await self._pruner.prune()
            except BaseException:
                self._owed = True
                raise
            self._pruned = self._clock()
            return report.usage

    def _due(self, last: float) -> bool:
        return self._pruner is not None and self._clock() - last >= self._prune_every
