"""Work for idle times: keep programs, measure base and builder image, which is exported for that; prune."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from watcher.build import ImageBuilder
from watcher.reconcile import Look
from watcher.tree import Snapshot

SPACE_EVERY = 60.0  # seconds between looks at the engine's disk


class Prunes(Protocol):
    """Removes what is stale."""

    def became_short(self) -> bool:
        """Whether the engine's disk has become short of room since the last prune."""
        ...

    async def prune(self) -> object:
        """Look at what is there, and remove what is stale; may be cancelled between two removals."""
        ...


class Trims(Protocol):
    """Keeps the engine's build cache small."""

    async def trim(self) -> object:
        """Remove what has not been used for longest."""
        ...


class IdleChores:
    """What a service does when there is nothing to build: to be run after a deploy and every `every` seconds.

    It prunes after a deploy, every `prune_every` seconds (0: not by the clock), and once when the engine's
    disk becomes short of room. The build cache, if `cache` is there, is not looked at after each deploy.
    """

    def __init__(
        self,
        builder: ImageBuilder,
        pruner: Prunes | None,
        cache: Trims | None = None,
        *,
        export_builder: bool,
        prune_every: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._builder, self._pruner, self._export = builder, pruner, export_builder
        self._cache = cache
        self._prune_every, self._clock = prune_every or float("inf"), clock
        self._pruned = self._trimmed = clock()

    @property
    def every(self) -> float:
        """Seconds after which there may be something to do again, without a deploy."""
        return min(SPACE_EVERY, self._prune_every) if self._pruner else float("inf")

    async def run(self, look: Look[Snapshot] | None) -> None:
        """Do what is due; `look` is set after a deploy. May be cancelled at any point."""
        if look is not None:
            await self._builder.tell_base(look)
            await self._builder.keep_programs(look)
            if self._export:
                await self._builder.export_builder(look)
        if self._pruner is None:
            return
        short = self._pruner.became_short()
        if look is not None or short or self._due(self._pruned):
            await self._pruner.prune()
            self._pruned = self._clock()
        if self._cache and (short or self._due(self._trimmed)):
            await self._cache.trim()
            self._trimmed = self._clock()

    def _due(self, last: float) -> bool:
        return self._clock() - last >= self._prune_every
