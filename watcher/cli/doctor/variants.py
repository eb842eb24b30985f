"""Build variants of a service's Dockerfile under names of their own, and leave nothing of them."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from watcher.builder import BuildJournal, ImageBuilder, Recipe
from watcher.daemon.engine_access import EngineAccess
from watcher.dockerfile import Level
from watcher.engine import Engine, EngineError, find_login
from watcher.errors import EngineUnavailable
from watcher.observers.events import BuildStepFinished, Event
from watcher.prune import Marks, RecordPruner
from watcher.reconcile.ports import Scan
from watcher.tree import Snapshot

PREFIX = "watcher-doctor"
_ABANDONED = 3600.0  # seconds after which an image that another doctor left can be removed


@dataclass(slots=True)
class StepTimes:
    """An observer that adds up the seconds of the steps that ran go."""

    seconds: float = 0.0
    ran: bool = field(default=False)

    def notify(self, event: Event) -> None:
        """Take a step into account."""
        match event:
            case BuildStepFinished(cached=False, error="", name=name, seconds=seconds) if _builds(name):
                self.seconds += seconds
                self.ran = True


def _builds(step: str) -> bool:
    return " RUN " in f" {step} " and "go" in step and (" build" in step or " install" in step)


@dataclass(frozen=True, slots=True)
class BuiltVariant:
    """An image of a variant. `seconds` are those of its steps that build with go; None if none ran."""

    image: str
    size: int
    seconds: float | None


class VariantBuilds:
    """Builds texts instead of the Dockerfile of a service."""

    def __init__(self, recipe: Recipe, access: EngineAccess, journal: BuildJournal, repository: str) -> None:
        self._recipe = replace(recipe, image=f"{repository}:latest", tags=(), keep_programs=False)
        self._engine, self._times = access.engine, StepTimes()
        self._names: list[str] = []
        self._builder = ImageBuilder(
            self._recipe,
            engine=access.engine,
            connection=access.connection,
            observer=self._times,
            journal=journal,
            logins=find_login,
        )

    async def build(self, text: str, snapshot: Snapshot, *, level: Level | None = None) -> BuiltVariant:
        """Build a text in a tree, at the service's level or another; raises UserError, Superseded,
        EngineUnavailable.
        """
        self._builder.recipe = replace(self._recipe, inline=text, level=level or self._recipe.level)
        self._times.seconds, self._times.ran = 0.0, False
        scan = Scan(secrets.token_hex(16), snapshot, time.time())
        self._names.append(self._recipe.tag(scan.revision))
        built = await self._builder.build(scan, forced=False)
        await self._builder.sizes.wait()
        size = await self._engine.image_size(built.image)
        return BuiltVariant(built.image, size or 0, self._times.seconds if self._times.ran else None)

    async def remove_images(self) -> None:
        """Remove the names of all images, and with them those that have no other."""
        while self._names:
            await self._engine.remove_image(self._names.pop())


@asynccontextmanager
async def open_variants(recipe: Recipe, access: EngineAccess) -> AsyncGenerator[VariantBuilds]:
    """Build variants while the context lasts; then remove their images and build steps.

    What they added to Go's caches stays there: the bounds of these caches hold for it.
    """
    own = f"{PREFIX}-{recipe.project[-10:]}"
    await _remove_abandoned(access.engine, own)
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}-") as folder:
        journal = BuildJournal(Path(folder))
        builds = VariantBuilds(recipe, access, journal, f"{own}/{secrets.token_hex(4)}")
        try:
            yield builds
        finally:
            with suppress(EngineError, EngineUnavailable):
                await builds.remove_images()
                await RecordPruner(access.connection, journal, Marks(PREFIX), keep={}).prune()
            await asyncio.to_thread(journal.close)


async def _remove_abandoned(engine: Engine, repository: str) -> None:
    """Remove what a doctor left that was killed."""
    with suppress(EngineError, EngineUnavailable):
        for image in await engine.images():
            for name in image.tags:
                if name.startswith(f"{repository}/") and time.time() - image.created > _ABANDONED:
                    await engine.remove_image(name)
