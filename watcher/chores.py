"""Work for idle times: measure base and builder image, which is exported for that; prune what is stale."""

from __future__ import annotations

from typing import Protocol

from watcher.build import ImageBuilder
from watcher.reconcile import Look
from watcher.tree import Snapshot


class Prunes(Protocol):
    """Removes what is stale."""

    async def prune(self) -> object:
        """Look at what is there, and remove what is stale; may be cancelled between two removals."""
        ...


class IdleChores:
    """What a service does when there is nothing to build."""

    def __init__(self, builder: ImageBuilder, pruner: Prunes | None, *, export_builder: bool) -> None:
        self._builder, self._pruner, self._export = builder, pruner, export_builder

    async def run(self, look: Look[Snapshot] | None) -> None:
        """Do what is due; `look` is set after a deploy. May be cancelled at any point."""
        if look is not None:
            await self._builder.tell_base(look)
            if self._export:
                await self._builder.export_builder(look)
        if self._pruner:
            await self._pruner.prune()
